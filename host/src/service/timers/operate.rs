//! What operators see of all this, and what they change.

use std::str::FromStr;

use jiff::Timestamp;

use super::jobs::JobKind;
use crate::{
    events::{self, Consumer, Gone, Lag},
    scheduler::{
        self, CatchUp, Cron, DEAD_TIMERS, DeadTimer, TimerKey,
        jobs::{self, Job},
        rounds::MEMBERS_ZONE,
        schedules::{self, Change, JITTER_SECONDS_MAX, Schedule},
    },
    service::{Error, Page, PageRequest, Services},
    store::{Key as _, Scan, Seq, StoreError},
};

/// A schedule by name, with the instant at which it fires next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The name, which is also that of its job.
    pub name: String,
    /// As stored.
    pub schedule: Schedule,
    /// When it fires next, jitter included; never while it is switched off.
    pub due: Option<Timestamp>,
}

/// A job by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The name of the schedule that starts it.
    pub name: String,
    /// As stored.
    pub job: Job,
}

/// What an operator changes of a schedule; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSchedule {
    /// Five fields.
    pub expression: Option<String>,
    /// An IANA name, `member` for the zone that each member lives in, or none for the deployment's.
    pub zone: Option<Option<String>>,
    /// Whether it fires at all.
    pub enabled: Option<bool>,
    /// What becomes of occurrences that nobody saw.
    pub catch_up: Option<CatchUp>,
    /// An occurrence fires up to so many seconds late.
    pub jitter_seconds: Option<u32>,
}

/// The name of a dead timer: its key in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerName(TimerKey);

/// A text that names no timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no timer's name: take it from the list of dead timers")]
pub struct BadTimerName;

impl FromStr for TimerName {
    type Err = BadTimerName;

    fn from_str(text: &str) -> Result<Self, BadTimerName> {
        if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadTimerName);
        }
        let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(|_| BadTimerName)?;
        TimerKey::from_bytes(&bytes).map(Self).ok_or(BadTimerName)
    }
}

impl std::fmt::Display for TimerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A timer that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadTimerStatus {
    /// Names it.
    pub name: TimerName,
    /// What it was to do.
    pub kind: &'static str,
    /// When.
    pub due: Timestamp,
    /// What went wrong.
    pub timer: DeadTimer,
}

/// How far a consumer of events has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorStatus {
    /// Who.
    pub consumer: Consumer,
    /// How far it is behind.
    pub lag: Lag,
}

impl Services {
    /// All schedules, by name.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn schedules(&self) -> Result<Vec<ScheduleStatus>, Error> {
        let read: Result<_, StoreError> = self.store.read(schedules::all).await;
        Ok(read?.into_iter().map(|(name, schedule)| status(name, schedule)).collect())
    }

    /// Changes a schedule. A new expression or zone, and one that is switched on again, count from now.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for every wrong field.
    pub async fn change_schedule(&self, name: &str, change: ChangeSchedule) -> Result<ScheduleStatus, Error> {
        let expression = change.expression.as_deref().map(str::parse::<Cron>).transpose();
        let expression = expression.map_err(|bad| Error::field("/expression", bad.to_string()))?;
        if change.jitter_seconds.is_some_and(|seconds| seconds > JITTER_SECONDS_MAX) {
            return Err(Error::field("/jitter_seconds", format!("must be 0 to {JITTER_SECONDS_MAX}")));
        }
        let ChangeSchedule { zone, enabled, catch_up, jitter_seconds, .. } = change;
        let local = zone.as_ref().is_some_and(|zone| zone.as_deref() == Some(MEMBERS_ZONE));
        if local && !JobKind::tells_members(name) {
            return Err(Error::field(
                "/zone",
                format!("`{MEMBERS_ZONE}` is for what each member is told: `member-day`"),
            ));
        }
        let change = Change { expression, zone, enabled, catch_up, jitter_seconds };
        let (now, zone, row) = (self.clock.now(), self.settings.zone.clone(), name.to_owned());
        let run = self.store.run(now, move |tx| schedules::change(tx, &row, &change, now, &zone).map_err(Error::from));
        Ok(status(name.to_owned(), run.await?))
    }

    /// The last job of each name.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn job_list(&self) -> Result<Vec<JobStatus>, Error> {
        let read: Result<_, StoreError> = self.store.read(jobs::all).await;
        Ok(read?.into_iter().map(|(name, job)| JobStatus { name, job }).collect())
    }

    /// Timers that were given up, by when they were due.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn dead_timers(&self, page: PageRequest) -> Result<Page<DeadTimerStatus>, Error> {
        let read = self.store.read(move |tx| {
            let rows = page.page(tx.scan(&DEAD_TIMERS, &page.scan(Scan::all())?)?)?;
            Ok::<_, Error>(rows.map(|(key, timer)| DeadTimerStatus {
                name: TimerName(key),
                kind: key.kind.name(),
                due: key.due,
                timer,
            }))
        });
        read.await
    }

    /// Lets a dead timer fire again, with all its tries.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn retry_timer(&self, name: TimerName) -> Result<(), Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| match scheduler::revive(tx, name.0, now)? {
            true => Ok(()),
            false => Err(Error::unknown("dead timer", name)),
        });
        run.await
    }

    /// Forgets a dead timer: what it was to do never happens.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn discard_timer(&self, name: TimerName) -> Result<(), Error> {
        let run = self.store.run(self.clock.now(), move |tx| match tx.get(&DEAD_TIMERS, &name.0)? {
            Some(_) => Ok(tx.delete(&DEAD_TIMERS, &name.0)?),
            None => Err(Error::unknown("dead timer", name)),
        });
        run.await
    }

    /// Everybody who reads the event log, and how far behind they are.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn event_cursors(&self) -> Result<Vec<CursorStatus>, Error> {
        let read: Result<Vec<Consumer>, StoreError> = self.store.read(events::consumers).await;
        let mut cursors = Vec::new();
        for consumer in read? {
            let name = consumer.clone();
            let lag: Result<Lag, StoreError> = self.store.read(move |tx| events::lag(tx, &name)).await;
            cursors.push(CursorStatus { consumer, lag: lag? });
        }
        Ok(cursors)
    }

    /// Lets a consumer see again what happened since commit `seq`; it must deal with events it has seen before. How many
    /// shards moved.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a consumer that never read anything; [`Error::Invalid`] where events since then were swept.
    pub async fn rewind_cursor(&self, consumer: &str, seq: u64) -> Result<u16, Error> {
        let unknown = || Error::unknown("consumer", consumer);
        let consumer = Consumer::new(consumer).ok_or_else(unknown)?;
        let name = consumer.name().to_owned();
        let run = self.store.run(self.clock.now(), move |tx| {
            if !events::consumers(tx)?.contains(&consumer) {
                return Err(Error::unknown("consumer", &name));
            }
            events::rewind(tx, &consumer, Seq::new(seq))?.map_err(|Gone { until }| {
                Error::field("/seq", format!("events up to commit {until} were swept: name a later commit"))
            })
        });
        run.await
    }
}

fn status(name: String, schedule: Schedule) -> ScheduleStatus {
    let due = schedule.enabled.then(|| schedule.due(&name));
    ScheduleStatus { name, schedule, due }
}
