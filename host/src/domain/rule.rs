//! What goes into a rule and what comes out: snapshots and proposals, as plain values.
//!
//! A rule proposes; pricing, the ledger and the services dispose. Nothing here knows WASM.

use std::{fmt, ops::Deref, sync::Arc};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::{
    fact::{Facts, Value},
    money::{BasisPoints, Money, Points},
};

/// A stable, machine-readable name: of a tier, or of a reason.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(Arc<str>);

impl Deref for Code {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Code {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<C> Encode<C> for Code {
    fn encode<W: minicbor::encode::Write>(
        &self,
        to: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        to.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Code {
    fn decode(from: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Ok(Self(from.str()?.into()))
    }
}

/// Which interface a module exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Which tier a member holds.
    #[n(0)]
    TierRule,
    /// How many points an activity earns.
    #[n(1)]
    EarningRule,
    /// What offers are worth for a cart.
    #[n(2)]
    CouponPolicy,
    /// What a member might want.
    #[n(3)]
    Scorer,
    /// What a message may not say.
    #[n(4)]
    ContentGuard,
    /// Carries messages to members.
    #[n(5)]
    Channel,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::TierRule, Self::EarningRule, Self::CouponPolicy, Self::Scorer, Self::ContentGuard, Self::Channel];

    /// The name, as WIT has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TierRule => "tier-rule",
            Self::EarningRule => "earning-rule",
            Self::CouponPolicy => "coupon-policy",
            Self::Scorer => "scorer",
            Self::ContentGuard => "content-guard",
            Self::Channel => "channel",
        }
    }
}

/// A parameter of a reason and how to show it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Parameter {
    /// A count.
    #[n(0)]
    Integer(#[n(0)] i64),
    /// Shown with the currency.
    #[n(1)]
    Money(#[n(0)] Money),
    /// Points.
    #[n(2)]
    Points(#[n(0)] Points),
    /// Shown as a percentage.
    #[n(3)]
    BasisPoints(#[n(0)] i64),
    /// As it is.
    #[n(4)]
    Text(#[n(0)] String),
}

/// Why something came out as it did: a stable code with what was observed and required.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reason {
    /// For example `below-threshold`.
    #[n(0)]
    pub code: Code,
    /// Parameters of the text, in order.
    #[n(1)]
    pub parameters: Vec<Parameter>,
}

/// The texts of a reason code; `{0}` stands for the first parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonText {
    /// The stable code.
    pub code: Code,
    /// Simplified Chinese.
    pub zh_cn: String,
    /// English.
    pub en: String,
}

/// A tier that the live tier rule can give.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Tier {
    /// Stable; stored with the member.
    #[n(0)]
    pub code: Code,
    /// Simplified Chinese.
    #[n(1)]
    pub name_zh_cn: String,
    /// English.
    #[n(2)]
    pub name_en: String,
    /// Off the list price.
    #[n(3)]
    pub discount: BasisPoints,
    /// Times the plain points; 10 000 is once.
    #[n(4)]
    pub points_multiplier: BasisPoints,
    /// The same in the birthday month.
    #[n(5)]
    pub birthday_points_multiplier: BasisPoints,
}

/// One member as the host knows them at `as_of`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TierSubject {
    /// The instant the verdict is for.
    #[cbor(n(0), with = "super::cbor::instant")]
    pub as_of: Timestamp,
    /// All facts known.
    #[n(1)]
    pub facts: Facts,
}

/// The tier a member holds, and why.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Verdict {
    /// The tier's code.
    #[n(0)]
    pub tier: Code,
    /// Why.
    #[n(1)]
    pub reasons: Vec<Reason>,
}

/// Something a member did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Activity {
    /// When.
    #[cbor(n(0), with = "super::cbor::instant")]
    pub as_of: Timestamp,
    /// All facts known.
    #[n(1)]
    pub facts: Facts,
    /// The lines of a paid order.
    #[n(2)]
    pub lines: Vec<Facts>,
}

/// The points an activity earns, and why.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Award {
    /// Zero or more.
    #[n(0)]
    pub points: Points,
    /// Whole days from delivery until they can be spent.
    #[n(1)]
    pub pending_days: u16,
    /// Calendar months from activation until they expire.
    #[n(2)]
    pub valid_months: u16,
    /// Why.
    #[n(3)]
    pub reasons: Vec<Reason>,
}

/// A cart and the offers to judge, at one stage of pricing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CartSubject {
    /// The instant of the quote.
    #[cbor(n(0), with = "super::cbor::instant")]
    pub as_of: Timestamp,
    /// All facts known.
    #[n(1)]
    pub facts: Facts,
    /// All facts known of each line.
    #[n(2)]
    pub lines: Vec<Facts>,
    /// The terms of each offer, by position.
    #[n(3)]
    pub offers: Vec<Vec<Value>>,
}

/// What one offer would give a cart.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// Nothing; the first reason says why not.
    #[n(0)]
    Declined,
    /// An amount over several lines together.
    #[n(1)]
    Shared {
        /// Greater than zero.
        #[n(0)]
        amount: Money,
        /// Indices into the cart's lines, ascending.
        #[n(1)]
        lines: Vec<u16>,
    },
    /// Amounts for single lines, ascending by line.
    #[n(2)]
    Lines(#[n(0)] Vec<(u16, Money)>),
    /// An amount off the delivery fee.
    #[n(3)]
    Delivery(#[n(0)] Money),
}

/// What one offer would give, and why.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// The effect.
    #[n(0)]
    pub outcome: Outcome,
    /// Why.
    #[n(1)]
    pub reasons: Vec<Reason>,
}
