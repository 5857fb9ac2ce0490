//! Keys and releases, what waits for its time, and what happened.

use super::{Problems, ReferencesReport, each, must_be, must_have, readable};
use crate::{
    events::{self, CURSORS, EVENTS, SWEPT},
    ids::{ActivityId, CouponId, Id as _, MemberId, OfferId, OrderId, PrescriptionId, RedemptionId},
    recommend,
    scheduler::{
        DEAD_TIMERS, TIMERS, TimerKey, TimerKind,
        jobs::JOBS,
        leases::LEASES,
        rounds::{ROUNDS, ROUNDS_DUE},
        schedules::SCHEDULES,
    },
    service::tables::{
        ACTIVE_RELEASES, ACTIVITIES, COUPONS, IDEMPOTENCY, KEYS, KEYS_BY_ID, MEMBERS, MODULES, OCCASIONS, OFFERS,
        ORDERS, PARTNERS, POINTS_NOTICES, PRESCRIPTIONS, REDEMPTIONS, RELEASES, TIER_DIGESTS,
    },
    store::{Store, StoreError, Tx},
};

pub(super) async fn deployment(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    readable(store, report, PARTNERS).await?;
    readable(store, report, IDEMPOTENCY).await?;
    each(store, report, KEYS, |tx, hash, key, problems| {
        must_have(tx, &PARTNERS, &key.partner, key.id, problems)?;
        must_be(tx, &KEYS_BY_ID, &key.id, hash, key.id, problems)
    })
    .await?;
    each(store, report, KEYS_BY_ID, |tx, id, hash, problems| must_have(tx, &KEYS, hash, id, problems)).await?;
    readable(store, report, MODULES).await?;
    readable(store, report, RELEASES).await?;
    each(store, report, ACTIVE_RELEASES, |tx, slot, active, problems| {
        must_have(tx, &RELEASES, &(slot.clone(), active.number), format_args!("slot {slot}"), problems)
    })
    .await
}

/// What waits, and what happened.
pub(super) async fn time(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, TIMERS, |tx, key, _, problems| timer_refers(tx, key, problems)).await?;
    each(store, report, DEAD_TIMERS, |tx, key, _, problems| timer_refers(tx, key, problems)).await?;
    each(store, report, EVENTS, |tx, (shard, seq, n), event, problems| {
        if *shard != events::shard(event.member) {
            problems.push(format!("event {seq}/{n} lies in another shard than that of its member"));
        }
        must_have(tx, &MEMBERS, &event.member, format_args!("event {seq}/{n}"), problems)
    })
    .await?;
    each(store, report, OCCASIONS, |tx, (member, _), _, problems| must_have(tx, &MEMBERS, member, member, problems))
        .await?;
    each(store, report, POINTS_NOTICES, |tx, (member, _), (), problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    readable(store, report, CURSORS).await?;
    readable(store, report, SWEPT).await?;
    readable(store, report, LEASES).await?;
    readable(store, report, SCHEDULES).await?;
    readable(store, report, ROUNDS).await?;
    each(store, report, ROUNDS_DUE, |tx, (.., member), (), problems| must_have(tx, &MEMBERS, member, member, problems))
        .await?;
    readable(store, report, JOBS).await?;
    readable(store, report, TIER_DIGESTS).await?;
    readable(store, report, recommend::BASKETS).await?;
    readable(store, report, recommend::PARTNERS).await
}

/// A timer waits for something that is there.
fn timer_refers(tx: &mut Tx<'_>, key: &TimerKey, problems: &mut Problems) -> Result<(), StoreError> {
    let who = format_args!("the timer {:?} at {}", key.kind, key.due).to_string();
    match key.kind {
        TimerKind::UnpaidOrder | TimerKind::ActivatePoints => {
            must_have(tx, &ORDERS, &OrderId::from_bits(key.subject), who, problems)
        }
        TimerKind::RevokeCoupons | TimerKind::MakeCodes => {
            must_have(tx, &OFFERS, &OfferId::from_bits(key.subject), who, problems)
        }
        TimerKind::ActivateActivity => must_have(tx, &ACTIVITIES, &ActivityId::from_bits(key.subject), who, problems),
        TimerKind::GiftHold => must_have(tx, &REDEMPTIONS, &RedemptionId::from_bits(key.subject), who, problems),
        TimerKind::ExpireCoupon | TimerKind::NoticeCoupon => {
            must_have(tx, &COUPONS, &CouponId::from_bits(key.subject), who, problems)
        }
        TimerKind::PrescriptionExpires => {
            must_have(tx, &PRESCRIPTIONS, &PrescriptionId::from_bits(key.subject), who, problems)
        }
        TimerKind::ExpirePoints
        | TimerKind::NoticePoints
        | TimerKind::Refill
        | TimerKind::Birthday
        | TimerKind::Anniversary
        | TimerKind::TierEnds
        | TimerKind::TierNotice
        | TimerKind::TierRenewal
        | TimerKind::TierGift => must_have(tx, &MEMBERS, &MemberId::from_bits(key.subject), who, problems),
    }
}
