//! Reaching members: consents and suppressions, templates, touches, their delivery, and what comes back.
//!
//! The order of things for one touch (`deliver`): read what is known, open the vault, render, ask the guard, all outside
//! any transaction; then one transaction reads it all again and asks the gate, and only what passes there leaves through
//! a carrier. What became of it is one more transaction, fenced by the number of the attempt.

mod automations;
mod consents;
mod deliver;
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
    collections::HashSet,
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

use crate::{
    ids::TouchId,
    reach::{carrier::Outlets, secrets::Secrets},
};

/// What reaching members needs beyond the store.
pub struct Reach {
    pub(super) secrets: Secrets,
    pub(super) outlets: Arc<dyn Outlets>,
    /// Touches that this process works on: whatever the clock does, none is worked on twice at a time.
    held: Mutex<HashSet<TouchId>>,
    draining: AtomicBool,
}

/// Holds a touch until it is dropped.
struct Held<'a> {
    reach: &'a Reach,
    touch: TouchId,
}

impl Reach {
    /// With the room's secret and the ways out of the house.
    pub fn new(secrets: Secrets, outlets: Arc<dyn Outlets>) -> Self {
        Self { secrets, outlets, held: Mutex::default(), draining: AtomicBool::new(false) }
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
