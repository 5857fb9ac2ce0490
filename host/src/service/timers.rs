//! What happens by itself: timers that fire, and jobs that schedules start.
//!
//! [`Services::run_due`] does everything that is due: the loop in `app.rs` calls it every second, and whoever moves a
//! manual clock calls it once. The work of a timer is one transaction that also removes the timer; a job's step is one
//! that also moves the job's cursor. Whatever is killed in between does nothing twice.
//!
//! - `notice`: coupons and points say that they are about to die
//! - `occasions`: birthdays and anniversaries
//! - `jobs`: schedules and the jobs they start: member day, the nightly evaluation of tiers, sweeping
//! - `zones`: member day where each member lives
//! - `backfill`: birthdays and anniversaries of those who joined before there were any
//! - `operate`: what operators see and change

mod backfill;
mod jobs;
pub(super) mod notice;
pub(super) mod occasions;
mod operate;
mod retention;
mod tiers;
pub(super) mod zones;

use jiff::Timestamp;

use super::{
    Error, Services, Settings, activities, coupons, order, prescriptions, refills,
    tables::{MEMBERS, PLACED_QUOTES, QUOTES},
    tiers::{gifts, keep},
};
use crate::{
    events::{self, What},
    ids::{self, CouponId, Id, MemberId, QuoteId},
    ledger::lots,
    scheduler::{self, Failed, Timer, TimerKey, TimerKind},
    store::{Scan, StoreError, Tx},
};

pub(super) use self::jobs::Turn;
pub use self::{
    jobs::{JobRunner, Pace, Ran},
    occasions::OccasionRow,
    operate::{ChangeSchedule, CursorStatus, DeadTimerStatus, JobStatus, ScheduleStatus, TimerName},
    tiers::TierDigest,
};
pub use crate::scheduler::CatchUp;

/// Timers fired in one go: as many as share a few syncs.
pub const TIMERS_AT_ONCE: usize = 1_000;
/// Quotes removed at once.
const QUOTES_SWEPT_AT_ONCE: usize = 100;
/// How long a quote is kept after it was made.
const QUOTE_KEPT_HOURS: i64 = 24;

impl Services {
    /// Fires timers that are due, at most `limit` and at most a thousand; how many there were. Call again while the answer
    /// equals the limit.
    ///
    /// Each fires in a transaction of its own, and the store commits them in groups. One that fails is tried again later
    /// and given up in the end; it stops no other.
    ///
    /// # Errors
    ///
    /// Those of the store that say nothing about a timer: what did not fire is still due.
    pub async fn fire_due_timers(&self, limit: usize) -> Result<usize, Error> {
        let (now, limit) = (self.clock.now(), limit.min(TIMERS_AT_ONCE));
        let due = self.store.peek(move |tx| scheduler::due(tx, now, limit)).await;
        let due: Vec<TimerKey> = due.map_err(|error: StoreError| Error::Store(error))?;
        let fired = futures::future::join_all(due.iter().map(|key| self.fire_one(*key, now))).await;
        fired.into_iter().collect::<Result<(), Error>>()?;
        Ok(due.len())
    }

    async fn fire_one(&self, key: TimerKey, now: Timestamp) -> Result<(), Error> {
        let (settings, first_coupon) = (self.settings.clone(), self.ids.ordered(now));
        let run = self.store.run(now, move |tx| match scheduler::take(tx, key)? {
            Some(timer) => fire(tx, key, &timer, now, &settings, first_coupon),
            None => Ok(()),
        });
        let error = match run.await {
            Ok(()) => return Ok(()),
            Err(error) if is_no_fault_of_the_work(&error) => return Err(error),
            Err(error) => error,
        };
        let why = error.to_string();
        let failed = self.store.run(now, move |tx| Ok::<_, Error>(scheduler::fail(tx, key, &why, now)?)).await?;
        match failed {
            Failed::Dead => tracing::error!(kind = key.kind.name(), due = %key.due, %error, "a timer was given up"),
            Failed::Again(at) => {
                tracing::warn!(kind = key.kind.name(), due = %key.due, again = %at, %error, "a timer failed");
            }
            Failed::Gone => {}
        }
        Ok(())
    }

    /// Removes quotes that are long past; how many. Call again while the answer is not zero.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn sweep_quotes(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        self.store.run(now, move |tx| sweep_quotes(tx, now).map_err(Error::from)).await
    }
}

/// Whether the machine failed, or is too busy: then nobody's work is to blame.
fn is_no_fault_of_the_work(error: &Error) -> bool {
    let Error::Store(error) = error else { return false };
    matches!(
        error,
        StoreError::Overloaded { .. }
            | StoreError::DiskFull { .. }
            | StoreError::Poisoned { .. }
            | StoreError::Backend { .. }
            | StoreError::Closed
    )
}

fn fire(
    tx: &mut Tx<'_>,
    key: TimerKey,
    timer: &Timer,
    now: Timestamp,
    settings: &Settings,
    first_coupon: CouponId,
) -> Result<(), Error> {
    match key.kind {
        TimerKind::TierEnds => keep::end(tx, MemberId::from_bits(key.subject), now),
        TimerKind::TierNotice | TimerKind::TierRenewal => {
            keep::tell(tx, key.kind, MemberId::from_bits(key.subject), now, settings, first_coupon)
        }
        TimerKind::TierGift => gifts::give(tx, MemberId::from_bits(key.subject), now, settings, first_coupon),
        TimerKind::UnpaidOrder => order::cancel_unpaid(tx, Id::from_bits(key.subject), now),
        TimerKind::ActivatePoints => order::activate_points(tx, Id::from_bits(key.subject), now, settings).map(drop),
        TimerKind::ActivateActivity => activities::activate(tx, Id::from_bits(key.subject), now, settings),
        TimerKind::GiftHold => super::gifts::give_up(tx, Id::from_bits(key.subject), now),
        TimerKind::ExpirePoints => expire_points(tx, MemberId::from_bits(key.subject), now),
        TimerKind::ExpireCoupon => order::expire_coupon(tx, Id::from_bits(key.subject)),
        TimerKind::NoticeCoupon => notice::coupon(tx, Id::from_bits(key.subject), now, settings),
        TimerKind::NoticePoints => {
            notice::points(tx, Id::from_bits(key.subject), timer.argument.unwrap_or(0), now, settings)
        }
        TimerKind::Refill => refills::tell(tx, MemberId::from_bits(key.subject), now, settings),
        TimerKind::PrescriptionExpires => prescriptions::expire(tx, Id::from_bits(key.subject), now, settings),
        TimerKind::MakeCodes => coupons::codes::step(tx, Id::from_bits(key.subject), timer.argument.unwrap_or(0), now),
        TimerKind::RevokeCoupons => coupons::revoke::step(tx, Id::from_bits(key.subject), now),
        TimerKind::Birthday | TimerKind::Anniversary => {
            occasions::celebrate(tx, key, timer.first_due(key), now, settings, first_coupon)
        }
    }
}

fn expire_points(tx: &mut Tx<'_>, id: MemberId, now: Timestamp) -> Result<(), Error> {
    let (points, more) = lots::expire(tx, id, now)?;
    if more {
        scheduler::schedule(tx, TimerKey::new(now, TimerKind::ExpirePoints, id))?;
    }
    if points.is_zero() {
        return Ok(());
    }
    if let Some(mut member) = tx.get(&MEMBERS, &id)? {
        member.revision = member.revision.next();
        tx.put(&MEMBERS, &id, &member)?;
    }
    Ok(events::append(tx, id, [What::PointsExpired])?)
}

/// Quotes sort by the time they were made.
fn sweep_quotes(tx: &mut Tx<'_>, now: Timestamp) -> Result<usize, StoreError> {
    let kept = jiff::SignedDuration::from_hours(QUOTE_KEPT_HOURS);
    let bound: QuoteId = ids::first_at(now.checked_sub(kept).unwrap_or(Timestamp::MIN));
    let old = tx.scan(&QUOTES, &Scan::all().until(&bound).limit(QUOTES_SWEPT_AT_ONCE))?;
    for (id, _) in &old {
        tx.delete(&QUOTES, id)?;
        tx.delete(&PLACED_QUOTES, id)?;
    }
    Ok(old.len())
}

#[cfg(test)]
mod tests;
