//! Timers: a durable "do this at that time".

use jiff::{SignedDuration, Timestamp};
use minicbor::{Decode, Encode};

use super::shortened;
use crate::{
    domain::cbor::instant,
    ids::Id,
    store::{Key, Scan, StoreError, Table, Tx},
};

/// What is to be done at what time.
pub const TIMERS: Table<TimerKey, Timer> = Table::new(60, "timers.v1");
/// Timers that failed too often, by when they were first due.
pub const DEAD_TIMERS: Table<TimerKey, DeadTimer> = Table::new(130, "dead-timers.v1");

/// How often a timer is tried before it is given up: half a day, all waits together.
pub const ATTEMPTS_MAX: u32 = 8;
/// The wait after the first failure; it doubles with each further one.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(30);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_hours(6);
/// Milliseconds that a retry may be moved on where its place is taken.
const PLACES_TRIED: usize = 16;

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
    /// Say that a coupon is about to die.
    #[n(4)]
    NoticeCoupon,
    /// Say that points of a member are about to die.
    #[n(5)]
    NoticePoints,
    /// It is a member's birthday.
    #[n(6)]
    Birthday,
    /// A member joined this day, some years ago.
    #[n(7)]
    Anniversary,
    /// The time of a prescription is over.
    #[n(20)]
    PrescriptionExpires = 20,
    /// A tier that was kept for a while falls.
    #[n(50)]
    TierEnds = 50,
    /// Say that a tier is lost soon.
    #[n(51)]
    TierNotice = 51,
    /// Say that a tier should be renewed.
    #[n(52)]
    TierRenewal = 52,
    /// Give what reaching a tier brings.
    #[n(53)]
    TierGift = 53,
    /// Take back the next coupons of an offer.
    #[n(30)]
    RevokeCoupons = 30,
    /// Make the next codes of an offer.
    #[n(31)]
    MakeCodes = 31,
    /// Make the points of an activity spendable.
    #[n(40)]
    ActivateActivity = 40,
    /// Give up a gift that was not handed over.
    #[n(41)]
    GiftHold = 41,
    /// Say that what a patient takes runs out soon.
    #[n(60)]
    Refill = 60,
}

impl TimerKind {
    const ALL: [Self; 18] = [
        Self::UnpaidOrder,
        Self::ActivatePoints,
        Self::ExpirePoints,
        Self::ExpireCoupon,
        Self::NoticeCoupon,
        Self::NoticePoints,
        Self::Birthday,
        Self::Anniversary,
        Self::PrescriptionExpires,
        Self::TierEnds,
        Self::TierNotice,
        Self::TierRenewal,
        Self::TierGift,
        Self::RevokeCoupons,
        Self::MakeCodes,
        Self::ActivateActivity,
        Self::GiftHold,
        Self::Refill,
    ];

    /// The name that operators see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnpaidOrder => "unpaid-order",
            Self::ActivatePoints => "activate-points",
            Self::ExpirePoints => "expire-points",
            Self::ExpireCoupon => "expire-coupon",
            Self::NoticeCoupon => "notice-coupon",
            Self::NoticePoints => "notice-points",
            Self::Birthday => "birthday",
            Self::Anniversary => "anniversary",
            Self::PrescriptionExpires => "prescription-expires",
            Self::TierEnds => "tier-ends",
            Self::TierNotice => "tier-notice",
            Self::TierRenewal => "tier-renewal",
            Self::TierGift => "tier-gift",
            Self::RevokeCoupons => "revoke-coupons",
            Self::MakeCodes => "make-codes",
            Self::ActivateActivity => "activate-activity",
            Self::GiftHold => "gift-hold",
            Self::Refill => "refill",
        }
    }
}

/// When, what and for whom. Sorted by time; one of each kind per subject and instant.
///
/// The keys of a store on one machine may well begin with the time: the due ones lie side by side, and the writer is
/// one. A distributed backend would want a shard in front, or its range of "now" is hot.
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
    /// When it was due before it failed, in milliseconds since the epoch.
    #[n(1)]
    pub first_due_ms: Option<i64>,
    /// A number that its work needs: what it means is the handler's.
    #[n(2)]
    pub argument: Option<i64>,
}

impl Timer {
    /// When the timer at `key` was to fire, retries aside.
    pub fn first_due(&self, key: TimerKey) -> Timestamp {
        self.first_due_ms.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(key.due)
    }
}

/// A timer that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeadTimer {
    /// How often it was tried.
    #[n(0)]
    pub attempts: u32,
    /// When it was tried last.
    #[cbor(n(1), with = "instant")]
    pub at: Timestamp,
    /// What went wrong then. Holds no personal data: errors do not.
    #[n(2)]
    pub why: String,
    /// As in the timer.
    #[n(3)]
    pub argument: Option<i64>,
}

/// What becomes of a timer that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It is tried again.
    Again(Timestamp),
    /// It was given up.
    Dead,
    /// It was fired or cancelled meanwhile.
    Gone,
}

/// Writes a timer.
///
/// # Errors
///
/// Those of the store.
pub fn schedule(tx: &mut Tx<'_>, key: TimerKey) -> Result<(), StoreError> {
    tx.put(&TIMERS, &key, &Timer::default())
}

/// Writes a timer with a number that its work needs.
///
/// # Errors
///
/// Those of the store.
pub fn schedule_for(tx: &mut Tx<'_>, key: TimerKey, argument: i64) -> Result<(), StoreError> {
    tx.put(&TIMERS, &key, &Timer { argument: Some(argument), ..Timer::default() })
}

/// Removes a timer; nothing happens if it is gone. One that failed before lies at a later time and stays: its work
/// finds nothing to do.
///
/// # Errors
///
/// Those of the store.
pub fn cancel(tx: &mut Tx<'_>, key: TimerKey) -> Result<(), StoreError> {
    tx.delete(&TIMERS, &key)
}

/// Removes a timer that fires; `None` if it was fired or cancelled before.
///
/// # Errors
///
/// Those of the store.
pub fn take(tx: &mut Tx<'_>, key: TimerKey) -> Result<Option<Timer>, StoreError> {
    let timer = tx.get(&TIMERS, &key)?;
    if timer.is_some() {
        tx.delete(&TIMERS, &key)?;
    }
    Ok(timer)
}

/// Timers that are due at `now`, the earliest first; at most `limit`.
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
    TimerKey { due: later(now, SignedDuration::from_millis(1)), kind: TimerKind::UnpaidOrder, subject: 0 }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How long to wait after so many failures.
pub fn backoff(attempts: u32) -> SignedDuration {
    let doubled = BACKOFF_FIRST.checked_mul(1 << attempts.saturating_sub(1).min(20));
    doubled.unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX)
}

/// Notes that the work of a timer failed: it goes on waiting, or is given up.
///
/// # Errors
///
/// Those of the store.
pub fn fail(tx: &mut Tx<'_>, key: TimerKey, why: &str, now: Timestamp) -> Result<Failed, StoreError> {
    let Some(timer) = take(tx, key)? else { return Ok(Failed::Gone) };
    let (first_due, attempts) = (timer.first_due(key), timer.attempts + 1);
    if attempts >= ATTEMPTS_MAX {
        let dead = DeadTimer { attempts, at: now, why: shortened(why), argument: timer.argument };
        tx.put(&DEAD_TIMERS, &TimerKey { due: first_due, ..key }, &dead)?;
        return Ok(Failed::Dead);
    }
    let again = Timer { attempts, first_due_ms: Some(first_due.as_millisecond()), argument: timer.argument };
    let due = put_near(tx, TimerKey { due: later(now, backoff(attempts)), ..key }, &again)?;
    Ok(Failed::Again(due))
}

/// Gives a dead timer another life, with all its tries; `false` if there is none.
///
/// # Errors
///
/// Those of the store.
pub fn revive(tx: &mut Tx<'_>, key: TimerKey, now: Timestamp) -> Result<bool, StoreError> {
    let Some(dead) = tx.get(&DEAD_TIMERS, &key)? else { return Ok(false) };
    tx.delete(&DEAD_TIMERS, &key)?;
    let first_due_ms = Some(key.due.as_millisecond());
    put_near(tx, TimerKey { due: now, ..key }, &Timer { attempts: 0, first_due_ms, argument: dead.argument })?;
    Ok(true)
}

/// Writes a timer where no other of its kind and subject is: at its time or some milliseconds later.
fn put_near(tx: &mut Tx<'_>, mut key: TimerKey, timer: &Timer) -> Result<Timestamp, StoreError> {
    for _ in 0..PLACES_TRIED {
        if tx.get(&TIMERS, &key)?.is_none() {
            break;
        }
        key.due = later(key.due, SignedDuration::from_millis(1));
    }
    tx.put(&TIMERS, &key, timer)?;
    Ok(key.due)
}
