//! Writes that are not in the backend yet, laid over what is.

use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::Bound,
};

use super::{error::StoreError, table::Range};

/// Immutable bytes that are cheap to clone: short ones stand inline, longer ones are shared.
pub(super) type Bytes = sled::IVec;
/// A key and its value.
pub(super) type Pair = (Bytes, Bytes);
/// Rows of a backend in the order asked for.
pub(super) type Pairs<'a> = Box<dyn Iterator<Item = Result<Pair, StoreError>> + 'a>;

/// What lies under all layers.
pub(super) trait Base {
    /// The value at `key`; [`StoreError::Missing`] if it is not loaded.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// The rows of a range (its limit left aside); [`StoreError::Missing`] if they are not loaded.
    fn range(&self, range: &Range) -> Result<Pairs<'_>, StoreError>;
}

/// Writes by key; `None` is a deletion.
#[derive(Debug, Default)]
pub(super) struct Layer {
    writes: BTreeMap<Bytes, Option<Bytes>>,
}

impl Layer {
    /// What this layer says of `key`: nothing, deleted, or a value.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.writes.get(key).map(Option::as_ref)
    }

    pub(super) fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        self.writes.insert(key, value);
    }

    /// How many rows it writes.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Lays `upper` over this layer.
    pub(super) fn absorb(&mut self, upper: Self) {
        if self.writes.is_empty() {
            self.writes = upper.writes;
        } else {
            self.writes.extend(upper.writes);
        }
    }

    /// Takes all writes out, in key order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Bytes, Option<Bytes>)> + use<> {
        std::mem::take(&mut self.writes).into_iter()
    }

    /// The writes of a range, in the direction of the range.
    fn range(&self, range: &Range) -> Writes<'_> {
        let bounds = (Bound::Included(range.from.as_slice()), Bound::Excluded(range.until.as_slice()));
        Writes { rows: self.writes.range::<[u8], _>(bounds), reverse: range.reverse }
    }
}

struct Writes<'a> {
    rows: btree_map::Range<'a, Bytes, Option<Bytes>>,
    reverse: bool,
}

impl<'a> Iterator for Writes<'a> {
    type Item = (&'a Bytes, &'a Option<Bytes>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reverse { self.rows.next_back() } else { self.rows.next() }
    }
}

/// The rows of a range, as seen through `layers` (the uppermost last) over `base`; at most as many as its limit.
pub(super) fn scan(base: &dyn Base, layers: &[&Layer], range: &Range) -> Result<Vec<Pair>, StoreError> {
    let mut rows = base.range(range)?;
    for layer in layers {
        let writes = layer.range(range).peekable();
        rows = Box::new(Over { upper: writes, lower: rows.peekable(), reverse: range.reverse });
    }
    rows.take(range.limit).collect()
}

/// One layer over rows that are in the same order.
struct Over<'a> {
    upper: Peekable<Writes<'a>>,
    lower: Peekable<Pairs<'a>>,
    reverse: bool,
}

impl Iterator for Over<'_> {
    type Item = Result<Pair, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((key, _)) = self.upper.peek() else { return self.lower.next() };
            if let Some(lower) = self.lower.peek() {
                let Ok((lower, _)) = lower else { return self.lower.next() };
                let order = if self.reverse { key.cmp(&lower) } else { lower.cmp(key) };
                if order.is_lt() {
                    return self.lower.next();
                }
                if order.is_eq() {
                    self.lower.next();
                }
            }
            if let Some((key, Some(value))) = self.upper.next() {
                return Some(Ok((key.clone(), value.clone())));
            }
        }
    }
}
