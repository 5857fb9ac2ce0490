//! The one writer: groups of commands, one batch, one data sync, then all answers.
//!
//! Callers queue closures. The writer takes a group, runs each closure over the group's writes so far, and applies the
//! sum in one batch. The syncer brings it to the disk and only then answers all of them; meanwhile the writer is at the
//! next group. Reads run beside it on the caller's thread: they are kept only if no batch was applied meanwhile, and
//! answered only when what they saw is durable.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::watch;

use super::{
    Barrier, SledOptions,
    command::{Closure, Command, Ran},
    error::StoreError,
    export::{Kept, Limits, Tap, put_write},
    overlay::{Base as _, Bytes, Layer, Pair},
    queue::Queue,
    sled::{Disk, Space},
    stats::{Counters, StoreStats, add, count},
    table::{Range, Seq},
    tx::{Tx, WRITES_MAX, message_of},
};

/// A read that finds a batch being applied so often is handed to the writer.
const READ_ATTEMPTS_MAX: usize = 4;

/// What callers and the writer share.
struct Shared {
    disk: Disk,
    queue: Queue,
    /// Odd while a batch is being applied; moved by two with each batch.
    epoch: AtomicU64,
    /// The last commit that is applied.
    seq: AtomicU64,
    /// The last epoch that is on disk, and whether the writer has ended.
    durable: watch::Sender<Durable>,
    poison: OnceLock<Arc<str>>,
    counters: Counters,
    /// What an export that runs has still to be told. Held while a batch is applied, so that each batch is either
    /// applied before the export began or is told to it.
    tap: Mutex<Option<Tap>>,
    dir: PathBuf,
    reserve: u64,
}

#[derive(Clone, Copy)]
struct Durable {
    epoch: u64,
    ended: bool,
}

impl Shared {
    fn usable(&self) -> Result<(), StoreError> {
        self.sound()?;
        if self.queue.is_closed() { Err(StoreError::Closed) } else { Ok(()) }
    }

    fn sound(&self) -> Result<(), StoreError> {
        match self.poison.get() {
            Some(reason) => Err(StoreError::Poisoned { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    fn poison(&self, reason: &str) {
        tracing::error!(reason, "the store failed: nothing more is accepted until a restart");
        let _ = self.poison.set(reason.into());
        self.durable.send_modify(|_| {});
    }

    /// Waits until everything of `epoch` is on disk.
    async fn durable_at(&self, epoch: u64) -> Result<(), StoreError> {
        if self.durable.borrow().epoch >= epoch {
            return Ok(());
        }
        let reached = |durable: &Durable| durable.epoch >= epoch || durable.ended || self.poison.get().is_some();
        let mut durable = self.durable.subscribe();
        let durable = durable.wait_for(reached).await.map_err(|_| StoreError::Closed)?.epoch;
        if durable >= epoch { Ok(()) } else { self.usable().and(Err(StoreError::Closed)) }
    }
}

/// The sled backend: the shared state, and the threads of the writer and the syncer, which end with the last handle.
pub(super) struct Handle {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Handle {
    /// Starts the writer.
    pub(super) fn start(
        disk: Disk,
        seq: Seq,
        space: Space,
        options: &SledOptions,
        barriers: Vec<Arc<dyn Barrier>>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            disk,
            queue: Queue::new(options.waiting_max, options.group_max),
            epoch: AtomicU64::new(0),
            seq: AtomicU64::new(seq.get()),
            durable: watch::Sender::new(Durable { epoch: 0, ended: false }),
            poison: OnceLock::new(),
            counters: Counters::default(),
            tap: Mutex::default(),
            dir: space.dir().to_owned(),
            reserve: options.reserve_bytes,
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            barriers: Barriers::start(barriers)?,
            group: Layer::default(),
            seq,
            epoch: 0,
            space,
            rerun: options.rerun.clamp(0.0, 1.0),
            rng: StdRng::seed_from_u64(0),
        };
        let syncer = Syncer { shared: Arc::clone(&shared), durable: 0 };
        // No room in between: the writer hands a group over when the one before is on disk, and gathers meanwhile.
        let (applied, to_sync) = sync_channel(0);
        let writer = thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(&applied))?;
        let syncer = thread::Builder::new().name("store-syncer".into()).spawn(move || syncer.run(&to_sync))?;
        Ok(Self { shared, threads: Mutex::new(vec![writer, syncer]) })
    }

    /// Queues a closure and waits for its answer.
    pub(super) async fn run<T, E, F>(&self, mut closure: Closure<T, E, F>) -> Result<T, E>
    where
        Closure<T, E, F>: Command + 'static,
        E: From<StoreError>,
    {
        let answer = closure.call();
        self.push(Box::new(closure))?;
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.shared.usable().err().unwrap_or(StoreError::Closed).into()),
        }
    }

    fn push(&self, command: Box<dyn Command>) -> Result<(), StoreError> {
        self.shared.usable()?;
        self.shared.queue.push(command).inspect_err(|_| count(&self.shared.counters.refused))
    }

    /// Reads beside the writer, or through it if commits keep coming in between.
    pub(super) async fn read<T, E, F>(&self, closure: Closure<T, E, F>) -> Result<T, E>
    where
        Closure<T, E, F>: Command + 'static,
        E: From<StoreError>,
    {
        let (epoch, answer) = self.look(closure).await?;
        self.shared.durable_at(epoch).await?;
        answer
    }

    /// The same without waiting for what was read to be durable.
    pub(super) async fn peek<T, E, F>(&self, closure: Closure<T, E, F>) -> Result<T, E>
    where
        Closure<T, E, F>: Command + 'static,
        E: From<StoreError>,
    {
        self.look(closure).await?.1
    }

    /// Waits until everything that was applied before this call is on disk.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        self.shared.durable_at(self.shared.epoch.load(SeqCst) & !1).await
    }

    /// What a read answers, and the epoch that must be on disk before anybody hears of it.
    async fn look<T, E, F>(&self, mut closure: Closure<T, E, F>) -> Result<(u64, Result<T, E>), E>
    where
        Closure<T, E, F>: Command + 'static,
        E: From<StoreError>,
    {
        match self.look_beside(&mut closure).await? {
            Some(epoch) => Ok((epoch, closure.into_answer())),
            // What the writer answers is durable already.
            None => Ok((0, self.run(closure).await)),
        }
    }

    /// Runs a read beside the writer, a few times if need be; the epoch it saw, if it saw one alone.
    async fn look_beside(&self, command: &mut dyn Command) -> Result<Option<u64>, StoreError> {
        for _ in 0..READ_ATTEMPTS_MAX {
            self.shared.usable()?;
            if let Some(epoch) = self.try_read(command) {
                count(&self.shared.counters.reads);
                return Ok(Some(epoch));
            }
            count(&self.shared.counters.read_retries);
            tokio::task::yield_now().await;
        }
        count(&self.shared.counters.read_fallbacks);
        Ok(None)
    }

    /// Runs a read; `None` if a batch was applied meanwhile, so that the answer may mix two states.
    fn try_read(&self, command: &mut dyn Command) -> Option<u64> {
        let epoch = self.shared.epoch.load(SeqCst);
        if epoch % 2 == 1 {
            return None;
        }
        let seq = Seq::new(self.shared.seq.load(SeqCst));
        let Ran::Answered(_) = command.run(Tx::new(&self.shared.disk, None, seq, None)) else { return None };
        (self.shared.epoch.load(SeqCst) == epoch).then_some(epoch)
    }

    /// Accepts nothing more, lets the writer finish what waits, and syncs.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.shared.queue.close();
        let ended = self.shared.durable.subscribe().wait_for(|durable| durable.ended).await.map(|_| ());
        match self.shared.poison.get() {
            Some(reason) => Err(StoreError::Poisoned { reason: Arc::clone(reason) }),
            None => ended.map_err(|_| StoreError::Closed),
        }
    }

    /// Waits until the store fails; for ever, if it does not.
    pub(super) async fn failed(&self) -> StoreError {
        let mut durable = self.shared.durable.subscribe();
        let failed = durable.wait_for(|_| self.shared.poison.get().is_some()).await.map(|_| ());
        match (failed, self.shared.poison.get()) {
            (Ok(()), Some(reason)) => StoreError::Poisoned { reason: Arc::clone(reason) },
            _ => StoreError::Closed,
        }
    }

    pub(super) fn stats(&self) -> StoreStats {
        let shared = &self.shared;
        let mut stats = shared.counters.stats(shared.queue.waiting(), shared.seq.load(SeqCst));
        stats.free_bytes = super::sled::free_bytes(&shared.dir);
        stats.disk_bytes = shared.disk.bytes();
        stats.reserve_bytes = shared.reserve;
        stats
    }

    /// From now on every batch is kept for an export.
    pub(super) fn open_tap(&self) -> Result<(), StoreError> {
        self.shared.usable()?;
        let mut tap = self.tap();
        if tap.is_some() {
            return Err(StoreError::Exporting);
        }
        let seq = Seq::new(self.shared.seq.load(SeqCst));
        *tap = Some(Tap::new(seq, &self.shared.dir, self.shared.reserve, Limits::STANDARD));
        Ok(())
    }

    /// Takes the oldest of what was kept.
    pub(super) fn drain_tap(&self) -> Result<(Kept, Seq), StoreError> {
        self.shared.sound()?;
        self.tap().as_mut().ok_or(StoreError::Closed)?.take()
    }

    /// Keeps nothing more; what was kept goes to the caller.
    pub(super) fn end_tap(&self) -> Result<Tap, StoreError> {
        self.shared.sound()?;
        self.tap().take().ok_or(StoreError::Closed)
    }

    /// An export that is given up keeps nothing.
    pub(super) fn close_tap(&self) {
        *self.tap() = None;
    }

    /// Rows of a range as they are stored now, not all of one moment.
    pub(super) fn stored(&self, range: &Range, each: &mut dyn FnMut(Pair) -> bool) -> Result<(), StoreError> {
        for row in self.shared.disk.range(range)? {
            if !each(row?) {
                break;
            }
        }
        Ok(())
    }

    /// Appending to the tap cannot panic half-way, so a poisoned lock is sound.
    fn tap(&self) -> MutexGuard<'_, Option<Tap>> {
        self.shared.tap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    /// Waits for the writer, so that the directory is free again when this returns.
    fn drop(&mut self) {
        self.shared.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // The last handle may go with a command, on the syncer's own thread: then nobody can wait.
        if threads.iter().all(|thread| thread.thread().id() != thread::current().id()) {
            for thread in threads {
                // Every panic was caught, and reported as poison.
                let _ = thread.join();
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    barriers: Option<Barriers>,
    /// What the current group wrote and no batch has applied yet.
    group: Layer,
    /// The last commit, applied or in `group`.
    seq: Seq,
    /// The last epoch applied.
    epoch: u64,
    space: Space,
    rerun: f64,
    rng: StdRng,
}

impl Writer {
    /// Takes group after group until the queue is closed and empty; what was applied goes on to `applied`.
    fn run(mut self, applied: &SyncSender<Applied>) {
        let mut group = Vec::new();
        let mut expected = 1;
        while self.shared.queue.take(expected, &mut group) {
            expected = group.len();
            self.shared.counters.group(group.len());
            self.serve(&mut group);
            let next = Applied { group: std::mem::take(&mut group), epoch: self.epoch };
            if applied.send(next).is_err() {
                // Whoever waits is told by the channel that is dropped.
                self.shared.poison("the thread that syncs is gone");
            }
        }
    }

    /// Commits a group, or refuses all of it.
    fn serve(&mut self, group: &mut [Box<dyn Command>]) {
        if self.shared.poison.get().is_none() {
            let failed = match catch_unwind(AssertUnwindSafe(|| self.commit(group))) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error,
                Err(panic) => format!("the writer panicked: {}", message_of(panic.as_ref())),
            };
            self.shared.poison(&failed);
        }
        let reason = self.shared.poison.get().cloned().unwrap_or_default();
        for command in group {
            command.refuse(StoreError::Poisoned { reason: Arc::clone(&reason) });
        }
    }

    /// Runs and applies a group.
    fn commit(&mut self, group: &mut [Box<dyn Command>]) -> Result<(), String> {
        if let Some(barriers) = &mut self.barriers
            && group.iter().any(|command| command.at().is_some())
        {
            barriers.begin()?;
        }
        for command in group {
            let writes = self.run_one(command.as_mut());
            if writes.is_empty() {
                count(&self.shared.counters.without_writes);
                continue;
            }
            count(&self.shared.counters.commits);
            add(&self.shared.counters.rows_written, writes.len());
            // One transaction is never split over two batches: each batch is atomic on disk.
            if self.group.len() + writes.len() > WRITES_MAX {
                self.apply()?;
            }
            self.seq = self.seq.next();
            self.group.absorb(writes);
        }
        if !self.group.is_empty() {
            self.apply()?;
        }
        self.finish_barriers()
    }

    /// Runs one closure over what the group wrote so far; now and then twice, to prove that it can be.
    fn run_one(&mut self, command: &mut dyn Command) -> Layer {
        let at = command.at();
        let seq = if at.is_some() { self.seq.next() } else { self.seq };
        if self.rerun > 0.0 && self.rng.random_bool(self.rerun) {
            command.run(Tx::new(&self.shared.disk, Some(&self.group), seq, at));
        }
        let refused = match command.run(Tx::new(&self.shared.disk, Some(&self.group), seq, at)) {
            Ran::Answered(writes) if writes.is_empty() => return writes,
            Ran::Answered(writes) => match self.space.check() {
                Ok(()) => return writes,
                Err(full) => full,
            },
            Ran::Missed(_) => StoreError::Missing,
        };
        count(&self.shared.counters.refused);
        command.refuse(refused);
        Layer::default()
    }

    /// Applies the group's writes so far as one batch, once everything they refer to is on disk.
    fn apply(&mut self) -> Result<(), String> {
        self.finish_barriers()?;
        let shared = &self.shared;
        let mut tap = shared.tap.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        let writes: Vec<(Bytes, Option<Bytes>)> = self.group.drain().collect();
        if tap.is_some() {
            writes.iter().for_each(|(key, value)| put_write(&mut told, key, value.as_deref()));
        }
        shared.epoch.store(self.epoch + 1, SeqCst);
        let bytes = shared.disk.apply(writes.into_iter(), self.seq)?;
        shared.seq.store(self.seq.get(), SeqCst);
        if let Some(tap) = tap.as_mut() {
            tap.tell(&told, self.seq);
        }
        drop(tap);
        self.space.used(bytes);
        count(&shared.counters.batches);
        self.epoch += 2;
        shared.epoch.store(self.epoch, SeqCst);
        Ok(())
    }

    fn finish_barriers(&mut self) -> Result<(), String> {
        if let Some(barriers) = &mut self.barriers {
            let begun = Instant::now();
            barriers.finish()?;
            self.shared.counters.waited_for_barriers(begun.elapsed());
        }
        Ok(())
    }
}

/// A group whose writes are applied, on its way to the disk.
struct Applied {
    group: Vec<Box<dyn Command>>,
    /// The last epoch that it wrote or saw.
    epoch: u64,
}

/// Makes one group after the other durable and then answers it, while the writer runs the next one.
struct Syncer {
    shared: Arc<Shared>,
    /// The last epoch that is on disk.
    durable: u64,
}

impl Syncer {
    /// Until the writer has ended.
    fn run(mut self, applied: &Receiver<Applied>) {
        while let Ok(Applied { mut group, epoch }) = applied.recv() {
            if let Err(poisoned) = self.sync(epoch) {
                group.iter_mut().for_each(|command| command.refuse(poisoned.clone()));
            }
            for command in group {
                command.answer();
            }
        }
        if self.shared.poison.get().is_none()
            && let Err(error) = self.shared.disk.sync()
        {
            self.shared.poison(&format!("the last data sync failed: {error}"));
        }
        self.shared.durable.send_modify(|durable| durable.ended = true);
    }

    /// When this returns well, everything of `epoch` is durable. A failed sync poisons the store.
    fn sync(&mut self, epoch: u64) -> Result<(), StoreError> {
        self.shared.sound()?;
        if epoch == self.durable {
            return Ok(());
        }
        let begun = Instant::now();
        let failed = match catch_unwind(AssertUnwindSafe(|| self.shared.disk.sync())) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("a data sync failed: {error}")),
            Err(panic) => Some(format!("a data sync panicked: {}", message_of(panic.as_ref()))),
        };
        if let Some(failed) = failed {
            self.shared.poison(&failed);
            return self.shared.sound();
        }
        self.shared.counters.synced(begun.elapsed());
        self.durable = epoch;
        self.shared.durable.send_modify(|durable| durable.epoch = epoch);
        Ok(())
    }
}

/// Syncs the barriers on a thread of their own, while the writer runs the closures of the group.
struct Barriers {
    begin: SyncSender<()>,
    done: Receiver<io::Result<()>>,
    running: bool,
}

impl Barriers {
    fn start(barriers: Vec<Arc<dyn Barrier>>) -> io::Result<Option<Self>> {
        if barriers.is_empty() {
            return Ok(None);
        }
        let (begin, begun) = sync_channel(1);
        let (finished, done) = sync_channel(1);
        thread::Builder::new().name("store-barriers".into()).spawn(move || {
            while begun.recv().is_ok() {
                let synced = barriers.iter().try_for_each(|barrier| barrier.sync());
                if finished.send(synced).is_err() {
                    return;
                }
            }
        })?;
        Ok(Some(Self { begin, done, running: false }))
    }

    fn begin(&mut self) -> Result<(), String> {
        self.running = true;
        self.begin.send(()).map_err(|_| "a barrier panicked".to_owned())
    }

    fn finish(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.running) {
            return Ok(());
        }
        let synced = self.done.recv().map_err(|_| "a barrier panicked".to_owned())?;
        synced.map_err(|error| format!("a barrier's sync failed: {error}"))
    }
}
