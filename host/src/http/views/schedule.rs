//! Schedules, jobs, dead timers and cursors.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema;
use crate::service::timers::{CatchUp, CursorStatus, DeadTimerStatus, JobStatus, ScheduleStatus};

/// What comes again, and when.
#[derive(Serialize, ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleView {
    /// Also the name of the job that it starts.
    #[schema(example = "member-day")]
    name: String,
    /// Five fields: minute, hour, day of the month, month, day of the week.
    #[schema(example = "0 9 15 * *")]
    expression: String,
    /// An IANA name; `member` is the zone that each member lives in, null the deployment's.
    #[schema(example = "member")]
    zone: Option<String>,
    #[schema(schema_with = schema::catch_up)]
    catch_up: CatchUp,
    jitter_seconds: u32,
    enabled: bool,
    /// When it fires next, jitter included. In the members' zones that is when members begin to be listed for it: fifteen
    /// hours before UTC comes to the local time, and an hour before the first zone does.
    #[schema(value_type = Option<String>, format = DateTime)]
    due: Option<Timestamp>,
    /// The occurrence that fired last; in the members' zones the local time, written as if it were UTC.
    #[schema(value_type = Option<String>, format = DateTime)]
    last: Option<Timestamp>,
    /// Moved by every change; also the `ETag`.
    revision: u64,
}

/// Work over many rows, and how far it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobView {
    /// The schedule that started it. Besides, `member-waves` tells those whose own zone came to a schedule's local time, and
    /// `occasions` gave birthdays and anniversaries to members who joined before there were any.
    #[schema(example = "member-day")]
    name: String,
    /// The occurrence it works for.
    #[schema(value_type = String, format = DateTime)]
    occurrence: Timestamp,
    /// Whether that is a local time of the members' zones, written as if it were UTC: then the job lists who waits for it.
    local: bool,
    #[schema(schema_with = schema::job_state)]
    state: &'static str,
    /// Rows looked at so far.
    rows: u64,
    /// Rows that something was done to.
    changed: u64,
    steps: u64,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    moved_at: Timestamp,
    /// How often its next step failed so far.
    failures: u32,
    /// What went wrong last.
    error: Option<String>,
}

/// A timer that was given up.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadTimer)]
pub(crate) struct DeadTimerView {
    /// Names it.
    timer: String,
    /// What it was to do.
    #[schema(example = "expire-coupon")]
    kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    due: Timestamp,
    attempts: u32,
    /// When it was tried last.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What went wrong then.
    error: String,
}

/// How far a consumer of the event log has come.
#[derive(Serialize, ToSchema)]
#[schema(as = Cursor)]
pub(crate) struct CursorView {
    #[schema(example = "touches")]
    consumer: String,
    /// Events that wait; counted up to a hundred in each of 64 shards.
    waiting: u64,
    /// Whether there are more than that.
    and_more: bool,
    /// When the oldest of them happened.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest: Option<Timestamp>,
    /// The smallest commit that has an event waiting.
    next_seq: Option<u64>,
}

impl From<ScheduleStatus> for ScheduleView {
    fn from(status: ScheduleStatus) -> Self {
        let ScheduleStatus { name, schedule, due } = status;
        Self {
            name,
            expression: schedule.expression,
            zone: schedule.zone,
            catch_up: schedule.catch_up,
            jitter_seconds: schedule.jitter_seconds,
            enabled: schedule.enabled,
            due,
            last: schedule.last_ms.and_then(|at| Timestamp::from_millisecond(at).ok()),
            revision: schedule.revision.get(),
        }
    }
}

impl From<JobStatus> for JobView {
    fn from(status: JobStatus) -> Self {
        let JobStatus { name, job } = status;
        Self {
            name,
            occurrence: job.occurrence,
            local: job.local,
            state: job.state.name(),
            rows: job.rows,
            changed: job.changed,
            steps: job.steps,
            started_at: job.started_at,
            moved_at: job.moved_at,
            failures: job.failures,
            error: job.why,
        }
    }
}

impl From<DeadTimerStatus> for DeadTimerView {
    fn from(status: DeadTimerStatus) -> Self {
        let DeadTimerStatus { name, kind, due, timer } = status;
        Self { timer: name.to_string(), kind, due, attempts: timer.attempts, at: timer.at, error: timer.why }
    }
}

impl From<CursorStatus> for CursorView {
    fn from(status: CursorStatus) -> Self {
        let CursorStatus { consumer, lag } = status;
        Self {
            consumer: consumer.name().to_owned(),
            waiting: lag.waiting,
            and_more: lag.and_more,
            oldest: lag.oldest,
            next_seq: lag.next.map(|seq| seq.get()),
        }
    }
}
