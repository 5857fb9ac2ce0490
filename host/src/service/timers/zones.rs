//! Schedules in the members' own zones: each member is met when the local time comes where they live.
//!
//! A round's walk writes down for every member when that is; those who join later write it down themselves
//! ([`joined`]), those who move to another zone take it along ([`moved`]). A wave meets all who wait for one instant, page
//! by page. Whoever sleeps through an instant is met late, or not, as the schedule says of what nobody saw: `all` are
//! told, `once` tells the latest that has come to the member's zone, and `skip` tells only a wave that began in time.

use jiff::{Timestamp, tz::TimeZone};

use super::jobs::{JobKind, Turn, members_page};
use crate::{
    domain::member::{Member, MemberState},
    events::{self, What},
    ids::MemberId,
    scheduler::{
        CatchUp,
        jobs::{self, JobState, STEP_ROWS_MAX, Step},
        rounds::{self, Due},
        schedules::{self, GRACE, Occurrence, Schedule},
    },
    service::{Error, Services, Settings, facts::day_number, tables::MEMBERS},
    store::{Key as _, StoreError, Tx},
};

impl Services {
    /// Begins the next wave if one is due and none runs; how many began.
    pub(super) async fn fire_wave(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let first = self.store.peek(rounds::first_due).await;
        if first.map_err(|error: StoreError| Error::Store(error))?.is_none_or(|due| due > now) {
            return Ok(0);
        }
        let name = JobKind::Waves.name();
        let run = self.store.run(now, move |tx| {
            let last = jobs::last(tx, name)?;
            if last.as_ref().is_some_and(|job| job.state == JobState::Running) {
                return Ok(0);
            }
            let Some(due) = rounds::first_due(tx)?.filter(|due| *due <= now) else { return Ok(0) };
            // Busy with the wave before is no sleep.
            let awake = last.filter(|job| job.started_at <= due && due <= job.moved_at).map(|job| job.moved_at);
            let in_time = now.duration_since(awake.unwrap_or(due)) <= GRACE;
            let occurrence = Occurrence { at: due, local: false };
            jobs::begin_with(tx, name, occurrence, Some(vec![u8::from(in_time)]), now)?;
            Ok::<_, Error>(1)
        });
        run.await
    }

    /// Meets a page of those who wait for the wave's instant.
    pub(super) async fn meet_page(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let (due, now, cursor) = (turn.job.occurrence, turn.now, turn.job.cursor.clone());
        let in_time = cursor.as_deref() == Some(&[1_u8][..]);
        let zone = self.settings.zone.clone();
        let commit = self.commit_step(turn, move |tx| {
            let rows = rounds::page(tx, due, STEP_ROWS_MAX)?;
            let mut changed = 0;
            for row in &rows {
                tx.delete(&rounds::ROUNDS_DUE, row)?;
                changed += u64::from(meet(tx, row, in_time, now, &zone)?);
            }
            // What was dealt with is gone: the next page begins where this one began.
            let next = cursor.clone().filter(|_| rows.len() == STEP_ROWS_MAX);
            Ok(Step { next, rows: rows.len() as u64, changed })
        });
        commit.await
    }

    /// Writes down for a page of members when their zone comes to the round's local time: for those who had joined by
    /// then.
    pub(super) async fn expect_page(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let (cursor, local, name) = (turn.job.cursor.clone(), turn.job.occurrence, turn.kind.name());
        let zone = self.settings.zone.clone();
        let commit = self.commit_step(turn, move |tx| {
            let (members, mut step) = members_page(tx, cursor.as_deref(), STEP_ROWS_MAX)?;
            let Some(schedule) = schedules::get(tx, name)? else { return Ok(step) };
            for member in members.iter().filter(|member| member.state == MemberState::Active) {
                step.changed += u64::from(expect(tx, name, &schedule, local, member, &zone)?);
            }
            Ok(step)
        });
        commit.await
    }
}

/// Lets a member who joins wait for the rounds whose time has not come where they live.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn joined(tx: &mut Tx<'_>, member: &Member, settings: &Settings) -> Result<(), StoreError> {
    for (name, local) in rounds::open(tx, member.registered_at)? {
        if let Some(schedule) = schedules::get(tx, &name)?
            && has_passed(tx, &name, local, member.id)?
        {
            expect(tx, &name, &schedule, local, member, &settings.zone)?;
        }
    }
    Ok(())
}

/// Lets a member who moved from the zone `before` wait for their rounds where they live now. A time that had come there
/// already comes to them as they arrive.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn moved(
    tx: &mut Tx<'_>,
    member: &Member,
    before: Option<&str>,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    if member.zone.as_deref() == before {
        return Ok(());
    }
    let (from, to) = (zone_named(before, &settings.zone), zone_of(member, &settings.zone));
    for (name, local) in rounds::open(tx, now)? {
        let Some(schedule) = schedules::get(tx, &name)? else { continue };
        let due = |zone| schedule.due_in(&name, local, zone);
        let from: Due = (due(&from), name.clone(), local, member.id);
        rounds::relocate(tx, &from, &(due(&to).max(now), name.clone(), local, member.id))?;
    }
    Ok(())
}

/// Whether a round's walk has passed a member: who comes behind it is found by it.
fn has_passed(tx: &mut Tx<'_>, name: &str, local: Timestamp, member: MemberId) -> Result<bool, StoreError> {
    let walk = jobs::last(tx, name)?;
    let walk = walk.filter(|job| job.local && job.occurrence == local && job.state == JobState::Running);
    Ok(walk.is_none_or(|job| job.cursor.and_then(|at| MemberId::from_bytes(&at)).is_some_and(|at| member <= at)))
}

/// Lets a member wait for a round, unless they joined after it came to their zone.
fn expect(
    tx: &mut Tx<'_>,
    name: &str,
    schedule: &Schedule,
    local: Timestamp,
    member: &Member,
    deployment: &TimeZone,
) -> Result<bool, StoreError> {
    let zone = zone_of(member, deployment);
    let waits = member.registered_at <= rounds::reached(local, &zone);
    if waits {
        rounds::expect(tx, &(schedule.due_in(name, local, &zone), name.to_owned(), local, member.id))?;
    }
    Ok(waits)
}

/// Does for one member what their row was for; whether they were told.
fn meet(
    tx: &mut Tx<'_>,
    (_, name, local, id): &Due,
    in_time: bool,
    now: Timestamp,
    deployment: &TimeZone,
) -> Result<bool, Error> {
    let schedule = schedules::get(tx, name)?.filter(|schedule| schedule.enabled);
    let member = tx.get(&MEMBERS, id)?.filter(|member| member.state == MemberState::Active);
    let (Some(schedule), Some(member)) = (schedule, member) else { return Ok(false) };
    let zone = zone_of(&member, deployment);
    let due = schedule.due_in(name, *local, &zone);
    if due > now {
        // The rules of the zone changed, or the schedule's jitter did.
        rounds::expect(tx, &(due, name.clone(), *local, *id))?;
        return Ok(false);
    }
    let told = match schedule.catch_up {
        CatchUp::All => true,
        CatchUp::Skip => in_time,
        CatchUp::Once => {
            let later = rounds::after(tx, name, *local)?.or(schedule.is_local().then_some(schedule.occurrence));
            later.is_none_or(|later| schedule.due_in(name, later, &zone) > now)
        }
    };
    if told {
        let day = day_number(*local, &TimeZone::UTC);
        events::append(tx, *id, [What::MemberDay(day)])?;
    }
    Ok(told)
}

fn zone_of(member: &Member, deployment: &TimeZone) -> TimeZone {
    zone_named(member.zone.as_deref(), deployment)
}

fn zone_named(name: Option<&str>, deployment: &TimeZone) -> TimeZone {
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or_else(|| deployment.clone())
}

#[cfg(test)]
mod tests;
