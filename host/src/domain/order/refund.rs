//! What came back of an order, and what that cost whom.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{
    domain::money::{Money, Points},
    ids::{DecisionId, OfferId, RefundId},
};

/// Why goods came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum RefundCause {
    /// The member changed their mind; only before shipping for medicine.
    #[n(0)]
    ChangeOfMind,
    /// The goods were faulty.
    #[n(1)]
    Quality,
    /// The seller's or courier's fault.
    #[n(2)]
    Fault,
}

/// What was refunded of one line: items, or an amount and no items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RefundedLine {
    /// Index into the order's lines.
    #[n(0)]
    pub line: u16,
    /// Items; zero where an amount was asked.
    #[n(1)]
    pub quantity: u32,
    /// Money paid back, before what the refund was lowered by.
    #[n(2)]
    pub amount: Money,
    /// Points given back.
    #[n(3)]
    pub points: Points,
}

/// That refunds are lowered by what an offer gives, once less than an amount is left of the lines it lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Reprice {
    /// Which offer.
    #[n(0)]
    pub offer: OfferId,
    /// The lines' amount after the tier discount that keeps it.
    #[n(1)]
    pub below: Money,
}

/// A discount that was lost with a refund: from then on paid for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Repriced {
    /// Of which offer.
    #[n(0)]
    pub offer: OfferId,
    /// Index into the order's lines.
    #[n(1)]
    pub line: u16,
    /// What the refund was lowered by.
    #[n(2)]
    pub amount: Money,
}

/// What funders got back of a line's discounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DiscountBack {
    /// Index into the order's lines.
    #[n(0)]
    pub line: u16,
    /// The platform.
    #[n(1)]
    pub platform: Money,
    /// The brand.
    #[n(2)]
    pub brand: Money,
    /// The pharmacy.
    #[n(3)]
    pub pharmacy: Money,
}

impl DiscountBack {
    /// Whether nobody got anything.
    pub fn is_zero(&self) -> bool {
        self.platform.is_zero() && self.brand.is_zero() && self.pharmacy.is_zero()
    }
}

/// A refund of an order or of some of its lines.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refund {
    /// Its id.
    #[n(0)]
    pub id: RefundId,
    /// When.
    #[cbor(n(1), with = "crate::domain::cbor::instant")]
    pub at: Timestamp,
    /// Why.
    #[n(2)]
    pub cause: RefundCause,
    /// What came back.
    #[n(3)]
    pub lines: Vec<RefundedLine>,
    /// Of the delivery fee.
    #[n(4)]
    pub delivery: Money,
    /// Money paid back in all.
    #[n(5)]
    pub amount: Money,
    /// Spent points given back.
    #[n(6)]
    pub points_restored: Points,
    /// Earned points taken back.
    #[n(7)]
    pub points_clawed_back: Points,
    /// Earned points that could not be taken back because they were spent.
    #[n(8)]
    pub points_short: Points,
    /// The record of the decision on points and tier.
    #[n(9)]
    pub decision: DecisionId,
    /// What funders got back.
    #[cbor(n(10), default)]
    pub discounts_back: Vec<DiscountBack>,
    /// Discounts that were lost with it.
    #[cbor(n(11), default)]
    pub repriced: Vec<Repriced>,
}
