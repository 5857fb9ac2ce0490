//! A priced cart, and how it holds its price.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        member::{ExternalId, Revision},
        money::{Money, Points},
        offer::{FunderShare, OfferClass},
        product::Class,
        rule::Reason,
    },
    ids::{CouponId, DecisionId, MemberId, OfferId, PartnerId, ProductId, QuoteId},
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
    /// How many days one item lasts, as the catalogue said at the time.
    #[n(12)]
    pub days_of_supply: Option<u16>,
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
    #[cbor(n(4), with = "crate::domain::cbor::instant")]
    pub at: Timestamp,
    /// Until when it can be placed.
    #[cbor(n(5), with = "crate::domain::cbor::instant")]
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
