//! Time: durable timers, schedules that come again, jobs that page through many rows, and leases that fence them.
//!
//! - **Timers** ([`schedule`], [`cancel`], [`take`]) are written in the transaction that needs them and removed in the
//!   one that does their work, so each fires once. One that fails is tried again later, each time after twice the wait,
//!   and after [`ATTEMPTS_MAX`] tries lies among the dead ([`DEAD_TIMERS`]) until an operator decides: it never stands in
//!   the way of others.
//! - **Schedules** ([`schedules`]) say when something comes again, as a cron expression in a zone, and what becomes of
//!   occurrences that nobody saw ([`CatchUp`]). One in the members' own zones makes rounds ([`rounds`]).
//! - **Jobs** ([`jobs`]) are what a schedule starts: one of a name at a time, with a durable cursor that moves in the
//!   transaction of each step.
//! - **Leases** ([`leases`]) say who does a job. Every step checks the token of its lease in its own transaction, so two
//!   holders never both commit, whatever their clocks say.
//!
//! Nothing here knows what is done: handlers live in `service/timers`. Time is an argument everywhere.

mod cron;
pub mod jobs;
pub mod leases;
pub mod rounds;
pub mod schedules;
mod timers;

pub use self::{
    cron::{BadSchedule, Cron, LOOK_AHEAD_YEARS},
    schedules::CatchUp,
    timers::{
        ATTEMPTS_MAX, DEAD_TIMERS, DeadTimer, Failed, TIMERS, Timer, TimerKey, TimerKind, backoff, cancel, due, fail,
        revive, schedule, schedule_for, take,
    },
};

#[cfg(test)]
mod tests;

/// A reason kept for operators has at most this many bytes.
const WHY_BYTES_MAX: usize = 300;

/// The beginning of a reason, cut where a character ends.
fn shortened(why: &str) -> String {
    let mut end = why.len().min(WHY_BYTES_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why[..end].to_owned()
}
