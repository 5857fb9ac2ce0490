//! Releases: a module with its configuration, grants, budgets and fallback, ready to answer and never changed.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::time::Instant;
use wasmtime::component::Component;

use super::{
    artefact::Kept,
    breaker::Breaker,
    budget::{BadBudget, Budgets, Grants},
    call::{Answered, Columns, Core, Health, Picks, Warm},
    channel::{self, Delivered},
    coupon::CouponPolicies,
    earning::EarningRules,
    engine::Shared,
    fault::Fault,
    guard::ContentGuards,
    metrics::{Metrics, ReleaseStats},
    module::{FieldError, Module},
    outbound::Via,
    program::Program,
    sandbox::block_on,
    score::Scorers,
    snapshot::{self, NoSnapshot},
    tier::{self, TierRules},
};
use crate::domain::{
    channel::{ChannelTraits, Incoming, Message, Received},
    fact::{Fact, Facts, Value},
    guard::{Draft, Finding},
    money::Points,
    rule::{Activity, Award, CartSubject, Code, Kind, Proposal, Tier, TierSubject, Verdict},
    score::{Score, ScoreRequest},
};

/// Which release: the number counts up within a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ReleaseRef {
    /// The slot's name.
    #[n(0)]
    pub slot: Code,
    /// The release's number, from 1; 0 stands for a slot without one.
    #[n(1)]
    pub number: u64,
}

impl fmt::Display for ReleaseRef {
    /// `tier#3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.slot, self.number)
    }
}

/// What answers when the release cannot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Nothing: the caller refuses.
    FailClosed,
    /// Nothing: the caller goes on without an answer. A tier stays as it is, no points are earned, no offer applies,
    /// nothing is recommended; a message that was not looked at is not sent.
    #[default]
    Skip,
    /// This answer, as JSON: `{"tier": "bronze"}`, or `{"points": 0, "pending_days": 7, "valid_months": 12}`.
    Default(Json),
    /// The release that was live before this one, if it can; otherwise nothing, as for `skip`.
    PreviousRelease,
}

/// What to make a release of.
#[derive(Clone, Debug)]
pub struct ReleaseSpec {
    /// The slot it is for.
    pub slot: Code,
    /// Its number within the slot.
    pub number: u64,
    /// The plugin.
    pub module: Arc<Module>,
    /// The plugin's configuration.
    pub config: Json,
    /// What it may see.
    pub grants: Grants,
    /// What it may use up.
    pub budgets: Budgets,
    /// What answers when it cannot.
    pub fallback: Fallback,
    /// The release before it, for [`Fallback::PreviousRelease`].
    pub previous: Option<Arc<Release>>,
}

/// Why a release cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The configuration is refused, by its schema or by the plugin itself.
    #[error("the configuration is refused: {}", list(.0))]
    Config(Vec<FieldError>),
    /// A budget out of range.
    #[error(transparent)]
    Budget(#[from] BadBudget),
    /// `configure` failed instead of saying what is wrong.
    #[error("`configure` failed: {0}")]
    Configure(Fault),
    /// The configured plugin does not start within the release's budgets.
    #[error("the configured plugin cannot be started within the release's budgets: {0}")]
    Start(Fault),
    /// The tiers of the configured rule cannot be used.
    #[error("the tiers are wrong at {pointer}: {why}")]
    Tiers {
        /// Which part.
        pointer: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A grant is missing, or names what does not exist.
    #[error("the grant {pointer} is wrong: {why}")]
    Grant {
        /// Which grant.
        pointer: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The fallback cannot be used.
    #[error("the fallback is wrong: {0}")]
    Fallback(String),
    /// The host itself failed.
    #[error("the host could not prepare the release: {0}")]
    Host(String),
}

fn list(fields: &[FieldError]) -> String {
    let field = |field: &FieldError| format!("{}: {}", field.pointer, field.message);
    fields.iter().map(field).collect::<Vec<_>>().join("; ")
}

/// What a release is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To answer. Whatever it imports must be granted.
    Service,
    /// To be looked at, or to run cases that bring along what a vendor would answer.
    Rehearsal,
}

/// The fallback, with whatever it needs to answer.
pub(super) enum Ready {
    FailClosed,
    Skip,
    Tier(Verdict),
    Award(Award),
    Previous(Arc<Core>),
}

/// A release: prepared once, then immutable. Calls go through its [`Slot`](super::Slot), or to the release itself where
/// an answer must come from a pinned one.
pub struct Release {
    pub(super) core: Arc<Core>,
    pub(super) ready: Ready,
    origin: Origin,
}

/// What the release was made of, for those who ask.
struct Origin {
    config: Json,
    grants: Grants,
    fallback: Fallback,
    snapshotted: bool,
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Release({} of {:?})", self.core.health.release, self.core.module)
    }
}

impl Release {
    /// Which release.
    pub fn reference(&self) -> &ReleaseRef {
        &self.core.health.release
    }

    /// Its plugin.
    pub fn module(&self) -> &Arc<Module> {
        &self.core.module
    }

    /// Its configuration.
    pub fn config(&self) -> &Json {
        &self.origin.config
    }

    /// What it may see.
    pub fn grants(&self) -> &Grants {
        &self.origin.grants
    }

    /// What it may use up.
    pub fn budgets(&self) -> &Budgets {
        &self.core.budgets
    }

    /// What answers when it cannot.
    pub fn fallback(&self) -> &Fallback {
        &self.origin.fallback
    }

    /// Whether calls start from a snapshot; otherwise each fresh sandbox is configured first, which is slower.
    pub fn snapshotted(&self) -> bool {
        self.origin.snapshotted
    }

    /// The tiers that a tier rule can give, lowest first; empty for other kinds.
    pub fn tiers(&self) -> &Arc<[Tier]> {
        &self.core.tiers
    }

    /// Whether calls pass this fact: wanted by the plugin and granted to the release.
    pub fn sees(&self, fact: &Fact) -> bool {
        let picks = &self.core.picks;
        let (subject, line, candidate) = (&picks.subject, &picks.line, &picks.candidate);
        subject.iter().chain(line).chain(candidate).flatten().any(|picked| *picked == fact)
    }

    /// What it did so far.
    pub fn stats(&self) -> ReleaseStats {
        self.core.health.stats()
    }

    /// The tier of each member.
    pub async fn tier(&self, subjects: &[TierSubject]) -> Answered<Verdict> {
        self.call::<TierRules>(subjects).await
    }

    /// The tier of each member as an index into [`Release::tiers`], without reasons: for many members at once.
    ///
    /// # Errors
    ///
    /// The [`Fault`] for all of them; there is no fallback.
    pub async fn tier_columns(&self, as_of: Timestamp, members: &[Facts]) -> Result<Columns, Fault> {
        tier::columns(&self.core, as_of, members).await
    }

    /// The points each activity earns.
    pub async fn earn(&self, activities: &[Activity]) -> Answered<Award> {
        self.call::<EarningRules>(activities).await
    }

    /// For each cart a proposal for each of its offers.
    pub async fn price(&self, carts: &[CartSubject]) -> Answered<Vec<Proposal>> {
        self.call::<CouponPolicies>(carts).await
    }

    /// For each member their recommended candidates.
    pub async fn score(&self, requests: &[ScoreRequest]) -> Answered<Vec<Score>> {
        self.call::<Scorers>(requests).await
    }

    /// For each message what it may not say. A message without an answer was not looked at: whatever the fallback, it
    /// must not be sent. Only an empty list lets it pass.
    pub async fn guard(&self, drafts: &[Draft]) -> Answered<Vec<Finding>> {
        self.call::<ContentGuards>(drafts).await
    }

    /// Asks the policy whether an offer's terms make sense.
    ///
    /// # Errors
    ///
    /// The outer [`Fault`] if the plugin failed or is no coupon policy; the inner list names the wrong terms.
    pub async fn check_terms(&self, terms: &[Value]) -> Result<Result<(), Vec<FieldError>>, Fault> {
        super::coupon::check_terms(&self.core, terms).await
    }

    /// What the host must know of the configured channel; of another kind that it takes nothing.
    pub fn channel_traits(&self) -> ChannelTraits {
        channel::traits(&self.core)
    }

    /// Tries once to deliver a message. There is no fallback: what cannot be sent is for the caller to repeat, and what
    /// may have been sent is [`Attempt::Unknown`](crate::domain::channel::Attempt::Unknown).
    pub async fn deliver(&self, message: &Message, now: Timestamp, nonce: [u8; 16]) -> Delivered {
        channel::deliver(&self.core, message, now, nonce, Via::Network).await
    }

    /// Reads a vendor's report.
    ///
    /// # Errors
    ///
    /// The outer [`Fault`] if the plugin failed or is no channel; the inner text says why the report cannot be believed.
    pub async fn parse_receipt(
        &self,
        incoming: &Incoming,
        now: Timestamp,
        nonce: [u8; 16],
    ) -> Result<Result<Received, String>, Fault> {
        channel::parse_receipt(&self.core, incoming, now, nonce, Via::Network).await
    }

    /// An instance that is kept between calls: faster, and its history may show in what it burns. For bulk work and
    /// benchmarks; it holds a place in the pool until dropped.
    pub fn warm(&self) -> Warm {
        Warm::new(Arc::clone(&self.core))
    }
}

/// Prepares a release; blocks.
pub(super) fn prepare(shared: &Shared, spec: ReleaseSpec, purpose: Purpose) -> Result<Arc<Release>, ReleaseError> {
    spec.budgets.check()?;
    if purpose == Purpose::Service {
        shared.egress.check(&spec.module, &spec.grants)?;
    }
    check_config(&spec.module, &spec.config)?;
    let config = spec.config.to_string();
    let (component, snapshotted) = configured(shared, &spec.module, &config)?;
    let program = Program::load(&shared.small.linker, &component, spec.module.kind())
        .map_err(|error| ReleaseError::Host(error.to_string()))?;
    let release = ReleaseRef { slot: spec.slot.clone(), number: spec.number };
    let health = Health { release, metrics: Metrics::new(), breaker: Breaker::new(Instant::now()) };
    let mut core = Core {
        health: Arc::new(health),
        pool: Arc::clone(&shared.small),
        program,
        configure: (!snapshotted).then_some(config),
        budgets: spec.budgets,
        picks: Picks::of(&spec.module.description().facts, &spec.grants),
        reasons: Arc::clone(&spec.module.description().reasons),
        tiers: Arc::default(),
        channel: None,
        module: spec.module,
    };
    core.tiers = block_on(try_out(&core))?;
    core.channel = block_on(channel::prepare(&core, &shared.egress, &spec.grants))?;
    let ready = resolve(&spec.fallback, spec.previous.as_deref(), &core)?;
    let origin = Origin { config: spec.config, grants: spec.grants, fallback: spec.fallback, snapshotted };
    Ok(Arc::new(Release { core: Arc::new(core), ready, origin }))
}

fn check_config(module: &Module, config: &Json) -> Result<(), ReleaseError> {
    let field = |error: jsonschema::ValidationError<'_>| FieldError {
        pointer: error.instance_path().to_string(),
        message: error.to_string(),
    };
    let fields: Vec<_> = module.schema.iter_errors(config).map(field).collect();
    if fields.is_empty() { Ok(()) } else { Err(ReleaseError::Config(fields)) }
}

/// The component that fresh sandboxes start from, and whether it is already configured.
fn configured(shared: &Shared, module: &Module, config: &str) -> Result<(Component, bool), ReleaseError> {
    if module.kind() == Kind::Channel {
        // It imports what no snapshot carries.
        return Ok((compiled(shared, module)?, false));
    }
    let engine = &shared.small.engine;
    let key = shared.artefacts.key(&[b"snapshot", module.digest().as_bytes(), config.as_bytes()]);
    match shared.artefacts.load(engine, key) {
        Some(Kept::Component(component)) => return Ok((component, true)),
        Some(Kept::NoSnapshot) => return Ok((compiled(shared, module)?, false)),
        None => {}
    }
    let snapshot = snapshot::take(shared, module, config).and_then(|bytes| {
        Component::from_binary(engine, &bytes).map_err(|error| NoSnapshot::Unsupported(format!("{error:#}")))
    });
    match snapshot {
        Ok(component) => {
            shared.artefacts.keep(key, Some(&component));
            Ok((component, true))
        }
        Err(NoSnapshot::Unsupported(why)) => {
            tracing::info!(module = %module.digest(), why, "no snapshot: each call configures its own sandbox");
            shared.artefacts.keep(key, None);
            Ok((compiled(shared, module)?, false))
        }
        Err(NoSnapshot::Refused(fields)) => Err(ReleaseError::Config(fields)),
        Err(NoSnapshot::Failed(fault)) => Err(ReleaseError::Configure(fault)),
    }
}

fn compiled(shared: &Shared, module: &Module) -> Result<Component, ReleaseError> {
    module.compile(shared).map_err(|error| ReleaseError::Host(error.to_string()))
}

/// Starts the plugin once under the release's own budgets and asks a tier rule for its tiers.
async fn try_out(core: &Core) -> Result<Arc<[Tier]>, ReleaseError> {
    let mut sandbox = match core.open(1).await {
        Ok(Ok(sandbox)) => sandbox,
        Ok(Err(fields)) => return Err(ReleaseError::Config(fields)),
        Err(fault) if core.module.kind() == Kind::Channel => return Err(ReleaseError::Configure(fault)),
        Err(fault) => return Err(ReleaseError::Start(fault)),
    };
    match core.module.kind() {
        Kind::TierRule => tier::read_tiers(core, &mut sandbox).await,
        Kind::EarningRule | Kind::CouponPolicy | Kind::Scorer | Kind::ContentGuard | Kind::Channel => {
            Ok(Arc::default())
        }
    }
}

fn resolve(fallback: &Fallback, previous: Option<&Release>, core: &Core) -> Result<Ready, ReleaseError> {
    let wrong = |why: String| ReleaseError::Fallback(why);
    match fallback {
        Fallback::FailClosed => Ok(Ready::FailClosed),
        Fallback::Skip => Ok(Ready::Skip),
        Fallback::Default(json) => default_answer(json, core).map_err(wrong),
        Fallback::PreviousRelease if core.module.kind() == Kind::Channel => {
            Err(wrong("a channel has none, another release could send a message twice; use `skip`".to_owned()))
        }
        Fallback::PreviousRelease => {
            let previous = previous.ok_or_else(|| wrong("there is no previous release to fall back to".to_owned()))?;
            if previous.core.module.kind() != core.module.kind() {
                return Err(wrong(format!("the previous release is no {}", core.module.kind().name())));
            }
            Ok(Ready::Previous(Arc::clone(&previous.core)))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultTier {
    tier: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultAward {
    points: Points,
    pending_days: u16,
    valid_months: u16,
}

fn default_answer(json: &Json, core: &Core) -> Result<Ready, String> {
    match core.module.kind() {
        Kind::TierRule => {
            let DefaultTier { tier } = DefaultTier::deserialize(json).map_err(|error| error.to_string())?;
            let known = core.tiers.iter().find(|known| *known.code == *tier);
            let known = known.ok_or_else(|| format!("/tier: the rule has no tier `{}`", tier.escape_debug()))?;
            Ok(Ready::Tier(Verdict { tier: known.code.clone(), reasons: Vec::new() }))
        }
        Kind::EarningRule => {
            let default = DefaultAward::deserialize(json).map_err(|error| error.to_string())?;
            let DefaultAward { points, pending_days, valid_months } = default;
            super::earning::check(points, pending_days, valid_months)?;
            Ok(Ready::Award(Award { points, pending_days, valid_months, reasons: Vec::new() }))
        }
        Kind::CouponPolicy => {
            Err("a coupon policy has no default answer; use `skip`, which applies no offer".to_owned())
        }
        Kind::Scorer => Err("a scorer has no default answer; use `skip`, which recommends nothing".to_owned()),
        Kind::ContentGuard => {
            Err("a content guard has no default answer; use `fail-closed`, which lets no message pass".to_owned())
        }
        Kind::Channel => Err("a channel has no default answer; use `skip`".to_owned()),
    }
}
