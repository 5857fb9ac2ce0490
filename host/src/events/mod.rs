//! What happened, appended in the transaction that made it so.
//!
//! [`append`] is the only way in. Rows are keyed by a shard of the member and the commit's sequence number: in order for
//! every member, with no row that all members share. Nothing here holds personal data.
//!
//! Consumers [`read`] a shard from where they are and move on in the transaction of what they do
//! ([`Batch::advance`]), so each event has its effect once, whatever crashes. What all have passed is swept after its time
//! ([`sweep`]).

use minicbor::{Decode, Encode};

mod cursors;
mod sweep;

pub use self::{
    cursors::{Batch, CURSORS, Consumer, Cursor, Gone, Lag, Position, consumers, lag, read, rewind},
    sweep::{SWEPT, begun_before, passed, sweep},
};

use crate::{
    domain::{
        member::TierCause,
        money::Points,
        touch::{Channel, ConsentPurpose},
    },
    ids::{
        ActivityId, CouponId, Id, MemberId, OfferId, OrderId, PatientId, PrescriptionId, ProductId, RedemptionId,
        RefundId,
    },
    store::{Scan, Seq, StoreError, Table, Tx},
};

/// What happened, by shard of the member, in commit order.
pub const EVENTS: Table<(u16, Seq, u16), Event> = Table::new(61, "events.v1");

/// How many shards the log has.
pub const SHARDS: u16 = 64;

/// The shard of a member: of the event log and of the house accounts that meet them.
pub fn shard(member: MemberId) -> u16 {
    u16::try_from(member.to_bits() % u128::from(SHARDS)).unwrap_or(0)
}

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Event {
    /// To whom.
    #[n(0)]
    pub member: MemberId,
    /// What.
    #[n(1)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum What {
    /// Joined.
    #[n(0)]
    Registered,
    /// The profile changed.
    #[n(1)]
    Updated,
    /// Was erased.
    #[n(2)]
    Erased,
    /// Was issued a coupon.
    #[n(3)]
    CouponIssued(#[n(0)] CouponId),
    /// A coupon died.
    #[n(4)]
    CouponExpired(#[n(0)] CouponId),
    /// Placed an order.
    #[n(5)]
    OrderPlaced(#[n(0)] OrderId),
    /// Paid it.
    #[n(6)]
    OrderPaid(#[n(0)] OrderId),
    /// It left.
    #[n(7)]
    OrderShipped(#[n(0)] OrderId),
    /// It arrived.
    #[n(8)]
    OrderDelivered(#[n(0)] OrderId),
    /// It was given up.
    #[n(9)]
    OrderCancelled(#[n(0)] OrderId),
    /// Some or all of it came back.
    #[n(10)]
    OrderRefunded(#[n(0)] OrderId, #[n(1)] RefundId),
    /// Points became spendable.
    #[n(11)]
    PointsActivated(#[n(0)] OrderId),
    /// Points died.
    #[n(12)]
    PointsExpired,
    /// Moved to another tier.
    #[n(13)]
    TierChanged {
        /// From.
        #[n(0)]
        from: String,
        /// To.
        #[n(1)]
        to: String,
        /// What moved the member: nobody is told of a move by a new rule.
        #[n(2)]
        cause: TierCause,
    },
    /// A coupon in hand dies soon.
    #[n(14)]
    CouponExpiring(#[n(0)] CouponId),
    /// Points die soon.
    #[n(15)]
    PointsExpiring {
        /// How many, as of now.
        #[n(0)]
        points: Points,
        /// On which day of the deployment's zone, in days since 1970-01-01.
        #[n(1)]
        on: i32,
    },
    /// It was the member's birthday in this year. The year alone: the day is personal.
    #[n(16)]
    Birthday(#[n(0)] i16),
    /// The member joined so many years ago.
    #[n(17)]
    Anniversary(#[n(0)] i16),
    /// It was member day: the day in the zone that the schedule runs in, in days since 1970-01-01.
    #[n(18)]
    MemberDay(#[n(0)] i32),
    /// A prescription was uploaded.
    #[n(30)]
    PrescriptionUploaded(#[n(0)] PrescriptionId),
    /// A pharmacist approved it.
    #[n(31)]
    PrescriptionApproved(#[n(0)] PrescriptionId),
    /// A pharmacist rejected it.
    #[n(32)]
    PrescriptionRejected(#[n(0)] PrescriptionId),
    /// Its time is over before all of it was bought.
    #[n(33)]
    PrescriptionExpired(#[n(0)] PrescriptionId),
    /// A payment came for an order that was given up: it is to be paid back.
    #[n(34)]
    RefundDue(#[n(0)] OrderId, #[n(1)] RefundId),
    /// A tier is lost soon, unless the member qualifies again.
    #[n(60)]
    TierAtRisk {
        /// The tier held.
        #[n(0)]
        tier: String,
        /// The one that comes instead.
        #[n(1)]
        to: String,
        /// The first day without it, in days since 1970-01-01 in the deployment's zone.
        #[n(2)]
        on: i32,
    },
    /// It is time to renew a tier that is lost soon; coupons come with it where the programme says so.
    #[n(61)]
    TierRenewal {
        /// The tier held.
        #[n(0)]
        tier: String,
        /// The first day without it, in days since 1970-01-01 in the deployment's zone.
        #[n(1)]
        on: i32,
    },
    /// Was given what reaching a tier brings.
    #[n(62)]
    TierGift {
        /// The tier.
        #[n(0)]
        tier: String,
        /// Points, of which some gifts have none.
        #[n(1)]
        points: Points,
    },
    /// Did something else than buying, and earned so many points.
    #[n(50)]
    ActivityRecorded(#[n(0)] ActivityId, #[n(1)] Points),
    /// Points of an activity became spendable.
    #[n(51)]
    ActivityActivated(#[n(0)] ActivityId),
    /// Took a gift for points.
    #[n(52)]
    GiftTaken(#[n(0)] RedemptionId),
    /// Was handed it.
    #[n(53)]
    GiftRedeemed(#[n(0)] RedemptionId),
    /// A gift was given up or taken back.
    #[n(54)]
    GiftCancelled(#[n(0)] RedemptionId),
    /// Gave a consent, or took one back.
    #[n(40)]
    ConsentChanged {
        /// What for.
        #[n(0)]
        purpose: ConsentPurpose,
        /// Where.
        #[n(1)]
        channel: Channel,
        /// Given, or taken back.
        #[n(2)]
        granted: bool,
    },
    /// A coupon in hand was taken back.
    #[n(41)]
    CouponRevoked(#[n(0)] CouponId),
    /// An order of theirs was the one too many for an offer's breaker.
    #[n(42)]
    OfferTripped(#[n(0)] OfferId),
    /// Was given points for a month's spending.
    #[n(43)]
    BonusGiven(#[n(0)] Points),
    /// What a patient takes runs out soon.
    #[n(70)]
    RefillDue {
        /// Who takes it.
        #[n(0)]
        patient: PatientId,
        /// What.
        #[n(1)]
        product: ProductId,
        /// The first day without, in days since 1970-01-01 in the deployment's zone.
        #[n(2)]
        on: i32,
    },
    /// Somebody whom this member referred verified a phone that was never seen before.
    #[n(71)]
    ReferralSucceeded(#[n(0)] MemberId),
    /// Was referred by this member, and verified a phone that was never seen before.
    #[n(72)]
    Referred(#[n(0)] MemberId),
}

impl What {
    /// Every name.
    pub const NAMES: [&str; 39] = [
        "registered",
        "updated",
        "erased",
        "coupon-issued",
        "coupon-expired",
        "order-placed",
        "order-paid",
        "order-shipped",
        "order-delivered",
        "order-cancelled",
        "order-refunded",
        "points-activated",
        "points-expired",
        "tier-changed",
        "coupon-expiring",
        "points-expiring",
        "birthday",
        "anniversary",
        "member-day",
        "consent-changed",
        "prescription-uploaded",
        "prescription-approved",
        "prescription-rejected",
        "prescription-expired",
        "tier-at-risk",
        "tier-renewal",
        "tier-gift",
        "coupon-revoked",
        "bonus-given",
        "offer-tripped",
        "activity-recorded",
        "activity-points-activated",
        "gift-taken",
        "gift-redeemed",
        "gift-cancelled",
        "refund-due",
        "refill-due",
        "referral-succeeded",
        "referred",
    ];

    /// The name used in the API.
    pub const fn name(&self) -> &'static str {
        let index = match self {
            Self::Registered => 0,
            Self::Updated => 1,
            Self::Erased => 2,
            Self::CouponIssued(_) => 3,
            Self::CouponExpired(_) => 4,
            Self::OrderPlaced(_) => 5,
            Self::OrderPaid(_) => 6,
            Self::OrderShipped(_) => 7,
            Self::OrderDelivered(_) => 8,
            Self::OrderCancelled(_) => 9,
            Self::OrderRefunded(..) => 10,
            Self::PointsActivated(_) => 11,
            Self::PointsExpired => 12,
            Self::TierChanged { .. } => 13,
            Self::CouponExpiring(_) => 14,
            Self::PointsExpiring { .. } => 15,
            Self::Birthday(_) => 16,
            Self::Anniversary(_) => 17,
            Self::MemberDay(_) => 18,
            Self::ConsentChanged { .. } => 19,
            Self::PrescriptionUploaded(_) => 20,
            Self::PrescriptionApproved(_) => 21,
            Self::PrescriptionRejected(_) => 22,
            Self::PrescriptionExpired(_) => 23,
            Self::TierAtRisk { .. } => 24,
            Self::TierRenewal { .. } => 25,
            Self::TierGift { .. } => 26,
            Self::CouponRevoked(_) => 27,
            Self::BonusGiven(_) => 28,
            Self::OfferTripped(_) => 29,
            Self::ActivityRecorded(..) => 30,
            Self::ActivityActivated(_) => 31,
            Self::GiftTaken(_) => 32,
            Self::GiftRedeemed(_) => 33,
            Self::GiftCancelled(_) => 34,
            Self::RefundDue(..) => 35,
            Self::RefillDue { .. } => 36,
            Self::ReferralSucceeded(_) => 37,
            Self::Referred(_) => 38,
        };
        Self::NAMES[index]
    }
}

/// Appends what one transaction did to one member.
///
/// # Errors
///
/// Those of the store.
pub fn append(tx: &mut Tx<'_>, member: MemberId, what: impl IntoIterator<Item = What>) -> Result<(), StoreError> {
    let (shard, seq) = (shard(member), tx.seq());
    let last = tx.scan(&EVENTS, &Scan::prefix(&(shard, seq)).reverse().limit(1))?;
    let first = last.first().map_or(0, |((_, _, n), _)| n + 1);
    for (what, n) in what.into_iter().zip(first..) {
        tx.put(&EVENTS, &(shard, seq, n), &Event { member, what })?;
    }
    Ok(())
}
