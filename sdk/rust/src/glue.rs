//! Between the generated bindings and the traits that authors implement. The export macros alone use this.

use std::{marker::PhantomData, sync::OnceLock};

use crate::{
    config::{self, Config},
    facts::Wanted,
    reasons::ReasonCode,
    types::{Description, FieldError, ReasonText},
};

/// Where an exported plugin keeps its configured rule. The host snapshots the memory after `configure`, so a call
/// finds the rule ready.
pub trait Plugged {
    /// The rule that was exported.
    type Rule: 'static;

    /// The one place it lives in.
    fn cell() -> &'static OnceLock<Self::Rule>;
}

/// What the bindings call; its exports are implemented next to the trait of each kind.
pub struct Export<P>(PhantomData<P>);

impl<P: Plugged> Export<P> {
    /// The configured rule. The host configures before it asks; anything else is a broken host, and the call traps.
    pub(crate) fn rule() -> &'static P::Rule {
        P::cell().get().expect("configured before the first call")
    }

    pub(crate) fn configure<C: Config>(
        text: &str,
        configure: impl FnOnce(C) -> Result<P::Rule, Vec<FieldError>>,
    ) -> Result<(), Vec<FieldError>> {
        let rule = configure(config::parse(text)?)?;
        P::cell().set(rule).map_err(|_| vec![FieldError::new("", "configured already")])?;
        #[cfg(target_family = "wasm")]
        crate::arena::seal();
        Ok(())
    }
}

/// Who a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// At most 64 bytes of `[a-z0-9-]`.
    pub name: &'static str,
    /// Semantic version.
    pub version: &'static str,
    /// One sentence for the operator.
    pub summary: &'static str,
}

/// Who the plugin is, as its `Cargo.toml` says: name, version and description.
#[macro_export]
macro_rules! about {
    () => {
        $crate::About {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            summary: env!("CARGO_PKG_DESCRIPTION"),
        }
    };
}

/// What a plugin says of itself.
pub(crate) fn describe<C: Config>(about: About, wanted: &[&[Wanted]], reasons: &[ReasonCode]) -> Description {
    Description {
        name: about.name.to_owned(),
        version: about.version.to_owned(),
        summary: about.summary.to_owned(),
        config_schema: config::schema::<C>(),
        facts: wanted.iter().copied().flatten().map(Into::into).collect(),
        reasons: reasons
            .iter()
            .map(|reason| ReasonText {
                code: reason.code.to_owned(),
                zh_cn: reason.zh_cn.to_owned(),
                en: reason.en.to_owned(),
            })
            .collect(),
    }
}

/// The encoded worlds: each makes a component of the core module that carries it.
pub mod worlds {
    macro_rules! world {
        ($($name:ident = $file:literal;)*) => {$(
            #[doc = $file]
            pub const $name: [u8; include_bytes!(concat!(env!("OUT_DIR"), $file)).len()] =
                *include_bytes!(concat!(env!("OUT_DIR"), $file));
        )*};
    }

    world! {
        TIER_RULE = "/tier-rule.section";
        EARNING_RULE = "/earning-rule.section";
        COUPON_POLICY = "/coupon-policy.section";
        SCORER = "/scorer.section";
        CONTENT_GUARD = "/content-guard.section";
        CHANNEL = "/channel.section";
    }
}

/// Exports a rule: its cell, the glue of its kind, and the section that names its world.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($rule:ty, $world:ident, $($cabi:tt)*) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            static RULE: std::sync::OnceLock<$rule> = std::sync::OnceLock::new();
            struct Plugged;
            impl $crate::glue::Plugged for Plugged {
                type Rule = $rule;
                fn cell() -> &'static std::sync::OnceLock<$rule> {
                    &RULE
                }
            }
            type Export = $crate::glue::Export<Plugged>;
            $($cabi)*

            #[used]
            #[unsafe(link_section = "component-type:galenic")]
            static WORLD: [u8; $crate::glue::worlds::$world.len()] = $crate::glue::worlds::$world;
        };
    };
}
