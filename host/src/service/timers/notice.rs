//! Notice: coupons and points say that they are about to die, some days before.
//!
//! A coupon speaks once, exactly so many days of 24 hours before its end, if it is in hand then. Points speak once for
//! each day on which some die, at the hour of notices so many days before. What lives shorter than the notice says
//! nothing, and neither does what is noticed too late to be of use.
//!
//! A clock that is set back brings no notice again. A coupon has one timer in its life: what fires takes it. Points that
//! are granted later may share their last day with points that were spoken of, so the days spoken of are kept.

use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::{
    domain::{
        member::MemberState,
        offer::{Coupon, CouponState},
    },
    events::{self, What},
    ids::{CouponId, MemberId},
    ledger::lots,
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Error, Settings,
        facts::{date_of, day_number},
        tables::{COUPONS, MEMBERS, POINTS_NOTICES},
    },
    store::{Scan, StoreError, Tx},
};

/// How long it is known that a day was spoken of, once it is past: longer than any clock is set back.
const NOTICES_KEPT_DAYS: i32 = 400;
/// Days forgotten with each notice: more than one notice adds.
const NOTICES_SWEPT_AT_ONCE: usize = 8;

/// Sets the timer of a coupon that dies at `expires_at`.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn for_coupon(
    tx: &mut Tx<'_>,
    id: CouponId,
    expires_at: Timestamp,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let days = settings.schedule.coupon_notice_days;
    let at = expires_at.checked_sub(SignedDuration::from_hours(24 * i64::from(days)));
    match at {
        Ok(at) if days > 0 && at > now => scheduler::schedule(tx, TimerKey::new(at, TimerKind::NoticeCoupon, id)),
        _ => Ok(()),
    }
}

/// Sets the timer of the day on which points of a member die; the lots of a day share it.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn for_points(
    tx: &mut Tx<'_>,
    member: MemberId,
    expires_at: Timestamp,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let days = i32::from(settings.schedule.points_notice_days);
    let day = day_number(expires_at, &settings.zone);
    let at = date_of(day - days).at(settings.schedule.hour, 0, 0, 0).to_zoned(settings.zone.clone());
    match at {
        Ok(at) if days > 0 && at.timestamp() > now => {
            let key = TimerKey::new(at.timestamp(), TimerKind::NoticePoints, member);
            scheduler::schedule_for(tx, key, i64::from(day))
        }
        _ => Ok(()),
    }
}

/// The timer's work: a coupon in hand dies soon. One that an order holds is asked again when the hold has ended.
///
/// # Errors
///
/// Those of the store.
pub(super) fn coupon(tx: &mut Tx<'_>, id: CouponId, now: Timestamp, settings: &Settings) -> Result<(), Error> {
    let Some(Coupon { member, state, expires_at: Some(expires_at), .. }) = tx.get(&COUPONS, &id)? else {
        return Ok(());
    };
    if expires_at <= now || !takes_part(tx, member)? {
        return Ok(());
    }
    match state {
        CouponState::Issued => Ok(events::append(tx, member, [What::CouponExpiring(id)])?),
        CouponState::Held(_) => {
            let later = now.checked_add(settings.order_holds.max(SignedDuration::from_mins(1)));
            let key = TimerKey::new(later.unwrap_or(Timestamp::MAX), TimerKind::NoticeCoupon, id);
            Ok(scheduler::schedule(tx, key)?)
        }
        CouponState::Redeemed(_) | CouponState::Expired | CouponState::Revoked => Ok(()),
    }
}

/// The timer's work: points of a member die on a day to come. Each day is spoken of once.
///
/// # Errors
///
/// Those of the ledger.
pub(super) fn points(
    tx: &mut Tx<'_>,
    member: MemberId,
    day: i64,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), Error> {
    let on = i32::try_from(day).unwrap_or(0);
    let begins = |day: i32| {
        let midnight = date_of(day).to_zoned(settings.zone.clone());
        midnight.map_or(Timestamp::MAX, |midnight| midnight.timestamp())
    };
    let soonest = now.checked_add(1.millisecond()).unwrap_or(Timestamp::MAX);
    let points = lots::expiring(tx, member, begins(on).max(soonest), begins(on + 1))?;
    if points.is_zero() || !takes_part(tx, member)? || tx.get(&POINTS_NOTICES, &(member, on))?.is_some() {
        return Ok(());
    }
    tx.put(&POINTS_NOTICES, &(member, on), &())?;
    let past = Scan::prefix(&member).until(&(member, on.saturating_sub(NOTICES_KEPT_DAYS)));
    for (key, ()) in tx.scan(&POINTS_NOTICES, &past.limit(NOTICES_SWEPT_AT_ONCE))? {
        tx.delete(&POINTS_NOTICES, &key)?;
    }
    Ok(events::append(tx, member, [What::PointsExpiring { points, on }])?)
}

fn takes_part(tx: &mut Tx<'_>, member: MemberId) -> Result<bool, StoreError> {
    Ok(tx.get(&MEMBERS, &member)?.is_some_and(|member| member.state == MemberState::Active))
}
