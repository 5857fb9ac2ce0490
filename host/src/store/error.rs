//! What the store can refuse, and why.

use std::{path::PathBuf, sync::Arc};

/// Why a transaction or a read did not happen. Nothing of it is written when this is the answer, with one exception:
/// after [`StoreError::Poisoned`] it is unknown until the next start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row is not loaded yet. Return it from the closure (`?` does): the rows are fetched and the closure runs again.
    #[error("a row is not loaded yet; the closure must return this so that it is run again")]
    Missing,
    /// The encoded key is too long.
    #[error("a key of table {table} takes {bytes} bytes, at most {max} are allowed")]
    KeyTooLong {
        /// The table written or read.
        table: &'static str,
        /// The size of the refused key.
        bytes: usize,
        /// [`KEY_BYTES_MAX`](super::KEY_BYTES_MAX).
        max: usize,
    },
    /// The encoded value is too large even in chunks.
    #[error("a value of table {table} takes {bytes} bytes, at most {max} are allowed")]
    ValueTooLarge {
        /// The table written.
        table: &'static str,
        /// The size of the refused value.
        bytes: usize,
        /// [`VALUE_BYTES_MAX`](super::VALUE_BYTES_MAX).
        max: usize,
    },
    /// The transaction writes too many rows (a large value counts once per chunk).
    #[error("a transaction writes more than {max} rows, the last one to table {table}")]
    TooManyWrites {
        /// The table of the write that was one too many.
        table: &'static str,
        /// [`WRITES_MAX`](super::WRITES_MAX).
        max: usize,
    },
    /// The scan asks for too many rows at once.
    #[error("a scan of table {table} asks for {limit} rows, at most {max} are allowed: continue with a cursor")]
    ScanTooLong {
        /// The table scanned.
        table: &'static str,
        /// The limit asked for.
        limit: usize,
        /// [`SCAN_ROWS_MAX`](super::SCAN_ROWS_MAX).
        max: usize,
    },
    /// A write inside [`Store::read`](super::Store::read).
    #[error("a read-only closure writes to table {table}")]
    ReadOnly {
        /// The table written.
        table: &'static str,
    },
    /// The value does not encode.
    #[error("a value of table {table} does not encode: {reason}")]
    Encode {
        /// The table written.
        table: &'static str,
        /// What the codec says.
        reason: Arc<str>,
    },
    /// A stored row cannot be read: damage, or a row of a newer version.
    #[error("a row of table {table} cannot be read: {reason}")]
    Corrupt {
        /// The table read.
        table: &'static str,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// Too many commands wait for the writer.
    #[error("the store is overloaded: {waiting} commands wait; try again later")]
    Overloaded {
        /// How many wait.
        waiting: usize,
    },
    /// The disk is fuller than the reserve allows: writes are refused, reads go on.
    #[error("the disk is full: {free} bytes free, {reserve} are held in reserve; free some space, reads go on")]
    DiskFull {
        /// Bytes free for this process.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// The closure panicked; its writes are dropped and the store goes on.
    #[error("a transaction panicked: {message}")]
    Panicked {
        /// The message of the panic.
        message: Arc<str>,
    },
    /// A write or a sync failed. What is durable is unknown, so nothing more is accepted: the process must be restarted.
    #[error("the store failed and must be restarted: {reason}")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The backend failed to read.
    #[error("the store cannot read: {reason}")]
    Backend {
        /// What the backend says.
        reason: Arc<str>,
    },
    /// Another export of the store runs.
    #[error("a backup of this store is being made already: wait until it is done")]
    Exporting,
    /// Commits came in faster than the export was taken.
    #[error("the export fell {bytes_behind} bytes of commits behind, and {why}: take it faster, or at a quieter hour")]
    ExportOverrun {
        /// Bytes of commits that waited.
        bytes_behind: u64,
        /// Why no more can wait.
        why: &'static str,
    },
    /// Bytes that were to be imported are not what an export gives.
    #[error("what is imported is no export of a store: {reason}")]
    NotAnExport {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// [`Store::close`](super::Store::close) was called.
    #[error("the store is closed")]
    Closed,
}

/// Why a store did not open. Nothing is changed on disk when this is the answer.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another [`Store`](super::Store) of this one) holds the directory.
    #[error("{} is in use by another process: stop that one first, or choose another directory", dir.display())]
    Locked {
        /// The directory of the store.
        dir: PathBuf,
    },
    /// The directory was written by a version that this one does not know.
    #[error(
        "{} holds format {found}, this program knows format {known}: \
         start the version that wrote it, or restore a backup that this version made",
        dir.display()
    )]
    UnknownFormat {
        /// The directory of the store.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The format known.
        known: u32,
    },
    /// The directory holds data that is not a store of this program.
    #[error("{} is not a store of this program ({reason}): choose an empty directory or restore a backup", dir.display())]
    NotAStore {
        /// The directory of the store.
        dir: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file or directory cannot be used.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The backend does not open the directory.
    #[error("cannot open the store in {}: {reason}; restore a backup if this stays", dir.display())]
    Backend {
        /// The directory of the store.
        dir: PathBuf,
        /// What the backend says.
        reason: String,
    },
}
