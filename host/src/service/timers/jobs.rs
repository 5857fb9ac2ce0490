//! Schedules and the jobs they start.
//!
//! One job of a name runs at a time: an occurrence that comes while the last one's job runs waits for its end. In a
//! round every job does a step, all at once, and due timers go first, so that a long job keeps nobody waiting.

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::{TIMERS_AT_ONCE, is_no_fault_of_the_work};
use crate::{
    domain::member::{Member, MemberState},
    events::{self, What},
    ids::MemberId,
    scheduler::{
        CatchUp, Cron,
        jobs::{self, Job, STEP_ROWS_MAX, Step},
        leases::{self, Token},
        rounds,
        schedules::{self, Definition},
    },
    service::{Error, Services, facts::day_number, tables::MEMBERS},
    store::{Key as _, Scan, StoreError, Tx},
};

/// How long a job's lease lasts without a step.
const LEASE_LASTS: SignedDuration = SignedDuration::from_mins(1);
/// Rounds of one run: timers, schedules, a step of each job.
const ROUNDS_MAX: usize = 100_000;

/// What runs by schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum JobKind {
    /// Says to every member that it is member day.
    MemberDay,
    /// Evaluates every member's tier.
    Tiers,
    /// Deletes old decisions.
    Decisions,
    /// Deletes old answers to idempotency keys.
    Idempotency,
    /// Deletes touches that ended long ago, and what they said.
    Touches,
    /// Deletes what the law wanted kept, once its time is over.
    Statutory,
    /// Deletes events of long ago.
    Events,
    /// Meets those whose zone came to a round's local time.
    Waves,
    /// Gives birthdays and anniversaries to members who joined before there were any.
    Occasions,
}

impl JobKind {
    const ALL: [Self; 9] = [
        Self::MemberDay,
        Self::Tiers,
        Self::Decisions,
        Self::Idempotency,
        Self::Touches,
        Self::Statutory,
        Self::Events,
        Self::Waves,
        Self::Occasions,
    ];

    /// The name of the schedule and of the job.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::MemberDay => "member-day",
            Self::Tiers => "tiers",
            Self::Decisions => "decisions",
            Self::Idempotency => "idempotency",
            Self::Touches => "touches",
            Self::Statutory => "statutory",
            Self::Events => "events",
            Self::Waves => "member-waves",
            Self::Occasions => "occasions",
        }
    }

    /// Whether the schedule of this name may run in the members' zones: the work must be a word to each member.
    pub(super) fn tells_members(name: &str) -> bool {
        name == Self::MemberDay.name()
    }

    /// The schedule as it is made, for those that have one; an operator may change it.
    ///
    /// Every member day is told, also late: the event names its day, and whoever writes to members lets a past one go.
    /// A night that was missed needs no second evaluation.
    const fn schedule(self) -> Option<(&'static str, CatchUp, u32)> {
        match self {
            Self::MemberDay => Some(("0 9 15 * *", CatchUp::All, 0)),
            Self::Tiers => Some(("0 3 * * *", CatchUp::Once, 600)),
            Self::Decisions => Some(("30 3 * * *", CatchUp::Once, 600)),
            Self::Idempotency => Some(("45 3 * * 1", CatchUp::Once, 600)),
            Self::Touches => Some(("15 4 * * *", CatchUp::Once, 600)),
            Self::Statutory => Some(("30 4 * * *", CatchUp::Once, 600)),
            Self::Events => Some(("45 4 * * *", CatchUp::Once, 600)),
            Self::Waves | Self::Occasions => None,
        }
    }
}

/// How fast jobs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// No job deals with more members than the configured second's worth; the next run goes on.
    Measured,
    /// Until everything is done: where a manual clock stands still meanwhile.
    Full,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Timers that were due.
    pub timers: usize,
    /// Occurrences of schedules, and waves of those in the members' zones.
    pub schedules: usize,
    /// Steps of jobs.
    pub steps: usize,
    /// Whether nothing is left to do now, as far as the pace allows.
    pub idle: bool,
}

impl Ran {
    fn count(&self) -> usize {
        self.timers + self.schedules + self.steps
    }
}

/// Lets one run after the other happen in this process; between processes leases decide.
#[derive(Debug, Default)]
pub struct JobRunner(tokio::sync::Mutex<()>);

/// A job's step that was done, under the lease with this token.
struct Stepped {
    kind: JobKind,
    step: Step,
    token: Token,
}

/// A job's step that is to be done.
#[derive(Clone, Debug)]
pub(in crate::service) struct Turn {
    pub(super) kind: JobKind,
    pub(in crate::service) job: Job,
    pub(in crate::service) now: Timestamp,
    token: Token,
}

impl Turn {
    /// The instant so many days of 24 hours before.
    pub(in crate::service) fn days_ago(&self, days: u32) -> Timestamp {
        self.now.checked_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MIN)
    }
}

impl Services {
    /// Makes the schedules that are missing; what an operator changed stays.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn ensure_schedules(&self) -> Result<(), Error> {
        let now = self.clock.now();
        for kind in JobKind::ALL {
            let Some((expression, catch_up, jitter_seconds)) = kind.schedule() else { continue };
            let expression: Cron = expression.parse().map_err(schedules::ScheduleError::Bad)?;
            let definition = Definition { expression, zone: None, catch_up, jitter_seconds };
            let zone = self.settings.zone.clone();
            let run = self
                .store
                .run(now, move |tx| schedules::ensure(tx, kind.name(), &definition, now, &zone).map_err(Error::from));
            run.await?;
        }
        Ok(())
    }

    /// Does everything that is due by the clock, while `go_on` says so: timers, schedules and the jobs they start.
    ///
    /// # Errors
    ///
    /// Those of the store. A timer or step that fails is no error of the run: it is noted and tried again later.
    pub async fn run_due(&self, pace: Pace, go_on: impl Fn() -> bool) -> Result<Ran, Error> {
        let _alone = self.jobs.0.lock().await;
        let mut ran = Ran::default();
        let mut left: BTreeMap<JobKind, u64> = BTreeMap::new();
        let mut tokens: BTreeMap<JobKind, Token> = BTreeMap::new();
        for _ in 0..ROUNDS_MAX {
            let before = ran.count();
            loop {
                let fired = self.fire_due_timers(TIMERS_AT_ONCE).await?;
                ran.timers += fired;
                if fired < TIMERS_AT_ONCE || !go_on() {
                    break;
                }
            }
            match self.issue_for_events().await {
                Ok(dealt) => ran.timers += dealt,
                Err(error) => tracing::error!(%error, "what has happened causes nothing for now"),
            }
            ran.schedules += self.fire_schedules().await? + self.fire_wave().await?;
            let mut turns = Vec::new();
            for kind in self.ready_jobs().await? {
                let left = left.entry(kind).or_insert(u64::from(self.settings.schedule.members_per_second));
                if *left > 0 && go_on() {
                    turns.push(self.step(kind, tokens.remove(&kind)));
                }
            }
            for done in join_all(turns).await {
                let Some(Stepped { kind, step, token }) = done? else { continue };
                ran.steps += 1;
                if step.next.is_some() {
                    tokens.insert(kind, token);
                }
                if let (Pace::Measured, Some(left)) = (pace, left.get_mut(&kind)) {
                    *left = left.saturating_sub(step.rows.max(1));
                }
            }
            if ran.count() == before {
                ran.idle = true;
                break;
            }
            if !go_on() {
                break;
            }
        }
        Ok(ran)
    }

    /// Starts the jobs of schedules that are due; how many.
    async fn fire_schedules(&self) -> Result<usize, Error> {
        let now = self.clock.now();
        let due = self.store.peek(move |tx| schedules::due(tx, now)).await;
        let due: Vec<String> = due.map_err(|error: StoreError| Error::Store(error))?;
        let kinds = JobKind::ALL.into_iter().filter(|kind| due.iter().any(|name| name == kind.name()));
        let fired = join_all(kinds.map(|kind| self.fire_schedule(kind, now))).await;
        fired.into_iter().sum()
    }

    /// Starts a schedule's job, if it is due and its last one has ended; how many. A schedule that cannot is no error.
    async fn fire_schedule(&self, kind: JobKind, now: Timestamp) -> Result<usize, Error> {
        let zone = self.settings.zone.clone();
        let run = self.store.run(now, move |tx| {
            if jobs::is_running(tx, kind.name())? {
                return Ok::<_, Error>(0);
            }
            let Some(occurrence) = schedules::take(tx, kind.name(), now, &zone)? else { return Ok(0) };
            jobs::begin(tx, kind.name(), occurrence, now)?;
            if occurrence.local {
                rounds::begin(tx, kind.name(), occurrence.at)?;
            }
            Ok(1)
        });
        match run.await {
            Err(error) if !is_no_fault_of_the_work(&error) => {
                tracing::error!(schedule = kind.name(), %error, "a schedule cannot fire");
                Ok(0)
            }
            fired => fired,
        }
    }

    async fn ready_jobs(&self) -> Result<Vec<JobKind>, Error> {
        let now = self.clock.now();
        let read = self.store.peek(move |tx| {
            let mut ready = Vec::new();
            for kind in JobKind::ALL {
                if jobs::ready(tx, kind.name(), now)?.is_some() {
                    ready.push(kind);
                }
            }
            Ok::<_, Error>(ready)
        });
        read.await
    }

    /// Does a job's next step, with the lease of the step before or a new one; `None` if another does it, or it failed.
    async fn step(&self, kind: JobKind, token: Option<Token>) -> Result<Option<Stepped>, Error> {
        let now = self.clock.now();
        let claimed = match token {
            Some(token) => self.go_on(kind, token, now).await?,
            None => self.claim(kind, now).await?,
        };
        let Some(turn) = claimed else { return Ok(None) };
        let token = turn.token;
        let done = match kind {
            JobKind::MemberDay if turn.job.local => self.expect_page(turn.clone()).await,
            JobKind::MemberDay => self.tell_member_day(turn.clone()).await,
            JobKind::Tiers => self.evaluate_page(turn.clone()).await,
            JobKind::Decisions => self.sweep_decisions(turn.clone()).await,
            JobKind::Idempotency => self.sweep_idempotency(turn.clone()).await,
            JobKind::Touches => self.sweep_touches(turn.clone()).await,
            JobKind::Statutory => self.sweep_statutory(turn.clone()).await,
            JobKind::Events => self.sweep_events(turn.clone()).await,
            JobKind::Waves => self.meet_page(turn.clone()).await,
            JobKind::Occasions => self.fill_occasions(turn.clone()).await,
        };
        match done {
            Ok(Some(step)) => Ok(Some(Stepped { kind, step, token })),
            Ok(None) => {
                tracing::warn!(job = kind.name(), "the lease was lost: another goes on");
                Ok(None)
            }
            Err(error) if is_no_fault_of_the_work(&error) => Err(error),
            Err(error) => self.step_failed(turn, &error).await.map(|()| None),
        }
    }

    /// Takes the job's lease for its first step in this run; `None` if another has it.
    async fn claim(&self, kind: JobKind, now: Timestamp) -> Result<Option<Turn>, Error> {
        let holder = self.settings.schedule.node.clone();
        let claim = self.store.run(now, move |tx| {
            let Some(job) = jobs::ready(tx, kind.name(), now)? else { return Ok(None) };
            let token = leases::take(tx, kind.name(), &holder, now, LEASE_LASTS)?;
            Ok(token.map(|token| Turn { kind, job, now, token }))
        });
        claim.await
    }

    /// The next step under a lease that this run has. A look is enough: the step's own transaction asks for the lease and
    /// the job's place again.
    async fn go_on(&self, kind: JobKind, token: Token, now: Timestamp) -> Result<Option<Turn>, Error> {
        let look = self.store.peek(move |tx| {
            let Some(job) = jobs::ready(tx, kind.name(), now)? else { return Ok(None) };
            Ok(leases::holds(tx, kind.name(), token)?.then_some(Turn { kind, job, now, token }))
        });
        look.await
    }

    async fn step_failed(&self, turn: Turn, error: &Error) -> Result<(), Error> {
        let (name, why) = (turn.kind.name(), error.to_string());
        tracing::error!(job = name, error = why, "a step failed");
        let now = turn.now;
        let run = self.store.run(now, move |tx| {
            if leases::holds(tx, name, turn.token)? && jobs::fail(tx, name, &turn.job, &why, now)? {
                tracing::error!(job = name, "the job was given up");
            }
            Ok::<_, Error>(())
        });
        run.await
    }

    /// Commits a step with what `work` writes; `None` if the lease was lost or the job moved on without us.
    pub(in crate::service) async fn commit_step(
        &self,
        turn: Turn,
        work: impl Fn(&mut Tx<'_>) -> Result<Step, Error> + Send + 'static,
    ) -> Result<Option<Step>, Error> {
        let (name, now) = (turn.kind.name(), turn.now);
        let run = self.store.run(now, move |tx| {
            if !leases::renew(tx, name, turn.token, now, LEASE_LASTS)? || !jobs::is_at(tx, name, &turn.job)? {
                return Ok(None);
            }
            let step = work(tx)?;
            jobs::advance(tx, name, &turn.job, &step, now)?;
            if step.next.is_none() {
                leases::release(tx, name, turn.token)?;
            }
            Ok(Some(step))
        });
        run.await
    }

    /// Tells a page of members that it is member day: those who had joined by then.
    async fn tell_member_day(&self, turn: Turn) -> Result<Option<Step>, Error> {
        let (cursor, occurrence) = (turn.job.cursor.clone(), turn.job.occurrence);
        let day = day_number(occurrence, &self.settings.zone);
        let commit = self.commit_step(turn, move |tx| {
            let (members, mut step) = members_page(tx, cursor.as_deref(), STEP_ROWS_MAX)?;
            for member in members {
                if member.state == MemberState::Active && member.registered_at <= occurrence {
                    events::append(tx, member.id, [What::MemberDay(day)])?;
                    step.changed += 1;
                }
            }
            Ok(step)
        });
        commit.await
    }
}

/// The members of a job's next page, and the step that they make.
pub(super) fn members_page(
    tx: &mut Tx<'_>,
    cursor: Option<&[u8]>,
    limit: usize,
) -> Result<(Vec<Member>, Step), StoreError> {
    let scan = Scan::all().limit(limit);
    let scan = match cursor.and_then(MemberId::from_bytes) {
        Some(last) => scan.after(&last),
        None => scan,
    };
    let rows = tx.scan(&MEMBERS, &scan)?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|(id, _)| id.to_bytes());
    let step = Step { next, rows: rows.len() as u64, changed: 0 };
    Ok((rows.into_iter().map(|(_, member)| member).collect(), step))
}
