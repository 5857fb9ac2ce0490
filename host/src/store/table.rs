//! Typed tables, rows and bounded scans.

use std::{fmt, marker::PhantomData};

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    error::StoreError,
    key::{Key, KeyPrefix},
};

/// Most bytes of an encoded key, without the store's own four.
pub const KEY_BYTES_MAX: usize = 1024;
/// Rows that a scan returns when it says nothing else.
pub const SCAN_ROWS_DEFAULT: usize = 100;
/// Most rows that one scan returns.
pub const SCAN_ROWS_MAX: usize = 1_000;

/// Every key begins with the programme it belongs to; one deployment is one programme.
const PROGRAMME: u16 = 0;
/// Chunks of large values live in a table of their own, beside the one they belong to.
const CHUNKS: u16 = 0x8000;

/// The number of a commit: dense, and larger than that of every commit before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Seq(#[n(0)] u64);

impl Seq {
    /// The commit with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A stored value with the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<V> {
    /// The value.
    pub value: V,
    /// The commit that wrote it.
    pub seq: Seq,
    /// The time given to that commit, in whole milliseconds.
    pub at: Timestamp,
}

/// A table: keys of one type to values of one type.
///
/// Declared as constants. Tag and name are the identity of the table for ever; a changed layout gets a new tag.
///
/// ```
/// use galenic::{ids::MemberId, store::Table};
/// pub const VISITS: Table<(MemberId, u64), String> = Table::new(0x7001, "visits.v1");
/// ```
pub struct Table<K, V> {
    tag: u16,
    name: &'static str,
    rows: PhantomData<fn(K) -> V>,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:#06x}, {})", self.tag, self.name)
    }
}

impl<K, V> Table<K, V> {
    /// The table with this tag (from 1 to 0x7FFF, unique in the program) and name (with a version, for messages).
    ///
    /// # Panics
    ///
    /// If the tag is out of range: at compile time, when the table is a constant.
    pub const fn new(tag: u16, name: &'static str) -> Self {
        assert!(0 < tag && tag < CHUNKS, "a table's tag is between 1 and 0x7FFF");
        Self { tag, name, rows: PhantomData }
    }

    /// The table's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The table's tag.
    pub const fn tag(&self) -> u16 {
        self.tag
    }
}

impl<K: Key, V> Table<K, V> {
    /// Replaces `to` with the whole key of a row.
    pub(super) fn row_key(&self, key: &K, to: &mut Vec<u8>) -> Result<(), StoreError> {
        start_key(self.tag, to);
        key.encode(to);
        let bytes = to.len() - KEY_HEAD_BYTES;
        if bytes > KEY_BYTES_MAX {
            return Err(StoreError::KeyTooLong { table: self.name, bytes, max: KEY_BYTES_MAX });
        }
        Ok(())
    }

    /// Reads the key out of the whole key of a row.
    pub(super) fn key_of(&self, row_key: &[u8]) -> Result<K, StoreError> {
        row_key
            .get(KEY_HEAD_BYTES..)
            .and_then(K::from_bytes)
            .ok_or_else(|| StoreError::Corrupt { table: self.name, reason: "its key does not decode".into() })
    }
}

/// The programme and the table's tag.
const KEY_HEAD_BYTES: usize = 4;

fn start_key(tag: u16, to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(&PROGRAMME.to_be_bytes());
    to.extend_from_slice(&tag.to_be_bytes());
}

/// The key of a chunk of the row at `row_key`.
pub(super) fn chunk_key(row_key: &[u8], chunk: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(row_key.len() + 2);
    key.extend_from_slice(row_key);
    key[2] |= CHUNKS.to_be_bytes()[0];
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// The range of all rows of all tables, the store's own left out, from this key on.
pub(super) fn all_tables(from: Option<Vec<u8>>) -> Range {
    let mut first = Vec::new();
    start_key(1, &mut first);
    Range {
        from: from.unwrap_or(first),
        until: (PROGRAMME + 1).to_be_bytes().to_vec(),
        reverse: false,
        limit: usize::MAX,
    }
}

/// The whole key of a row, and the number of one of its chunks.
pub(super) type ChunkOf = (Vec<u8>, u16);

/// The tag in the whole key of a row, and the row that it is a chunk of, with the chunk's number; `None` if it is no
/// key of a table's row.
pub(super) fn tag_of(row_key: &[u8]) -> Option<(u16, Option<ChunkOf>)> {
    let (head, rest) = row_key.split_first_chunk::<KEY_HEAD_BYTES>()?;
    let (programme, tag) = (u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]]));
    let table = tag & !CHUNKS;
    if programme != PROGRAMME || table == 0 {
        return None;
    }
    if tag == table {
        return Some((table, None));
    }
    let (_, chunk) = rest.split_last_chunk::<2>()?;
    let mut row = row_key[..row_key.len() - 2].to_vec();
    row[2..4].copy_from_slice(&table.to_be_bytes());
    Some((table, Some((row, u16::from_be_bytes(*chunk)))))
}

/// The key of one of the store's own rows: tag 0 is no table's.
pub(super) fn own_key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    start_key(0, &mut key);
    key.extend_from_slice(name.as_bytes());
    key
}

/// A bounded range of a table with key `K`, in either direction.
///
/// ```
/// use galenic::{ids::{Id, MemberId}, store::{Scan, Table}};
/// const VISITS: Table<(MemberId, u64), String> = Table::new(0x7001, "visits.v1");
/// # fn newest(tx: &mut galenic::store::Tx<'_>, member: MemberId) -> Result<(), galenic::store::StoreError> {
/// let newest = tx.scan(&VISITS, &Scan::prefix(&member).reverse().limit(10))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Scan<K> {
    prefix: Vec<u8>,
    from: Option<Vec<u8>>,
    until: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
    reverse: bool,
    limit: usize,
    keys: PhantomData<fn(K)>,
}

impl<K: Key> Scan<K> {
    /// The rows whose keys begin with `prefix`: [`SCAN_ROWS_DEFAULT`] of them, in ascending order.
    pub fn prefix(prefix: &impl KeyPrefix<K>) -> Self {
        Self {
            prefix: bytes_of(prefix),
            from: None,
            until: None,
            after: None,
            reverse: false,
            limit: SCAN_ROWS_DEFAULT,
            keys: PhantomData,
        }
    }

    /// The rows of the whole table.
    pub fn all() -> Self {
        Self::prefix(&())
    }

    /// At most this many rows. More than [`SCAN_ROWS_MAX`] is refused by the scan.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = rows;
        self
    }

    /// Only keys at or above this one (or beginning with it), whatever the direction.
    #[must_use]
    pub fn from(mut self, key: &impl KeyPrefix<K>) -> Self {
        self.from = Some(bytes_of(key));
        self
    }

    /// Only keys below this one, whatever the direction.
    #[must_use]
    pub fn until(mut self, key: &impl KeyPrefix<K>) -> Self {
        self.until = Some(bytes_of(key));
        self
    }

    /// Continues behind this key in the direction of the scan: the cursor of the page before.
    #[must_use]
    pub fn after(mut self, key: &impl KeyPrefix<K>) -> Self {
        self.after = Some(bytes_of(key));
        self
    }

    /// From the largest key to the smallest.
    #[must_use]
    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// The range as whole keys, or `None` if nothing can be in it.
    pub(super) fn range<V>(&self, table: &Table<K, V>) -> Result<Option<Range>, StoreError> {
        if self.limit > SCAN_ROWS_MAX {
            return Err(StoreError::ScanTooLong { table: table.name, limit: self.limit, max: SCAN_ROWS_MAX });
        }
        let whole = |bytes: &[u8]| {
            let mut key = Vec::with_capacity(KEY_HEAD_BYTES + bytes.len());
            start_key(table.tag, &mut key);
            key.extend_from_slice(bytes);
            key
        };
        let mut from = whole(&self.prefix);
        let mut until = successor(from.clone());
        if let Some(key) = &self.from {
            from = from.max(whole(key));
        }
        if let Some(key) = &self.until {
            until = until.min(whole(key));
        }
        match &self.after {
            Some(key) if self.reverse => until = until.min(whole(key)),
            Some(key) => from = from.max(successor(whole(key))),
            None => {}
        }
        let range = Range { from, until, reverse: self.reverse, limit: self.limit };
        Ok((range.limit > 0 && range.from < range.until).then_some(range))
    }
}

/// `from <= key < until`, in one direction, at most `limit` rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) until: Vec<u8>,
    pub(super) reverse: bool,
    pub(super) limit: usize,
}

fn bytes_of<K>(prefix: &impl KeyPrefix<K>) -> Vec<u8> {
    let mut bytes = Vec::new();
    prefix.encode_prefix(&mut bytes);
    bytes
}

/// The smallest key above all keys that begin with `prefix`.
fn successor(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            break;
        }
        prefix.pop();
    }
    prefix
}
