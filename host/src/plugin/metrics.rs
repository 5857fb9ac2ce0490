//! What each release did: counters and a latency histogram, cheap enough to be always on.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{breaker::BreakerState, fault::Fault, release::ReleaseRef};

/// Sub-buckets per power of two: a quantile is at most 1/16 too high.
const STEPS: usize = 16;
const STEPS_LOG2: u32 = 4;
/// Powers of two above the first: up to 2^40 ns, a quarter of an hour; anything longer counts as that.
const OCTAVES: usize = 37;

/// Durations in logarithmic buckets, counted without a lock.
pub(super) struct Histogram {
    buckets: Box<[AtomicU64]>,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { buckets: (0..STEPS * OCTAVES).map(|_| AtomicU64::new(0)).collect() }
    }

    fn bucket(nanos: u64) -> usize {
        let Some(octave) = nanos.max(1).ilog2().checked_sub(STEPS_LOG2) else { return nanos as usize };
        let step = (nanos >> octave) as usize - STEPS;
        ((octave as usize + 1) * STEPS + step).min(STEPS * OCTAVES - 1)
    }

    /// The largest duration that falls into a bucket.
    fn upper(bucket: usize) -> u64 {
        let (octave, step) = (bucket / STEPS, bucket % STEPS);
        if octave == 0 {
            return step as u64;
        }
        (((STEPS + step + 1) as u64) << (octave - 1)) - 1
    }

    pub(super) fn record(&self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[Self::bucket(nanos)].fetch_add(1, Relaxed);
    }

    /// The durations below which these shares of all records lie; zero where nothing was recorded.
    pub(super) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [Duration; N] {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        shares.map(|share| {
            let rank = (share * total as f64).ceil() as u64;
            let mut seen = 0;
            let bucket = counts.iter().position(|count| {
                seen += count;
                total > 0 && seen >= rank.max(1)
            });
            Duration::from_nanos(bucket.map_or(0, Self::upper))
        })
    }
}

/// The counters of one release. They outlive it: a table at the end of the day still shows what was swapped out.
pub(super) struct Metrics {
    calls: AtomicU64,
    items: AtomicU64,
    fallbacks: AtomicU64,
    fuel: AtomicU64,
    in_flight: AtomicU64,
    faults: [AtomicU64; Fault::CODES.len()],
    latency: Histogram,
}

/// Counts a call as in flight until dropped.
pub(super) struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            calls: zero(),
            items: zero(),
            fallbacks: zero(),
            fuel: zero(),
            in_flight: zero(),
            faults: std::array::from_fn(|_| zero()),
            latency: Histogram::new(),
        }
    }

    pub(super) fn begin(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    pub(super) fn call(&self, items: usize, fuel: u64, elapsed: Duration) {
        self.calls.fetch_add(1, Relaxed);
        self.items.fetch_add(items as u64, Relaxed);
        self.fuel.fetch_add(fuel, Relaxed);
        self.latency.record(elapsed);
    }

    pub(super) fn fault(&self, fault: &Fault) {
        self.faults[fault.ordinal()].fetch_add(1, Relaxed);
    }

    pub(super) fn fallback(&self) {
        self.fallbacks.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self, release: ReleaseRef, breaker: BreakerState) -> ReleaseStats {
        let (calls, items, fuel) = (self.calls.load(Relaxed), self.items.load(Relaxed), self.fuel.load(Relaxed));
        let [p50, p99, max] = self.latency.quantiles([0.5, 0.99, 1.0]);
        let faults = Fault::CODES.iter().zip(&self.faults).map(|(code, count)| (*code, count.load(Relaxed)));
        ReleaseStats {
            release,
            calls,
            items,
            faults: faults.filter(|(_, count)| *count > 0).collect(),
            fallbacks: self.fallbacks.load(Relaxed),
            fuel,
            fuel_mean: fuel.checked_div(items).unwrap_or(0),
            in_flight: self.in_flight.load(Relaxed),
            breaker,
            p50,
            p99,
            max,
        }
    }
}

/// What a release did so far.
#[derive(Clone, Debug)]
pub struct ReleaseStats {
    /// Which release.
    pub release: ReleaseRef,
    /// Calls, each with one item or a batch.
    pub calls: u64,
    /// Items in those calls.
    pub items: u64,
    /// Faults by code, without those that never happened.
    pub faults: Vec<(&'static str, u64)>,
    /// Items that the fallback answered.
    pub fallbacks: u64,
    /// Fuel burnt, all in all.
    pub fuel: u64,
    /// Fuel per item.
    pub fuel_mean: u64,
    /// Calls under way.
    pub in_flight: u64,
    /// The circuit breaker.
    pub breaker: BreakerState,
    /// Half of the calls took at most this long.
    pub p50: Duration,
    /// 99 of 100 calls took at most this long.
    pub p99: Duration,
    /// No call took longer.
    pub max: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_every_duration_without_a_gap() {
        for bucket in 0..STEPS * OCTAVES - 1 {
            let upper = Histogram::upper(bucket);
            assert_eq!(Histogram::bucket(upper), bucket, "{upper} ns");
            assert_eq!(Histogram::bucket(upper + 1), bucket + 1, "{} ns", upper + 1);
        }
        assert_eq!(Histogram::bucket(u64::MAX), STEPS * OCTAVES - 1);
    }

    #[test]
    fn quantiles_are_at_most_a_sixteenth_too_high() {
        let histogram = Histogram::new();
        assert_eq!(histogram.quantiles([0.5]), [Duration::ZERO]);
        for micros in 1..=1_000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let [found] = histogram.quantiles([share]);
            let ratio = found.as_secs_f64() * 1e6 / exact;
            assert!((1.0..=1.0 + 1.0 / 16.0).contains(&ratio), "{share}: {found:?}");
        }
    }
}
