//! sled 0.34.7 behind its guards. Nothing outside this file calls it.
//!
//! sled is fast and small, but on its own it loses acknowledged data on power loss, and a kill at the wrong moment can
//! make it unopenable. What this file and the [writer](super::writer) do about it:
//!
//! 1. `flush()` reaches no further than the page cache's write-back: a descriptor of our own syncs the data file after it.
//! 2. A snapshot that a kill left half-written fails every later open: it is deleted first, under a lock of our own.
//! 3. Large values go to files that are never synced: values are cut into chunks below that size.
//! 4. No `transaction()` (one lock for the whole process), no `watch_prefix` (an unread subscriber blocks writers), no
//!    `generate_id` (it skips two million numbers at each start).
//! 5. A read of several keys can straddle a commit: it is checked against the epoch, or goes through the writer.
//! 6. Batches stay small, because large ones hold memory for ever; the cache has an explicit size.
//! 7. It cannot open on a full disk: writes are refused while a reserve is still free.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock, statvfs};

use super::{
    SledOptions,
    error::{OpenError, StoreError},
    overlay::{Base, Bytes, Pairs},
    table::{Range, Seq, own_key},
};

/// The layout of keys and rows. A directory with another number is not opened.
const FORMAT: u32 = 1;
/// Held for as long as the store is open; its content says how far the directory is set up.
const LOCK_FILE: &str = "galenic.lock";
const SETTING_UP: &[u8] = b"galenic store, being set up\n";
const READY: &[u8] = b"galenic store, ready\n";
/// How long the threads of a store closed in this process may take to let go of the data file.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(5);

/// An open directory.
pub(super) struct Disk {
    db: sled::Db,
    /// A descriptor of our own on sled's data file, to sync it.
    data: File,
    seq_key: Bytes,
    /// Dropped last: the directory stays ours until sled has let go of it.
    lock: File,
}

impl Disk {
    /// Opens or creates the store in `dir`; returns it with its last commit.
    pub(super) fn open(dir: &Path, options: &SledOptions) -> Result<(Self, Seq), OpenError> {
        fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        let mut lock = take_lock(dir)?;
        let ready = prepare(dir, &mut lock)?;
        let db = open_sled(dir, options)?;
        let data_path = dir.join("db");
        let data = OpenOptions::new().read(true).write(true).open(&data_path);
        let data = data.map_err(io_error("open", &data_path))?;
        let disk = Self { db, data, seq_key: own_key("seq").into(), lock };
        let seq = disk.check_format(dir)?;
        disk.sync().map_err(io_error("sync", &data_path))?;
        if !ready {
            disk.finish_set_up(dir).map_err(io_error("sync", dir))?;
        }
        Ok((disk, seq))
    }

    /// Reads the format row and the last commit, or writes them into an empty directory.
    fn check_format(&self, dir: &Path) -> Result<Seq, OpenError> {
        let backend = |error: sled::Error| OpenError::Backend { dir: dir.into(), reason: error.to_string() };
        let not_ours = |reason| OpenError::NotAStore { dir: dir.into(), reason };
        let format_key = own_key("format");
        let Some(format) = self.db.get(&format_key).map_err(backend)? else {
            if !self.db.is_empty() {
                return Err(not_ours("it has rows, but none that says which format they have"));
            }
            let mut batch = sled::Batch::default();
            batch.insert(format_key, &FORMAT.to_be_bytes());
            batch.insert(self.seq_key.clone(), &Seq::default().get().to_be_bytes());
            self.db.apply_batch(batch).map_err(backend)?;
            return Ok(Seq::default());
        };
        let found = u32::from_be_bytes(format.as_ref().try_into().map_err(|_| not_ours("its format row is damaged"))?);
        if found != FORMAT {
            return Err(OpenError::UnknownFormat { dir: dir.into(), found, known: FORMAT });
        }
        let seq = self.db.get(&self.seq_key).map_err(backend)?;
        let seq = seq.and_then(|seq| seq.as_ref().try_into().ok()).ok_or(not_ours("its commit number is damaged"))?;
        Ok(Seq::new(u64::from_be_bytes(seq)))
    }

    /// Makes the directory itself durable, then says so in the lock file.
    fn finish_set_up(&self, dir: &Path) -> io::Result<()> {
        File::open(dir.join("conf"))?.sync_all()?;
        if let Some(parent) = dir.canonicalize()?.parent() {
            File::open(parent)?.sync_all()?;
        }
        set_state(&self.lock, dir, READY)
    }

    /// Applies writes and the commit number as one atomic batch; returns the bytes written.
    pub(super) fn apply(
        &self,
        writes: impl Iterator<Item = (Bytes, Option<Bytes>)>,
        seq: Seq,
    ) -> Result<usize, String> {
        let mut batch = sled::Batch::default();
        let mut bytes = 0;
        for (key, value) in writes {
            bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch.insert(self.seq_key.clone(), &seq.get().to_be_bytes());
        self.db.apply_batch(batch).map_err(|error| format!("a batch was not applied: {error}"))?;
        Ok(bytes)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.data.metadata().ok().map(|data| data.len())
    }

    /// Syncs and lets go of the backend, whose threads are gone when this returns. The directory stays ours as long as
    /// the answer is kept.
    pub(super) fn close(self, dir: &Path) -> io::Result<File> {
        self.sync()?;
        let Self { db, data, lock, .. } = self;
        drop((db, data));
        wait_until_released(dir)?;
        Ok(lock)
    }

    /// Returns when everything applied is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(io::Error::from)?;
        self.data.sync_data()
    }
}

impl Base for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.db.get(key).map_err(cannot_read)
    }

    fn range(&self, range: &Range) -> Result<Pairs<'_>, StoreError> {
        let rows = self.db.range(range.from.as_slice()..range.until.as_slice());
        let rows = rows.map(|row| row.map_err(cannot_read));
        Ok(if range.reverse { Box::new(Backward(rows)) } else { Box::new(rows) })
    }
}

fn cannot_read(error: sled::Error) -> StoreError {
    StoreError::Backend { reason: error.to_string().into() }
}

/// `Iterator::rev` by hand: it asks only for the next row from the back.
struct Backward<I>(I);

impl<I: DoubleEndedIterator> Iterator for Backward<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_back()
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path: PathBuf = path.into();
    move |source| OpenError::Io { what, path, source }
}

fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let lock = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(io_error("open", &path))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { dir: dir.into() }),
        Err(error) => Err(io_error("lock", &path)(error.into())),
    }
}

fn set_state(mut lock: &File, dir: &Path, state: &[u8]) -> io::Result<()> {
    lock.set_len(0)?;
    lock.write_all(state)?;
    lock.sync_all()?;
    File::open(dir)?.sync_all()
}

/// Deletes what a kill or a power loss can leave behind and sled does not open; returns whether the set-up is complete.
fn prepare(dir: &Path, lock: &mut File) -> Result<bool, OpenError> {
    let mut state = Vec::new();
    lock.read_to_end(&mut state).map_err(io_error("read", &dir.join(LOCK_FILE)))?;
    // sled sets up its files without a sync. Nobody has used them yet, so they are simply made again.
    let cut_short = state == SETTING_UP;
    let mut empty = true;
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let entry = entry.map_err(io_error("list", dir))?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let half_written = name.starts_with("snap.") && name.ends_with(".generating");
        if half_written || (cut_short && (name == "conf" || name == "db" || name.starts_with("snap."))) {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        } else if name != LOCK_FILE {
            empty = false;
        }
    }
    if empty && state != SETTING_UP {
        set_state(lock, dir, SETTING_UP).map_err(io_error("sync", dir))?;
    }
    Ok(state == READY)
}

/// Opens sled, waiting a moment for threads of a store that this process has just closed.
fn open_sled(dir: &Path, options: &SledOptions) -> Result<sled::Db, OpenError> {
    let config = sled::Config::new().path(dir).cache_capacity(options.cache_bytes).flush_every_ms(Some(500));
    let deadline = Instant::now() + RELEASE_TIME_MAX;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if held(&error) && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(OpenError::Backend { dir: dir.into(), reason: error.to_string() }),
        }
    }
}

/// Waits until a store that this process has closed lets go of its files, which can take a moment longer than the call:
/// before its directory is renamed or copied.
///
/// # Errors
///
/// If it does not within five seconds, or its files cannot be opened.
pub fn wait_until_released(dir: &Path) -> io::Result<()> {
    let data = File::open(dir.join("db"))?;
    let deadline = Instant::now() + RELEASE_TIME_MAX;
    loop {
        match flock(&data, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Bytes that this process may still write to the disk of `dir`.
pub(super) fn free_bytes(dir: &Path) -> Option<u64> {
    statvfs(dir).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// sled says so in words only.
fn held(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Watches that a reserve stays free on the disk.
pub(super) struct Space {
    dir: PathBuf,
    reserve: u64,
    checked: Option<Instant>,
    free: u64,
    used: u64,
}

impl Space {
    const CHECK_EVERY: Duration = Duration::from_secs(1);

    pub(super) fn new(dir: &Path, reserve: u64) -> Self {
        Self { dir: dir.into(), reserve, checked: None, free: u64::MAX, used: 0 }
    }

    /// The directory whose disk it watches.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Counts bytes written, so that a burst is noticed before the next regular check.
    pub(super) fn used(&mut self, bytes: usize) {
        self.used += bytes as u64;
    }

    /// Looks at the disk, at most once a second unless much was written.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        let fresh = self.checked.is_some_and(|checked| checked.elapsed() < Self::CHECK_EVERY);
        if !fresh || self.used > self.reserve / 16 {
            // A disk that does not say how full it is, is written to until it refuses.
            self.free = free_bytes(&self.dir).unwrap_or(u64::MAX);
            self.checked = Some(Instant::now());
            self.used = 0;
        }
        if self.free < self.reserve {
            return Err(StoreError::DiskFull { free: self.free, reserve: self.reserve });
        }
        Ok(())
    }
}
