//! Write rules for the Galenic loyalty engine, in Rust.
//!
//! A plugin is a pure function from what the host knows to a proposal with reasons. It has no clock, no randomness, no
//! network and no store; the same input gives the same answer, today and when the decision is replayed in a year. The
//! host clamps, allocates, rounds and commits: no plugin can make money or points. A channel alone reaches out, through
//! the host and as far as its release was granted ([`outbound`]).
//!
//! | kind | trait | export | decides |
//! |---|---|---|---|
//! | `tier-rule` | [`TierRule`] | [`export_tier_rule!`] | which tier a member holds |
//! | `earning-rule` | [`EarningRule`] | [`export_earning_rule!`] | how many points an activity earns |
//! | `coupon-policy` | [`CouponPolicy`] | [`export_coupon_policy!`] | what offers are worth for a cart |
//! | `scorer` | [`Scorer`] | [`export_scorer!`] | what a member might want, and why |
//! | `content-guard` | [`ContentGuard`] | [`export_content_guard!`] | what a message may not say |
//! | `channel` | [`Channel`] | [`export_channel!`] | nothing: it carries messages by a vendor's protocol |
//!
//! # A first plugin from nothing
//!
//! A rule with two tiers: regulars have placed enough orders, everybody else is a guest.
//!
//! **1. The crate.** A library that is both a `cdylib` (the plugin) and an `rlib` (its native tests):
//!
//! ```toml
//! [package]
//! name = "tier-regulars"
//! version = "0.1.0"
//! edition = "2024"
//! description = "Two tiers: guests and regulars"
//!
//! [lib]
//! crate-type = ["cdylib", "rlib"]
//!
//! [dependencies]
//! galenic-sdk = { git = "…" }
//! ```
//!
//! **2. The rule.** This is the whole `src/lib.rs`:
//!
//! ```
//! use galenic_sdk::prelude::*;
//!
//! // What an operator may set. The struct is also the JSON Schema that `galenic plugin check` shows.
//! config! {
//!     /// How many orders make a regular.
//!     pub struct Config {
//!         /// Orders paid since registration.
//!         pub orders: i64,
//!         /// Where everybody starts.
//!         pub guest: TierConfig,
//!         /// Where they arrive.
//!         pub regular: TierConfig,
//!     }
//! }
//!
//! // What the rule wants to know, by the names of the host's catalogue.
//! facts! {
//!     /// What the rule wants to know.
//!     pub struct Known {
//!         /// Orders paid since registration.
//!         orders: i64 = "member.lifetime-paid-orders",
//!     }
//! }
//!
//! // Why a member has a tier: a stable code, a Chinese and an English text.
//! reasons! {
//!     ORDERS = "orders": "已有{0}笔订单，需{1}笔", "{0} orders, a regular has {1}";
//! }
//!
//! /// The rule, configured.
//! pub struct Regulars(Config);
//!
//! impl TierRule for Regulars {
//!     type Config = Config;
//!     type Facts = Known;
//!     const ABOUT: About = about!();
//!     const REASONS: &'static [ReasonCode] = REASONS;
//!
//!     fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
//!         let mut errors = Errors::new();
//!         errors.require(config.orders > 0, "/orders", "must be above 0");
//!         config.guest.check("/guest", &mut errors);
//!         config.regular.check("/regular", &mut errors);
//!         errors.into_result(Self(config))
//!     }
//!
//!     fn tiers(&self) -> Vec<Tier> {
//!         vec![Tier::from(&self.0.guest), Tier::from(&self.0.regular)]
//!     }
//!
//!     fn evaluate(&self, _as_of: Instant, known: &Known) -> Verdict {
//!         let tier = u16::from(known.orders >= self.0.orders);
//!         Verdict::new(tier).because(ORDERS.with(known.orders).with(self.0.orders))
//!     }
//! }
//!
//! export_tier_rule!(Regulars);
//!
//! // 3. The cases, as `cases.json` would hold them.
//! let config = r#"{
//!     "orders": 3,
//!     "guest": { "code": "guest", "name_zh_cn": "顾客", "name_en": "Guest" },
//!     "regular": { "code": "regular", "name_zh_cn": "熟客", "name_en": "Regular", "discount": 300 }
//! }"#;
//! let cases = r#"[
//!     { "name": "two orders", "facts": { "member.lifetime-paid-orders": 2 }, "expect": { "tier": "guest" } },
//!     {
//!         "name": "three orders",
//!         "facts": { "member.lifetime-paid-orders": 3 },
//!         "expect": { "tier": "regular", "reasons": [["orders", { "integer": 3 }, { "integer": 3 }]] }
//!     }
//! ]"#;
//! galenic_sdk::testing::tier_rule::<Regulars>(config, cases);
//! ```
//!
//! **3. The tests.** Put the default configuration in `config.json`, cases in `cases.json` and one test at the end of
//! `lib.rs`; [`testing`] describes the format and what is checked besides. `cargo test` needs no WASM.
//!
//! ```ignore
//! #[cfg(test)]
//! mod tests {
//!     #[test]
//!     fn cases() {
//!         galenic_sdk::testing::tier_rule::<super::Regulars>(include_str!("../config.json"), include_str!("../cases.json"));
//!     }
//! }
//! ```
//!
//! **4. The component.** The small stack keeps a fresh sandbox, and so every call, cheap:
//!
//! ```text
//! rustup target add wasm32-unknown-unknown
//! RUSTFLAGS="-Clink-arg=-zstack-size=32768" cargo build --release --target wasm32-unknown-unknown
//! wasm-tools component new target/wasm32-unknown-unknown/release/tier_regulars.wasm -o tier-regulars.wasm
//! ```
//!
//! with this profile: every call pays for the memory that a plugin takes, so what only reads configurations is built
//! small, and the rule itself fast:
//!
//! ```toml
//! [profile.release]
//! opt-level = 3
//! lto = "fat"
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//!
//! [profile.release.package."*"]
//! opt-level = "s"
//!
//! [profile.release.package.galenic-sdk]
//! opt-level = 3
//! ```
//!
//! **5. The swap.** `galenic plugin check tier-regulars.wasm` tells what the host makes of it; `plugin push` and
//! `plugin release` put it to work while orders flow, `plugin rollback` takes it back.
//!
//! # What to keep in mind
//!
//! - Money is minor units, rates are basis points, instants are milliseconds: [`Money`], [`Points`], [`BasisPoints`] and
//!   [`Instant`] keep them apart, and their arithmetic is exact.
//! - A fact that the host does not know, or that the release was not granted, reads as nothing; `Option` tells.
//! - `configure` runs once per release, and the host snapshots the memory after it: do there what can be done before.
//!   The SDK brings the allocator: what a call allocates it gives back when it ends, so keep nothing across calls.
//! - A panic is a trap: the host answers with the slot's fallback, records the fault, and the order goes on.
//! - Every verdict, award and refusal gives a reason with what was observed and what was required.

#![allow(clippy::test_attr_in_doctest, reason = "the docs show an author's whole file, tests included")]

extern crate self as galenic_sdk;

#[cfg(target_family = "wasm")]
mod arena;
#[doc(hidden)]
pub mod bindings;
pub mod channel;
mod config;
pub mod content_guard;
pub mod coupon_policy;
pub mod earning_rule;
pub mod facts;
#[doc(hidden)]
pub mod glue;
mod map;
pub mod outbound;
mod reasons;
pub mod scorer;
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
pub use channel::Channel;
pub use config::{Config, Errors};
pub use content_guard::ContentGuard;
pub use coupon_policy::CouponPolicy;
pub use earning_rule::EarningRule;
pub use facts::Facts;
pub use glue::About;
pub use map::Map;
pub use reasons::ReasonCode;
pub use scorer::Scorer;
pub use terms::Terms;
pub use tier_rule::TierRule;
pub use types::{FieldError, Parameter, Reason};
pub use units::{BasisPoints, Instant, Money, Points};

/// Everything a plugin needs: `use galenic_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        About, BasisPoints, Channel, Errors, Facts as _, FieldError, Instant, Map, Money, Points, Reason, ReasonCode,
        about,
        channel::{AddressKind, ChannelTraits, Incoming, Message, Moment, Receipt, Received, Sent, Status},
        config,
        content_guard::{ContentGuard, Draft, Finding},
        coupon_policy::{Cart, CouponPolicy, Proposal},
        earning_rule::{Award, EarningRule},
        export_channel, export_content_guard, export_coupon_policy, export_earning_rule, export_scorer,
        export_tier_rule, facts, reasons,
        scorer::{self, Score, Scorer, Shelf},
        terms,
        tier_rule::{self, Tier, TierConfig, TierRule, Verdict},
    };
}
