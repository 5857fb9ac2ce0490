//! Birthdays and anniversaries: once a year, at an hour of the deployment's zone, with a coupon of every offer that waits
//! for the day.
//!
//! A member has at most one timer of each, for the next time; firing it sets the one of the year after. A birthday is
//! personal data, and the day of a timer gives it away: the timer's row holds nothing but the member's random id and the
//! instant, and both the timer and the row beside it, which holds month, day and the last year celebrated, are deleted
//! when the member is erased. The event says the year alone.
//!
//! Who was born on 29 February celebrates on the 28th in common years. A year counts once, whatever becomes of the
//! birthday in it; after a long downtime the latest missed one is celebrated, those before it are not.

use jiff::{
    Timestamp,
    civil::{Date, date},
};
use minicbor::{Decode, Encode};

use crate::{
    domain::{
        member::{Member, MemberState},
        offer::Trigger,
    },
    events::{self, What},
    ids::{CouponId, Id as _, MemberId},
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Error, Settings, coupons, members,
        tables::{MEMBERS, OCCASIONS},
    },
    store::{StoreError, Tx},
};

/// Years looked ahead for the next time: there is one in each.
const YEARS_TRIED: i16 = 4;

/// When an occasion of a member comes, and when it came last.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OccasionRow {
    /// Month and day; none once the member has no such day any more.
    #[n(0)]
    pub day: Option<(i8, i8)>,
    /// The instant of the timer, in milliseconds since the epoch.
    #[n(1)]
    pub next_ms: Option<i64>,
    /// The last year that counted.
    #[n(2)]
    pub last_year: Option<i16>,
}

/// Sets, moves or removes a member's birthday timer.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn set_birthday(
    tx: &mut Tx<'_>,
    member: MemberId,
    birthday: Option<Date>,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let row = tx.get(&OCCASIONS, &(member, row_of(TimerKind::Birthday)))?;
    if row.is_none() && birthday.is_none() {
        return Ok(());
    }
    let last_year = row.and_then(|row| row.last_year);
    set(tx, member, TimerKind::Birthday, birthday.map(|date| (date.month(), date.day())), last_year, now, settings)
}

/// Sets the timer of a member who joins, or who joined before `now` without one. The day they join is no anniversary.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn set_anniversary(
    tx: &mut Tx<'_>,
    member: &Member,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let joined = settings.zone.to_datetime(member.registered_at).date();
    let day = (joined.month(), joined.day());
    set(tx, member.id, TimerKind::Anniversary, Some(day), Some(joined.year()), now, settings)
}

/// Whether a member never had a birthday, and whether they never had an anniversary.
///
/// # Errors
///
/// Those of the store.
pub(super) fn lacking(tx: &mut Tx<'_>, member: MemberId) -> Result<[bool; 2], StoreError> {
    let mut never = [false; 2];
    for (never, kind) in never.iter_mut().zip([TimerKind::Birthday, TimerKind::Anniversary]) {
        *never = tx.get(&OCCASIONS, &(member, row_of(kind)))?.is_none();
    }
    Ok(never)
}

/// Removes everything that gives a member's days away.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn forget(tx: &mut Tx<'_>, member: MemberId) -> Result<(), StoreError> {
    for kind in [TimerKind::Birthday, TimerKind::Anniversary] {
        if let Some(row) = tx.get(&OCCASIONS, &(member, row_of(kind)))? {
            cancel(tx, member, kind, &row)?;
            tx.delete(&OCCASIONS, &(member, row_of(kind)))?;
        }
    }
    Ok(())
}

/// The month a member was born in, if they said so.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn birthday_month(tx: &mut Tx<'_>, member: MemberId) -> Result<Option<i8>, StoreError> {
    let row = tx.get(&OCCASIONS, &(member, row_of(TimerKind::Birthday)))?;
    Ok(row.and_then(|row| row.day).map(|(month, _)| month))
}

/// The timer's work.
///
/// # Errors
///
/// Those of the store.
pub(super) fn celebrate(
    tx: &mut Tx<'_>,
    key: TimerKey,
    due: Timestamp,
    now: Timestamp,
    settings: &Settings,
    first_coupon: CouponId,
) -> Result<(), Error> {
    let id = MemberId::from_bits(key.subject);
    let row = tx.get(&OCCASIONS, &(id, row_of(key.kind)))?;
    let member = tx.get(&MEMBERS, &id)?.filter(|member| member.state == MemberState::Active);
    let (Some(row), Some(mut member)) = (row, member) else { return Ok(()) };
    // A timer that failed and was tried later, while the day moved: the row knows which one counts.
    let Some(day) = row.day.filter(|_| row.next_ms == Some(due.as_millisecond())) else { return Ok(()) };
    let mut year = settings.zone.to_datetime(due).year();
    while at(day, year + 1, settings).is_some_and(|next| next <= now) {
        year += 1;
    }
    if row.last_year.is_none_or(|last| last < year) {
        let (trigger, what) = match key.kind {
            TimerKind::Anniversary => {
                let joined = settings.zone.to_datetime(member.registered_at).year();
                (Trigger::Anniversary, What::Anniversary(year - joined))
            }
            _ => (Trigger::Birthday, What::Birthday(year)),
        };
        let issued = coupons::issue_triggered(tx, &member, trigger, first_coupon, now, settings)?;
        if !issued.is_empty() {
            members::put_moved(tx, &mut member)?;
        }
        events::append(tx, id, [what].into_iter().chain(issued))?;
    }
    Ok(set(tx, id, key.kind, Some(day), Some(row.last_year.map_or(year, |last| last.max(year))), now, settings)?)
}

/// Replaces a member's timer.
fn set(
    tx: &mut Tx<'_>,
    member: MemberId,
    kind: TimerKind,
    day: Option<(i8, i8)>,
    last_year: Option<i16>,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let key = (member, row_of(kind));
    if let Some(before) = tx.get(&OCCASIONS, &key)? {
        cancel(tx, member, kind, &before)?;
    }
    let next = day.and_then(|day| next(day, now, last_year, settings));
    if let Some(next) = next {
        scheduler::schedule(tx, TimerKey::new(next, kind, member))?;
    }
    tx.put(&OCCASIONS, &key, &OccasionRow { day, next_ms: next.map(Timestamp::as_millisecond), last_year })
}

fn cancel(tx: &mut Tx<'_>, member: MemberId, kind: TimerKind, row: &OccasionRow) -> Result<(), StoreError> {
    let next = row.next_ms.and_then(|at| Timestamp::from_millisecond(at).ok());
    next.map_or(Ok(()), |next| scheduler::cancel(tx, TimerKey::new(next, kind, member)))
}

fn row_of(kind: TimerKind) -> u8 {
    u8::from(kind == TimerKind::Anniversary)
}

/// The first time after `now`, in a year that has not counted yet.
fn next(day: (i8, i8), now: Timestamp, last_year: Option<i16>, settings: &Settings) -> Option<Timestamp> {
    let this_year = settings.zone.to_datetime(now).year();
    let first = last_year.map_or(this_year, |last| this_year.max(last.saturating_add(1)));
    (first..first.saturating_add(YEARS_TRIED)).filter_map(|year| at(day, year, settings)).find(|at| *at > now)
}

/// The instant of a day in a year; 29 February is the 28th in a common one.
fn at((month, day): (i8, i8), year: i16, settings: &Settings) -> Option<Timestamp> {
    let on = Date::new(year, month, day).ok().or_else(|| Some(date(year, month, 1).last_of_month()))?;
    let at = on.at(settings.schedule.hour, 0, 0, 0).to_zoned(settings.zone.clone());
    at.ok().map(|at| at.timestamp())
}

#[cfg(test)]
mod tests;
