//! One run of a closure: what it reads, and the writes that it leaves behind.

use std::{any::Any, sync::Arc};

use jiff::Timestamp;

use super::{
    error::StoreError,
    key::Key,
    overlay::{self, Base, Bytes, Layer},
    record::{self, Record, STORED_BYTES_MAX},
    table::{Range, Row, Scan, Seq, Table, chunk_key},
};

/// Most rows that one transaction writes, chunks included. A batch of the backend holds one more: the commit number.
pub const WRITES_MAX: usize = 511;

/// A transaction, as its closure sees it.
///
/// Reads see the transaction's own writes. A closure may be run several times and must give the same answer for the
/// same rows: it takes time and ids as arguments and does no I/O.
pub struct Tx<'a> {
    base: &'a dyn Base,
    group: Option<&'a Layer>,
    own: Layer,
    seq: Seq,
    at: Timestamp,
    writable: bool,
    misses: Vec<Want>,
    /// The first write that failed: the run fails, even if its closure overlooks the error.
    refused: Option<StoreError>,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// Something that was read before it was loaded.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Want {
    Row(Vec<u8>),
    Rows(Range),
}

impl<'a> Tx<'a> {
    /// `at` is `None` for a read.
    pub(super) fn new(base: &'a dyn Base, group: Option<&'a Layer>, seq: Seq, at: Option<Timestamp>) -> Self {
        let own = Layer::default();
        let (key, value) = (Vec::with_capacity(64), Vec::new());
        let (writable, at) = (at.is_some(), at.unwrap_or(Timestamp::MIN));
        Self { base, group, own, seq, at, writable, misses: Vec::new(), refused: None, key, value }
    }

    /// The number of this commit, if it writes; in a read, that of the last commit it can see.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The time given to [`Store::run`](super::Store::run); in a read, which has none, the smallest time there is.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The value at `key`.
    ///
    /// # Errors
    ///
    /// Those of [`StoreError`]; all of them are to be returned from the closure.
    pub fn get<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        Ok(self.get_row(table, key)?.map(|row| row.value))
    }

    /// The value at `key` with the commit that wrote it.
    ///
    /// # Errors
    ///
    /// As for [`Tx::get`].
    pub fn get_row<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K) -> Result<Option<Row<V>>, StoreError> {
        self.with_key(table, key, |tx, row_key| match tx.fetch(row_key)? {
            Some(stored) => tx.open(table, row_key, &stored).map(Some),
            None => Ok(None),
        })
    }

    /// The values at `keys`, in their order. Where rows have to be fetched, this fetches them together.
    ///
    /// # Errors
    ///
    /// As for [`Tx::get`].
    pub fn get_many<K: Key, V: Record>(
        &mut self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Option<V>>, StoreError> {
        let mut missing = false;
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match self.get(table, key) {
                Ok(value) => values.push(value),
                Err(StoreError::Missing) => missing = true,
                Err(error) => return Err(error),
            }
        }
        if missing { Err(StoreError::Missing) } else { Ok(values) }
    }

    /// The rows of a range.
    ///
    /// # Errors
    ///
    /// As for [`Tx::get`].
    pub fn scan<K: Key, V: Record>(&mut self, table: &Table<K, V>, scan: &Scan<K>) -> Result<Vec<(K, V)>, StoreError> {
        let rows = self.scan_rows(table, scan)?;
        Ok(rows.into_iter().map(|(key, row)| (key, row.value)).collect())
    }

    /// The rows of a range with the commits that wrote them.
    ///
    /// # Errors
    ///
    /// As for [`Tx::get`].
    pub fn scan_rows<K: Key, V: Record>(
        &mut self,
        table: &Table<K, V>,
        scan: &Scan<K>,
    ) -> Result<Vec<(K, Row<V>)>, StoreError> {
        let Some(range) = scan.range(table)? else { return Ok(Vec::new()) };
        let found = match self.group {
            Some(group) if !group.is_empty() => overlay::scan(self.base, &[group, &self.own], &range),
            _ if !self.own.is_empty() => overlay::scan(self.base, &[&self.own], &range),
            _ => overlay::scan(self.base, &[], &range),
        };
        if let Err(StoreError::Missing) = found {
            self.misses.push(Want::Rows(range));
            return Err(StoreError::Missing);
        }
        let row = |(key, stored): (Bytes, Bytes)| Ok((table.key_of(&key)?, self.open(table, &key, &stored)?));
        found?.into_iter().map(row).collect()
    }

    /// Writes the value at `key`.
    ///
    /// # Errors
    ///
    /// As for [`Tx::get`]; a broken limit fails the transaction whatever its closure returns.
    pub fn put<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K, value: &V) -> Result<(), StoreError> {
        let put = self.with_key(table, key, |tx, row_key| {
            tx.writable(table)?;
            let stale = tx.fetch(row_key)?.map_or(0, |stored| record::chunks_of(&stored));
            let mut encoded = std::mem::take(&mut tx.value);
            let sealed = record::encode(table, value, tx.seq, tx.at, &mut encoded);
            let fresh = sealed.map(|()| tx.store(row_key, &encoded));
            tx.value = encoded;
            tx.drop_chunks(row_key, fresh?, stale);
            tx.within_limit(table)
        });
        self.remember(put)
    }

    /// Removes the value at `key`, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`Tx::put`].
    pub fn delete<K: Key, V: Record>(&mut self, table: &Table<K, V>, key: &K) -> Result<(), StoreError> {
        let deleted = self.with_key(table, key, |tx, row_key| {
            tx.writable(table)?;
            if let Some(stored) = tx.fetch(row_key)? {
                tx.own.set(row_key.into(), None);
                tx.drop_chunks(row_key, 0, record::chunks_of(&stored));
            }
            tx.within_limit(table)
        });
        self.remember(deleted)
    }

    /// Lends the buffer that keys are encoded into.
    fn with_key<K: Key, V, T>(
        &mut self,
        table: &Table<K, V>,
        key: &K,
        f: impl FnOnce(&mut Self, &[u8]) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut row_key = std::mem::take(&mut self.key);
        let done = table.row_key(key, &mut row_key).and_then(|()| f(self, &row_key));
        self.key = row_key;
        done
    }

    fn fetch(&mut self, row_key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if let Some(written) = self.own.get(row_key) {
            return Ok(written.cloned());
        }
        if let Some(written) = self.group.and_then(|group| group.get(row_key)) {
            return Ok(written.cloned());
        }
        let found = self.base.get(row_key);
        if let Err(StoreError::Missing) = found {
            self.misses.push(Want::Row(row_key.to_vec()));
        }
        found
    }

    /// Reads a stored row, joining its chunks.
    fn open<K: Key, V: Record>(
        &mut self,
        table: &Table<K, V>,
        row_key: &[u8],
        stored: &[u8],
    ) -> Result<Row<V>, StoreError> {
        record::decode(table, stored, |index, to| match self.fetch(&chunk_key(row_key, index))? {
            Some(chunk) => {
                to.extend_from_slice(&chunk);
                Ok(())
            }
            None => Err(StoreError::Corrupt { table: table.name(), reason: "one of its chunks is gone".into() }),
        })
    }

    /// Writes an encoded row; returns how many chunks it took.
    fn store(&mut self, row_key: &[u8], encoded: &[u8]) -> u16 {
        if encoded.len() <= STORED_BYTES_MAX {
            self.own.set(row_key.into(), Some(encoded.into()));
            return 0;
        }
        let (row, chunks) = record::cut(encoded);
        self.own.set(row_key.into(), Some(row.into()));
        let mut count = 0;
        for chunk in chunks {
            self.own.set(chunk_key(row_key, count).into(), Some(chunk.into()));
            count += 1;
        }
        count
    }

    /// Removes the chunks that a row had and no longer has.
    fn drop_chunks(&mut self, row_key: &[u8], fresh: u16, stale: u16) {
        for index in fresh..stale {
            self.own.set(chunk_key(row_key, index).into(), None);
        }
    }

    fn writable<K, V>(&self, table: &Table<K, V>) -> Result<(), StoreError> {
        if self.writable { Ok(()) } else { Err(StoreError::ReadOnly { table: table.name() }) }
    }

    fn within_limit<K, V>(&self, table: &Table<K, V>) -> Result<(), StoreError> {
        if self.own.len() <= WRITES_MAX {
            return Ok(());
        }
        Err(StoreError::TooManyWrites { table: table.name(), max: WRITES_MAX })
    }

    /// Ends a run whose closure answered, well or with an error, or panicked.
    pub(super) fn end(self, answered: Result<bool, &Box<dyn Any + Send>>) -> End {
        if !self.misses.is_empty() {
            return End::Missed(self.misses);
        }
        match (answered, self.refused) {
            (Err(panic), _) => End::Refused(StoreError::Panicked { message: message_of(panic.as_ref()) }),
            (Ok(_), Some(refused)) => End::Refused(refused),
            (Ok(true), None) => End::Kept(self.own),
            (Ok(false), None) => End::Kept(Layer::default()),
        }
    }

    /// A write that failed fails the transaction: otherwise a closure that overlooks it commits half of what it meant.
    fn remember(&mut self, write: Result<(), StoreError>) -> Result<(), StoreError> {
        if let Err(error) = &write
            && !matches!(error, StoreError::Missing)
            && self.refused.is_none()
        {
            self.refused = Some(error.clone());
        }
        write
    }
}

/// How a transaction ended.
pub(super) enum End {
    /// These have to be loaded before the closure is run again, whatever it answered.
    Missed(Vec<Want>),
    /// It failed, whatever it answered.
    Refused(StoreError),
    /// The answer counts, and these writes with it: none, if the answer is an error.
    Kept(Layer),
}

/// What a panic says.
pub(super) fn message_of(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").into()
}
