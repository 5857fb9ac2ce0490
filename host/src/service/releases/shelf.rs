//! Releases that are ready but not live: made lately, or live until lately.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::plugin::{Module, ModuleDigest, Release};

/// Releases kept; the one put first goes first.
const KEPT_MAX: usize = 8;

/// Keeps a few releases ready, and lets one activation happen at a time.
#[derive(Debug, Default)]
pub struct Shelf {
    ready: Mutex<VecDeque<Arc<Release>>>,
    /// Held from the commit of an activation until the engine has followed.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Shelf {
    pub(super) fn put(&self, release: Arc<Release>) {
        let mut ready = self.ready();
        ready.retain(|kept| kept.reference() != release.reference());
        ready.push_back(release);
        let surplus = ready.len().saturating_sub(KEPT_MAX);
        ready.drain(..surplus);
    }

    pub(super) fn find(&self, slot: &str, number: u64) -> Option<Arc<Release>> {
        let named =
            |release: &&Arc<Release>| *release.reference().slot == *slot && release.reference().number == number;
        self.ready().iter().find(named).cloned()
    }

    pub(super) fn module(&self, digest: ModuleDigest) -> Option<Arc<Module>> {
        self.ready().iter().map(|release| release.module()).find(|module| module.digest() == digest).cloned()
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<Arc<Release>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
