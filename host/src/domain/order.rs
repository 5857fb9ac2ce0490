//! Quotes and orders: a priced cart and what became of it.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    fact::Facts,
    instalment::Instalments,
    member::{ExternalId, Revision},
    money::{Money, Points},
    offer::{FunderShare, OfferClass},
    points::Draw,
    product::Class,
    rule::Reason,
};
use crate::ids::{
    CouponId, DecisionId, MemberId, OfferId, OrderId, PartnerId, PatientId, PrescriptionId, ProductId, QuoteId,
    RefundId,
};

/// What took an amount off a line or off the delivery fee.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Source {
    /// The member's tier.
    #[n(0)]
    Tier,
    /// An offer; with the coupon where one was used.
    #[n(1)]
    Offer(#[n(0)] OfferId, #[n(1)] Option<CouponId>),
    /// Points spent.
    #[n(2)]
    Points,
}

/// An amount off one line, fixed at commit and never computed again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Allocation {
    /// What took it off.
    #[n(0)]
    pub source: Source,
    /// How much; greater than zero.
    #[n(1)]
    pub amount: Money,
    /// Whose money.
    #[n(2)]
    pub funders: Vec<FunderShare>,
}

/// A cart line with its price.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PricedLine {
    /// Which product.
    #[n(0)]
    pub product: ProductId,
    /// What the partner calls it.
    #[n(1)]
    pub external_id: ExternalId,
    /// Its category at the time.
    #[n(2)]
    pub category: String,
    /// Its class at the time.
    #[n(3)]
    pub class: Class,
    /// Delivered first.
    #[n(4)]
    pub urgent: bool,
    /// Items; at least one.
    #[n(5)]
    pub quantity: u32,
    /// List price of one item, pinned.
    #[n(6)]
    pub unit_price: Money,
    /// Quantity times unit price.
    #[n(7)]
    pub list: Money,
    /// The line at the lower of member price and tier price: what thresholds test.
    #[n(8)]
    pub base: Money,
    /// What is to be paid for the line: list less all allocations.
    #[n(9)]
    pub payable: Money,
    /// What took the difference off.
    #[n(10)]
    pub allocations: Vec<Allocation>,
    /// Whether a stock counter limits its sale.
    #[n(11)]
    pub stock_tracked: bool,
}

/// How an offer fared in a quote: applied with an amount, or not with one reason.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OfferOutcome {
    /// Which offer.
    #[n(0)]
    pub offer: OfferId,
    /// What the operator calls it.
    #[n(1)]
    pub code: ExternalId,
    /// Its stage.
    #[n(2)]
    pub class: OfferClass,
    /// Which coupon, where one was offered.
    #[n(3)]
    pub coupon: Option<CouponId>,
    /// What it took off in all; zero where it did not apply.
    #[n(4)]
    pub amount: Money,
    /// Why; the first one is the outcome's.
    #[n(5)]
    pub reasons: Vec<Reason>,
}

/// A priced cart. List less allocations is payable, to the fen, for every line and for the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Priced {
    /// The lines, in the cart's order.
    #[n(0)]
    pub lines: Vec<PricedLine>,
    /// The delivery fee before offers.
    #[n(1)]
    pub delivery_fee: Money,
    /// What offers took off the delivery fee.
    #[n(2)]
    pub delivery_allocations: Vec<Allocation>,
    /// Every offer that was considered.
    #[n(3)]
    pub offers: Vec<OfferOutcome>,
    /// Points to spend.
    #[n(4)]
    pub points: Points,
    /// What those points take off.
    #[n(5)]
    pub points_value: Money,
    /// The most points that could have been spent on this cart by its amount.
    #[n(9)]
    pub points_max: Points,
    /// Goods after everything, without delivery.
    #[n(6)]
    pub goods_payable: Money,
    /// The delivery fee after offers.
    #[n(7)]
    pub delivery_payable: Money,
    /// What the member pays.
    #[n(8)]
    pub payable: Money,
    /// The coupon that was named and is not the member's, whether or not there is such a coupon.
    #[n(10)]
    pub not_yours: Option<CouponId>,
    /// Offers could be combined in more ways than are compared: the best of those compared was taken.
    #[cbor(n(11), default)]
    pub bounded: bool,
}

/// A release that answered a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// The slot.
    #[n(0)]
    pub slot: String,
    /// The release's number in the slot.
    #[n(1)]
    pub number: u64,
}

/// A priced cart that holds its price until it expires.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Quote {
    /// Its id.
    #[n(0)]
    pub id: QuoteId,
    /// Who asked.
    #[n(1)]
    pub partner: PartnerId,
    /// For whom.
    #[n(2)]
    pub member: MemberId,
    /// The member's revision that it was priced against.
    #[n(3)]
    pub revision: Revision,
    /// When.
    #[cbor(n(4), with = "super::cbor::instant")]
    pub at: Timestamp,
    /// Until when it can be placed.
    #[cbor(n(5), with = "super::cbor::instant")]
    pub expires_at: Timestamp,
    /// The price and its explanation.
    #[n(6)]
    pub priced: Priced,
    /// The coupon it uses.
    #[n(7)]
    pub coupon: Option<CouponId>,
    /// What was asked, to price it again when it has to be.
    #[n(8)]
    pub cart: Cart,
    /// The tier it was priced at.
    #[n(9)]
    pub tier: String,
    /// The releases that priced it.
    #[n(10)]
    pub releases: Vec<ReleaseRef>,
    /// The record of the decision.
    #[n(11)]
    pub decision: DecisionId,
}

/// What a partner asks a price for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cart {
    /// Product and items.
    #[n(0)]
    pub lines: Vec<(ProductId, u32)>,
    /// The coupon the member names; otherwise the largest saving is taken.
    #[n(1)]
    pub coupon: Option<CouponId>,
    /// Points the member wants to spend.
    #[n(2)]
    pub points: Points,
    /// The delivery fee before offers.
    #[n(3)]
    pub delivery_fee: Money,
    /// The prescription that covers the lines that need one, as the partner names it.
    #[n(4)]
    pub prescription: Option<ExternalId>,
}

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
    #[cbor(n(1), with = "super::cbor::instant")]
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
