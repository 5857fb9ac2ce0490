//! Double entry: every posting adds to one account what it takes from another.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    LedgerError, chain,
    tables::{BALANCES, ENTRIES},
    totals,
};
use crate::{
    domain::{
        money::Points,
        points::{Account, Cause, Entry, House, Link, Note, Purse},
    },
    events,
    ids::MemberId,
    store::{StoreError, Tx},
};

/// What an account holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Balance {
    /// The sum of all its entries.
    #[n(0)]
    pub points: Points,
    /// How many entries there are.
    #[n(1)]
    pub entries: u64,
    /// When the last one was made.
    #[cbor(n(2), with = "crate::domain::cbor::instant")]
    pub last_at: Timestamp,
    /// The link of the last one: the head of the account's chain.
    #[n(3)]
    pub head: Option<Link>,
}

impl Balance {
    const EMPTY: Self = Self { points: Points::ZERO, entries: 0, last_at: Timestamp::UNIX_EPOCH, head: None };
}

/// The shard of a house account that this member meets.
pub fn house(house: House, member: MemberId) -> Account {
    Account::House(house, events::shard(member))
}

/// Moves `amount` from one account to another; moving nothing writes nothing.
///
/// # Errors
///
/// [`LedgerError::Insufficient`] if a member's purse would go below zero; what is owed alone lies there.
pub fn post(tx: &mut Tx<'_>, from: Account, to: Account, amount: Points, cause: Cause) -> Result<(), LedgerError> {
    post_noted(tx, from, to, amount, cause, None)
}

/// Like [`post`], with who did it by hand and why.
///
/// # Errors
///
/// Those of [`post`].
pub fn post_noted(
    tx: &mut Tx<'_>,
    from: Account,
    to: Account,
    amount: Points,
    cause: Cause,
    note: Option<&Note>,
) -> Result<(), LedgerError> {
    if amount < Points::ZERO {
        return Err(LedgerError::Negative(amount));
    }
    if amount.is_zero() {
        return Ok(());
    }
    let source = tx.get(&BALANCES, &from)?.unwrap_or(Balance::EMPTY);
    let target = tx.get(&BALANCES, &to)?.unwrap_or(Balance::EMPTY);
    let may_owe = !matches!(from, Account::Member(_, purse) if purse != Purse::Debt);
    if !may_owe && source.points < amount {
        return Err(LedgerError::Insufficient { account: from, balance: source.points, asked: amount });
    }
    let at = tx.at().max(source.last_at).max(target.last_at);
    let entry = |amount, balance, counterpart| Entry {
        amount,
        balance,
        counterpart,
        cause,
        at,
        link: None,
        note: note.cloned(),
    };
    let (taken, given) = (amount.negated()?, amount);
    append(tx, from, source, entry(taken, source.points.minus(amount)?, to))?;
    append(tx, to, target, entry(given, target.points.plus(amount)?, from))?;
    totals::moved(tx, from, taken)?;
    totals::moved(tx, to, given)?;
    Ok(())
}

fn append(tx: &mut Tx<'_>, account: Account, before: Balance, mut entry: Entry) -> Result<(), StoreError> {
    let head = chain::link(before.head.as_ref(), account, before.entries, &entry);
    entry.link = Some(head);
    tx.put(&ENTRIES, &(account, before.entries), &entry)?;
    let after = Balance { points: entry.balance, entries: before.entries + 1, last_at: entry.at, head: Some(head) };
    tx.put(&BALANCES, &account, &after)
}

/// What an account holds now.
///
/// # Errors
///
/// Those of the store.
pub fn balance(tx: &mut Tx<'_>, account: Account) -> Result<Points, StoreError> {
    Ok(tx.get(&BALANCES, &account)?.unwrap_or(Balance::EMPTY).points)
}

/// What an account held at an instant, entries of that instant included. Reads a logarithmic number of entries.
///
/// # Errors
///
/// Those of the store.
pub fn balance_at(tx: &mut Tx<'_>, account: Account, at: Timestamp) -> Result<Points, StoreError> {
    let now = tx.get(&BALANCES, &account)?.unwrap_or(Balance::EMPTY);
    if now.last_at <= at {
        return Ok(now.points);
    }
    let held = last_before(now.entries, at, |number| tx.get(&ENTRIES, &(account, number)))?;
    Ok(held.map_or(Points::ZERO, |(_, entry)| entry.balance))
}

/// How many entries of an account were made up to an instant, those of that instant included.
///
/// # Errors
///
/// Those of the store.
pub fn entries_until(tx: &mut Tx<'_>, account: Account, at: Timestamp) -> Result<u64, StoreError> {
    let now = tx.get(&BALANCES, &account)?.unwrap_or(Balance::EMPTY);
    if now.last_at <= at {
        return Ok(now.entries);
    }
    let found = last_before(now.entries, at, |number| tx.get(&ENTRIES, &(account, number)))?;
    Ok(found.map_or(0, |(number, _)| number + 1))
}

/// The number and the last of so many entries that was made at `at` or before, by halving: `read` is asked for at most one more than the
/// binary logarithm of their number.
pub(super) fn last_before(
    entries: u64,
    at: Timestamp,
    mut read: impl FnMut(u64) -> Result<Option<Entry>, StoreError>,
) -> Result<Option<(u64, Entry)>, StoreError> {
    let (mut low, mut high, mut found) = (0, entries, None);
    while low < high {
        let middle = low + (high - low) / 2;
        match read(middle)? {
            Some(entry) if entry.at <= at => {
                found = Some((middle, entry));
                low = middle + 1;
            }
            _ => high = middle,
        }
    }
    Ok(found)
}
