//! Reaching members: consents and suppressions, templates, touches, their delivery, and what comes back.
//!
//! `flow` takes what is due from the queue, so that no channel waits for another.
//! The order of things for one touch (`deliver`): read what is known, open the vault, render, ask the guard, all outside
//! any transaction; then one transaction reads it all again and asks the gate, and only what passes there leaves through
//! a carrier. What became of it is one more transaction, fenced by the number of the attempt.

mod automations;
mod consents;
mod deliver;
mod flow;
mod outlets;
mod plan;
mod receipts;
mod settle;
mod stop;
mod sweep;
mod templates;
mod touches;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

pub use consents::NewConsent;
pub use outlets::EngineOutlets;
pub use stop::Stopped;
pub use templates::{Decide, NewVariant, Preview};
pub use touches::{Total, WantedTouch};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::touch::Channel,
    ids::TouchId,
    reach::{carrier::Outlets, secrets::Secrets},
};

/// What reaching members needs beyond the store.
pub struct Reach {
    pub(super) secrets: Secrets,
    pub(super) outlets: Arc<dyn Outlets>,
    /// Touches that this process works on: whatever the clock does, none is worked on twice at a time.
    held: Mutex<HashSet<TouchId>>,
    /// Attempts of one channel at one time.
    per_channel: usize,
    lanes: Mutex<BTreeMap<Channel, Arc<Semaphore>>>,
    draining: AtomicBool,
}

/// Holds a touch until it is dropped.
struct Held<'a> {
    reach: &'a Reach,
    touch: TouchId,
}

impl Reach {
    /// With the room's secret, the ways out of the house, and how many attempts of one channel may be under way.
    pub fn new(secrets: Secrets, outlets: Arc<dyn Outlets>, per_channel: usize) -> Self {
        let (held, lanes, draining) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { secrets, outlets, held, per_channel, lanes, draining }
    }

    /// A place among the attempts of a channel, if one is free.
    fn lane(&self, channel: Channel) -> Option<OwnedSemaphorePermit> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(channel).or_insert_with(|| Arc::new(Semaphore::new(self.per_channel)));
        Arc::clone(lane).try_acquire_owned().ok()
    }

    /// Begins nothing more; what is under way finishes.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Holds a touch, unless somebody does or the end is near.
    fn hold(&self, touch: TouchId) -> Option<Held<'_>> {
        if self.draining.load(Ordering::Relaxed) {
            return None;
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Not made until it is sure to be the only one: dropping it lets go of the touch.
        held.insert(touch).then(|| Held { reach: self, touch })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.reach.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.touch);
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reach")
    }
}
