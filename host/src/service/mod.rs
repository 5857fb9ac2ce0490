//! Use cases, grouped by noun: the only callers of several rooms at once.
//!
//! Every use case is a method of [`Services`]. It reads the clock once, loads one snapshot, asks the plugins outside any
//! transaction, and commits one decision in one transaction with its idempotency record. Nothing here knows HTTP.

pub mod activities;
pub mod bonuses;
mod check;
pub mod coupons;
pub mod error;
mod facts;
#[cfg(test)]
pub(crate) mod fixture;
pub mod gifts;
mod health;
pub mod idempotency;
pub mod keys;
pub mod liability;
pub mod members;
pub mod offers;
mod operate;
pub mod order;
pub mod page;
mod patients;
pub mod points;
pub mod prescriptions;
pub mod products;
pub mod reach;
pub mod recommend;
pub mod referrals;
pub mod refills;
pub mod releases;
pub mod rules;
pub mod settings;
pub mod settlement;
pub mod tables;
pub mod takeover;
pub mod tiers;
pub mod timers;
pub mod verify;

use std::sync::Arc;

pub use error::{Error, FieldError};
pub use idempotency::{Done, Idempotency};
pub use order::{PayOrder, PlaceOrder, RefundOrder};
pub use page::{Page, PageRequest};
pub use settings::{ScheduleSettings, Settings};

use crate::{
    clock::Clock,
    ids::{Ids, KeyId, PartnerId},
    members::vault::Vault,
    plugin::{Decisions, Engine},
    store::{Store, StoreError},
};

/// Everything a use case needs; wired in `app.rs`.
#[derive(Clone)]
pub struct Services {
    /// The store.
    pub store: Store,
    /// Keys of personal data.
    pub vault: Arc<Vault>,
    /// Plugins.
    pub engine: Arc<Engine>,
    /// Recorded decisions.
    pub decisions: Arc<Decisions>,
    /// Keys that authentication has seen.
    pub keys: Arc<keys::KeyCache>,
    /// Releases that are ready but not live.
    pub shelf: Arc<releases::Shelf>,
    /// How releases of the tier slot take over from each other.
    pub tier_policies: Arc<rules::TierPolicies>,
    /// What reaching members needs beyond the store.
    pub reach: Arc<reach::Reach>,
    /// Who runs jobs in this process.
    pub jobs: Arc<timers::JobRunner>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// Where ids come from.
    pub ids: Arc<Ids>,
    /// What the operator configured.
    pub settings: Arc<Settings>,
    /// Where module bytes lie.
    pub modules: Arc<std::path::Path>,
}

/// Who calls, as authentication found out. Scopes are checked before a use case is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The API key used.
    pub key: KeyId,
    /// Whose key.
    pub partner: PartnerId,
    /// Whether the key sees what other partners made.
    pub sees_all: bool,
}

/// Does work to its end, even if whoever waits for it goes away: what the store says and what the process remembers must
/// not part.
///
/// # Errors
///
/// Those of the work.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Closed.into()),
        },
    }
}

impl Caller {
    /// Whether the caller may see what this partner made.
    pub fn sees(&self, partner: PartnerId) -> bool {
        self.sees_all || self.partner == partner
    }
}
