//! Timers: a durable "do this at that time", written in the transaction that needs it.
//!
//! [`schedule`] and [`cancel`] are the way in; [`due`] lists what is late. Firing a timer means running the use case it
//! names in a transaction that also removes it, so that it happens once. Who does that is wired in `app.rs`.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use crate::{
    ids::Id,
    store::{Key, Scan, StoreError, Table, Tx},
};

/// What is to be done at what time.
pub const TIMERS: Table<TimerKey, Timer> = Table::new(60, "timers.v1");

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum TimerKind {
    /// Cancel an order that was not paid.
    #[n(0)]
    UnpaidOrder,
    /// Make the points of an order spendable.
    #[n(1)]
    ActivatePoints,
    /// Let the points of a member's lots die that are past their time.
    #[n(2)]
    ExpirePoints,
    /// Let a coupon die.
    #[n(3)]
    ExpireCoupon,
}

impl TimerKind {
    const ALL: [Self; 4] = [Self::UnpaidOrder, Self::ActivatePoints, Self::ExpirePoints, Self::ExpireCoupon];
}

/// When, what and for whom. Sorted by time; one of each kind per subject and instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// When it is due.
    pub due: Timestamp,
    /// What is to be done.
    pub kind: TimerKind,
    /// The order, coupon or member, as bits of its id.
    pub subject: u128,
}

impl TimerKey {
    /// Names a timer.
    pub fn new(due: Timestamp, kind: TimerKind, subject: impl Id) -> Self {
        Self { due, kind, subject: subject.to_bits() }
    }
}

impl Key for TimerKey {
    fn encode(&self, to: &mut Vec<u8>) {
        Key::encode(&self.due, to);
        Key::encode(&(self.kind as u8), to);
        Key::encode(&self.subject, to);
    }

    fn decode(from: &mut &[u8]) -> Option<Self> {
        let due = <Timestamp as Key>::decode(from)?;
        let kind = <u8 as Key>::decode(from)?;
        let kind = TimerKind::ALL.into_iter().find(|known| *known as u8 == kind)?;
        Some(Self { due, kind, subject: <u128 as Key>::decode(from)? })
    }
}

/// What a timer's row holds beyond its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Timer {
    /// How often it failed so far.
    #[n(0)]
    pub attempts: u32,
}

/// Writes a timer.
///
/// # Errors
///
/// Those of the store.
pub fn schedule(tx: &mut Tx<'_>, key: TimerKey) -> Result<(), StoreError> {
    tx.put(&TIMERS, &key, &Timer::default())
}

/// Removes a timer; nothing happens if it is gone.
///
/// # Errors
///
/// Those of the store.
pub fn cancel(tx: &mut Tx<'_>, key: TimerKey) -> Result<(), StoreError> {
    tx.delete(&TIMERS, &key)
}

/// Removes a timer that fires; `false` if it was fired or cancelled before.
///
/// # Errors
///
/// Those of the store.
pub fn take(tx: &mut Tx<'_>, key: TimerKey) -> Result<bool, StoreError> {
    let there = tx.get(&TIMERS, &key)?.is_some();
    if there {
        tx.delete(&TIMERS, &key)?;
    }
    Ok(there)
}

/// Timers that are due at `now`, the latest first come last; at most `limit`.
///
/// # Errors
///
/// Those of the store.
pub fn due(tx: &mut Tx<'_>, now: Timestamp, limit: usize) -> Result<Vec<TimerKey>, StoreError> {
    let rows = tx.scan(&TIMERS, &Scan::all().until(&timer_bound(now)).limit(limit))?;
    Ok(rows.into_iter().map(|(key, _)| key).collect())
}

/// The first key after everything due at `now`.
fn timer_bound(now: Timestamp) -> TimerKey {
    let next = Timestamp::from_millisecond(now.as_millisecond() + 1).unwrap_or(Timestamp::MAX);
    TimerKey { due: next, kind: TimerKind::UnpaidOrder, subject: 0 }
}
