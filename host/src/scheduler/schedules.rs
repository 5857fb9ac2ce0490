//! Schedules: what comes again, when, and what becomes of occurrences that nobody saw.
//!
//! [`take`] is what fires: it moves the schedule on in the transaction that does what follows, so an occurrence counts
//! once, also when a clock is set back.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::cron::{BadSchedule, Cron, jitter, zone_named};
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

/// A schedule as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Schedule {
    /// Five fields.
    #[n(0)]
    pub expression: String,
    /// An IANA name; the deployment's zone where there is none.
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
    /// The occurrence that fires next.
    #[cbor(n(5), with = "instant")]
    pub occurrence: Timestamp,
    /// The occurrence that fired last, in milliseconds since the epoch.
    #[n(6)]
    pub last_ms: Option<i64>,
    /// Moved by every change that an operator makes.
    #[n(7)]
    pub revision: Revision,
}

impl Schedule {
    /// When the next occurrence fires.
    pub fn due(&self, name: &str) -> Timestamp {
        let late = jitter(name, self.occurrence, self.jitter_seconds.min(JITTER_SECONDS_MAX));
        self.occurrence.checked_add(late).unwrap_or(Timestamp::MAX)
    }

    fn zone(&self, deployment: &TimeZone) -> Result<TimeZone, BadSchedule> {
        self.zone.as_deref().map_or_else(|| Ok(deployment.clone()), zone_named)
    }
}

/// What an operator changes; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Five fields.
    pub expression: Option<Cron>,
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
/// # Errors
///
/// [`ScheduleError::Unknown`], [`ScheduleError::Bad`] if what is stored is no schedule, and those of the store.
pub fn take(
    tx: &mut Tx<'_>,
    name: &str,
    now: Timestamp,
    deployment: &TimeZone,
) -> Result<Option<Timestamp>, ScheduleError> {
    let row = name.to_owned();
    let mut schedule = tx.get(&SCHEDULES, &row)?.ok_or_else(|| ScheduleError::Unknown(row.clone()))?;
    if !schedule.enabled || schedule.due(name) > now {
        return Ok(None);
    }
    let (cron, zone) = (schedule.expression.parse::<Cron>()?, schedule.zone(deployment)?);
    let (fires, behind) = match schedule.catch_up {
        CatchUp::All => (Some(schedule.occurrence), schedule.occurrence),
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
    Ok(fires)
}

/// Changes a schedule. A new expression, and one that is switched on again, count from now; what was missed is gone.
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
    let zone = schedule.zone(deployment)?;
    let before = schedule.clone();
    if let Some(expression) = &change.expression {
        schedule.expression = expression.to_string();
    }
    schedule.enabled = change.enabled.unwrap_or(schedule.enabled);
    schedule.catch_up = change.catch_up.unwrap_or(schedule.catch_up);
    schedule.jitter_seconds = change.jitter_seconds.unwrap_or(schedule.jitter_seconds).min(JITTER_SECONDS_MAX);
    let counts_anew = schedule.expression != before.expression || (schedule.enabled && !before.enabled);
    if counts_anew {
        // Not before what fired last: a clock that was set back must not bring it again.
        let last = schedule.last_ms.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(now);
        schedule.occurrence = schedule.expression.parse::<Cron>()?.next_after(now.max(last), &zone)?;
    }
    if schedule == before {
        return Ok(schedule);
    }
    schedule.revision = schedule.revision.next();
    tx.put(&SCHEDULES, &row, &schedule)?;
    Ok(schedule)
}
