//! Clawing back: earned points that are no longer due, as far as the deployment's policy goes, and what is owed after it.
//!
//! A debt is a purse of its own, zero or less, so that no other purse is ever below zero and lots go on summing to the
//! purse they lie in. What is credited later pays it before any of that can be spent.

use super::{
    LedgerError,
    lots::{PendingLot, draw, purse, take},
    postings::{balance, house, post},
    tables::PENDING_LOTS,
};
use crate::{
    domain::{
        money::Points,
        points::{Cause, Clawback, House, LotKey, Purse},
    },
    ids::{Id as _, MemberId, OrderId, RefundId},
    store::Tx,
};

/// The most lots that one order's points are taken from: each is two rows of a transaction.
const LOTS_MAX: usize = 200;

/// Takes earned points back: what of the order is still pending first, then, as the policy allows, its own lot, other
/// lots by expiry, and what is left as a debt. Answers how many could be taken.
///
/// # Errors
///
/// Those of [`post`].
pub fn claw_back(
    tx: &mut Tx<'_>,
    member: MemberId,
    order: OrderId,
    refund: RefundId,
    points: Points,
    own: Option<LotKey>,
    policy: Clawback,
) -> Result<Points, LedgerError> {
    let (sink, cause) = (house(House::ClawedBack, member), Cause::ClawedBack(refund));
    let mut left = points;
    let key = (member, order.to_bits());
    if let Some(pending) = tx.get(&PENDING_LOTS, &key)? {
        let taken = pending.points.min(left);
        let rest = pending.points.minus(taken)?;
        if rest.is_zero() {
            tx.delete(&PENDING_LOTS, &key)?;
        } else {
            tx.put(&PENDING_LOTS, &key, &PendingLot { points: rest })?;
        }
        post(tx, purse(member, Purse::Pending), sink, taken, cause)?;
        left = left.minus(taken)?;
    }
    if policy == Clawback::PendingOnly {
        return Ok(points.minus(left)?);
    }
    let from_own = match own {
        Some(lot) => take(tx, member, lot, left)?,
        None => Points::ZERO,
    };
    let (_, missing) = draw(tx, member, left.minus(from_own)?, jiff::Timestamp::MIN, LOTS_MAX)?;
    post(tx, purse(member, Purse::Active), sink, left.minus(missing)?, cause)?;
    if policy == Clawback::MayGoNegative {
        post(tx, purse(member, Purse::Debt), sink, missing, cause)?;
        return Ok(points);
    }
    Ok(points.minus(missing)?)
}

/// Pays what the member owes out of points that were just credited; what is left of them.
pub(super) fn pay_debt(tx: &mut Tx<'_>, member: MemberId, credited: Points) -> Result<Points, LedgerError> {
    let owed = balance(tx, purse(member, Purse::Debt))?.negated()?;
    let paid = owed.min(credited);
    post(tx, purse(member, Purse::Active), purse(member, Purse::Debt), paid, Cause::DebtPaid)?;
    Ok(credited.minus(paid)?)
}
