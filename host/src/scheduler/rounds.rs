//! Rounds: a schedule in the members' own zones.
//!
//! Its occurrence is a local date and time, written as if it were UTC, and each zone reaches it when its own clocks do.
//! Some hours before the first zone of the world does, the occurrence becomes a round ([`begin`]): a job walks all
//! members and writes down for each at which instant their zone gets there ([`expect`]). What is due is dealt with in
//! waves, one for each instant ([`first_due`], [`page`]).
//!
//! The row that waits is the whole obligation: it is written once for a member and round, and what deletes it does its
//! work in the same transaction. So each member is met once, whatever clocks and zones do meanwhile; a member who moves
//! takes the row along ([`relocate`]).

use jiff::{
    SignedDuration, Timestamp,
    tz::{AmbiguousOffset, TimeZone},
};

use crate::{
    ids::MemberId,
    store::{Scan, StoreError, Table, Tx},
};

/// Rounds that were begun, by schedule and local time.
pub const ROUNDS: Table<(String, Timestamp), ()> = Table::new(145, "rounds.v1");
/// Who waits for which round until when: the instant, the schedule, the local time, the member.
pub const ROUNDS_DUE: Table<Due, ()> = Table::new(129, "rounds-due.v1");

/// When, of which schedule, of which local time, and who.
pub type Due = (Timestamp, String, Timestamp, MemberId);

/// What a schedule in the members' zones has for its zone; no IANA name.
pub const MEMBERS_ZONE: &str = "member";
/// The first zone reaches a local time 14 hours before UTC; the walk gets an hour.
pub const LEAD: SignedDuration = SignedDuration::from_hours(15);
/// The last one does so 12 hours after UTC, after a day that it skipped as the case may be, and an hour of jitter.
pub const LAG: SignedDuration = SignedDuration::from_hours(38);
/// Rounds of one schedule that are known: more than can be under way at an hour's distance.
const ROUNDS_KEPT: usize = 64;
/// Schedules that can run by members' zones.
const SCHEDULES_MAX: usize = 4;

/// The local time in a zone, written as if it were UTC.
pub fn local(at: Timestamp, zone: &TimeZone) -> Timestamp {
    TimeZone::UTC.to_timestamp(zone.to_datetime(at)).unwrap_or(at)
}

/// When a zone reaches a local time: at the first instant after a gap that swallows it, at the earlier of two.
pub fn reached(local: Timestamp, zone: &TimeZone) -> Timestamp {
    let civil = TimeZone::UTC.to_datetime(local);
    let at = match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil),
        AmbiguousOffset::Gap { after, .. } => after.to_timestamp(civil).map(|before_the_gap| {
            zone.following(before_the_gap).next().map_or(before_the_gap, |jump| jump.timestamp())
        }),
    };
    at.unwrap_or(local)
}

/// Notes that a round begins, and forgets the oldest beyond those that are kept.
///
/// # Errors
///
/// Those of the store.
pub fn begin(tx: &mut Tx<'_>, name: &str, local: Timestamp) -> Result<(), StoreError> {
    let name = name.to_owned();
    tx.put(&ROUNDS, &(name.clone(), local), &())?;
    let known = tx.scan(&ROUNDS, &Scan::prefix(&name).limit(ROUNDS_KEPT + 1))?;
    if known.len() > ROUNDS_KEPT
        && let Some((oldest, ())) = known.first()
    {
        tx.delete(&ROUNDS, oldest)?;
    }
    Ok(())
}

/// The rounds that may not have come to all zones by `now`, by schedule and local time.
///
/// # Errors
///
/// Those of the store.
pub fn open(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
    let rows = tx.scan(&ROUNDS, &Scan::all().limit(ROUNDS_KEPT * SCHEDULES_MAX))?;
    let open = rows.into_iter().map(|(key, ())| key).filter(|(_, local)| now.duration_since(*local) < LAG);
    Ok(open.collect())
}

/// The local time of a schedule's next round after one, if it was begun.
///
/// # Errors
///
/// Those of the store.
pub fn after(tx: &mut Tx<'_>, name: &str, local: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let name = name.to_owned();
    let next = tx.scan(&ROUNDS, &Scan::prefix(&name).after(&(name.clone(), local)).limit(1))?;
    Ok(next.first().map(|((_, local), ())| *local))
}

/// Writes down who waits for which round until when.
///
/// # Errors
///
/// Those of the store.
pub fn expect(tx: &mut Tx<'_>, due: &Due) -> Result<(), StoreError> {
    tx.put(&ROUNDS_DUE, due, &())
}

/// Lets who waits wait until another instant; nothing happens if nobody does.
///
/// # Errors
///
/// Those of the store.
pub fn relocate(tx: &mut Tx<'_>, from: &Due, to: &Due) -> Result<(), StoreError> {
    if from != to && tx.get(&ROUNDS_DUE, from)?.is_some() {
        tx.delete(&ROUNDS_DUE, from)?;
        expect(tx, to)?;
    }
    Ok(())
}

/// The earliest instant until which somebody waits.
///
/// # Errors
///
/// Those of the store.
pub fn first_due(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, StoreError> {
    Ok(tx.scan(&ROUNDS_DUE, &Scan::all().limit(1))?.first().map(|((due, ..), ())| *due))
}

/// Those who wait until an instant, at most `limit`.
///
/// # Errors
///
/// Those of the store.
pub fn page(tx: &mut Tx<'_>, due: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
    let rows = tx.scan(&ROUNDS_DUE, &Scan::prefix(&due).limit(limit))?;
    Ok(rows.into_iter().map(|(key, ())| key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::cron::zone_named;

    fn instant(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn a_zone_reaches_a_local_time_once() {
        for (zone, at, expected) in [
            ("Asia/Shanghai", "2026-03-15T09:00:00Z", "2026-03-15T01:00:00Z"),
            ("Pacific/Kiritimati", "2026-03-15T09:00:00Z", "2026-03-14T19:00:00Z"),
            ("Etc/GMT+12", "2026-03-15T09:00:00Z", "2026-03-15T21:00:00Z"),
            // Spring forward, in both hemispheres and by half an hour.
            ("Europe/Berlin", "2026-03-29T02:30:00Z", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T03:00:00Z", "2026-03-29T01:00:00Z"),
            ("Pacific/Auckland", "2026-09-27T02:15:00Z", "2026-09-26T14:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:10:00Z", "2026-10-03T15:30:00Z"),
            // Midnight itself is skipped where clocks go forward then.
            ("Asia/Beirut", "2026-03-29T00:00:00Z", "2026-03-28T22:00:00Z"),
            // Fall back.
            ("Europe/Berlin", "2026-10-25T02:30:00Z", "2026-10-25T00:30:00Z"),
            ("Pacific/Auckland", "2026-04-05T02:30:00Z", "2026-04-04T13:30:00Z"),
            // A day that did not happen.
            ("Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T10:00:00Z"),
        ] {
            let named = zone_named(zone).expect("a zone");
            assert_eq!(reached(instant(at), &named), instant(expected), "{at} in {zone}");
        }
    }

    #[test]
    fn no_zone_is_further_ahead_or_behind_than_a_round_allows() {
        for zone in jiff::tz::db().available() {
            let zone = zone_named(zone.as_str()).expect("a zone");
            for days in (0..2_000).step_by(3) {
                let at = instant("2024-01-01T09:00:00Z") + SignedDuration::from_hours(24 * days);
                let comes = reached(at, &zone);
                assert!(comes > at - LEAD && comes < at + LAG, "{at} in {zone:?}");
            }
        }
    }
}
