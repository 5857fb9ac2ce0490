//! One call: facts filtered and lowered, a fresh sandbox, the answer checked, faults contained.
//!
//! [`Core::decide`] is the only way from a release to its guest. Each kind adds what it passes and what it accepts
//! ([`Rule`]); everything else is the same for all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    breaker::Breaker,
    budget::{Budgets, Grants},
    channel::Channel,
    engine::Pool,
    fault::Fault,
    metrics::{Metrics, ReleaseStats},
    module::{FieldError, Module},
    program::{Program, wrong_kind},
    release::{Ready, Release, ReleaseRef},
    sandbox::{Sandbox, classify},
    wire,
};
use crate::domain::{
    fact::{Fact, Facts, Scope, Sensitivity, Value},
    money::{Money, Points},
    rule::{Kind, Parameter, Reason, ReasonText, Tier},
};

/// Parameters of a reason.
const PARAMETERS_MAX: usize = 8;

/// One answer of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<T> {
    /// The release decided.
    Decided(T),
    /// The release could not, and the fallback answered in its place.
    FellBack {
        /// The answer, where the fallback has one.
        value: Option<T>,
        /// Which fallback.
        by: FellBackTo,
        /// Why the release could not.
        fault: Fault,
    },
}

/// Which fallback answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FellBackTo {
    /// No answer: the caller must refuse.
    Refusal,
    /// No answer: the caller goes on without.
    Nothing,
    /// The default of the release.
    Default,
    /// This earlier release.
    Previous(ReleaseRef),
}

impl<T> Answer<T> {
    /// The answer, whoever gave it.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Decided(value) => Some(value),
            Self::FellBack { value, .. } => value.as_ref(),
        }
    }

    /// The answer, whoever gave it.
    pub fn into_value(self) -> Option<T> {
        match self {
            Self::Decided(value) => Some(value),
            Self::FellBack { value, .. } => value,
        }
    }

    /// Why the release could not answer, if it could not.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Decided(_) => None,
            Self::FellBack { fault, .. } => Some(fault),
        }
    }
}

/// The answers of one call.
#[derive(Clone, Debug)]
pub struct Answered<T> {
    /// One for each item, in order.
    pub answers: Vec<Answer<T>>,
    /// The release that was asked, one for all.
    pub release: ReleaseRef,
    /// What the call burnt.
    pub fuel: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl<T> Answered<T> {
    /// The answers of a call that could not even begin.
    pub(super) fn refused(items: usize, release: ReleaseRef, fault: &Fault) -> Self {
        let refused = || Answer::FellBack { value: None, by: FellBackTo::Refusal, fault: fault.clone() };
        let answers = std::iter::repeat_with(refused).take(items).collect();
        Self { answers, release, fuel: 0, elapsed: Duration::ZERO }
    }

    /// The first fault, if there was one.
    pub fn fault(&self) -> Option<&Fault> {
        self.answers.iter().find_map(Answer::fault)
    }
}

/// The answers of a bulk call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// For each member the index into the release's tiers.
    pub tiers: Vec<u16>,
    /// The release that answered.
    pub release: ReleaseRef,
    /// What the call burnt.
    pub fuel: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// What each kind adds to a call.
pub(super) trait Rule {
    const KIND: Kind;
    type Subject: Sync;
    type Answer: Send;

    /// Asks the guest about these items and checks what it says.
    fn ask(
        core: &Core,
        sandbox: &mut Sandbox,
        subjects: &[Self::Subject],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Fault>> + Send;

    /// The release's default answer, where the kind has one.
    fn default(ready: &Ready) -> Option<Self::Answer>;
}

/// The facts that a call passes, in the plugin's order; `None` where the release was not granted one.
pub(super) struct Picks {
    pub(super) subject: Vec<Option<&'static Fact>>,
    pub(super) line: Vec<Option<&'static Fact>>,
    pub(super) candidate: Vec<Option<&'static Fact>>,
}

impl Picks {
    pub(super) fn of(wanted: &[&'static Fact], grants: &Grants) -> Self {
        let granted = |fact: &&'static Fact| match fact.sensitivity {
            Sensitivity::Open => true,
            Sensitivity::Personal => grants.personal,
            Sensitivity::Health => grants.health,
        };
        let pick = |scope| wanted.iter().filter(|f| f.scope == scope).map(|f| Some(*f).filter(granted)).collect();
        Self { subject: pick(Scope::Subject), line: pick(Scope::Line), candidate: pick(Scope::Candidate) }
    }
}

/// What happened to a release, kept longer than the release itself.
pub(super) struct Health {
    pub(super) release: ReleaseRef,
    pub(super) metrics: Metrics,
    pub(super) breaker: Breaker,
}

impl Health {
    pub(super) fn stats(&self) -> ReleaseStats {
        self.metrics.snapshot(self.release.clone(), self.breaker.state(tokio::time::Instant::now()))
    }
}

/// The part of a release that runs guests.
pub(super) struct Core {
    pub(super) health: Arc<Health>,
    pub(super) module: Arc<Module>,
    pub(super) pool: Arc<Pool>,
    pub(super) program: Program,
    /// The configuration, where it could not be snapshotted.
    pub(super) configure: Option<String>,
    pub(super) budgets: Budgets,
    pub(super) picks: Picks,
    pub(super) reasons: Arc<[ReasonText]>,
    pub(super) tiers: Arc<[Tier]>,
    /// What a channel keeps beside; none for other kinds.
    pub(super) channel: Option<Channel>,
}

impl Core {
    /// A fresh, configured sandbox for a call with this many items. The inner error is the plugin's own about its
    /// configuration, which only a first try can give.
    pub(super) async fn open(&self, items: usize) -> Result<Result<Sandbox, Vec<FieldError>>, Fault> {
        let place = self.pool.place().await?;
        let Some(config) = &self.configure else {
            return Sandbox::open(&self.program.pre, &self.budgets, items, Some(place)).await.map(Ok);
        };
        let preparing = Budgets { memory_bytes: self.budgets.memory_bytes, ..Budgets::preparing() };
        let mut sandbox = Sandbox::open(&self.program.pre, &preparing, 1, Some(place)).await?;
        match self.program.configure(&mut sandbox, config).await {
            Ok(Ok(())) => {}
            Ok(Err(fields)) => return Ok(Err(fields.into_iter().map(FieldError::from).collect())),
            Err(error) => return Err(classify(&error, &preparing, 1)),
        }
        sandbox.rearm(&self.budgets, items);
        Ok(Ok(sandbox))
    }

    /// The same, once the configuration is known to be accepted.
    pub(super) async fn fresh(&self, items: usize) -> Result<Sandbox, Fault> {
        let refused = |_| Fault::BadAnswer("`configure` refused what it had accepted".to_owned());
        self.open(items).await?.map_err(refused)
    }

    pub(super) fn classify(&self, error: &wasmtime::Error, items: usize) -> Fault {
        classify(error, &self.budgets, items)
    }

    /// One call in a fresh sandbox, which is gone afterwards whatever happened; and what it burnt.
    async fn attempt<R: Rule>(&self, subjects: &[R::Subject]) -> (Result<Vec<R::Answer>, Fault>, u64) {
        match self.fresh(subjects.len()).await {
            Err(fault) => (Err(fault), 0),
            Ok(mut sandbox) => {
                let answers = R::ask(self, &mut sandbox, subjects).await;
                let burnt = sandbox.burnt(&self.budgets, subjects.len());
                (answers, burnt)
            }
        }
    }

    /// Answers each item, and says what was burnt. A batch that fails is asked again item by item, so that one item
    /// costs the others nothing but time.
    pub(super) async fn decide<R: Rule>(&self, subjects: &[R::Subject]) -> (Vec<Result<R::Answer, Fault>>, u64) {
        if R::KIND != self.module.kind() {
            return (subjects.iter().map(|_| Err(wrong_kind(R::KIND))).collect(), 0);
        }
        if subjects.is_empty() {
            return (Vec::new(), 0);
        }
        let (answers, mut fuel) = self.guarded::<R>(subjects).await;
        let fault = match answers {
            Ok(answers) => return (answers.into_iter().map(Ok).collect(), fuel),
            Err(fault) => fault,
        };
        if subjects.len() == 1 || !fault.is_plugins() {
            return (subjects.iter().map(|_| Err(fault.clone())).collect(), fuel);
        }
        let mut outcomes = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let (answer, burnt) = self.guarded::<R>(std::slice::from_ref(subject)).await;
            fuel = fuel.saturating_add(burnt);
            outcomes.push(answer.and_then(|answers| {
                answers.into_iter().next().ok_or_else(|| Fault::BadAnswer("no answer for the item".to_owned()))
            }));
        }
        (outcomes, fuel)
    }

    /// An attempt that the circuit breaker allows and learns from. A batch teaches it nothing bad: its items will.
    async fn guarded<R: Rule>(&self, subjects: &[R::Subject]) -> (Result<Vec<R::Answer>, Fault>, u64) {
        let breaker = &self.health.breaker;
        if !breaker.admits(tokio::time::Instant::now) {
            return (Err(Fault::BreakerOpen), 0);
        }
        let (answers, fuel) = self.attempt::<R>(subjects).await;
        match &answers {
            Ok(_) => breaker.succeeded(),
            Err(fault) if fault.is_plugins() && subjects.len() == 1 => breaker.failed(tokio::time::Instant::now()),
            Err(_) => {}
        }
        (answers, fuel)
    }

    /// The reasons as the host knows them, if there are not too many and each is in the table.
    pub(super) fn reasons(&self, reasons: Vec<wire::Reason>) -> Result<Vec<Reason>, Fault> {
        let bad = |why: String| Err(Fault::BadAnswer(why));
        if reasons.len() > usize::from(self.budgets.reasons) {
            return bad(format!("{} reasons, at most {}", reasons.len(), self.budgets.reasons));
        }
        let mut known = Vec::with_capacity(reasons.len());
        for reason in reasons {
            let Some(text) = self.reasons.get(usize::from(reason.code)) else {
                return bad(format!("reason {} of {} does not exist", reason.code, self.reasons.len()));
            };
            if reason.parameters.len() > PARAMETERS_MAX {
                let count = reason.parameters.len();
                return bad(format!("reason `{}` has {count} parameters, at most {PARAMETERS_MAX}", text.code));
            }
            let parameters = reason.parameters.into_iter().map(Parameter::from).collect();
            known.push(Reason { code: text.code.clone(), parameters });
        }
        Ok(known)
    }
}

impl From<wire::Parameter> for Parameter {
    fn from(parameter: wire::Parameter) -> Self {
        match parameter {
            wire::Parameter::Integer(number) => Self::Integer(number),
            wire::Parameter::Money(amount) => Self::Money(Money::new(amount)),
            wire::Parameter::Points(points) => Self::Points(Points::new(points)),
            wire::Parameter::BasisPoints(rate) => Self::BasisPoints(rate),
            wire::Parameter::Text(text) => Self::Text(text),
        }
    }
}

/// Fails unless the guest gave exactly as many answers as it was asked for.
pub(super) fn check_count(what: &str, given: usize, asked: usize) -> Result<(), Fault> {
    if given == asked { Ok(()) } else { Err(Fault::BadAnswer(format!("{given} {what} for {asked}"))) }
}

/// Values on their way into the guest: all of a call in one piece, cut into rows once they are complete.
pub(super) struct Values<'a> {
    values: Vec<wire::Value<'a>>,
    text_bytes: usize,
}

impl<'a> Values<'a> {
    pub(super) fn with_capacity(values: usize) -> Self {
        Self { values: Vec::with_capacity(values), text_bytes: 0 }
    }

    pub(super) fn push(&mut self, value: &'a Value) {
        let (value, bytes) = wire::Value::of(value);
        self.values.push(value);
        self.text_bytes += bytes;
    }

    /// The facts that the release wants and was granted.
    pub(super) fn push_facts(&mut self, picks: &[Option<&'static Fact>], facts: &'a Facts) {
        for pick in picks {
            match pick {
                Some(fact) => self.push(facts.get(fact)),
                None => self.values.push(wire::Value::Absent),
            }
        }
    }

    /// Counts what a call passes beside values.
    pub(super) fn count(&mut self, bytes: usize) {
        self.text_bytes += bytes;
    }

    /// The values, if a call with this many items may pass so much.
    pub(super) fn finish(self, budgets: &Budgets, items: usize) -> Result<Vec<wire::Value<'a>>, Fault> {
        let bytes = self.values.len() * wire::VALUE_BYTES + self.text_bytes;
        let limit = (budgets.input_bytes as usize).saturating_mul(items);
        if bytes > limit {
            return Err(Fault::InputTooLarge { bytes: bytes as u64, limit: limit as u64 });
        }
        Ok(self.values)
    }
}

/// Takes the next `count` of a slice.
pub(super) fn take<'a, T>(rest: &mut &'a [T], count: usize) -> &'a [T] {
    let (taken, left) = rest.split_at(count);
    *rest = left;
    taken
}

impl Release {
    /// A call, its fallback and its figures.
    pub(super) async fn call<R: Rule>(&self, subjects: &[R::Subject]) -> Answered<R::Answer> {
        let began = Instant::now();
        let health = &self.core.health;
        let _in_flight = health.metrics.begin();
        let (outcomes, fuel) = self.core.decide::<R>(subjects).await;
        let mut answers = Vec::with_capacity(outcomes.len());
        for (outcome, subject) in outcomes.into_iter().zip(subjects) {
            answers.push(match outcome {
                Ok(answer) => Answer::Decided(answer),
                Err(fault) => self.fall_back::<R>(subject, fault).await,
            });
        }
        let elapsed = began.elapsed();
        health.metrics.call(subjects.len(), fuel, elapsed);
        Answered { answers, release: health.release.clone(), fuel, elapsed }
    }

    async fn fall_back<R: Rule>(&self, subject: &R::Subject, fault: Fault) -> Answer<R::Answer> {
        self.core.health.metrics.fault(&fault);
        self.core.health.metrics.fallback();
        let (value, by) = match &self.ready {
            Ready::FailClosed => (None, FellBackTo::Refusal),
            Ready::Skip => (None, FellBackTo::Nothing),
            Ready::Tier(_) | Ready::Award(_) => (R::default(&self.ready), FellBackTo::Default),
            Ready::Previous(core) => {
                let (mut outcomes, _) = core.decide::<R>(std::slice::from_ref(subject)).await;
                match outcomes.pop() {
                    Some(Ok(value)) => (Some(value), FellBackTo::Previous(core.health.release.clone())),
                    _ => (None, FellBackTo::Nothing),
                }
            }
        };
        Answer::FellBack { value, by, fault }
    }
}

/// An instance that is kept between calls. After a fault it is thrown away and the next call starts a new one.
pub struct Warm {
    pub(super) core: Arc<Core>,
    sandbox: Option<Sandbox>,
}

impl Warm {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, sandbox: None }
    }

    /// The kept sandbox, taken out: who succeeds puts it back.
    pub(super) async fn take(&mut self, items: usize) -> Result<Sandbox, Fault> {
        match self.sandbox.take() {
            Some(mut sandbox) => {
                sandbox.rearm(&self.core.budgets, items);
                Ok(sandbox)
            }
            None => self.core.fresh(items).await,
        }
    }

    pub(super) fn put_back(&mut self, sandbox: Sandbox) {
        self.sandbox = Some(sandbox);
    }

    pub(super) async fn ask<R: Rule>(&mut self, subjects: &[R::Subject]) -> Result<Vec<R::Answer>, Fault> {
        let mut sandbox = self.take(subjects.len()).await?;
        let core = Arc::clone(&self.core);
        let answers = R::ask(&core, &mut sandbox, subjects).await?;
        self.put_back(sandbox);
        Ok(answers)
    }
}
