//! What points buy: a product, a partner's service by code, credit for the next purchase.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{cbor, member::ExternalId, money::Points, points::Draw};
use crate::ids::{CouponId, GiftId, KeyId, MemberId, OfferId, PartnerId, ProductId, RedemptionId};

/// What a member gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum GiftKind {
    /// One item of a product, handed over later.
    #[n(0)]
    Product(#[n(0)] ProductId),
    /// One code of a partner's service, at once.
    #[n(1)]
    Service,
    /// A coupon of an offer, at once (购药金).
    #[n(2)]
    Credit(#[n(0)] OfferId),
}

/// Something that points buy.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Gift {
    /// Its id.
    #[n(0)]
    pub id: GiftId,
    /// What operators call it; unique.
    #[n(1)]
    pub code: ExternalId,
    /// Shown to people, in Chinese.
    #[n(2)]
    pub name_zh_cn: String,
    /// And in English.
    #[n(3)]
    pub name_en: String,
    /// What a member gets.
    #[n(4)]
    pub kind: GiftKind,
    /// What it costs; more than zero.
    #[n(5)]
    pub points: Points,
    /// Whether it can be taken.
    #[n(6)]
    pub live: bool,
    /// When it was defined.
    #[cbor(n(7), with = "cbor::instant")]
    pub created_at: Timestamp,
    /// The API key that defined it.
    #[n(8)]
    pub created_by: KeyId,
}

/// How far a gift is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum RedemptionState {
    /// Points and stock are reserved.
    #[n(0)]
    Held,
    /// The points are spent, the member has it.
    #[n(1)]
    Redeemed,
    /// Given up or taken back; the points are where they were.
    #[n(2)]
    Cancelled,
}

/// A gift that a member took.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Redemption {
    /// Its id.
    #[n(0)]
    pub id: RedemptionId,
    /// What was taken.
    #[n(1)]
    pub gift: GiftId,
    /// By whom.
    #[n(2)]
    pub member: MemberId,
    /// The partner that asked for it.
    #[n(3)]
    pub partner: PartnerId,
    /// How far it is.
    #[n(4)]
    pub state: RedemptionState,
    /// What it cost.
    #[n(5)]
    pub points: Points,
    /// The lots they came from.
    #[n(6)]
    pub draws: Vec<Draw>,
    /// When it was taken.
    #[cbor(n(7), with = "cbor::instant")]
    pub at: Timestamp,
    /// When the reservation gives up.
    #[cbor(n(8), with = "cbor::maybe_instant")]
    pub hold_until: Option<Timestamp>,
    /// When it was redeemed or cancelled.
    #[cbor(n(9), with = "cbor::maybe_instant")]
    pub ended_at: Option<Timestamp>,
    /// The item that was taken from stock.
    #[n(10)]
    pub stock: Option<ProductId>,
    /// The code, sealed.
    #[cbor(n(11), with = "minicbor::bytes")]
    pub code: Option<Vec<u8>>,
    /// The coupon.
    #[n(12)]
    pub coupon: Option<CouponId>,
}

/// A code of a partner's service.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ServiceCode {
    /// Sealed under the deployment's key; gone once a member has it.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub sealed: Option<Vec<u8>>,
    /// The gift that it went to.
    #[n(1)]
    pub redemption: Option<RedemptionId>,
}
