//! Offers and the coupons issued from them.

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    condition::Condition,
    fact::Value,
    launch::{Launch, PauseCause},
    limit::Limit,
    member::{ExternalId, Profile, Revision},
    money::{BasisPoints, Money},
    window::Window,
};
use crate::ids::{CouponId, MemberId, OfferId, OrderId, PartnerId};

#[cfg(test)]
pub(crate) mod fixture;

/// At which stage of pricing an offer acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum OfferClass {
    /// A price for members, in competition with the tier price.
    #[n(0)]
    MemberPrice,
    /// Applies by itself.
    #[n(1)]
    Promotion,
    /// Applies through an issued coupon; one per order.
    #[n(2)]
    Coupon,
    /// Takes off the delivery fee.
    #[n(3)]
    Delivery,
}

/// What an offer is for; decides which product classes it may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// None of the following.
    #[n(0)]
    General,
    /// A flash sale.
    #[n(1)]
    FlashSale,
    /// Group buying.
    #[n(2)]
    GroupBuying,
    /// A marketing touch, such as a recall.
    #[n(3)]
    Marketing,
    /// A gift.
    #[n(4)]
    Gift,
    /// A trial.
    #[n(5)]
    Trial,
    /// The reward of a mission.
    #[n(6)]
    MissionReward,
    /// A gift for points.
    #[n(7)]
    PointsGift,
}

/// On which amounts an offer's thresholds are tested and its percentages are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Thresholds on the lower of member price and tier price, percentages on what is left before the offer's stage.
    #[n(0)]
    #[default]
    Standard,
    /// Both on the list price.
    #[n(1)]
    List,
    /// Both on what promotions leave: for coupons and delivery.
    #[n(2)]
    AfterPromotions,
    /// Both on what promotions and the coupon leave, before points: for delivery.
    #[n(3)]
    AfterCoupons,
}

impl Base {
    /// Whether the amounts are known at the stage of this class.
    pub fn fits(self, class: OfferClass) -> bool {
        match self {
            Self::Standard | Self::List => true,
            Self::AfterPromotions => class > OfferClass::Promotion,
            Self::AfterCoupons => class > OfferClass::Coupon,
        }
    }
}

/// Who pays what share of a discount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Funder {
    /// The platform.
    #[n(0)]
    Platform,
    /// The brand.
    #[n(1)]
    Brand,
    /// The pharmacy.
    #[n(2)]
    Pharmacy,
}

/// A funder's share; the shares of an offer sum to 100 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct FunderShare {
    /// Who.
    #[n(0)]
    pub funder: Funder,
    /// How much.
    #[n(1)]
    pub share: BasisPoints,
}

/// How long a coupon of an offer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Validity {
    /// Until the offer ends.
    #[n(0)]
    OfferEnd,
    /// Whole days of 24 hours from its issue.
    #[n(1)]
    Days(#[n(0)] u16),
    /// Whole hours from its issue.
    #[n(2)]
    Hours(#[n(0)] u16),
    /// Up to 23:59:59 of the day of its issue, in the deployment's zone.
    #[n(3)]
    EndOfDay,
    /// Up to 23:59:59 of the last day of the month of its issue, in the deployment's zone.
    #[n(4)]
    EndOfMonth,
}

/// What issues a coupon of an offer by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A member joins.
    #[n(0)]
    Registration,
    /// It is a member's birthday: once a year.
    #[n(1)]
    Birthday,
    /// A member joined this day, some years ago: once a year.
    #[n(2)]
    Anniversary,
    /// A profile holds all that the offer asks for: once for each member.
    #[n(3)]
    ProfileCompleted,
    /// The event that the offer names happens.
    #[n(4)]
    Event,
}

/// What a profile may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileField {
    /// A name.
    #[n(0)]
    Name,
    /// A telephone number.
    #[n(1)]
    Phone,
    /// An address for mail.
    #[n(2)]
    Email,
    /// A birthday.
    #[n(3)]
    Birthday,
}

impl ProfileField {
    /// Every field.
    pub const ALL: [Self; 4] = [Self::Name, Self::Phone, Self::Email, Self::Birthday];

    /// The fields that a profile holds.
    pub fn held(profile: &Profile) -> Vec<Self> {
        let holds = |field: &Self| match field {
            Self::Name => profile.name.is_some(),
            Self::Phone => profile.phone.is_some(),
            Self::Email => profile.email.is_some(),
            Self::Birthday => profile.birthday.is_some(),
        };
        Self::ALL.into_iter().filter(holds).collect()
    }
}

/// Whether an offer can be applied and issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum OfferState {
    /// Can.
    #[n(0)]
    Live,
    /// Cannot until resumed.
    #[n(1)]
    Paused,
    /// Was never live: others have to approve it.
    #[n(2)]
    Draft,
}

/// Something that can be granted or applied.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Offer {
    /// Its id.
    #[n(0)]
    pub id: OfferId,
    /// What the operator calls it; unique.
    #[n(1)]
    pub code: ExternalId,
    /// Simplified Chinese.
    #[n(2)]
    pub name_zh_cn: String,
    /// English.
    #[n(3)]
    pub name_en: String,
    /// Its stage of pricing.
    #[n(4)]
    pub class: OfferClass,
    /// What it is for.
    #[n(5)]
    pub purpose: Purpose,
    /// The slot whose policy judges it.
    #[n(6)]
    pub slot: String,
    /// Its terms, by the names the policy gave them.
    #[n(7)]
    pub terms: Vec<(String, Value)>,
    /// Offers of one group exclude each other.
    #[n(8)]
    pub exclusivity_group: Option<String>,
    /// Higher goes first.
    #[n(9)]
    pub priority: i32,
    /// Whose money.
    #[n(10)]
    pub funders: Vec<FunderShare>,
    /// How often it may be used in all.
    #[n(11)]
    pub budget_uses: Option<u64>,
    /// How much it may give in all.
    #[n(12)]
    pub budget_amount: Option<Money>,
    /// How many coupons one member may be issued.
    #[n(13)]
    pub per_member: Option<u32>,
    /// How long its coupons live.
    #[n(14)]
    pub validity: Validity,
    /// Not before.
    #[cbor(n(15), with = "super::cbor::instant")]
    pub starts_at: Timestamp,
    /// Not from here on.
    #[cbor(n(16), with = "super::cbor::maybe_instant")]
    pub ends_at: Option<Timestamp>,
    /// Live or paused.
    #[n(17)]
    pub state: OfferState,
    /// Moved by every write.
    #[n(18)]
    pub revision: Revision,
    /// Whether a coupon comes back when its order is refunded in full.
    #[n(19)]
    pub returns_on_refund: bool,
    /// What issues its coupons by itself; nothing where it is not said.
    #[n(20)]
    pub issued_on: Option<Trigger>,
    /// How often and how much, by period and member, beside the budgets.
    #[n(21)]
    #[cbor(default)]
    pub limits: Vec<Limit>,
    /// When it is open; always where there are none.
    #[n(22)]
    #[cbor(default)]
    pub windows: Vec<Window>,
    /// What a member must be to use or claim it.
    #[n(23)]
    #[cbor(default)]
    pub conditions: Vec<Condition>,
    /// Members claim its coupons themselves, and nobody else issues them.
    #[n(24)]
    #[cbor(default)]
    pub claimed: bool,
    /// The event that issues its coupons, for [`Trigger::Event`].
    #[n(25)]
    pub event: Option<String>,
    /// What a profile has to hold, for [`Trigger::ProfileCompleted`].
    #[n(26)]
    #[cbor(default)]
    pub profile_fields: Vec<ProfileField>,
    /// The commit that made it live last: events of earlier ones issue nothing.
    #[n(27)]
    #[cbor(default)]
    pub listed_at: u64,
    /// How it came to be live; nothing for those defined before this was noted.
    #[n(28)]
    pub launch: Option<Launch>,
    /// Uses and money of all members in a minute or hour above which it pauses itself.
    #[n(29)]
    #[cbor(default)]
    pub breaker: Vec<Limit>,
    /// What paused it last.
    #[n(30)]
    pub paused_by: Option<PauseCause>,
    /// On which amounts thresholds are tested and percentages computed.
    #[cbor(n(31), default)]
    pub base: Base,
}

/// Where a coupon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CouponState {
    /// In the member's hands.
    #[n(0)]
    Issued,
    /// Reserved by an order that is not paid.
    #[n(1)]
    Held(#[n(0)] OrderId),
    /// Used by a paid order.
    #[n(2)]
    Redeemed(#[n(0)] OrderId),
    /// Died unused.
    #[n(3)]
    Expired,
    /// Taken back.
    #[n(4)]
    Revoked,
}

impl CouponState {
    /// The name used in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Held(_) => "held",
            Self::Redeemed(_) => "redeemed",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// One issued instance of an offer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Coupon {
    /// Its id.
    #[n(0)]
    pub id: CouponId,
    /// Of which offer.
    #[n(1)]
    pub offer: OfferId,
    /// Whose.
    #[n(2)]
    pub member: MemberId,
    /// The partner that issued it.
    #[n(3)]
    pub partner: PartnerId,
    /// What that partner calls it.
    #[n(4)]
    pub external_id: Option<ExternalId>,
    /// Where it is in its life.
    #[n(5)]
    pub state: CouponState,
    /// When it was issued.
    #[cbor(n(6), with = "super::cbor::instant")]
    pub issued_at: Timestamp,
    /// When it dies; never where the offer has no end.
    #[cbor(n(7), with = "super::cbor::maybe_instant")]
    pub expires_at: Option<Timestamp>,
}
