//! Lots: which points die when. Points are spent earliest expiry first, and come back to the lot they were taken from.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

pub use super::clawback::claw_back;
use super::{
    LedgerError,
    clawback::pay_debt,
    postings::{balance, balance_at, house, post, post_noted},
    tables::{LOTS, PENDING_LOTS},
    totals,
};
use crate::{
    domain::{
        money::Points,
        points::{Account, Balances, Cause, Draw, House, LotKey, LotOrigin, Note, Purse},
    },
    ids::{MemberId, OrderId, RedemptionId, RefundId},
    store::{Scan, StoreError, Tx},
};

/// The most lots that one call touches; the rest waits for the next.
const LOTS_AT_ONCE: usize = 100;

/// Names a lot's row: the member, when it dies, what made it.
type LotRow = (MemberId, Timestamp, u128);

/// Points of one lot that can still be spent. A lot without any has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Lot {
    /// Greater than zero.
    #[n(0)]
    pub remaining: Points,
}

/// Points that an order or an activity earned and that cannot be spent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PendingLot {
    /// Greater than zero.
    #[n(0)]
    pub points: Points,
}

pub(super) const fn purse(member: MemberId, purse: Purse) -> Account {
    Account::Member(member, purse)
}

fn row(member: MemberId, lot: LotKey) -> LotRow {
    (member, lot.expires_at, lot.origin.0)
}

/// A member's points, now or at an instant.
///
/// # Errors
///
/// Those of the store.
pub fn balances(tx: &mut Tx<'_>, member: MemberId, at: Option<Timestamp>) -> Result<Balances, StoreError> {
    let mut of = |which| match at {
        None => balance(tx, purse(member, which)),
        Some(at) => balance_at(tx, purse(member, which), at),
    };
    let (pending, active, held) = (of(Purse::Pending)?, of(Purse::Active)?, of(Purse::Held)?);
    let debt = Points::new(of(Purse::Debt)?.get().saturating_neg());
    Ok(Balances { pending, active, held, debt })
}

/// What can be spent at `now`, at once: of the lots that are not past their time, what the hundred that die first hold.
///
/// # Errors
///
/// Those of the store.
pub fn available(tx: &mut Tx<'_>, member: MemberId, now: Timestamp) -> Result<Points, LedgerError> {
    let lots = tx.scan(&LOTS, &Scan::prefix(&member).from(&(member, after(now))).limit(LOTS_AT_ONCE))?;
    Ok(Points::sum(lots.into_iter().map(|(_, lot)| lot.remaining))?)
}

/// Gives points for whatever `cause` says, pending.
///
/// # Errors
///
/// Those of [`post`].
pub fn earn(
    tx: &mut Tx<'_>,
    member: MemberId,
    origin: LotOrigin,
    points: Points,
    cause: Cause,
) -> Result<(), LedgerError> {
    if points.is_zero() {
        return Ok(());
    }
    post(tx, house(House::Issued, member), purse(member, Purse::Pending), points, cause)?;
    Ok(tx.put(&PENDING_LOTS, &(member, origin.0), &PendingLot { points })?)
}

/// Makes what is pending for a lot spendable; `false` if nothing is. What the member owes is paid first; the lot may be
/// empty.
///
/// # Errors
///
/// Those of [`post`].
pub fn activate(tx: &mut Tx<'_>, member: MemberId, lot: LotKey, cause: Cause) -> Result<bool, LedgerError> {
    let Some(pending) = tx.get(&PENDING_LOTS, &(member, lot.origin.0))? else { return Ok(false) };
    tx.delete(&PENDING_LOTS, &(member, lot.origin.0))?;
    let (from, to) = (purse(member, Purse::Pending), purse(member, Purse::Active));
    post(tx, from, to, pending.points, cause)?;
    let left = pay_debt(tx, member, pending.points)?;
    add(tx, member, lot, left)?;
    Ok(true)
}

/// Reserves points for an order, earliest expiry first.
///
/// # Errors
///
/// [`LedgerError::Insufficient`] if fewer can be spent, or if they lie in more than a hundred lots.
pub fn hold(
    tx: &mut Tx<'_>,
    member: MemberId,
    order: OrderId,
    points: Points,
    now: Timestamp,
) -> Result<Vec<Draw>, LedgerError> {
    hold_for(tx, member, points, now, Cause::Held(order))
}

/// Reserves points for whatever `cause` says.
///
/// # Errors
///
/// Those of [`hold`].
pub fn hold_for(
    tx: &mut Tx<'_>,
    member: MemberId,
    points: Points,
    now: Timestamp,
    cause: Cause,
) -> Result<Vec<Draw>, LedgerError> {
    let (draws, missing) = draw(tx, member, points, after(now), LOTS_AT_ONCE)?;
    if !missing.is_zero() {
        let balance = points.minus(missing)?;
        return Err(LedgerError::Insufficient { account: purse(member, Purse::Active), balance, asked: points });
    }
    post(tx, purse(member, Purse::Active), purse(member, Purse::Held), points, cause)?;
    Ok(draws)
}

/// Gives a reservation back to the lots it was taken from.
///
/// # Errors
///
/// Those of [`post`].
pub fn release(tx: &mut Tx<'_>, member: MemberId, order: OrderId, draws: &[Draw]) -> Result<(), LedgerError> {
    release_for(tx, member, draws, Cause::Released(order))
}

/// Like [`release`], for whatever `cause` says.
///
/// # Errors
///
/// Those of [`post`].
pub fn release_for(tx: &mut Tx<'_>, member: MemberId, draws: &[Draw], cause: Cause) -> Result<(), LedgerError> {
    let points = Points::sum(draws.iter().map(|draw| draw.points))?;
    post(tx, purse(member, Purse::Held), purse(member, Purse::Active), points, cause)?;
    put_back(tx, member, draws.iter().copied())
}

/// Spends a reservation.
///
/// # Errors
///
/// Those of [`post`].
pub fn capture(tx: &mut Tx<'_>, member: MemberId, order: OrderId, draws: &[Draw]) -> Result<(), LedgerError> {
    capture_for(tx, member, draws, Cause::Spent(order))
}

/// Like [`capture`], for whatever `cause` says.
///
/// # Errors
///
/// Those of [`post`].
pub fn capture_for(tx: &mut Tx<'_>, member: MemberId, draws: &[Draw], cause: Cause) -> Result<(), LedgerError> {
    let points = Points::sum(draws.iter().map(|draw| draw.points))?;
    post(tx, purse(member, Purse::Held), house(House::Redeemed, member), points, cause)
}

/// Gives what a gift cost back to the lots it was taken from.
///
/// # Errors
///
/// Those of [`post`].
pub fn give_back(
    tx: &mut Tx<'_>,
    member: MemberId,
    redemption: RedemptionId,
    draws: &[Draw],
) -> Result<(), LedgerError> {
    let points = Points::sum(draws.iter().map(|draw| draw.points))?;
    let cause = Cause::GiftRestored(redemption);
    post(tx, house(House::Redeemed, member), purse(member, Purse::Active), points, cause)?;
    put_back(tx, member, draws.iter().copied())
}

/// Gives spent points back, to the lots they were taken from: those taken last come back first. `before` says how many
/// earlier refunds gave back.
///
/// # Errors
///
/// Those of [`post`].
pub fn restore(
    tx: &mut Tx<'_>,
    member: MemberId,
    refund: RefundId,
    draws: &[Draw],
    before: Points,
    points: Points,
) -> Result<(), LedgerError> {
    post(tx, house(House::Redeemed, member), purse(member, Purse::Active), points, Cause::Restored(refund))?;
    let (mut skip, mut left) = (before.get(), points.get());
    let mut parts: Vec<Draw> = Vec::with_capacity(draws.len());
    for draw in draws.iter().rev() {
        let open = (draw.points.get() - skip).max(0);
        skip = (skip - draw.points.get()).max(0);
        let back = open.min(left);
        left -= back;
        parts.push(Draw { lot: draw.lot, points: Points::new(back) });
    }
    put_back(tx, member, parts.into_iter().rev())
}

/// Puts points that the active purse was just credited with back to their lots, earliest expiry first in `parts`. What
/// the member owes is paid first, out of those that die first.
fn put_back(tx: &mut Tx<'_>, member: MemberId, parts: impl Iterator<Item = Draw> + Clone) -> Result<(), LedgerError> {
    let credited = Points::sum(parts.clone().map(|part| part.points))?;
    let mut owed = credited.minus(pay_debt(tx, member, credited)?)?;
    for Draw { lot, points } in parts {
        let pays = owed.min(points);
        owed = owed.minus(pays)?;
        add(tx, member, lot, points.minus(pays)?)?;
    }
    Ok(())
}

/// Lets lots die that are past their time, at most a hundred. Answers how many points died and whether lots are left to
/// sweep.
///
/// # Errors
///
/// Those of [`post`].
pub fn expire(tx: &mut Tx<'_>, member: MemberId, now: Timestamp) -> Result<(Points, bool), LedgerError> {
    let dead = dead_lots(tx, member, now)?;
    let mut points = Points::ZERO;
    for (key, lot) in dead.iter().take(LOTS_AT_ONCE) {
        tx.delete(&LOTS, key)?;
        totals::in_lot(tx, member, key.1, lot.remaining.negated()?)?;
        points = points.plus(lot.remaining)?;
    }
    post(tx, purse(member, Purse::Active), house(House::Expired, member), points, Cause::Expired)?;
    Ok((points, dead.len() > LOTS_AT_ONCE))
}

/// How many of a member's points die from one instant to before another, if none is spent: at most a hundred lots are
/// counted.
///
/// # Errors
///
/// Those of the store.
pub fn expiring(tx: &mut Tx<'_>, member: MemberId, from: Timestamp, until: Timestamp) -> Result<Points, LedgerError> {
    let scan = Scan::prefix(&member).from(&(member, from)).until(&(member, until)).limit(LOTS_AT_ONCE);
    Ok(Points::sum(tx.scan(&LOTS, &scan)?.into_iter().map(|(_, lot)| lot.remaining))?)
}

/// Grants points until `expires_at`, from the house account that the cause names. What the member owes is paid first.
///
/// # Errors
///
/// Those of [`post`].
pub fn grant(
    tx: &mut Tx<'_>,
    member: MemberId,
    from: House,
    points: Points,
    lot: LotKey,
    cause: Cause,
) -> Result<(), LedgerError> {
    grant_noted(tx, member, from, points, lot, cause, None)
}

/// Like [`grant`], with who did it by hand and why.
///
/// # Errors
///
/// Those of [`post`].
pub fn grant_noted(
    tx: &mut Tx<'_>,
    member: MemberId,
    from: House,
    points: Points,
    lot: LotKey,
    cause: Cause,
    note: Option<&Note>,
) -> Result<(), LedgerError> {
    post_noted(tx, house(from, member), purse(member, Purse::Active), points, cause, note)?;
    let left = pay_debt(tx, member, points)?;
    add(tx, member, lot, left)
}

/// Takes points that can be spent, earliest expiry first.
///
/// # Errors
///
/// [`LedgerError::Insufficient`] if fewer can be spent.
pub fn take_away(
    tx: &mut Tx<'_>,
    member: MemberId,
    points: Points,
    now: Timestamp,
    note: Option<&Note>,
) -> Result<(), LedgerError> {
    let (_, missing) = draw(tx, member, points, after(now), LOTS_AT_ONCE)?;
    if !missing.is_zero() {
        let balance = points.minus(missing)?;
        return Err(LedgerError::Insufficient { account: purse(member, Purse::Active), balance, asked: points });
    }
    let (from, to) = (purse(member, Purse::Active), house(House::Adjusted, member));
    post_noted(tx, from, to, points, Cause::Adjusted, note)
}

/// Takes up to `points` out of lots that live at least until `from`, at most so many; the draws and what is missing.
pub(super) fn draw(
    tx: &mut Tx<'_>,
    member: MemberId,
    points: Points,
    from: Timestamp,
    lots_max: usize,
) -> Result<(Vec<Draw>, Points), LedgerError> {
    let (mut draws, mut left) = (Vec::new(), points);
    if left.is_zero() {
        return Ok((draws, left));
    }
    let lots = tx.scan(&LOTS, &Scan::prefix(&member).from(&(member, from)).limit(lots_max))?;
    for ((_, expires_at, origin), _) in lots {
        let lot = LotKey { expires_at, origin: LotOrigin(origin) };
        let taken = take(tx, member, lot, left)?;
        draws.push(Draw { lot, points: taken });
        left = left.minus(taken)?;
        if left.is_zero() {
            break;
        }
    }
    Ok((draws, left))
}

/// Takes up to `points` out of one lot; how many it had.
pub(super) fn take(tx: &mut Tx<'_>, member: MemberId, lot: LotKey, points: Points) -> Result<Points, LedgerError> {
    let key = row(member, lot);
    let held = tx.get(&LOTS, &key)?.map_or(Points::ZERO, |lot| lot.remaining);
    let taken = held.min(points);
    let rest = held.minus(taken)?;
    if taken.is_zero() {
        return Ok(taken);
    }
    if rest.is_zero() {
        tx.delete(&LOTS, &key)?;
    } else {
        tx.put(&LOTS, &key, &Lot { remaining: rest })?;
    }
    totals::in_lot(tx, member, lot.expires_at, taken.negated()?)?;
    Ok(taken)
}

fn add(tx: &mut Tx<'_>, member: MemberId, lot: LotKey, points: Points) -> Result<(), LedgerError> {
    if points.is_zero() {
        return Ok(());
    }
    let key = row(member, lot);
    let held = tx.get(&LOTS, &key)?.map_or(Points::ZERO, |lot| lot.remaining);
    totals::in_lot(tx, member, lot.expires_at, points)?;
    Ok(tx.put(&LOTS, &key, &Lot { remaining: held.plus(points)? })?)
}

/// Lots that are dead at `now`; one more than a sweep takes, to know whether some are left.
fn dead_lots(tx: &mut Tx<'_>, member: MemberId, now: Timestamp) -> Result<Vec<(LotRow, Lot)>, StoreError> {
    tx.scan(&LOTS, &Scan::prefix(&member).until(&(member, after(now))).limit(LOTS_AT_ONCE + 1))
}

/// The first instant after `now`: a lot that expires at `now` is dead.
fn after(now: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond() + 1).unwrap_or(Timestamp::MAX)
}
