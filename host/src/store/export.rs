//! The whole store as a stream of bytes, and back.
//!
//! [`Export`] tells everything that is stored at one moment, while commits go on. It reads rows in pages, which are not of
//! one moment; but from before the first page on, the writer keeps every batch that it applies for the export, and the
//! export tells those between the pages. Whoever takes all pieces in their order has, at the end, exactly what the last
//! batch left: a row that a batch wrote is told again after any page that could have missed it, and a row that no batch
//! wrote was the same all the time.
//!
//! Every piece is a list of writes; numbers are big-endian:
//!
//! ```text
//! write   key bytes u16 | value bytes u32, or FFFFFFFF to delete | key | value
//! ```
//!
//! [`Import`] makes a new store of such pieces, however they were cut on the way. A receiver that is slower than the commits
//! lets batches wait in memory and then in a file, see [`mod@tap`]; one that is too slow has its export ended, never the
//! commits.

mod tap;

use std::{collections::BTreeMap, path::Path, sync::Arc};

pub(super) use tap::{Kept, Limits, Tap};

use super::{
    SledOptions,
    error::{OpenError, StoreError},
    overlay::{Bytes, Pair},
    record::{STORED_BYTES_MAX, chunks_of, is_whole},
    sled::{Disk, Space},
    table::{KEY_BYTES_MAX, Seq, all_tables, tag_of},
    tx::WRITES_MAX,
    writer::Handle,
};

/// A page of rows ends when it has this many bytes.
const PAGE_BYTES: usize = 256 << 10;
/// Stands for a deletion where the length of a value would be.
const DELETED: u32 = u32::MAX;
/// The store's own head of a key, and the number of a chunk after it.
const KEY_EXTRA_BYTES: usize = 4 + 2;
/// An import is synced after so many bytes, so that little waits in memory.
const SYNC_EVERY_BYTES: usize = 64 << 20;

/// Appends one write to a piece.
pub(super) fn put_write(to: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    let key_bytes = u16::try_from(key.len()).expect("keys are bounded");
    let value_bytes = value.map_or(DELETED, |value| u32::try_from(value.len()).expect("values are bounded"));
    to.extend_from_slice(&key_bytes.to_be_bytes());
    to.extend_from_slice(&value_bytes.to_be_bytes());
    to.extend_from_slice(key);
    to.extend_from_slice(value.unwrap_or_default());
}

/// A key and what is written there.
type Write<'a> = (&'a [u8], Option<&'a [u8]>);

/// Takes the first write off a piece; `None` if the piece ends within it. What is there already is checked.
fn take_write<'a>(from: &mut &'a [u8]) -> Result<Option<Write<'a>>, StoreError> {
    let wrong = |reason| StoreError::NotAnExport { reason };
    let Some((key_bytes, rest)) = from.split_first_chunk::<2>() else { return Ok(None) };
    let key_bytes = usize::from(u16::from_be_bytes(*key_bytes));
    if key_bytes > KEY_BYTES_MAX + KEY_EXTRA_BYTES {
        return Err(wrong("a key is no table's"));
    }
    let Some((value_bytes, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let value_bytes = u32::from_be_bytes(*value_bytes);
    let value_bytes = if value_bytes == DELETED { None } else { Some(value_bytes as usize) };
    if value_bytes.is_some_and(|bytes| bytes > 2 * STORED_BYTES_MAX) {
        return Err(wrong("a value is too long"));
    }
    let Some((key, rest)) = rest.split_at_checked(key_bytes) else { return Ok(None) };
    if tag_of(key).is_none() {
        return Err(wrong("a key is no table's"));
    }
    let Some((value, rest)) = rest.split_at_checked(value_bytes.unwrap_or(0)) else { return Ok(None) };
    *from = rest;
    Ok(Some((key, value_bytes.map(|_| value))))
}

/// Everything that is stored, piece by piece. One at a time; dropping it ends it.
///
/// Blocks while it reads: use it on a thread that may wait.
pub struct Export {
    source: Source,
    seq: Seq,
}

enum Source {
    Sled { handle: Arc<Handle>, next: Option<Vec<u8>>, rows_next: bool, rest: Rest },
    Model(std::vec::IntoIter<Pair>),
}

/// What the writer keeps for an export.
enum Rest {
    /// More comes.
    Coming,
    /// All rows are read: these batches are the last ones, and nothing is kept any more.
    Last(Box<Tap>),
    /// Everything was told.
    Told,
}

impl Export {
    pub(super) fn of_sled(handle: Arc<Handle>) -> Result<Self, StoreError> {
        handle.open_tap()?;
        let next = Some(all_tables(None).from);
        Ok(Self { source: Source::Sled { handle, next, rows_next: true, rest: Rest::Coming }, seq: Seq::default() })
    }

    pub(super) fn of_model((rows, seq): (Vec<Pair>, Seq)) -> Self {
        Self { source: Source::Model(rows.into_iter()), seq }
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`StoreError::ExportOverrun`] if the pieces are taken far more slowly than commits come in, and those of the backend.
    pub fn piece(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match &mut self.source {
            Source::Model(rows) => {
                let mut piece = Vec::new();
                while piece.len() < PAGE_BYTES
                    && let Some((key, value)) = rows.next()
                {
                    put_write(&mut piece, &key, Some(&value));
                }
                Ok((!piece.is_empty()).then_some(piece))
            }
            Source::Sled { handle, next, rows_next, rest } => loop {
                // A page first, what was applied meanwhile after it: never the other way round.
                let (kept, seq) = match rest {
                    Rest::Told => return Ok(None),
                    Rest::Last(tap) => tap.take()?,
                    Rest::Coming if std::mem::replace(rows_next, false) => {
                        let Some(from) = next.take() else {
                            *rest = Rest::Last(Box::new(handle.end_tap()?));
                            continue;
                        };
                        let (piece, after) = page(handle, from)?;
                        *next = after;
                        if piece.is_empty() {
                            continue;
                        }
                        return Ok(Some(piece));
                    }
                    Rest::Coming => {
                        *rows_next = true;
                        handle.drain_tap()?
                    }
                };
                let piece = kept.read()?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                if let Rest::Last(_) = rest {
                    (*rest, self.seq) = (Rest::Told, seq);
                }
            },
        }
    }

    /// The commit that all pieces together are the state of; known once there are no more.
    pub fn seq(&self) -> Seq {
        self.seq
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Source::Sled { handle, rest: Rest::Coming, .. } = &self.source {
            handle.close_tap();
        }
    }
}

/// Rows from `from` on, and where the next page begins.
fn page(handle: &Handle, from: Vec<u8>) -> Result<(Vec<u8>, Option<Vec<u8>>), StoreError> {
    let (mut piece, mut after) = (Vec::with_capacity(PAGE_BYTES + 8_192), None);
    handle.stored(&all_tables(Some(from)), &mut |(key, value)| {
        if piece.len() >= PAGE_BYTES {
            after = Some(key.to_vec());
            return false;
        }
        put_write(&mut piece, &key, Some(&value));
        true
    })?;
    Ok((piece, after))
}

/// A new store, made of the pieces of an export.
///
/// Until [`Import::finish`] returns it is not one that anybody should open: make it beside its place and rename it.
pub struct Import {
    disk: Disk,
    space: Space,
    batch: Vec<(Bytes, Option<Bytes>)>,
    /// The beginning of a write whose end comes with the next piece.
    cut: Vec<u8>,
    unsynced: usize,
}

impl Import {
    /// Begins a store in a directory that is not there yet, or is empty.
    ///
    /// # Errors
    ///
    /// [`OpenError`], also where a store is already.
    pub fn begin(dir: &Path, options: &SledOptions) -> Result<Self, OpenError> {
        if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            let reason = "it is not empty, and a store is to be made in it";
            return Err(OpenError::NotAStore { dir: dir.into(), reason });
        }
        let (disk, _) = Disk::open(dir, options)?;
        let space = Space::new(dir, options.reserve_bytes);
        Ok(Self { disk, space, batch: Vec::new(), cut: Vec::new(), unsynced: 0 })
    }

    /// Takes the next bytes. They may begin and end within a write: on their way pieces are cut and joined.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAnExport`], and those of the backend.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let mut joined = std::mem::take(&mut self.cut);
        let mut rest = if joined.is_empty() {
            piece
        } else {
            joined.extend_from_slice(piece);
            joined.as_slice()
        };
        while let Some((key, value)) = take_write(&mut rest)? {
            self.batch.push((key.into(), value.map(Bytes::from)));
            if self.batch.len() >= WRITES_MAX {
                self.apply(Seq::default())?;
            }
        }
        // Shorter than one write, which is bounded.
        self.cut = rest.to_vec();
        Ok(())
    }

    fn whole(&self) -> Result<(), StoreError> {
        if self.cut.is_empty() { Ok(()) } else { Err(StoreError::NotAnExport { reason: "a write is cut short" }) }
    }

    /// Closes the store as the state of that commit; it is on disk, and nobody has it open, when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotAnExport`] if the last write has no end, and those of the backend.
    pub fn finish(mut self, dir: &Path, seq: Seq) -> Result<(), StoreError> {
        self.whole()?;
        self.apply(seq)?;
        self.disk.close(dir).map(drop).map_err(cannot_write)
    }

    /// Like [`Import::finish`], but the directory stays locked as long as the answer is kept.
    pub(super) fn finish_locked(mut self, dir: &Path, seq: Seq) -> Result<std::fs::File, StoreError> {
        self.whole()?;
        self.apply(seq)?;
        self.disk.close(dir).map_err(cannot_write)
    }

    fn apply(&mut self, seq: Seq) -> Result<(), StoreError> {
        self.space.check()?;
        let bytes = self.disk.apply(self.batch.drain(..), seq).map_err(cannot_write)?;
        self.space.used(bytes);
        self.unsynced += bytes;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.disk.sync().map_err(cannot_write)?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

fn cannot_write(error: impl ToString) -> StoreError {
    StoreError::Backend { reason: error.to_string().into() }
}

/// What [`Store::check_rows`](super::Store::check_rows) found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowsReport {
    /// Rows by the tag of their table.
    pub rows: BTreeMap<u16, u64>,
    /// Rows whose envelope, CBOR or chunks are not whole, by the tag of their table.
    pub torn: BTreeMap<u16, u64>,
    /// Chunks that no row refers to, by the tag of their table.
    pub loose_chunks: BTreeMap<u16, u64>,
}

/// Chunks sort behind all rows, so the rows that have some wait for theirs. Large values are few and of at most 1 MiB.
pub(super) fn check_rows(mut export: Export) -> Result<RowsReport, StoreError> {
    let mut report = RowsReport::default();
    let mut chunked: BTreeMap<Vec<u8>, (Vec<u8>, Vec<u8>, u16)> = BTreeMap::new();
    while let Some(piece) = export.piece()? {
        let mut rest = piece.as_slice();
        while let Some((key, value)) = take_write(&mut rest)? {
            let Some(value) = value else { continue };
            let Some((tag, chunk)) = tag_of(key) else { continue };
            match chunk {
                None => {
                    *report.rows.entry(tag).or_default() += 1;
                    if chunks_of(value) > 0 {
                        chunked.insert(key.to_vec(), (value.to_vec(), Vec::new(), 0));
                    } else if !is_whole(value, &[]) {
                        *report.torn.entry(tag).or_default() += 1;
                    }
                }
                Some((row, number)) => match chunked.get_mut(&row) {
                    Some((stored, chunks, next)) if *next == number && number < chunks_of(stored) => {
                        chunks.extend_from_slice(value);
                        *next += 1;
                        if *next == chunks_of(stored) {
                            let whole = is_whole(stored, chunks);
                            chunked.remove(&row);
                            if !whole {
                                *report.torn.entry(tag).or_default() += 1;
                            }
                        }
                    }
                    _ => *report.loose_chunks.entry(tag).or_default() += 1,
                },
            }
        }
    }
    for key in chunked.keys() {
        if let Some((tag, _)) = tag_of(key) {
            *report.torn.entry(tag).or_default() += 1;
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
