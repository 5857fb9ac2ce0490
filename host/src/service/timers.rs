//! What timers do when they fire: each in one transaction that also removes the timer.

use jiff::Timestamp;

use super::{
    Error, Services, order,
    tables::{MEMBERS, PLACED_QUOTES, QUOTES},
};
use crate::{
    events::{self, What},
    ids::{Id, MemberId, QuoteId},
    ledger::lots,
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, StoreError, Tx},
};

/// Quotes removed at once.
const QUOTES_SWEPT_AT_ONCE: usize = 100;
/// How long a quote is kept after it was made.
const QUOTE_KEPT_HOURS: i64 = 24;

impl Services {
    /// Fires timers that are due, at most `limit`; how many there were. Call again while the answer equals the limit.
    ///
    /// A timer that fails stays, and is tried again with the next call; it does not stop the others.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn fire_due_timers(&self, limit: usize) -> Result<usize, Error> {
        let now = self.clock.now();
        let due = self.store.read(move |tx| scheduler::due(tx, now, limit)).await?;
        let zone = &self.settings.zone;
        let fired = due.iter().map(|key| {
            let (key, zone) = (*key, zone.clone());
            self.store.run(now, move |tx| {
                if scheduler::take(tx, key)? {
                    fire(tx, key, now, &zone)?;
                }
                Ok::<_, Error>(())
            })
        });
        for (key, fired) in due.iter().zip(futures::future::join_all(fired).await) {
            if let Err(error) = fired {
                tracing::error!(kind = ?key.kind, due = %key.due, %error, "a timer failed and stays");
            }
        }
        Ok(due.len())
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

fn fire(tx: &mut Tx<'_>, key: TimerKey, now: Timestamp, zone: &jiff::tz::TimeZone) -> Result<(), Error> {
    match key.kind {
        TimerKind::UnpaidOrder => order::cancel_unpaid(tx, Id::from_bits(key.subject), now),
        TimerKind::ActivatePoints => order::activate_points(tx, Id::from_bits(key.subject), zone).map(drop),
        TimerKind::ExpirePoints => expire_points(tx, MemberId::from_bits(key.subject), now),
        TimerKind::ExpireCoupon => order::expire_coupon(tx, Id::from_bits(key.subject)),
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
    let before = now.checked_sub(kept).map_or(0, |at| at.as_millisecond().max(0));
    let bound = QuoteId::from_bits(u128::from(before.unsigned_abs()) << 80);
    let old = tx.scan(&QUOTES, &Scan::all().until(&bound).limit(QUOTES_SWEPT_AT_ONCE))?;
    for (id, _) in &old {
        tx.delete(&QUOTES, id)?;
        tx.delete(&PLACED_QUOTES, id)?;
    }
    Ok(old.len())
}
