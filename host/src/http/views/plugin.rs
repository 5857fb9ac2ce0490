//! Modules, releases and slots.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{schema, status::ReleaseStatsView};
use crate::{
    domain::rule::Kind,
    ids::KeyId,
    plugin::{Budgets, Fallback, Grants, ModuleDigest},
    service::releases::{ActiveRelease, SlotView as Slot, StoredModule, StoredRelease},
};

/// An admitted plugin.
#[derive(Serialize, ToSchema)]
#[schema(as = Module)]
pub(crate) struct ModuleView {
    /// SHA-256 of its bytes: its only name.
    #[schema(value_type = String)]
    digest: ModuleDigest,
    /// The interface it exports.
    #[schema(schema_with = schema::kind)]
    kind: Kind,
    /// What it calls itself.
    #[schema(example = "tier-spend")]
    name: String,
    /// Its own version.
    #[schema(example = "0.1.0")]
    version: String,
    /// One sentence for the operator.
    summary: String,
    /// Its size.
    bytes: u64,
    #[schema(value_type = String, format = DateTime)]
    pushed_at: Timestamp,
    /// With which key; null for those that came with the program.
    #[schema(value_type = Option<String>)]
    pushed_by: Option<KeyId>,
}

/// A module with a configuration: never changes.
#[derive(Serialize, ToSchema)]
#[schema(as = Release)]
pub(crate) struct ReleaseView {
    slot: String,
    /// Counts up within the slot, from 1.
    number: u64,
    #[schema(value_type = String)]
    module: ModuleDigest,
    #[schema(schema_with = schema::kind)]
    kind: Kind,
    /// The plugin's configuration.
    #[schema(value_type = Object)]
    config: serde_json::Value,
    /// What it may see beyond open facts.
    #[schema(value_type = GrantsView)]
    grants: Grants,
    /// What it may use up.
    #[schema(value_type = BudgetsView)]
    budgets: Budgets,
    /// What answers when it cannot: `fail-closed`, `skip`, `previous-release` or `{"default": …}`.
    #[schema(schema_with = schema::any)]
    fallback: Fallback,
    /// The release that was live when it was made.
    previous: Option<u64>,
    /// The codes of its tiers, lowest first; empty for other kinds.
    tiers: Vec<String>,
    /// From tier codes of earlier releases to its own.
    tier_map: BTreeMap<String, String>,
    /// Whether members whom only the new rule puts lower move at once.
    demote_now: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// With which key; null for those that came with the program.
    #[schema(value_type = Option<String>)]
    created_by: Option<KeyId>,
}

/// What a release may see beyond open facts.
#[derive(ToSchema)]
#[schema(as = Grants)]
#[allow(dead_code, reason = "describes `Grants`, which JSON shows as it is")]
pub(crate) struct GrantsView {
    /// Facts derived from personal data.
    personal: bool,
    /// Facts of health.
    health: bool,
    /// Where a channel may send requests.
    http: Vec<HttpGrantView>,
    /// The secrets a channel may sign with, by their names in the host's configuration.
    secrets: Vec<String>,
    /// The configured SMTP server a channel may use.
    mail: Option<String>,
}

/// One place that a channel may send requests to; a request must fit it exactly.
#[derive(ToSchema)]
#[schema(as = HttpGrant)]
#[allow(dead_code, reason = "describes `HttpGrant`, which JSON shows as it is")]
pub(crate) struct HttpGrantView {
    /// `https` or `http`.
    scheme: String,
    /// A name in lower case, or an address.
    host: String,
    port: u16,
    /// Whether it may resolve to an address that is not public.
    private: bool,
}

/// What a release may use up per call; fuel and sizes count per item.
#[derive(ToSchema)]
#[schema(as = Budgets)]
#[allow(dead_code, reason = "describes `Budgets`, which JSON shows as it is")]
pub(crate) struct BudgetsView {
    /// Instructions, or no limit.
    fuel: Option<u64>,
    /// Milliseconds for the whole call.
    wall_ms: u32,
    memory_bytes: u32,
    table_elements: u32,
    input_bytes: u32,
    output_bytes: u32,
    /// Reasons per answer.
    reasons: u16,
}

/// What is live in a slot.
#[derive(Serialize, ToSchema)]
#[schema(as = ActiveRelease)]
pub(crate) struct ActiveView {
    slot: String,
    /// The release that answers.
    number: u64,
    /// The one that answered before: what a rollback goes back to.
    previous: Option<u64>,
    /// Every tier code that a member may still hold and this release does not give, with the one that stands for it.
    tier_map: BTreeMap<String, String>,
    #[schema(value_type = String, format = DateTime)]
    activated_at: Timestamp,
    /// With which key; null if the program did so by itself.
    #[schema(value_type = Option<String>)]
    activated_by: Option<KeyId>,
}

/// A named place that uses one kind.
#[derive(Serialize, ToSchema)]
#[schema(as = Slot)]
pub(crate) struct SlotView {
    #[schema(example = "tier")]
    name: String,
    #[schema(schema_with = schema::kind)]
    kind: Kind,
    active: ActiveView,
    /// The release that is live, in full.
    release: ReleaseView,
    /// The number of the latest release.
    latest: u64,
    /// What the releases did since the start, the oldest first.
    stats: Vec<ReleaseStatsView>,
}

impl From<StoredModule> for ModuleView {
    fn from(module: StoredModule) -> Self {
        let StoredModule { digest, kind, name, version, summary, bytes, pushed_at, pushed_by } = module;
        Self { digest, kind, name, version, summary, bytes, pushed_at, pushed_by }
    }
}

impl From<StoredRelease> for ReleaseView {
    fn from(release: StoredRelease) -> Self {
        Self {
            slot: release.slot,
            number: release.number,
            module: release.module,
            kind: release.kind,
            config: release.config,
            grants: release.grants,
            budgets: release.budgets,
            fallback: release.fallback,
            previous: release.previous,
            tiers: release.tiers,
            tier_map: release.tier_map,
            demote_now: release.demote_now,
            created_at: release.created_at,
            created_by: release.created_by,
        }
    }
}

impl From<ActiveRelease> for ActiveView {
    fn from(active: ActiveRelease) -> Self {
        let ActiveRelease { slot, number, previous, tier_map, activated_at, activated_by } = active;
        Self { slot, number, previous, tier_map, activated_at, activated_by }
    }
}

impl From<Slot> for SlotView {
    fn from(slot: Slot) -> Self {
        Self {
            name: slot.name,
            kind: slot.kind,
            active: slot.active.into(),
            release: slot.release.into(),
            latest: slot.latest,
            stats: slot.stats.into_iter().map(ReleaseStatsView::from).collect(),
        }
    }
}
