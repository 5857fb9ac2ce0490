//! Compaction: the rows of a store at rest, copied into a fresh one that takes its place.
//!
//! The backend never gives back space. [`compact`] copies what is stored into a directory beside the store, and swaps the
//! two in one step: whenever the machine stops, a whole store stands in the place.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{
    SledOptions,
    error::{OpenError, StoreError},
    export::{Import, put_write},
    overlay::Base as _,
    sled::Disk,
    table::{Seq, all_tables},
};

/// Rows go over in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// Why a store was not compacted. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The store, or the fresh one, does not open; a running server holds it, for example.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A row cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Files cannot be moved.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk now.
    pub bytes_after: u64,
    /// The last commit, before and now.
    pub seq: Seq,
}

/// Compacts the store in `dir`, which nobody may have open. The old files stand as `NAME.old` until the new ones are in
/// place, and are removed then.
///
/// # Errors
///
/// [`CompactError`].
pub fn compact(dir: &Path, options: &SledOptions) -> Result<Compacted, CompactError> {
    let (fresh, old) = (beside(dir, "new"), beside(dir, "old"));
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| CompactError::Io { what, path, source }
    };
    let (disk, seq) = Disk::open(dir, options)?;
    // What a compaction that was cut short left; the store in the place is whole.
    for left in [&fresh, &old] {
        if left.exists() {
            fs::remove_dir_all(left).map_err(io("remove", left))?;
        }
    }
    let bytes_before = disk.bytes().unwrap_or(0);
    let mut import = Import::begin(&fresh, options)?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for row in disk.range(&all_tables(None))? {
        let (key, value) = row?;
        put_write(&mut piece, &key, Some(&value));
        if piece.len() >= PIECE_BYTES {
            import.write(&piece)?;
            piece.clear();
        }
    }
    import.write(&piece)?;
    // Both directories stay locked until the swap is done: no server starts in between.
    let fresh_lock = import.finish_locked(&fresh, seq)?;
    let lock = disk.close(dir).map_err(io("close", dir))?;
    renameat_with(CWD, &fresh, CWD, dir, RenameFlags::EXCHANGE)
        .map_err(|error| io("swap the compacted store into", dir)(error.into()))?;
    fs::rename(&fresh, &old).map_err(io("rename", &fresh))?;
    sync_parent(dir).map_err(io("sync the directory of", dir))?;
    drop((lock, fresh_lock));
    fs::remove_dir_all(&old).map_err(io("remove", &old))?;
    let bytes_after = fs::metadata(dir.join("db")).map_or(0, |data| data.len());
    Ok(Compacted { bytes_before, bytes_after, seq })
}

/// `store` → `store.new`.
fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    dir.with_file_name(name)
}

fn sync_parent(dir: &Path) -> io::Result<()> {
    dir.canonicalize()?.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
