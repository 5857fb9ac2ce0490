//! What the store counts about itself.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Bounds of the histogram of group sizes: groups of at most so many commands.
pub const GROUP_SIZE_BOUNDS: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, u64::MAX];

/// Counts since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Commands that wait for the writer now.
    pub waiting: u64,
    /// The number of the last commit, ever.
    pub seq: u64,
    /// Transactions that wrote.
    pub commits: u64,
    /// Commands that left no writes: reads, and transactions that failed or wrote nothing.
    pub without_writes: u64,
    /// Transactions refused because the disk is full or too many waited.
    pub refused: u64,
    /// Rows written by commits.
    pub rows_written: u64,
    /// Groups of commands that the writer took.
    pub groups: u64,
    /// Groups by size; see [`GROUP_SIZE_BOUNDS`].
    pub group_sizes: [u64; GROUP_SIZE_BOUNDS.len()],
    /// Batches applied. A group has one, or a few if it writes much.
    pub batches: u64,
    /// Data syncs: one for each group that wrote.
    pub data_syncs: u64,
    /// Time spent in data syncs.
    pub sync_time: Duration,
    /// The longest data sync.
    pub sync_time_max: Duration,
    /// Time that groups waited for the barriers.
    pub barrier_time: Duration,
    /// Reads answered beside the writer.
    pub reads: u64,
    /// Reads begun anew because a commit came in between.
    pub read_retries: u64,
    /// Reads that were handed to the writer after too many retries.
    pub read_fallbacks: u64,
    /// How long ago the last data sync ended; none if there was none.
    pub last_sync_age: Option<Duration>,
    /// Bytes free on the disk of the store; none if it does not tell.
    pub free_bytes: Option<u64>,
    /// Bytes that the store takes on disk; none if it does not tell.
    pub disk_bytes: Option<u64>,
    /// Writes are refused when less than this is free.
    pub reserve_bytes: u64,
}

impl StoreStats {
    /// Whether the disk is so full that writes are refused; reads go on.
    pub fn read_only(&self) -> bool {
        self.free_bytes.is_some_and(|free| free < self.reserve_bytes)
    }
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) without_writes: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) rows_written: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) data_syncs: AtomicU64,
    pub(super) reads: AtomicU64,
    pub(super) read_retries: AtomicU64,
    pub(super) read_fallbacks: AtomicU64,
    group_sizes: [AtomicU64; GROUP_SIZE_BOUNDS.len()],
    sync_nanos: AtomicU64,
    sync_nanos_max: AtomicU64,
    barrier_nanos: AtomicU64,
    last_sync: Mutex<Option<Instant>>,
}

pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Counters {
    pub(super) fn group(&self, commands: usize) {
        let bucket = GROUP_SIZE_BOUNDS.iter().position(|&bound| commands as u64 <= bound).unwrap_or(0);
        count(&self.groups);
        count(&self.group_sizes[bucket]);
    }

    pub(super) fn synced(&self, time: Duration) {
        count(&self.data_syncs);
        self.sync_nanos.fetch_add(nanos(time), Relaxed);
        self.sync_nanos_max.fetch_max(nanos(time), Relaxed);
        *self.last_sync.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn waited_for_barriers(&self, time: Duration) {
        self.barrier_nanos.fetch_add(nanos(time), Relaxed);
    }

    pub(super) fn stats(&self, waiting: usize, seq: u64) -> StoreStats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        StoreStats {
            waiting: waiting as u64,
            seq,
            commits: read(&self.commits),
            without_writes: read(&self.without_writes),
            refused: read(&self.refused),
            rows_written: read(&self.rows_written),
            groups: read(&self.groups),
            group_sizes: self.group_sizes.each_ref().map(read),
            batches: read(&self.batches),
            data_syncs: read(&self.data_syncs),
            sync_time: Duration::from_nanos(read(&self.sync_nanos)),
            sync_time_max: Duration::from_nanos(read(&self.sync_nanos_max)),
            barrier_time: Duration::from_nanos(read(&self.barrier_nanos)),
            reads: read(&self.reads),
            read_retries: read(&self.read_retries),
            read_fallbacks: read(&self.read_fallbacks),
            last_sync_age: self.last_sync.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed()),
            ..StoreStats::default()
        }
    }
}
