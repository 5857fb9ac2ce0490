//! Events of long ago go, once every consumer has passed them.

use jiff::Timestamp;

use super::{CURSORS, Consumer, EVENTS, Position, SHARDS};
use crate::store::{Scan, StoreError, Table, Tx};

/// The last event of each shard that was swept: the log begins behind it, also for a consumer that was never seen.
pub const SWEPT: Table<u16, Position> = Table::new(160, "events-swept.v1");

/// How far all of these consumers have come in a shard; nothing where one has not begun.
///
/// # Errors
///
/// Those of the store.
pub fn passed(tx: &mut Tx<'_>, consumers: &[Consumer], shard: u16) -> Result<Option<Position>, StoreError> {
    let mut slowest = None;
    for consumer in consumers {
        let cursor = tx.get(&CURSORS, &(consumer.name().to_owned(), shard))?;
        let Some(done) = cursor.and_then(|cursor| cursor.done) else { return Ok(None) };
        slowest = Some(slowest.map_or(done, |slowest: Position| slowest.min(done)));
    }
    Ok(slowest)
}

/// The shards from `first` on whose oldest event happened before an instant.
///
/// # Errors
///
/// Those of the store.
pub fn begun_before(tx: &mut Tx<'_>, first: u16, before: Timestamp) -> Result<Vec<u16>, StoreError> {
    let mut begun = Vec::new();
    for shard in first..SHARDS {
        let oldest = tx.scan_rows(&EVENTS, &Scan::prefix(&shard).limit(1))?;
        if oldest.first().is_some_and(|(_, row)| row.at < before) {
            begun.push(shard);
        }
    }
    Ok(begun)
}

/// Deletes the events of a shard that happened before an instant and do not lie behind `passed`, oldest first and at most
/// `limit`; how many.
///
/// # Errors
///
/// Those of the store.
pub fn sweep(
    tx: &mut Tx<'_>,
    shard: u16,
    before: Timestamp,
    passed: Position,
    limit: usize,
) -> Result<usize, StoreError> {
    let rows = tx.scan_rows(&EVENTS, &Scan::prefix(&shard).limit(limit))?;
    let places = rows.into_iter().map(|((_, seq, n), row)| (Position { seq, n }, row.at));
    let old = places.take_while(|(at, happened)| *at <= passed && *happened < before);
    let (mut swept, mut last) = (0, None);
    for (at, _) in old {
        tx.delete(&EVENTS, &(shard, at.seq, at.n))?;
        (swept, last) = (swept + 1, Some(at));
    }
    last.map_or(Ok(()), |last| tx.put(&SWEPT, &shard, &last))?;
    Ok(swept)
}
