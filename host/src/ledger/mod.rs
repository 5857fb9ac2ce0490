//! The points ledger: who holds how many, and why.
//!
//! [`postings::post`] is the only writer of balances. A posting moves points between two accounts, so the ledger always
//! sums to zero; [`verify`] re-adds every posting to prove it. [`lots`] knows which points die when: the lots of a member
//! always sum to the balance of the purse they lie in; [`totals`] count what all members hold. [`counters`] hold budgets
//! and stock, [`limits`] what offers may give per period and member.
//!
//! Nothing here knows plugins or HTTP. Time and ids arrive as arguments, because a closure may run more than once.

pub mod chain;
pub mod clawback;
pub mod counters;
pub mod limits;
pub mod lots;
pub mod postings;
pub mod tables;
pub mod totals;
pub mod verify;

#[cfg(test)]
mod tests;

use crate::{
    domain::{
        money::{Overflow, Points},
        points::Account,
    },
    store::StoreError,
};

/// Why points did not move. Nothing of the posting is written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A member's purse would go below zero.
    #[error("{balance} points are in {account:?}, {asked} were asked for")]
    Insufficient {
        /// The purse.
        account: Account,
        /// What is in it.
        balance: Points,
        /// What was asked for.
        asked: Points,
    },
    /// A negative number of points.
    #[error("{0} points cannot be moved")]
    Negative(Points),
    /// A balance does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}
