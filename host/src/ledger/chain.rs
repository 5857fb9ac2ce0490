//! The chain over the entries of an account: none can be changed, taken out or put in without every later link telling.
//!
//! A link is SHA-256 over the link before (32 zeros at the beginning), the key of the account, the entry's number and the
//! entry itself without its link, as they are stored. The balance row holds the newest link, so that entries missing at
//! the end are noticed too. Whoever keeps [`LedgerReport::root`](super::verify::LedgerReport::root) of a day can tell
//! later whether anything up to that day was written anew.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::points::{Account, Cause, Entry, Link, Purse},
    store::Key as _,
};

const BEGINNING: [u8; 32] = [0; 32];

/// The link of an entry.
pub fn link(before: Option<&Link>, account: Account, number: u64, entry: &Entry) -> Link {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(before.map_or(&BEGINNING, |link| &link.0));
    account.encode(&mut bytes);
    number.encode(&mut bytes);
    let unlinked = match entry.link {
        None => minicbor::encode(entry, &mut bytes),
        Some(_) => minicbor::encode(Entry { link: None, ..entry.clone() }, &mut bytes),
    };
    unlinked.expect("a vector takes every byte");
    Link(Sha256::digest(&bytes).into())
}

/// Walks the entries of one account in their order and notes what is wrong.
pub(super) struct Walk {
    account: Account,
    /// The number of the next entry.
    pub(super) next: u64,
    /// The sum of all entries so far.
    pub(super) sum: i128,
    /// The newest link.
    pub(super) head: Option<Link>,
    /// Entries without a link, from before there were chains.
    pub(super) unchained: u64,
    last_at: Timestamp,
}

impl Walk {
    pub(super) const fn new(account: Account) -> Self {
        Self { account, next: 0, sum: 0, head: None, unchained: 0, last_at: Timestamp::MIN }
    }

    /// Takes the next entry; what is wrong with it goes to `problem`.
    pub(super) fn take(&mut self, number: u64, entry: &Entry, mut problem: impl FnMut(String)) {
        let account = self.account;
        self.sum += i128::from(entry.amount.get());
        if number != self.next {
            problem(format!("{account:?}: entry {} is missing", self.next));
        }
        if i128::from(entry.balance.get()) != self.sum {
            problem(format!("{account:?}: entry {number} says {}, the sum is {}", entry.balance, self.sum));
        }
        if entry.at < self.last_at {
            problem(format!("{account:?}: entry {number} goes back in time"));
        }
        if let Some(why) = sign_is_wrong(account, entry) {
            problem(format!("{account:?}: entry {number} leaves {} there: {why}", entry.balance));
        }
        match (entry.link, self.head) {
            (None, None) => self.unchained += 1,
            (None, Some(_)) => problem(format!("{account:?}: entry {number} is not chained to the one before it")),
            (Some(found), before) if found != link(before.as_ref(), account, number, entry) => {
                problem(format!("{account:?}: the chain breaks at entry {number}"));
            }
            (Some(_), _) => {}
        }
        // Behind a break the chain goes on from what is written, so that one break is one problem.
        self.head = entry.link.or(self.head);
        (self.next, self.last_at) = (number + 1, entry.at);
    }
}

/// No purse of a member is below zero but what is owed, which is never above, and grows by clawing back alone.
fn sign_is_wrong(account: Account, entry: &Entry) -> Option<&'static str> {
    let (balance, amount) = (entry.balance.get(), entry.amount.get());
    match account {
        Account::Member(_, Purse::Debt) if balance > 0 => Some("a debt cannot be overpaid"),
        Account::Member(_, Purse::Debt) if amount < 0 && !matches!(entry.cause, Cause::ClawedBack(_)) => {
            Some("only clawing back makes a debt")
        }
        Account::Member(_, purse) if purse != Purse::Debt && balance < 0 => Some("a purse cannot be below zero"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
