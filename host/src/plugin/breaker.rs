//! A circuit breaker per release: a plugin that keeps failing is given a rest instead of the members' time.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// This many faults in a row open the breaker.
const FAULTS_IN_A_ROW: u32 = 5;
/// So do this many among the last 64 items.
const FAULTS_OF_64: u32 = 32;
/// How long a release rests before one call may try again.
const REST: Duration = Duration::from_secs(10);

/// What the breaker of a release does with the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets it through.
    Closed,
    /// Answers it with the fallback.
    Open,
    /// Lets one through to see whether the release recovered.
    HalfOpen,
}

impl BreakerState {
    /// The name for metrics and the console.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// Counts outcomes and says whether the next call may go through.
///
/// The last 64 outcomes are the bits of one number (1 is a fault, the newest lowest), so a call costs one or two relaxed
/// atomics. Races can let a call or two through late or early; no answer depends on it.
pub(super) struct Breaker {
    born: Instant,
    outcomes: AtomicU64,
    /// Milliseconds since `born` until which the release rests, 0 while closed.
    rests_until: AtomicU64,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self { born: now, outcomes: AtomicU64::new(0), rests_until: AtomicU64::new(0) }
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a call may go through. Once the rest is over, exactly one may, and the others wait for its outcome or
    /// the next rest.
    pub(super) fn admits(&self, now: impl FnOnce() -> Instant) -> bool {
        let until = self.rests_until.load(Relaxed);
        if until == 0 {
            return true;
        }
        let now = now();
        self.millis(now) >= until
            && self.rests_until.compare_exchange(until, self.millis(now + REST), Relaxed, Relaxed).is_ok()
    }

    /// A call went well: closes the breaker.
    pub(super) fn succeeded(&self) {
        if self.rests_until.load(Relaxed) != 0 {
            self.outcomes.store(0, Relaxed);
            self.rests_until.store(0, Relaxed);
        } else if self.outcomes.load(Relaxed) != 0 {
            let _ = self.outcomes.fetch_update(Relaxed, Relaxed, |bits| Some(bits << 1));
        }
    }

    /// The plugin failed: opens the breaker when that happened too often.
    pub(super) fn failed(&self, now: Instant) {
        let before = self.outcomes.fetch_update(Relaxed, Relaxed, |bits| Some(bits << 1 | 1)).unwrap_or_default();
        let bits = before << 1 | 1;
        if bits.trailing_ones() >= FAULTS_IN_A_ROW || bits.count_ones() >= FAULTS_OF_64 {
            self.rests_until.store(self.millis(now + REST).max(1), Relaxed);
        }
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.rests_until.load(Relaxed) {
            0 => BreakerState::Closed,
            until if self.millis(now) < until => BreakerState::Open,
            _ => BreakerState::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_five_faults_in_a_row_and_closes_after_a_good_probe() {
        let start = Instant::now();
        let breaker = Breaker::new(start);
        for _ in 0..4 {
            breaker.failed(start);
        }
        assert!(breaker.admits(|| start), "four faults are not enough");
        breaker.succeeded();
        for _ in 0..5 {
            breaker.failed(start);
        }
        assert_eq!(breaker.state(start), BreakerState::Open);
        assert!(!breaker.admits(|| start));
        let rested = start + REST + Duration::from_millis(1);
        assert_eq!(breaker.state(rested), BreakerState::HalfOpen);
        assert!(breaker.admits(|| rested), "one probe");
        assert!(!breaker.admits(|| rested), "only one");
        breaker.succeeded();
        assert_eq!(breaker.state(rested), BreakerState::Closed);
        assert!(breaker.admits(|| rested));
    }

    #[test]
    fn a_failed_probe_opens_it_again() {
        let start = Instant::now();
        let breaker = Breaker::new(start);
        (0..5).for_each(|_| breaker.failed(start));
        let rested = start + REST + Duration::from_millis(1);
        assert!(breaker.admits(|| rested));
        breaker.failed(rested);
        assert_eq!(breaker.state(rested), BreakerState::Open);
        assert!(!breaker.admits(|| rested + REST / 2));
        assert!(breaker.admits(|| rested + REST + Duration::from_millis(2)));
    }

    #[test]
    fn half_of_the_last_64_open_it_too() {
        let start = Instant::now();
        let breaker = Breaker::new(start);
        for _ in 0..31 {
            breaker.failed(start);
            breaker.succeeded();
        }
        assert_eq!(breaker.state(start), BreakerState::Closed);
        breaker.failed(start);
        assert_eq!(breaker.state(start), BreakerState::Open);
    }
}
