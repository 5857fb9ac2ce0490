//! Builds the reference plugins of `plugins/` to components and lists them for `src/plugin/embedded.rs`.
//!
//! A nested cargo compiles them for `wasm32-unknown-unknown` with the profile `plugin`, in a target directory of its own
//! (`target/plugins`), so that it neither waits for the outer cargo nor inherits its flags.

use std::{
    env,
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use wit_component::{ComponentEncoder, DecodedWasm};

const TARGET: &str = "wasm32-unknown-unknown";

/// A small stack keeps a fresh sandbox small, and with it the cost of a call.
const FLAGS: &str = "-Clink-arg=-zstack-size=32768";

/// The kinds that the host knows: the interface, and how Rust spells it.
const KINDS: [(&str, &str); 6] = [
    ("tier-rule", "TierRule"),
    ("earning-rule", "EarningRule"),
    ("coupon-policy", "CouponPolicy"),
    ("scorer", "Scorer"),
    ("content-guard", "ContentGuard"),
    ("channel", "Channel"),
];

/// What a channel may import; every other kind imports nothing.
const OUTBOUND: [&str; 3] = ["outbound-http", "secrets", "outbound-mail"];

fn main() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let workspace = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?)
        .parent()
        .context("host stands in the workspace")?
        .to_owned();
    for input in
        ["wit", "sdk/rust/src", "sdk/rust/build.rs", "sdk/rust/Cargo.toml", "plugins", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let names = plugin_names(&workspace.join("plugins"))?;
    let modules = compile(&workspace, &target_dir(&out)?, &names)?;
    let mut list = String::from("/// The reference plugins.\npub const EMBEDDED: &[Embedded] = &[\n");
    for name in &names {
        let module = modules.join(format!("{}.wasm", name.replace('-', "_")));
        let component = componentize(&module).with_context(|| format!("plugin {name} does not make a component"))?;
        let kind = kind(&component).with_context(|| format!("plugin {name} is of no known kind"))?;
        let file = out.join(format!("{name}.wasm"));
        write_if_changed(&file, &component)?;
        let folder = workspace.join("plugins").join(name);
        writeln!(
            list,
            "    Embedded {{\n        name: {name:?},\n        kind: Kind::{kind},\n        component: include_bytes!({file:?}),\n        \
             config: include_str!({:?}),\n        cases: include_str!({:?}),\n    }},",
            folder.join("config.json"),
            folder.join("cases.json"),
        )?;
    }
    list.push_str("];\n");
    write_if_changed(&out.join("embedded.rs"), list.as_bytes())
}

/// The folders of `plugins/` that hold a crate; folder and crate have the same name.
fn plugin_names(plugins: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(plugins).with_context(|| format!("cannot list {}", plugins.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is not UTF-8"))?);
        }
    }
    names.sort();
    Ok(names)
}

/// `target/plugins`, wherever the outer cargo keeps `target`: `OUT_DIR` is `TARGET/PROFILE/build/PACKAGE/out`.
fn target_dir(out: &Path) -> Result<PathBuf> {
    Ok(out.ancestors().nth(4).context("OUT_DIR lies in a target directory")?.join("plugins"))
}

/// Runs the nested cargo; returns the folder of the core modules.
fn compile(workspace: &Path, target_dir: &Path, names: &[String]) -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").context("cargo sets CARGO")?);
    for (key, _) in env::vars_os() {
        if is_outer(&key) {
            cargo.env_remove(key);
        }
    }
    cargo
        .current_dir(workspace)
        .env("RUSTFLAGS", FLAGS)
        .args(["build", "--locked", "--profile", "plugin", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .args(["--jobs", &env::var("NUM_JOBS").unwrap_or_else(|_| "1".to_owned())]);
    for name in names {
        cargo.args(["--package", name]);
    }
    let output = cargo.output().context("cannot run cargo for the plugins")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        if message.contains("E0463") && message.contains(TARGET) {
            bail!(
                "the Rust target {TARGET} is missing, which plugins are built for: run `make setup`, or `rustup target add {TARGET}`"
            );
        }
        bail!("the plugins do not build:\n{message}");
    }
    Ok(target_dir.join(TARGET).join("plugin"))
}

/// Whether a variable of the environment is the outer build's own affair: its flags, wrappers, profiles and package.
fn is_outer(key: &OsStr) -> bool {
    let Some(key) = key.to_str() else { return false };
    let kept = ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE"];
    let cargo =
        key == "CARGO" || key.starts_with("CARGO_") && !kept.contains(&key) && !key.starts_with("CARGO_REGISTR");
    cargo
        || ["RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTDOC", "RUSTDOCFLAGS"].contains(&key)
}

/// Wraps a core module that carries the section of its world.
fn componentize(module: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    ComponentEncoder::default().validate(true).module(&bytes)?.encode()
}

/// The kind that a component exports. A channel imports what it needs to reach its vendor, a pure kind nothing.
fn kind(component: &[u8]) -> Result<&'static str> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        bail!("a package of interfaces, not a component");
    };
    let world = &resolve.worlds[world];
    let exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let is = |name: &str, interface: &str| name.starts_with(&format!("galenic:plugin/{interface}@"));
    let kind = KINDS.into_iter().find(|(interface, _)| exports.iter().any(|export| is(export, interface)));
    let (_, variant) = kind.with_context(|| format!("it exports {exports:?}"))?;
    let mut imports: Vec<_> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    if variant == "Channel" {
        imports.retain(|import| !OUTBOUND.into_iter().any(|interface| is(import, interface)));
    }
    ensure!(imports.is_empty(), "a {variant} may not import {imports:?}");
    Ok(variant)
}

/// Leaves an equal file untouched, so that the crate is not compiled again for nothing.
fn write_if_changed(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
