//! Jobs: work over many rows, in steps that each are one bounded transaction.
//!
//! A job is one row: which occurrence it works for, and how far it is. [`advance`] moves its cursor in the transaction
//! of a step's effects, so a step counts once and a crash repeats at most what was not committed. One of a name runs at
//! a time.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{schedules::Occurrence, shortened, timers::backoff};
use crate::{
    domain::cbor::instant,
    store::{Scan, StoreError, Table, Tx},
};

/// The last job of each name.
pub const JOBS: Table<String, Job> = Table::new(134, "jobs.v1");

/// Rows that one step takes at most.
pub const STEP_ROWS_MAX: usize = 200;
/// How often in a row a step may fail before the job is given up.
pub const FAILURES_MAX: u32 = 8;
/// Names of jobs.
const JOBS_MAX: usize = 64;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum JobState {
    /// It has steps left.
    #[n(0)]
    Running,
    /// It did all its steps.
    #[n(1)]
    Done,
    /// A step failed too often; the next occurrence begins anew.
    #[n(2)]
    GivenUp,
}

impl JobState {
    /// The name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::GivenUp => "given-up",
        }
    }
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Job {
    /// The occurrence it works for.
    #[cbor(n(0), with = "instant")]
    pub occurrence: Timestamp,
    /// Where it is.
    #[n(1)]
    pub state: JobState,
    /// The key of the last row done, as bytes; none before the first step.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub cursor: Option<Vec<u8>>,
    /// Rows looked at so far.
    #[n(3)]
    pub rows: u64,
    /// Rows that something was done to.
    #[n(4)]
    pub changed: u64,
    /// Steps done so far.
    #[n(5)]
    pub steps: u64,
    /// When it began.
    #[cbor(n(6), with = "instant")]
    pub started_at: Timestamp,
    /// When it last moved.
    #[cbor(n(7), with = "instant")]
    pub moved_at: Timestamp,
    /// How often its next step failed so far.
    #[n(8)]
    pub failures: u32,
    /// The next step is not tried before, in milliseconds since the epoch.
    #[n(9)]
    pub retry_ms: Option<i64>,
    /// What went wrong last.
    #[n(10)]
    pub why: Option<String>,
    /// Whether the occurrence is a local time of the members' zones, written as if it were UTC.
    #[n(11)]
    #[cbor(default)]
    pub local: bool,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the next one begins; none after the last.
    pub next: Option<Vec<u8>>,
    /// Rows looked at.
    pub rows: u64,
    /// Rows that something was done to.
    pub changed: u64,
}

/// Whether a job of this name has steps left.
///
/// # Errors
///
/// Those of the store.
pub fn is_running(tx: &mut Tx<'_>, name: &str) -> Result<bool, StoreError> {
    Ok(tx.get(&JOBS, &name.to_owned())?.is_some_and(|job| job.state == JobState::Running))
}

/// Begins a job in place of the last one of its name, which must not be running.
///
/// # Errors
///
/// Those of the store.
pub fn begin(tx: &mut Tx<'_>, name: &str, occurrence: Occurrence, now: Timestamp) -> Result<(), StoreError> {
    begin_with(tx, name, occurrence, None, now)
}

/// The same, where the first step needs something to begin with.
///
/// # Errors
///
/// Those of the store.
pub fn begin_with(
    tx: &mut Tx<'_>,
    name: &str,
    Occurrence { at, local }: Occurrence,
    cursor: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let job = Job {
        occurrence: at,
        local,
        state: JobState::Running,
        cursor,
        rows: 0,
        changed: 0,
        steps: 0,
        started_at: now,
        moved_at: now,
        failures: 0,
        retry_ms: None,
        why: None,
    };
    tx.put(&JOBS, &name.to_owned(), &job)
}

/// The last job of a name.
///
/// # Errors
///
/// Those of the store.
pub fn last(tx: &mut Tx<'_>, name: &str) -> Result<Option<Job>, StoreError> {
    tx.get(&JOBS, &name.to_owned())
}

/// All jobs, by name.
///
/// # Errors
///
/// Those of the store.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<(String, Job)>, StoreError> {
    tx.scan(&JOBS, &Scan::all().limit(JOBS_MAX))
}

/// The job of this name, if it has a step to do at `now`.
///
/// # Errors
///
/// Those of the store.
pub fn ready(tx: &mut Tx<'_>, name: &str, now: Timestamp) -> Result<Option<Job>, StoreError> {
    let waits = |job: &Job| job.retry_ms.is_some_and(|at| now.as_millisecond() < at);
    let job = tx.get(&JOBS, &name.to_owned())?;
    Ok(job.filter(|job| job.state == JobState::Running && !waits(job)))
}

/// Whether the job is still where it was when the step was prepared.
///
/// # Errors
///
/// Those of the store.
pub fn is_at(tx: &mut Tx<'_>, name: &str, before: &Job) -> Result<bool, StoreError> {
    let job = tx.get(&JOBS, &name.to_owned())?;
    Ok(job.is_some_and(|job| {
        job.state == JobState::Running
            && (job.occurrence, job.local, job.steps) == (before.occurrence, before.local, before.steps)
    }))
}

/// Moves a job on: ask [`is_at`] first, in the same transaction.
///
/// # Errors
///
/// Those of the store.
pub fn advance(tx: &mut Tx<'_>, name: &str, before: &Job, step: &Step, now: Timestamp) -> Result<(), StoreError> {
    let job = Job {
        state: if step.next.is_some() { JobState::Running } else { JobState::Done },
        cursor: step.next.clone(),
        rows: before.rows + step.rows,
        changed: before.changed + step.changed,
        steps: before.steps + 1,
        moved_at: now,
        failures: 0,
        retry_ms: None,
        why: None,
        ..before.clone()
    };
    tx.put(&JOBS, &name.to_owned(), &job)
}

/// Notes that a step failed: it is tried again later, or the job is given up. `true` if it was.
///
/// # Errors
///
/// Those of the store.
pub fn fail(tx: &mut Tx<'_>, name: &str, before: &Job, why: &str, now: Timestamp) -> Result<bool, StoreError> {
    if !is_at(tx, name, before)? {
        return Ok(false);
    }
    let failures = before.failures + 1;
    let given_up = failures >= FAILURES_MAX;
    let retry = now.checked_add(backoff(failures)).unwrap_or(Timestamp::MAX);
    let job = Job {
        state: if given_up { JobState::GivenUp } else { JobState::Running },
        failures,
        retry_ms: Some(retry.as_millisecond()),
        why: Some(shortened(why)),
        ..before.clone()
    };
    tx.put(&JOBS, &name.to_owned(), &job)?;
    Ok(given_up)
}
