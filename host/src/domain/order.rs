//! Quotes and orders: a priced cart and what became of it.

mod price;
mod refund;

pub use self::{
    price::{Allocation, Cart, OfferOutcome, Priced, PricedLine, Quote, ReleaseRef, Source},
    refund::{DiscountBack, Refund, RefundCause, RefundedLine, Reprice, Repriced},
};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    fact::Facts,
    instalment::Instalments,
    member::{ExternalId, Revision},
    money::{Money, Points},
    points::Draw,
    rule::Reason,
};
use crate::ids::{CouponId, DecisionId, MemberId, OrderId, PartnerId, PatientId, PrescriptionId, QuoteId, RefundId};

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum OrderState {
    /// Committed; coupon, points, budget and stock are held.
    #[n(0)]
    Placed,
    /// Paid; the hold is captured.
    #[n(1)]
    Paid,
    /// On its way.
    #[n(2)]
    Shipped,
    /// With the member.
    #[n(3)]
    Delivered,
    /// Given up before it was shipped.
    #[n(4)]
    Cancelled,
}

/// How an order was paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum PaymentMethod {
    /// 微信支付.
    #[n(0)]
    WechatPay,
    /// 支付宝.
    #[n(1)]
    Alipay,
    /// 银联.
    #[n(2)]
    Unionpay,
    /// 花呗.
    #[n(3)]
    Huabei,
    /// To the courier, after delivery.
    #[n(4)]
    CashOnDelivery,
}

/// A payment as the partner reported it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Payment {
    /// The payment provider's reference.
    #[n(0)]
    pub reference: ExternalId,
    /// How.
    #[n(1)]
    pub method: PaymentMethod,
    /// How much; always the order's payable.
    #[n(2)]
    pub amount: Money,
    /// When.
    #[cbor(n(3), with = "super::cbor::instant")]
    pub at: Timestamp,
}

/// What an order earned, kept to know what a refund takes back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Earning {
    /// Points as awarded at payment.
    #[n(0)]
    pub points: Points,
    /// Points that refunds made no longer due, also those that could not be taken back.
    #[n(1)]
    pub no_longer_due: Points,
    /// Whole days from delivery until they can be spent.
    #[n(2)]
    pub pending_days: u16,
    /// Calendar months from activation until they expire.
    #[n(3)]
    pub valid_months: u16,
    /// The facts the rule saw, to ask it again after a refund.
    #[n(4)]
    pub facts: Facts,
    /// Why.
    #[n(5)]
    pub reasons: Vec<Reason>,
    /// Which release awarded them.
    #[n(6)]
    pub release: ReleaseRef,
    /// The record of the decision.
    #[n(7)]
    pub decision: DecisionId,
}

/// An order from its commit to its end.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Its id.
    #[n(0)]
    pub id: OrderId,
    /// Who made it.
    #[n(1)]
    pub partner: PartnerId,
    /// What that partner calls it.
    #[n(2)]
    pub external_id: Option<ExternalId>,
    /// Whose.
    #[n(3)]
    pub member: MemberId,
    /// Where it is in its life.
    #[n(4)]
    pub state: OrderState,
    /// Moved by every write.
    #[n(5)]
    pub revision: Revision,
    /// Price, allocations and explanation, as committed.
    #[n(6)]
    pub priced: Priced,
    /// The quote it was placed from.
    #[n(7)]
    pub quote: QuoteId,
    /// The coupon it uses.
    #[n(8)]
    pub coupon: Option<CouponId>,
    /// The lots its points come from.
    #[n(9)]
    pub draws: Vec<Draw>,
    /// The prescription that covers it, as the partner named it.
    #[n(10)]
    pub prescription: Option<ExternalId>,
    /// Paid to the courier: shipped and delivered before it is paid.
    #[n(11)]
    pub cash_on_delivery: bool,
    /// When.
    #[cbor(n(12), with = "super::cbor::instant")]
    pub placed_at: Timestamp,
    /// When the hold gives up.
    #[cbor(n(13), with = "super::cbor::maybe_instant")]
    pub hold_until: Option<Timestamp>,
    /// When and how it was paid.
    #[n(14)]
    pub payment: Option<Payment>,
    /// When it left.
    #[cbor(n(15), with = "super::cbor::maybe_instant")]
    pub shipped_at: Option<Timestamp>,
    /// When it arrived.
    #[cbor(n(16), with = "super::cbor::maybe_instant")]
    pub delivered_at: Option<Timestamp>,
    /// When it was given up.
    #[cbor(n(17), with = "super::cbor::maybe_instant")]
    pub cancelled_at: Option<Timestamp>,
    /// What it earned.
    #[n(18)]
    pub earning: Option<Earning>,
    /// What came back.
    #[n(19)]
    pub refunds: Vec<Refund>,
    /// The releases that priced it.
    #[n(20)]
    pub releases: Vec<ReleaseRef>,
    /// The record of the pricing decision.
    #[n(21)]
    pub decision: DecisionId,
    /// The prescription that it consumed.
    #[n(22)]
    pub prescription_id: Option<PrescriptionId>,
    /// Whether it waits for the review of its prescription: nobody can pay it yet.
    #[cbor(n(23), default)]
    pub awaits_review: bool,
    /// The patient, where the member acts for another.
    #[n(24)]
    pub acting_for: Option<PatientId>,
    /// Payments that came too late, as refunds to make.
    #[cbor(n(25), default)]
    pub refunds_due: Vec<RefundId>,
    /// What a lost threshold costs, as the offers declared it when the order was placed.
    #[cbor(n(26), default)]
    pub reprices: Vec<Reprice>,
    /// How it is paid in parts.
    #[n(27)]
    pub instalments: Option<Instalments>,
}
