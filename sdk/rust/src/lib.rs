//! Write rules for the Galenic loyalty engine.

extern crate self as galenic_sdk;

#[doc(hidden)]
pub mod bindings;
mod config;
pub mod coupon_policy;
pub mod earning_rule;
pub mod facts;
#[doc(hidden)]
pub mod glue;
mod map;
mod reasons;
pub mod terms;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod tier_rule;
mod units;

#[doc(hidden)]
pub use schemars;
#[doc(hidden)]
pub use serde;

/// The shapes that every kind shares; `wit/v0/types.wit` documents them.
pub use bindings::exports::galenic::plugin::types;
pub use config::{Config, Errors};
pub use coupon_policy::CouponPolicy;
pub use earning_rule::EarningRule;
pub use facts::Facts;
pub use glue::About;
pub use map::Map;
pub use reasons::ReasonCode;
pub use terms::Terms;
pub use tier_rule::TierRule;
pub use types::{FieldError, Parameter, Reason};
pub use units::{BasisPoints, Instant, Money, Points};

/// Everything a plugin needs: `use galenic_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        About, BasisPoints, Errors, Facts as _, FieldError, Instant, Map, Money, Points, Reason, ReasonCode, about, config,
        coupon_policy::{Cart, CouponPolicy, Proposal},
        earning_rule::{Award, EarningRule},
        export_coupon_policy, export_earning_rule, export_tier_rule, facts, reasons, terms,
        tier_rule::{self, Tier, TierConfig, TierRule, Verdict},
    };
}
