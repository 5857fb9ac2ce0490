//! The store: typed tables in one ordered key-value map, changed by serializable transactions that are durable when
//! they answer.
//!
//! [`Store::run`] is the only way to write. It takes a synchronous closure over a [`Tx`]; the closure may be run several
//! times, so time and ids are its arguments and it does no I/O. [`Store::read`] reads several rows at one moment,
//! beside the writer. Both answer only when what they saw or wrote is on disk.
//!
//! There are two backends. [`Store::open`] is sled with one writer thread that commits in groups; [`Store::model`] is a map in
//! memory that makes up missing rows and conflicts, so that tests prove every closure can be run again.
//!
//! Nothing here knows what the rows mean. Only here is sled named.

mod command;
mod compact;
mod error;
mod export;
mod key;
mod model;
mod overlay;
mod queue;
mod record;
mod sled;
mod stats;
mod table;
mod tx;
mod writer;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod sled_tests;

use std::{path::Path, sync::Arc};

use jiff::Timestamp;

pub use self::sled::wait_until_released;
use self::{
    command::Closure,
    model::Model,
    sled::{Disk, Space},
    writer::Handle,
};
pub use self::{
    compact::{CompactError, Compacted, compact},
    error::{OpenError, StoreError},
    export::{Export, Import, RowsReport},
    key::{Key, KeyPrefix},
    record::{Record, VALUE_BYTES_MAX},
    stats::{GROUP_SIZE_BOUNDS, StoreStats},
    table::{KEY_BYTES_MAX, Row, SCAN_ROWS_DEFAULT, SCAN_ROWS_MAX, Scan, Seq, Table},
    tx::{Tx, WRITES_MAX},
};

/// Something beside the store that transactions refer to: it must be on disk no later than they are.
///
/// Whoever appends to it does so before calling [`Store::run`]; the writer syncs all barriers before it applies a group.
pub trait Barrier: Send + Sync {
    /// Returns when everything appended before the call is on disk. Cheap if nothing was.
    ///
    /// # Errors
    ///
    /// A failed sync poisons the store: what is on disk is then unknown.
    fn sync(&self) -> std::io::Result<()>;
}

/// How the sled backend is run.
#[derive(Clone, Debug)]
pub struct SledOptions {
    /// Memory for pages. Use 64 MiB while importing.
    pub cache_bytes: u64,
    /// Writes are refused when less than this is free on the disk: the store cannot be opened on a full one.
    pub reserve_bytes: u64,
    /// Commands that may wait for the writer; more are refused as [`StoreError::Overloaded`].
    pub waiting_max: usize,
    /// Commands that share one sync, at most.
    pub group_max: usize,
    /// The chance that a closure is run twice, to prove that it can be: 0 but in tests.
    pub rerun: f64,
}

impl SledOptions {
    /// 256 MiB of cache, 256 MiB of reserve, 8,192 waiting commands, groups of 256, no reruns.
    pub const fn standard() -> Self {
        Self { cache_bytes: 256 << 20, reserve_bytes: 256 << 20, waiting_max: 8_192, group_max: 256, rerun: 0.0 }
    }
}

/// The store. Cheap to clone; the last one dropped ends the writer.
#[derive(Clone)]
pub struct Store {
    backend: Backend,
}

#[derive(Clone)]
enum Backend {
    Sled(Arc<Handle>),
    Model(Arc<Model>),
}

impl Store {
    /// Opens or creates the store in `dir`. The `barriers` are on disk no later than any transaction that was run after
    /// something was appended to them.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the directory is in use, of another format, damaged or not accessible.
    pub fn open(dir: &Path, options: SledOptions, barriers: Vec<Arc<dyn Barrier>>) -> Result<Self, OpenError> {
        let (disk, seq) = Disk::open(dir, &options)?;
        let space = Space::new(dir, options.reserve_bytes);
        let handle = Handle::start(disk, seq, space, &options, barriers);
        let handle =
            handle.map_err(|source| OpenError::Io { what: "start the writer of", path: dir.into(), source })?;
        Ok(Self { backend: Backend::Sled(Arc::new(handle)) })
    }

    /// A store in memory that runs every closure at least twice, with misses and conflicts made up from `seed`.
    pub fn model(seed: u64) -> Self {
        Self { backend: Backend::Model(Arc::new(Model::new(seed))) }
    }

    /// Runs one serializable transaction and answers when it is durable. `at` is stamped on every row it writes.
    ///
    /// If `f` returns an error, nothing is written. `f` may be run several times; only the last run counts. A caller
    /// that stops waiting does not stop the transaction.
    ///
    /// # Errors
    ///
    /// Those of `f`, and [`StoreError`].
    pub async fn run<T, E, F>(&self, at: Timestamp, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.backend {
            Backend::Sled(handle) => handle.run(Closure::new(Some(at), f)).await,
            Backend::Model(model) => model.answer(Closure::new(Some(at), f)),
        }
    }

    /// Reads rows of one moment, and answers when what was read is durable. Runs `f` on the calling thread, beside the
    /// writer; only if commits keep coming in between does it take its turn there. Writes in `f` are errors.
    ///
    /// # Errors
    ///
    /// Those of `f`, and [`StoreError`].
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.backend {
            Backend::Sled(handle) => handle.read(Closure::new(None, f)).await,
            Backend::Model(model) => model.answer(Closure::new(None, f)),
        }
    }

    /// Reads rows of one moment and answers at once, durable or not: for what goes into a later [`Store::run`], whose
    /// answer waits for it. Whoever answers with anything else calls [`Store::settle`] first.
    ///
    /// # Errors
    ///
    /// Those of `f`, and [`StoreError`].
    pub async fn peek<T, E, F>(&self, f: F) -> Result<T, E>
    where
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &self.backend {
            Backend::Sled(handle) => handle.peek(Closure::new(None, f)).await,
            Backend::Model(model) => model.answer(Closure::new(None, f)),
        }
    }

    /// Waits until everything that could be read before this call is durable.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] or [`StoreError::Closed`] if it never will be.
    pub async fn settle(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sled(handle) => handle.settle().await,
            Backend::Model(_) => Ok(()),
        }
    }

    /// Hands every row of a table to `each`, in key order; returns how many there were.
    ///
    /// Rows are read in pages, each of one moment but not all of the same one: for checks of a store at rest, exports,
    /// and rebuilding what is derived.
    ///
    /// # Errors
    ///
    /// The first error of `each`, and [`StoreError`].
    pub async fn for_each<K, V, E>(
        &self,
        table: Table<K, V>,
        mut each: impl FnMut(K, Row<V>) -> Result<(), E>,
    ) -> Result<u64, E>
    where
        K: Key + Clone + Sync,
        V: Record + Send,
        E: From<StoreError>,
    {
        let mut last: Option<K> = None;
        let mut rows = 0;
        loop {
            let cursor = last.clone();
            let page = self.read(move |tx| {
                let scan = Scan::all().limit(SCAN_ROWS_MAX);
                let scan = if let Some(last) = &cursor { scan.after(last) } else { scan };
                tx.scan_rows(&table, &scan)
            });
            let page: Result<Vec<(K, Row<V>)>, StoreError> = page.await;
            let page = page?;
            let complete = page.len() < SCAN_ROWS_MAX;
            rows += page.len() as u64;
            last = page.last().map(|(key, _)| key.clone());
            for (key, row) in page {
                each(key, row)?;
            }
            if complete {
                return Ok(rows);
            }
        }
    }

    /// Begins to tell everything that is stored, at one moment, while commits go on; see [`Export`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Exporting`] while another export runs, [`StoreError::Closed`], [`StoreError::Poisoned`].
    pub fn export(&self) -> Result<Export, StoreError> {
        match &self.backend {
            Backend::Sled(handle) => Export::of_sled(Arc::clone(handle)),
            Backend::Model(model) => Ok(Export::of_model(model.snapshot())),
        }
    }

    /// Looks at every row of every table, also of those this program does not know: its envelope, its CBOR, its
    /// chunks. For a store at rest: a row that is written meanwhile can look torn.
    ///
    /// # Errors
    ///
    /// Those of the backend; a row that is not whole is no error but a finding.
    pub fn check_rows(&self) -> Result<RowsReport, StoreError> {
        export::check_rows(self.export()?)
    }

    /// Accepts nothing more, finishes what waits, and syncs. Every later call on any clone fails.
    ///
    /// # Errors
    ///
    /// [`StoreError::Poisoned`] if the store had failed, or its last sync did.
    pub async fn close(self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sled(handle) => handle.close().await,
            Backend::Model(model) => {
                model.close();
                Ok(())
            }
        }
    }

    /// Waits until the store fails for good, which is when the process should exit; for ever, if it does not.
    pub async fn failed(&self) -> StoreError {
        match &self.backend {
            Backend::Sled(handle) => handle.failed().await,
            Backend::Model(_) => std::future::pending().await,
        }
    }

    /// What happened since the store was opened.
    pub fn stats(&self) -> StoreStats {
        match &self.backend {
            Backend::Sled(handle) => handle.stats(),
            Backend::Model(model) => model.stats(),
        }
    }
}
