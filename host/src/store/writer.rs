//! The one writer: groups of commands, one batch, one data sync, then all answers.
//!
//! Callers queue closures. The writer takes a group, runs each closure over the group's writes so far, applies the
//! sum in one batch, syncs it, and only then answers all of them. Reads run beside it on the caller's thread: they are
//! kept only if no batch was applied meanwhile, and answered only when what they saw is durable.

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

use jiff::Timestamp;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::sync::{oneshot, watch};

use super::{
    Barrier, SledOptions,
    error::StoreError,
    export::{Kept, Limits, Tap, put_write},
    overlay::{Base as _, Bytes, Layer, Pair},
    queue::Queue,
    sled::{Disk, Space},
    stats::{Counters, StoreStats, add, count},
    table::{Range, Seq},
    tx::{Ran, Tx, WRITES_MAX, attempt, message_of},
};

/// A read that finds a batch being applied so often is handed to the writer.
const READ_ATTEMPTS_MAX: usize = 4;

/// A closure that waits for its turn.
pub(super) trait Command: Send {
    /// Runs the closure, keeps its answer, returns its writes.
    fn run(&mut self, tx: Tx<'_>) -> Layer;
    fn at(&self) -> Timestamp;
    fn writable(&self) -> bool;
    /// Replaces the answer.
    fn refuse(&mut self, error: StoreError);
    /// Hands the answer to the caller, if it still waits.
    fn answer(self: Box<Self>);
}

struct Waiting<T, E, F> {
    f: F,
    at: Option<Timestamp>,
    answer: Option<Result<T, E>>,
    caller: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Command for Waiting<T, E, F>
where
    F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn run(&mut self, tx: Tx<'_>) -> Layer {
        match attempt(&self.f, tx) {
            Ran::Answered(answer, writes) => {
                self.answer = Some(answer);
                writes
            }
            Ran::Missed(_) => {
                self.refuse(StoreError::Missing);
                Layer::default()
            }
        }
    }

    fn at(&self) -> Timestamp {
        self.at.unwrap_or(Timestamp::MIN)
    }

    fn writable(&self) -> bool {
        self.at.is_some()
    }

    fn refuse(&mut self, error: StoreError) {
        self.answer = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // An error means that the caller no longer waits: the transaction stands all the same.
            let _ = self.caller.send(answer);
        }
    }
}

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
        match self.poison.get() {
            Some(reason) => Err(StoreError::Poisoned { reason: Arc::clone(reason) }),
            None if self.queue.is_closed() => Err(StoreError::Closed),
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

/// The sled backend: the shared state and the writer's thread, which ends with the last handle.
pub(super) struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
        let thread = thread::Builder::new().name("store-writer".into()).spawn(move || writer.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Queues `f` and waits for its answer; `at` is `None` for a read.
    pub(super) async fn run<T, E, F>(&self, at: Option<Timestamp>, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.shared.usable()?;
        let (caller, answer) = oneshot::channel();
        if let Err(refused) = self.shared.queue.push(Box::new(Waiting { f, at, answer: None, caller })) {
            count(&self.shared.counters.refused);
            return Err(refused.into());
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.shared.usable().err().unwrap_or(StoreError::Closed).into()),
        }
    }

    /// Reads beside the writer, or through it if commits keep coming in between.
    pub(super) async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (epoch, answer) = self.look(f).await?;
        self.shared.durable_at(epoch).await?;
        answer
    }

    /// The same without waiting for what was read to be durable.
    pub(super) async fn peek<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.look(f).await?.1
    }

    /// Waits until everything that was applied before this call is on disk.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        self.shared.durable_at(self.shared.epoch.load(SeqCst) & !1).await
    }

    /// What a read answers, and the epoch that must be on disk before anybody hears of it.
    async fn look<T, E, F>(&self, f: F) -> Result<(u64, Result<T, E>), E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        for _ in 0..READ_ATTEMPTS_MAX {
            self.shared.usable()?;
            if let Some(read) = self.try_read(&f) {
                count(&self.shared.counters.reads);
                return Ok(read);
            }
            count(&self.shared.counters.read_retries);
            tokio::task::yield_now().await;
        }
        count(&self.shared.counters.read_fallbacks);
        // What the writer answers is durable already.
        Ok((0, self.run(None, f).await))
    }

    /// Runs a read; `None` if a batch was applied meanwhile, so that the answer may mix two states.
    fn try_read<T, E, F>(&self, f: &F) -> Option<(u64, Result<T, E>)>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E>,
        E: From<StoreError>,
    {
        let epoch = self.shared.epoch.load(SeqCst);
        if epoch % 2 == 1 {
            return None;
        }
        let seq = Seq::new(self.shared.seq.load(SeqCst));
        let tx = Tx::new(&self.shared.disk, None, seq, Timestamp::MIN, false);
        let Ran::Answered(answer, _) = attempt(f, tx) else { return None };
        (self.shared.epoch.load(SeqCst) == epoch).then_some((epoch, answer))
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
        self.sound()?;
        self.tap().as_mut().ok_or(StoreError::Closed)?.take()
    }

    /// Keeps nothing more; what was kept goes to the caller.
    pub(super) fn end_tap(&self) -> Result<Tap, StoreError> {
        self.sound()?;
        self.tap().take().ok_or(StoreError::Closed)
    }

    fn sound(&self) -> Result<(), StoreError> {
        match self.shared.poison.get() {
            Some(reason) => Err(StoreError::Poisoned { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
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
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // The writer catches every panic and reports it as poison.
            let _ = thread.join();
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
    fn run(mut self) {
        let mut group = Vec::new();
        let mut expected = 1;
        while self.shared.queue.take(expected, &mut group) {
            expected = group.len();
            self.shared.counters.group(group.len());
            self.serve(&mut group);
            for command in group.drain(..) {
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

    /// Runs and applies a group; when this returns, it is durable.
    fn commit(&mut self, group: &mut [Box<dyn Command>]) -> Result<(), String> {
        if let Some(barriers) = &mut self.barriers
            && group.iter().any(|command| command.writable())
        {
            barriers.begin()?;
        }
        let epoch = self.epoch;
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
        self.finish_barriers()?;
        if self.epoch == epoch {
            return Ok(());
        }
        let begun = Instant::now();
        self.shared.disk.sync().map_err(|error| format!("a data sync failed: {error}"))?;
        self.shared.counters.synced(begun.elapsed());
        self.shared.durable.send_modify(|durable| durable.epoch = self.epoch);
        Ok(())
    }

    /// Runs one closure over what the group wrote so far; now and then twice, to prove that it can be.
    fn run_one(&mut self, command: &mut dyn Command) -> Layer {
        let seq = if command.writable() { self.seq.next() } else { self.seq };
        let tx = || Tx::new(&self.shared.disk, Some(&self.group), seq, command.at(), command.writable());
        if self.rerun > 0.0 && self.rng.random_bool(self.rerun) {
            let tx = tx();
            command.run(tx);
        }
        let tx = Tx::new(&self.shared.disk, Some(&self.group), seq, command.at(), command.writable());
        let writes = command.run(tx);
        if !writes.is_empty()
            && let Err(full) = self.space.check()
        {
            count(&self.shared.counters.refused);
            command.refuse(full);
            return Layer::default();
        }
        writes
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
