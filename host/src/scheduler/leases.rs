//! Leases: who does what, with a token that fences those who did.
//!
//! A lease ends by the clock, and clocks jump; so a lease alone proves nothing. What counts is the token: every
//! [`take`] gives a larger one, and [`holds`], asked in the transaction of each piece of leased work, is true for the
//! last one alone. Somebody who lost the lease without knowing it can compute, and cannot commit.

use jiff::{SignedDuration, Timestamp};
use minicbor::{Decode, Encode};

use crate::{
    domain::cbor::instant,
    store::{StoreError, Table, Tx},
};

/// Who holds what, by name. A row stays when its lease ends: tokens of a name only ever grow.
pub const LEASES: Table<String, Lease> = Table::new(131, "leases.v1");

/// The longest lease; one that ends further ahead was taken before a clock was set back, and counts for nothing.
pub const LEASE_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Who holds something, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lease {
    /// The holder, by the name of its node.
    #[n(0)]
    pub holder: String,
    /// Larger than every one given before.
    #[n(1)]
    pub token: Token,
    /// From here on others may take it.
    #[cbor(n(2), with = "instant")]
    pub until: Timestamp,
}

/// Proves, inside a transaction, that a lease was not taken by another since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Token(#[n(0)] u64);

/// Takes a lease that is free, has ended, or is the holder's own already; `None` if another holds it.
///
/// # Errors
///
/// Those of the store.
pub fn take(
    tx: &mut Tx<'_>,
    name: &str,
    holder: &str,
    now: Timestamp,
    lasts: SignedDuration,
) -> Result<Option<Token>, StoreError> {
    let name = name.to_owned();
    let before = tx.get(&LEASES, &name)?;
    if before.as_ref().is_some_and(|lease| lease.holder != holder && runs(lease.until, now)) {
        return Ok(None);
    }
    let token = Token(before.map_or(0, |lease| lease.token.0) + 1);
    tx.put(&LEASES, &name, &Lease { holder: holder.to_owned(), token, until: end(now, lasts) })?;
    Ok(Some(token))
}

/// Whether the token is the last one given and its lease was not released: ask in the transaction of the work. The
/// clock has no say: a lease that ended and that nobody took still fences everybody else.
///
/// # Errors
///
/// Those of the store.
pub fn holds(tx: &mut Tx<'_>, name: &str, token: Token) -> Result<bool, StoreError> {
    let lease = tx.get(&LEASES, &name.to_owned())?;
    Ok(lease.is_some_and(|lease| lease.token == token && lease.until != RELEASED))
}

/// Puts the end of a lease off; `false` if it was lost.
///
/// # Errors
///
/// Those of the store.
pub fn renew(
    tx: &mut Tx<'_>,
    name: &str,
    token: Token,
    now: Timestamp,
    lasts: SignedDuration,
) -> Result<bool, StoreError> {
    if !holds(tx, name, token)? {
        return Ok(false);
    }
    let name = name.to_owned();
    if let Some(lease) = tx.get(&LEASES, &name)? {
        tx.put(&LEASES, &name, &Lease { until: end(now, lasts), ..lease })?;
    }
    Ok(true)
}

/// Gives a lease back; nothing happens if it was lost.
///
/// # Errors
///
/// Those of the store.
pub fn release(tx: &mut Tx<'_>, name: &str, token: Token) -> Result<(), StoreError> {
    if holds(tx, name, token)? {
        let name = name.to_owned();
        if let Some(lease) = tx.get(&LEASES, &name)? {
            tx.put(&LEASES, &name, &Lease { until: RELEASED, ..lease })?;
        }
    }
    Ok(())
}

const RELEASED: Timestamp = Timestamp::UNIX_EPOCH;

fn end(now: Timestamp, lasts: SignedDuration) -> Timestamp {
    now.checked_add(lasts.min(LEASE_MAX)).unwrap_or(Timestamp::MAX)
}

/// Whether a lease that ends at `until` keeps others out at `now`.
fn runs(until: Timestamp, now: Timestamp) -> bool {
    now < until && until <= end(now, LEASE_MAX)
}
