//! The tables of the use cases: what each holds and how its keys sort. Tags and names never change and are never used
//! again; the ledger, the scheduler and the event log keep theirs in their own rooms.

use jiff::Timestamp;

use super::{
    bonuses::Bonus,
    coupons::{CodeBatch, Guesses, MadeCode, Revocation},
    idempotency::Used,
    keys::{ApiKey, KeyHash, Partner},
    referrals::Referral,
    refills::Supply,
    releases::{ActiveRelease, StoredModule, StoredRelease},
    takeover::TakenOver,
    tiers::{ProgrammeRow, TierGift},
    timers::{OccasionRow, TierDigest},
};
use crate::{
    domain::{
        activity::{ActivityDay, RecordedActivity},
        gift::{Gift, Redemption, ServiceCode},
        member::{DayTotals, Member, Patient},
        money::{Money, Points},
        offer::{Coupon, Offer},
        order::{Order, Priced, Quote},
        payment::{MoneyMove, RefundDue, SeenPayment},
        prescription::Prescription,
        product::Product,
    },
    ids::{
        ActivityId, CouponId, GiftId, KeyId, MemberId, OfferId, OrderId, PartnerId, PatientId, PrescriptionId,
        ProductId, QuoteId, RedemptionId, RefundId,
    },
    ledger::limits::Reservations,
    reach::secrets::AddressHash,
    store::Table,
};

/// Members, without personal data.
pub const MEMBERS: Table<MemberId, Member> = Table::new(16, "members.v1");
/// Members by what their partner calls them.
pub const MEMBERS_BY_EXTERNAL_ID: Table<(PartnerId, String), MemberId> = Table::new(17, "members-by-external-id.v1");
/// Members by the partner that registered them.
pub const MEMBERS_OF_PARTNER: Table<(PartnerId, MemberId), ()> = Table::new(21, "members-of-partner.v1");
/// Profiles, sealed under the person's profile key.
pub const PROFILES: Table<MemberId, Vec<u8>> = Table::new(18, "profiles.v1");
/// Patients by member.
pub const PATIENTS: Table<(MemberId, PatientId), Patient> = Table::new(19, "patients.v1");
/// A member's activity by day: days since 1970-01-01 in the deployment's zone.
pub const DAY_TOTALS: Table<(MemberId, i32), DayTotals> = Table::new(20, "day-totals.v1");

/// What members did, as partners reported it.
pub const ACTIVITIES: Table<ActivityId, RecordedActivity> = Table::new(90, "activities.v1");
/// Activities by what their partner calls them: partner, kind, external id.
pub const ACTIVITIES_BY_EXTERNAL_ID: Table<(PartnerId, String, String), ActivityId> =
    Table::new(91, "activities-by-external-id.v1");
/// How often a member did one kind of thing on a day, and what it earned: days since 1970-01-01 in the deployment's zone.
pub const ACTIVITY_DAYS: Table<(MemberId, i32, String), ActivityDay> = Table::new(92, "activity-days.v1");
/// A member's activities, in the order they were reported.
pub const ACTIVITIES_OF_MEMBER: Table<(MemberId, ActivityId), ()> = Table::new(93, "activities-of-member.v1");

/// What points buy.
pub const GIFTS: Table<GiftId, Gift> = Table::new(55, "gifts.v1");
/// Gifts by what operators call them.
pub const GIFTS_BY_CODE: Table<String, GiftId> = Table::new(56, "gifts-by-code.v1");
/// Gifts that members took.
pub const REDEMPTIONS: Table<RedemptionId, Redemption> = Table::new(58, "redemptions.v1");
/// A member's gifts, in the order they were taken.
pub const REDEMPTIONS_OF_MEMBER: Table<(MemberId, RedemptionId), ()> = Table::new(59, "redemptions-of-member.v1");
/// Codes of partner services: of a gift, whether a member has it, a keyed digest of the code.
pub const SERVICE_CODES: Table<(GiftId, bool, [u8; 16]), ServiceCode> = Table::new(94, "service-codes.v1");
/// What was taken over from an earlier programme: partner, what it is (0 points, 1 tiers), external id.
pub const TAKEN_OVER: Table<(PartnerId, u8, String), TakenOver> = Table::new(95, "taken-over.v1");

/// A member's birthday (0) and the day they joined (1): when it comes next. Personal: erasing a member deletes both.
pub const OCCASIONS: Table<(MemberId, u8), OccasionRow> = Table::new(135, "occasions.v1");
/// What the nightly evaluation found where nothing changed: one row for each page of members.
pub const TIER_DIGESTS: Table<(Timestamp, u64), TierDigest> = Table::new(136, "tier-digests.v1");
/// The days, since 1970-01-01 in the deployment's zone, of which a member was told that points die then.
pub const POINTS_NOTICES: Table<(MemberId, i32), ()> = Table::new(128, "points-notices.v1");

/// How long what was delivered to a patient lasts, by product. Says what the patient takes: erasing a member deletes it.
pub const SUPPLIES: Table<(MemberId, PatientId, ProductId), Supply> = Table::new(162, "supplies.v1");
/// Phones that a member ever verified, by keyed hash, and who was the first. Outlives the member.
pub const PHONES_SEEN: Table<AddressHash, MemberId> = Table::new(163, "phones-seen.v1");
/// Who was referred, by whom, and what became of it.
pub const REFERRALS: Table<MemberId, Referral> = Table::new(164, "referrals.v1");
/// Whom a member referred.
pub const REFERRALS_OF_MEMBER: Table<(MemberId, MemberId), ()> = Table::new(165, "referrals-of-member.v1");

/// The tier programme by version: the last one counts.
pub const TIER_PROGRAMMES: Table<u64, ProgrammeRow> = Table::new(140, "tier-programmes.v1");
/// The period in which a member was last told that a tier is lost soon (0) and nudged to renew it (1): its first day.
pub const TIER_TOLD: Table<(MemberId, u8), i32> = Table::new(141, "tier-told.v1");
/// Gifts for reaching a tier, by member, tier and the first day of the period.
pub const TIER_GIFTS: Table<(MemberId, String, i32), TierGift> = Table::new(142, "tier-gifts.v1");

/// The catalogue.
pub const PRODUCTS: Table<ProductId, Product> = Table::new(24, "products.v1");
/// Products by what their partner calls them.
pub const PRODUCTS_BY_EXTERNAL_ID: Table<(PartnerId, String), ProductId> = Table::new(25, "products-by-external-id.v1");

/// Offers.
pub const OFFERS: Table<OfferId, Offer> = Table::new(28, "offers.v1");
/// Offers by what the operator calls them.
pub const OFFERS_BY_CODE: Table<String, OfferId> = Table::new(29, "offers-by-code.v1");
/// Offers that apply without a coupon and are live.
pub const AUTOMATIC_OFFERS: Table<OfferId, ()> = Table::new(30, "automatic-offers.v1");
/// Live offers whose coupons are issued by themselves, by what issues them.
pub const TRIGGERED_OFFERS: Table<(u8, OfferId), ()> = Table::new(133, "triggered-offers.v1");
/// Coupons.
pub const COUPONS: Table<CouponId, Coupon> = Table::new(31, "coupons.v1");
/// A member's coupons; `true` for those in hand (issued), `false` for all others.
pub const COUPONS_OF_MEMBER: Table<(MemberId, bool, CouponId), ()> = Table::new(32, "coupons-of-member.v1");
/// Coupons by what their partner calls them.
pub const COUPONS_BY_EXTERNAL_ID: Table<(PartnerId, String), CouponId> = Table::new(33, "coupons-by-external-id.v1");
/// How many coupons of an offer a member was issued.
pub const COUPONS_ISSUED: Table<(OfferId, MemberId), u32> = Table::new(34, "coupons-issued.v1");

/// How far taking back the coupons of an offer has come.
pub const REVOCATIONS: Table<OfferId, Revocation> = Table::new(37, "revocations.v1");
/// Points for a month's spending, by what the operator calls them.
pub const BONUSES: Table<String, Bonus> = Table::new(38, "bonuses.v1");
/// Which bonus a member was given for which month: years times twelve and months.
pub const BONUSES_GIVEN: Table<(MemberId, String, i32), Points> = Table::new(39, "bonuses-given.v1");
/// Codes that were made.
pub const CODES: Table<[u8; 13], MadeCode> = Table::new(80, "codes.v1");
/// Codes of an offer that were made together, by the offer's number for them.
pub const CODE_BATCHES: Table<(OfferId, u32), CodeBatch> = Table::new(81, "code-batches.v1");
/// Wrong codes that a member (0) or a key (1) tried.
pub const GUESSES: Table<(u8, u128), Guesses> = Table::new(82, "guesses.v1");
/// What orders hold of the limits of offers.
pub const RESERVATIONS: Table<OrderId, Reservations> = Table::new(36, "reservations.v1");

/// Quotes, until they are placed or swept away.
pub const QUOTES: Table<QuoteId, Quote> = Table::new(40, "quotes.v1");
/// The order that a quote was placed as.
pub const PLACED_QUOTES: Table<QuoteId, OrderId> = Table::new(45, "placed-quotes.v1");
/// Orders, without their price.
pub const ORDERS: Table<OrderId, Order> = Table::new(41, "orders.v1");
/// The price of each order and its explanation, as committed.
pub const ORDER_PRICES: Table<OrderId, Priced> = Table::new(44, "order-prices.v1");
/// A member's orders, in the order they were placed.
pub const ORDERS_OF_MEMBER: Table<(MemberId, OrderId), ()> = Table::new(42, "orders-of-member.v1");
/// Orders by what their partner calls them.
pub const ORDERS_BY_EXTERNAL_ID: Table<(PartnerId, String), OrderId> = Table::new(43, "orders-by-external-id.v1");

/// Prescriptions, without personal data.
pub const PRESCRIPTIONS: Table<PrescriptionId, Prescription> = Table::new(46, "prescriptions.v1");
/// What a pharmacist looks at, sealed under the person's statutory key.
pub const PAPERS: Table<PrescriptionId, Vec<u8>> = Table::new(150, "prescription-papers.v1");
/// Erased members by when that was, until the key of what the law wants kept is destroyed, too.
pub const ERASED_MEMBERS: Table<(Timestamp, MemberId), ()> = Table::new(161, "erased-members.v1");
/// Prescriptions under review: urgent ones (`false`) first, then by when they are due.
pub const REVIEW_QUEUE: Table<(bool, Timestamp, PrescriptionId), ()> = Table::new(47, "review-queue.v1");
/// A member's prescriptions by patient, in the order they were uploaded.
pub const PRESCRIPTIONS_OF_PATIENT: Table<(MemberId, PatientId, PrescriptionId), ()> =
    Table::new(48, "prescriptions-of-patient.v1");
/// Prescriptions by what their partner calls them.
pub const PRESCRIPTIONS_BY_EXTERNAL_ID: Table<(PartnerId, String), PrescriptionId> =
    Table::new(49, "prescriptions-by-external-id.v1");

/// Payment references that were seen, by the partner whose order they paid.
pub const PAYMENTS: Table<(PartnerId, String), SeenPayment> = Table::new(151, "payments.v1");
/// Payments that came too late.
pub const REFUNDS_DUE: Table<RefundId, RefundDue> = Table::new(152, "refunds-due.v1");
/// Those of them that are not paid back yet.
pub const OPEN_REFUNDS_DUE: Table<RefundId, ()> = Table::new(153, "open-refunds-due.v1");
/// The books: money that moved, by day of the deployment's zone (days since 1970-01-01), time, the id of order or refund,
/// and kind.
pub const MONEY: Table<(i32, Timestamp, u128, u8), MoneyMove> = Table::new(154, "money.v1");

/// Offers whose discount is lost with their threshold: the lines' amount after the tier discount that keeps it.
pub const REPRICED_BELOW: Table<OfferId, Money> = Table::new(155, "repriced-below.v1");

/// Answers by idempotency key.
pub const IDEMPOTENCY: Table<(PartnerId, String), Used> = Table::new(64, "idempotency.v1");
/// Partners.
pub const PARTNERS: Table<PartnerId, Partner> = Table::new(65, "partners.v1");
/// API keys by the hash of their secret.
pub const KEYS: Table<KeyHash, ApiKey> = Table::new(66, "keys.v1");
/// The hash of an API key's secret by the key's id.
pub const KEYS_BY_ID: Table<KeyId, KeyHash> = Table::new(67, "keys-by-id.v1");

/// Admitted plugin modules by digest; their bytes lie beside the store.
pub const MODULES: Table<String, StoredModule> = Table::new(70, "modules.v1");
/// Releases by slot and number.
pub const RELEASES: Table<(String, u64), StoredRelease> = Table::new(71, "releases.v1");
/// The release that answers in each slot.
pub const ACTIVE_RELEASES: Table<String, ActiveRelease> = Table::new(72, "active-releases.v1");
