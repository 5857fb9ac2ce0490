//! Bounded lists with opaque cursors.

use crate::store::{Key, Scan};

use super::Error;

/// The most rows of one page.
pub const PAGE_ROWS_MAX: usize = 200;

/// Which page is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The cursor that the page before gave; the bytes of its last key.
    pub after: Option<Vec<u8>>,
    /// At most this many rows; 50 where it is not said.
    pub limit: Option<usize>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Vec<u8>>,
}

impl PageRequest {
    /// How many rows the page has.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside 1 to [`PAGE_ROWS_MAX`].
    pub fn rows(&self) -> Result<usize, Error> {
        match self.limit.unwrap_or(50) {
            rows @ 1..=PAGE_ROWS_MAX => Ok(rows),
            _ => Err(Error::field("/limit", format!("must be 1 to {PAGE_ROWS_MAX}"))),
        }
    }

    /// The scan that reads this page and one row more.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a limit out of range or a cursor that is none.
    pub fn scan<K: Key>(&self, scan: Scan<K>) -> Result<Scan<K>, Error> {
        let scan = scan.limit(self.rows()? + 1);
        match &self.after {
            None => Ok(scan),
            Some(bytes) => {
                let key = K::from_bytes(bytes).ok_or_else(|| Error::field("/cursor", "is not one of ours"))?;
                Ok(scan.after(&key))
            }
        }
    }

    /// Cuts what [`PageRequest::scan`] read to a page.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a limit out of range.
    pub fn page<K: Key, V>(&self, mut rows: Vec<(K, V)>) -> Result<Page<(K, V)>, Error> {
        let limit = self.rows()?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = if more { rows.last().map(|(key, _)| key.to_bytes()) } else { None };
        Ok(Page { rows, next })
    }
}

impl<T> Page<T> {
    /// The same page with other rows.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { rows: self.rows.into_iter().map(f).collect(), next: self.next }
    }
}
