//! Schedules: what comes again, when, and what becomes of occurrences that nobody saw.
//!
//! [`take`] is what fires: it moves the schedule on in the transaction that does what follows, so an occurrence counts
//! once, also when a clock is set back.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    cron::{BadSchedule, Cron, jitter, zone_named},
    rounds::{self, LAG, LEAD, MEMBERS_ZONE},
};
use crate::{
    domain::{cbor::instant, member::Revision},
    store::{Scan, StoreError, Table, Tx},
};

/// What comes again, by name.
pub const SCHEDULES: Table<String, Schedule> = Table::new(132, "schedules.v1");

/// Schedules of a deployment.
pub const SCHEDULES_MAX: usize = 64;
/// The most that jitter puts an occurrence off: an hour.
pub const JITTER_SECONDS_MAX: u32 = 3_600;
/// How late an occurrence may be and still be in time.
pub const GRACE: SignedDuration = SignedDuration::from_mins(1);

/// What becomes of occurrences that nobody saw, because the process was down or the clock was set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// The latest of them fires, the others are forgotten.
    #[n(0)]
    Once,
    /// All of them fire, one after the other.
    #[n(1)]
    All,
    /// None of them fires; only one that is in time does.
    #[n(2)]
    Skip,
}

/// When something comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Five fields.
    pub expression: Cron,
    /// An IANA name; the deployment's zone where there is none.
    pub zone: Option<String>,
    /// What becomes of occurrences that nobody saw.
    pub catch_up: CatchUp,
    /// An occurrence fires up to so many seconds late.
    pub jitter_seconds: u32,
}

/// An occurrence that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// Whether that is a local time of the members' zones, written as if it were UTC.
    pub local: bool,
}

/// A schedule as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Schedule {
    /// Five fields.
    #[n(0)]
    pub expression: String,
    /// An IANA name, or [`MEMBERS_ZONE`]; the deployment's zone where there is none.
    #[n(1)]
    pub zone: Option<String>,
    /// What becomes of occurrences that nobody saw.
    #[n(2)]
    pub catch_up: CatchUp,
    /// An occurrence fires up to so many seconds late.
    #[n(3)]
    pub jitter_seconds: u32,
    /// Whether it fires at all.
    #[n(4)]
    pub enabled: bool,
    /// The occurrence that fires next; in the members' zones a local time, written as if it were UTC.
    #[cbor(n(5), with = "instant")]
    pub occurrence: Timestamp,
    /// The occurrence that fired last, in milliseconds since the epoch; likewise.
    #[n(6)]
    pub last_ms: Option<i64>,
    /// Moved by every change that an operator makes.
    #[n(7)]
    pub revision: Revision,
}

impl Schedule {
    /// Whether it runs in the members' zones.
    pub fn is_local(&self) -> bool {
        self.zone.as_deref() == Some(MEMBERS_ZONE)
    }

    /// When the next occurrence fires; in the members' zones, when its round begins.
    pub fn due(&self, name: &str) -> Timestamp {
        if self.is_local() {
            return self.occurrence.checked_sub(LEAD).unwrap_or(Timestamp::MIN);
        }
        self.late(name, self.occurrence, self.occurrence)
    }

    /// When a zone comes to a local time, jitter included.
    pub fn due_in(&self, name: &str, local: Timestamp, zone: &TimeZone) -> Timestamp {
        self.late(name, local, rounds::reached(local, zone))
    }

    fn late(&self, name: &str, occurrence: Timestamp, at: Timestamp) -> Timestamp {
        let late = jitter(name, occurrence, self.jitter_seconds.min(JITTER_SECONDS_MAX));
        at.checked_add(late).unwrap_or(Timestamp::MAX)
    }

    /// Where its expression is read. Local times are written as if they were UTC, which has neither gaps nor folds.
    fn zone(&self, deployment: &TimeZone) -> Result<TimeZone, BadSchedule> {
        match self.zone.as_deref() {
            None => Ok(deployment.clone()),
            Some(MEMBERS_ZONE) => Ok(TimeZone::UTC),
            Some(name) => zone_named(name),
        }
    }

    /// The next occurrence of a schedule that counts anew, from `now`: what was missed is gone. Not before what fired
    /// last as it stood `before`: a clock that was set back, or another zone, must not bring it again.
    fn anew(&self, before: &Self, now: Timestamp, deployment: &TimeZone) -> Result<Timestamp, BadSchedule> {
        let zone = self.zone(deployment)?;
        let last = before.last_ms.and_then(|at| Timestamp::from_millisecond(at).ok());
        let read_in = before.zone(deployment)?;
        let last = last.map(|last| match (before.is_local(), self.is_local()) {
            (false, true) => rounds::local(last, &read_in),
            (true, false) => rounds::reached(last, &zone),
            _ => last,
        });
        let now = if self.is_local() { rounds::local(now, deployment) } else { now };
        let cron: Cron = self.expression.parse()?;
        if self.is_local() && !cron.names_its_minute() {
            return Err(BadSchedule::TooOften(self.expression.clone()));
        }
        cron.next_after(last.map_or(now, |last| now.max(last)), &zone)
    }
}

/// What an operator changes; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Five fields.
    pub expression: Option<Cron>,
    /// An IANA name, [`MEMBERS_ZONE`], or the deployment's zone.
    pub zone: Option<Option<String>>,
    /// Whether it fires at all.
    pub enabled: Option<bool>,
    /// What becomes of occurrences that nobody saw.
    pub catch_up: Option<CatchUp>,
    /// An occurrence fires up to so many seconds late.
    pub jitter_seconds: Option<u32>,
}

/// Why a schedule cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It never was made.
    #[error("there is no schedule `{0}`")]
    Unknown(String),
    /// The expression or the zone is none.
    #[error(transparent)]
    Bad(#[from] BadSchedule),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a schedule unless there is one of this name, which an operator may have changed.
///
/// # Errors
///
/// [`ScheduleError::Bad`], and those of the store.
pub fn ensure(
    tx: &mut Tx<'_>,
    name: &str,
    definition: &Definition,
    now: Timestamp,
    deployment: &TimeZone,
) -> Result<(), ScheduleError> {
    let row = name.to_owned();
    if tx.get(&SCHEDULES, &row)?.is_some() {
        return Ok(());
    }
    let zone = definition.zone.as_deref().map_or_else(|| Ok(deployment.clone()), zone_named)?;
    let schedule = Schedule {
        expression: definition.expression.to_string(),
        zone: definition.zone.clone(),
        catch_up: definition.catch_up,
        jitter_seconds: definition.jitter_seconds.min(JITTER_SECONDS_MAX),
        enabled: true,
        occurrence: definition.expression.next_after(now, &zone)?,
        last_ms: None,
        revision: Revision::FIRST,
    };
    Ok(tx.put(&SCHEDULES, &row, &schedule)?)
}

/// One schedule.
///
/// # Errors
///
/// Those of the store.
pub fn get(tx: &mut Tx<'_>, name: &str) -> Result<Option<Schedule>, StoreError> {
    tx.get(&SCHEDULES, &name.to_owned())
}

/// All schedules, by name.
///
/// # Errors
///
/// Those of the store.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<(String, Schedule)>, StoreError> {
    tx.scan(&SCHEDULES, &Scan::all().limit(SCHEDULES_MAX))
}

/// The schedules that are due at `now`.
///
/// # Errors
///
/// Those of the store.
pub fn due(tx: &mut Tx<'_>, now: Timestamp) -> Result<Vec<String>, StoreError> {
    let due = |(name, schedule): (String, Schedule)| (schedule.enabled && schedule.due(&name) <= now).then_some(name);
    Ok(all(tx)?.into_iter().filter_map(due).collect())
}

/// Moves a schedule that is due on; the occurrence that fires, or `None` if none does.
///
/// In the members' zones what becomes of a late occurrence is decided for each zone, when its wave comes: here only what
/// is past for the whole world is passed over.
///
/// # Errors
///
/// [`ScheduleError::Unknown`], [`ScheduleError::Bad`] if what is stored is no schedule, and those of the store.
pub fn take(
    tx: &mut Tx<'_>,
    name: &str,
    now: Timestamp,
    deployment: &TimeZone,
) -> Result<Option<Occurrence>, ScheduleError> {
    let row = name.to_owned();
    let mut schedule = tx.get(&SCHEDULES, &row)?.ok_or_else(|| ScheduleError::Unknown(row.clone()))?;
    if !schedule.enabled || schedule.due(name) > now {
        return Ok(None);
    }
    let (cron, zone) = (schedule.expression.parse::<Cron>()?, schedule.zone(deployment)?);
    let (fires, behind) = match schedule.catch_up {
        CatchUp::All => (Some(schedule.occurrence), schedule.occurrence),
        CatchUp::Once | CatchUp::Skip if schedule.is_local() => {
            let past = now.checked_sub(LAG).unwrap_or(Timestamp::MIN);
            let latest = cron.latest(schedule.occurrence, past, &zone)?;
            (Some(latest), latest)
        }
        CatchUp::Once => {
            let latest = cron.latest(schedule.occurrence, now, &zone)?;
            (Some(latest), latest)
        }
        CatchUp::Skip => {
            let late = now.duration_since(schedule.due(name));
            ((late <= GRACE).then_some(schedule.occurrence), cron.latest(schedule.occurrence, now, &zone)?)
        }
    };
    schedule.occurrence = cron.next_after(behind, &zone)?;
    schedule.last_ms = fires.map(Timestamp::as_millisecond).or(schedule.last_ms);
    tx.put(&SCHEDULES, &row, &schedule)?;
    Ok(fires.map(|at| Occurrence { at, local: schedule.is_local() }))
}

/// Changes a schedule. A new expression or zone, and one that is switched on again, count from now; what was missed is
/// gone. Rounds that were begun go to their end.
///
/// # Errors
///
/// [`ScheduleError::Unknown`], [`ScheduleError::Bad`], and those of the store.
pub fn change(
    tx: &mut Tx<'_>,
    name: &str,
    change: &Change,
    now: Timestamp,
    deployment: &TimeZone,
) -> Result<Schedule, ScheduleError> {
    let row = name.to_owned();
    let mut schedule = tx.get(&SCHEDULES, &row)?.ok_or_else(|| ScheduleError::Unknown(row.clone()))?;
    let before = schedule.clone();
    if let Some(expression) = &change.expression {
        schedule.expression = expression.to_string();
    }
    if let Some(zone) = &change.zone {
        schedule.zone.clone_from(zone);
    }
    schedule.enabled = change.enabled.unwrap_or(schedule.enabled);
    schedule.catch_up = change.catch_up.unwrap_or(schedule.catch_up);
    schedule.jitter_seconds = change.jitter_seconds.unwrap_or(schedule.jitter_seconds).min(JITTER_SECONDS_MAX);
    let moved = (&schedule.expression, &schedule.zone) != (&before.expression, &before.zone);
    if moved || (schedule.enabled && !before.enabled) {
        schedule.occurrence = schedule.anew(&before, now, deployment)?;
    }
    if schedule == before {
        return Ok(schedule);
    }
    schedule.revision = schedule.revision.next();
    tx.put(&SCHEDULES, &row, &schedule)?;
    Ok(schedule)
}
