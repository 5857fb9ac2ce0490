//! Encodes the worlds of `wit/v0` as the custom sections that turn a plugin's core module into a component.
//!
//! `wit_bindgen::generate!` would embed them itself, but worlds that share the `types` interface cannot be
//! generated in one crate (wit-bindgen #1502), so `src/bindings.rs` generates one world that exports every kind and an
//! export macro pairs the glue of one kind with the section of its world.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};
use wit_component::StringEncoding;
use wit_parser::Resolve;

const WIT: &str = "../../wit/v0";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={WIT}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(WIT).with_context(|| format!("cannot read {WIT}"))?;
    let out = env::var("OUT_DIR").context("cargo sets OUT_DIR")?;
    for kind in ["tier-rule", "earning-rule", "coupon-policy", "scorer", "content-guard", "channel"] {
        let world = resolve.select_world(&[package], Some(&format!("{kind}-plugin")))?;
        let section = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None)?;
        fs::write(Path::new(&out).join(format!("{kind}.section")), section)?;
    }
    Ok(())
}
