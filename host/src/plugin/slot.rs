//! Slots: named places whose live release is swapped in one step.
//!
//! A call loads the live release once and names it; a swap is one pointer store. Calls under way keep the release they
//! began with, and the last of them frees it. [`HISTORY_MAX`] withdrawn releases are kept ready for a rollback.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::{
    call::{Answered, Columns, Health},
    fault::Fault,
    metrics::ReleaseStats,
    release::{Release, ReleaseRef},
};
use crate::domain::{
    fact::Facts,
    rule::{Activity, Award, CartSubject, Code, Kind, Proposal, TierSubject, Verdict},
};

/// Withdrawn releases kept ready.
pub const HISTORY_MAX: usize = 2;
/// Releases whose figures are kept.
const FIGURES_MAX: usize = 64;

/// A named place that uses one kind.
pub struct Slot {
    name: Code,
    kind: Kind,
    live: ArcSwapOption<Release>,
    past: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    /// The last withdrawn is last.
    withdrawn: Vec<Arc<Release>>,
    /// Every release that was live, the oldest first.
    figures: Vec<Arc<Health>>,
}

/// Why a release cannot go live in a slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivateError {
    /// It was prepared for another slot.
    #[error("release {release} was not prepared for slot `{slot}`")]
    Slot {
        /// The release.
        release: ReleaseRef,
        /// The slot.
        slot: Code,
    },
    /// It is of another kind.
    #[error("slot `{slot}` takes a {wanted}, the release is a {given}")]
    Kind {
        /// The slot.
        slot: Code,
        /// The slot's kind.
        wanted: &'static str,
        /// The release's kind.
        given: &'static str,
    },
}

impl Slot {
    pub(super) fn new(name: Code, kind: Kind) -> Self {
        Self { name, kind, live: ArcSwapOption::empty(), past: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &Code {
        &self.name
    }

    /// The kind it uses.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The live release, to be held where several calls must get the same one.
    pub fn live(&self) -> Option<Arc<Release>> {
        self.live.load_full()
    }

    /// Makes a release live and returns the one that was. Every call that begins afterwards gets the new one.
    ///
    /// # Errors
    ///
    /// [`ActivateError`] if the release was prepared for another slot or is of another kind; nothing changes then.
    pub fn activate(&self, release: Arc<Release>) -> Result<Option<Arc<Release>>, ActivateError> {
        if release.reference().slot != self.name {
            return Err(ActivateError::Slot { release: release.reference().clone(), slot: self.name.clone() });
        }
        let given = release.module().kind();
        if given != self.kind {
            let (wanted, given) = (self.kind.name(), given.name());
            return Err(ActivateError::Kind { slot: self.name.clone(), wanted, given });
        }
        let mut past = self.past();
        past.remember(&release);
        let before = self.live.swap(Some(Arc::clone(&release)));
        past.withdrawn.retain(|old| !Arc::ptr_eq(old, &release));
        if let Some(before) = before.as_ref().filter(|before| !Arc::ptr_eq(before, &release)) {
            past.withdrawn.push(Arc::clone(before));
            let surplus = past.withdrawn.len().saturating_sub(HISTORY_MAX);
            past.withdrawn.drain(..surplus);
        }
        Ok(before)
    }

    /// Makes the release live that was before, and returns the one withdrawn now; `None` if there is none to go back to.
    pub fn rollback(&self) -> Option<Arc<Release>> {
        let mut past = self.past();
        let before = past.withdrawn.pop()?;
        past.remember(&before);
        self.live.swap(Some(before))
    }

    /// The release that [`Slot::rollback`] would make live.
    pub fn previous(&self) -> Option<Arc<Release>> {
        self.past().withdrawn.last().cloned()
    }

    /// What the releases of this slot did, the oldest first.
    pub fn stats(&self) -> Vec<ReleaseStats> {
        self.past().figures.iter().map(|health| health.stats()).collect()
    }

    /// The tier of each member.
    pub async fn tier(&self, subjects: &[TierSubject]) -> Answered<Verdict> {
        match self.live() {
            Some(release) => release.tier(subjects).await,
            None => self.empty(subjects.len()),
        }
    }

    /// The tier of each member as an index into the live release's tiers.
    ///
    /// # Errors
    ///
    /// The [`Fault`] for all of them; there is no fallback.
    pub async fn tier_columns(&self, as_of: Timestamp, members: &[Facts]) -> Result<Columns, Fault> {
        self.live().ok_or(Fault::NoRelease)?.tier_columns(as_of, members).await
    }

    /// The points each activity earns.
    pub async fn earn(&self, activities: &[Activity]) -> Answered<Award> {
        match self.live() {
            Some(release) => release.earn(activities).await,
            None => self.empty(activities.len()),
        }
    }

    /// For each cart a proposal for each of its offers.
    pub async fn price(&self, carts: &[CartSubject]) -> Answered<Vec<Proposal>> {
        match self.live() {
            Some(release) => release.price(carts).await,
            None => self.empty(carts.len()),
        }
    }

    fn empty<T>(&self, items: usize) -> Answered<T> {
        let release = ReleaseRef { slot: self.name.clone(), number: 0 };
        Answered::refused(items, release, &Fault::NoRelease)
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn remember(&mut self, release: &Release) {
        let health = &release.core.health;
        if self.figures.iter().any(|known| Arc::ptr_eq(known, health)) {
            return;
        }
        self.figures.push(Arc::clone(health));
        let surplus = self.figures.len().saturating_sub(FIGURES_MAX);
        self.figures.drain(..surplus);
    }
}
