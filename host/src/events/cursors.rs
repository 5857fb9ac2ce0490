//! Where consumers are in the log: one cursor per consumer and shard.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{EVENTS, Event, SHARDS, SWEPT};
use crate::store::{Scan, Seq, StoreError, Table, Tx};

/// How far each consumer has come in each shard.
pub const CURSORS: Table<(String, u16), Cursor> = Table::new(62, "event-cursors.v1");

/// Consumers that can be listed.
const CONSUMERS_MAX: usize = 32;
/// Bytes of a consumer's name.
const NAME_BYTES_MAX: usize = 64;
/// Events that one read gives at most.
const READ_MAX: usize = 200;
/// Waiting events that are counted in one shard; beyond it a consumer is "that many and more" behind.
const COUNTED_PER_SHARD: usize = 100;

/// A place in a shard: an event's commit, and which of that commit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Position {
    /// The commit.
    #[n(0)]
    pub seq: Seq,
    /// Of that commit's events in the shard, which.
    #[n(1)]
    pub n: u16,
}

/// How far a consumer has come in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// The last event that had its effect; none before the first.
    #[n(0)]
    pub done: Option<Position>,
    /// Moved by every change of this row: a step prepared before a rewind does not count after it.
    #[n(1)]
    pub turn: u64,
}

/// Who reads the log: a short, stable name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumer(String);

impl Consumer {
    /// The consumer with this name: 1 to 64 bytes of `[a-z0-9.-]`.
    pub fn new(name: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        ((1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)).then(|| Self(name.to_owned()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Events to be dealt with, in order, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The events; empty if the consumer has seen all there are.
    pub events: Vec<(Position, Event)>,
    consumer: Consumer,
    shard: u16,
    turn: u64,
}

/// How far a consumer is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Events that wait; counted up to a hundred in each shard.
    pub waiting: u64,
    /// Whether there are more than that.
    pub and_more: bool,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
    /// The smallest commit that has an event waiting.
    pub next: Option<Seq>,
}

/// What a consumer would be put back to was swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The last commit of which an event is gone.
    pub until: Seq,
}

/// The next events of a shard, at most `limit` and at most two hundred. A consumer that was never seen begins at the
/// beginning.
///
/// # Errors
///
/// Those of the store.
pub fn read(tx: &mut Tx<'_>, consumer: &Consumer, shard: u16, limit: usize) -> Result<Batch, StoreError> {
    let cursor = tx.get(&CURSORS, &(consumer.0.clone(), shard))?;
    let (done, turn) = cursor.map_or((None, 0), |cursor| (cursor.done, cursor.turn));
    let rows = tx.scan(&EVENTS, &after(shard, done).limit(limit.min(READ_MAX)))?;
    let events = rows.into_iter().map(|((_, seq, n), event)| (Position { seq, n }, event)).collect();
    Ok(Batch { events, consumer: consumer.clone(), shard, turn })
}

impl Batch {
    /// Moves the consumer behind the first `count` events of the batch, in the transaction of what they caused. `false`
    /// if the consumer was moved since the batch was read: then nothing may be written, and the batch is to be read again.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn advance(&self, tx: &mut Tx<'_>, count: usize) -> Result<bool, StoreError> {
        let row = (self.consumer.0.clone(), self.shard);
        let turn = tx.get(&CURSORS, &row)?.map_or(0, |cursor| cursor.turn);
        if turn != self.turn {
            return Ok(false);
        }
        if let Some((last, _)) = self.events[..count.min(self.events.len())].last() {
            tx.put(&CURSORS, &row, &Cursor { done: Some(*last), turn: turn + 1 })?;
        }
        Ok(true)
    }
}

/// Puts a consumer back, in every shard, to before the events of commit `seq`; one that is not that far yet stays where
/// it is. How many shards were moved; none where events since then were swept, because some would be missing.
///
/// # Errors
///
/// Those of the store.
pub fn rewind(tx: &mut Tx<'_>, consumer: &Consumer, seq: Seq) -> Result<Result<u16, Gone>, StoreError> {
    let swept = tx.scan(&SWEPT, &Scan::all().limit(usize::from(SHARDS)))?;
    if let Some(until) = swept.into_iter().map(|(_, last)| last.seq).max().filter(|until| *until >= seq) {
        return Ok(Err(Gone { until }));
    }
    // The last place before the commit: its number may hold no event of the shard, which is no matter.
    let before = seq.get().checked_sub(1).map(|seq| Position { seq: Seq::new(seq), n: u16::MAX });
    let mut moved = 0;
    for shard in 0..SHARDS {
        let row = (consumer.0.clone(), shard);
        let Some(cursor) = tx.get(&CURSORS, &row)? else { continue };
        if cursor.done > before {
            tx.put(&CURSORS, &row, &Cursor { done: before, turn: cursor.turn + 1 })?;
            moved += 1;
        }
    }
    Ok(Ok(moved))
}

/// Everybody who has read something, by name.
///
/// # Errors
///
/// Those of the store.
pub fn consumers(tx: &mut Tx<'_>) -> Result<Vec<Consumer>, StoreError> {
    let mut found: Vec<Consumer> = Vec::new();
    while found.len() < CONSUMERS_MAX {
        let scan = Scan::all().limit(1);
        let scan = if let Some(last) = found.last() { scan.after(&last.0) } else { scan };
        let Some(((name, _), _)) = tx.scan(&CURSORS, &scan)?.into_iter().next() else { break };
        found.push(Consumer(name));
    }
    Ok(found)
}

/// How far a consumer is behind.
///
/// # Errors
///
/// Those of the store.
pub fn lag(tx: &mut Tx<'_>, consumer: &Consumer) -> Result<Lag, StoreError> {
    let mut lag = Lag::default();
    for shard in 0..SHARDS {
        let done = tx.get(&CURSORS, &(consumer.0.clone(), shard))?.and_then(|cursor| cursor.done);
        let rows = tx.scan_rows(&EVENTS, &after(shard, done).limit(COUNTED_PER_SHARD + 1))?;
        lag.waiting += rows.len().min(COUNTED_PER_SHARD) as u64;
        lag.and_more |= rows.len() > COUNTED_PER_SHARD;
        if let Some(((_, seq, _), row)) = rows.first() {
            lag.oldest = Some(lag.oldest.map_or(row.at, |oldest| oldest.min(row.at)));
            lag.next = Some(lag.next.map_or(*seq, |next| next.min(*seq)));
        }
    }
    Ok(lag)
}

fn after(shard: u16, done: Option<Position>) -> Scan<(u16, Seq, u16)> {
    let scan = Scan::prefix(&shard);
    match done {
        Some(done) => scan.after(&(shard, done.seq, done.n)),
        None => scan,
    }
}

#[cfg(test)]
mod tests;
