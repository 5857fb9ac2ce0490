//! What reaching a tier brings: once per member, tier and period, after the return window of the order that did it.
//!
//! Reaching a tier promises its gift; the order's delivery sets the time; a timer gives it if the tier is still held and
//! still deserved then. One row per member, tier and period remembers it, so refunds and new orders bring no second one.
//! A member who reaches the tier again before it was given waits for the new order instead.

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use minicbor::{Decode, Encode};

use super::{current, rank};
use crate::{
    domain::{
        member::{HeldTier, Member, MemberState},
        money::Points,
        order::Order,
        points::{Cause, House, LotKey, LotOrigin, Note},
        programme::Programme,
    },
    events::{self, What},
    ids::{CouponId, Id as _, MemberId, OrderId},
    ledger::lots,
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Error, Settings, coupons, members, points,
        tables::{MEMBERS, TIER_GIFTS},
    },
    store::{Scan, StoreError, Tx},
};

/// Gifts of a member that are looked at together: tiers times periods.
const GIFTS_AT_ONCE: usize = 200;

/// Where a gift is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum GiftState {
    /// Waits for the return window.
    #[n(0)]
    Waiting {
        /// Of this order; of none where time alone raised the tier.
        #[n(0)]
        order: Option<OrderId>,
    },
    /// Was given.
    #[n(1)]
    Given {
        /// Points, of which some gifts have none.
        #[n(0)]
        points: Points,
        /// Coupons; fewer than the programme names where an offer had none to give.
        #[n(1)]
        coupons: Vec<CouponId>,
    },
    /// The tier was no longer held when it was time. Reaching it again promises the gift again.
    #[n(2)]
    Lapsed,
}

/// The gift of a tier in a period.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TierGift {
    /// Where it is.
    #[n(0)]
    pub state: GiftState,
    /// When that came to be.
    #[cbor(n(1), with = "crate::domain::cbor::instant")]
    pub at: Timestamp,
    /// When it is given, once that is known.
    #[cbor(n(2), with = "crate::domain::cbor::maybe_instant")]
    pub due: Option<Timestamp>,
}

/// Notes that a tier was reached by an order, or by time alone.
///
/// # Errors
///
/// Those of the store.
pub(super) fn promise(
    tx: &mut Tx<'_>,
    member: MemberId,
    reached: &HeldTier,
    order: Option<OrderId>,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), StoreError> {
    let programme = current(tx)?;
    let code = reached.code.to_string();
    if !programme.tier(&code).is_some_and(|terms| terms.has_gift()) {
        return Ok(());
    }
    let key = (member, code, programme.gift_period(now, &settings.zone));
    if matches!(tx.get(&TIER_GIFTS, &key)?, Some(TierGift { state: GiftState::Given { .. }, .. })) {
        return Ok(());
    }
    let due = order.is_none().then_some(now);
    tx.put(&TIER_GIFTS, &key, &TierGift { state: GiftState::Waiting { order }, at: now, due })?;
    due.map_or(Ok(()), |due| scheduler::schedule(tx, TimerKey::new(due, TimerKind::TierGift, member)))
}

/// Sets the time of the gift that an order brings, once the order was paid and has arrived.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn arrived(tx: &mut Tx<'_>, order: &Order) -> Result<(), StoreError> {
    let (Some(payment), Some(delivered)) = (order.payment.as_ref(), order.delivered_at) else { return Ok(()) };
    for (key, mut gift) in tx.scan(&TIER_GIFTS, &Scan::prefix(&order.member).limit(GIFTS_AT_ONCE))? {
        if gift.state != (GiftState::Waiting { order: Some(order.id) }) {
            continue;
        }
        let due = window_closes(tx, delivered.max(payment.at))?;
        gift.due = Some(due);
        tx.put(&TIER_GIFTS, &key, &gift)?;
        scheduler::schedule(tx, TimerKey::new(due, TimerKind::TierGift, order.member))?;
    }
    Ok(())
}

/// An order that never arrives keeps no gift waiting: what it brought is given after the return window, if the tier is
/// still held then.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn never_arrives(tx: &mut Tx<'_>, order: &Order, now: Timestamp) -> Result<(), StoreError> {
    for (key, gift) in tx.scan(&TIER_GIFTS, &Scan::prefix(&order.member).limit(GIFTS_AT_ONCE))? {
        if gift.state != (GiftState::Waiting { order: Some(order.id) }) || gift.due.is_some() {
            continue;
        }
        let due = window_closes(tx, now)?;
        let state = GiftState::Waiting { order: None };
        tx.put(&TIER_GIFTS, &key, &TierGift { state, due: Some(due), ..gift })?;
        scheduler::schedule(tx, TimerKey::new(due, TimerKind::TierGift, order.member))?;
    }
    Ok(())
}

/// When the return window that opens at an instant closes.
fn window_closes(tx: &mut Tx<'_>, opens: Timestamp) -> Result<Timestamp, StoreError> {
    let window = SignedDuration::from_hours(24 * i64::from(current(tx)?.return_days));
    Ok(opens.checked_add(window).unwrap_or(Timestamp::MAX))
}

/// The timer's work: gives what is due to a member.
///
/// # Errors
///
/// Those of the ledger.
pub(in crate::service) fn give(
    tx: &mut Tx<'_>,
    id: MemberId,
    now: Timestamp,
    settings: &Settings,
    first_coupon: CouponId,
) -> Result<(), Error> {
    let Some(mut member) = tx.get(&MEMBERS, &id)? else { return Ok(()) };
    let programme = current(tx)?;
    let (mut happened, mut used) = (Vec::new(), 0);
    for (key, gift) in tx.scan(&TIER_GIFTS, &Scan::prefix(&id).limit(GIFTS_AT_ONCE))? {
        let waits = matches!(gift.state, GiftState::Waiting { .. });
        if !waits || gift.due.is_none_or(|due| due > now) {
            continue;
        }
        let (held, reached) = (rank(tx, &member.tier.code)?, rank(tx, &key.1)?);
        let takes_part = member.state == MemberState::Active && member.tier.kept.is_none();
        let deserved = takes_part && reached.is_some() && held >= reached;
        let state = if deserved {
            let first = CouponId::from_bits(first_coupon.to_bits().wrapping_add(used));
            let (state, told) = hand_over(tx, &member, &programme, &key.1, first, now, settings)?;
            used += 1 + told.len() as u128;
            happened.extend(told);
            state
        } else {
            GiftState::Lapsed
        };
        tx.put(&TIER_GIFTS, &key, &TierGift { state, at: now, due: gift.due })?;
    }
    if happened.is_empty() {
        return Ok(());
    }
    members::put_moved(tx, &mut member)?;
    Ok(events::append(tx, id, happened)?)
}

/// Posts the points and issues the coupons that a tier brings.
fn hand_over(
    tx: &mut Tx<'_>,
    member: &Member,
    programme: &Programme,
    tier: &str,
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<(GiftState, Vec<What>), Error> {
    // The programme may have changed since; what it says now is given.
    let Some(terms) = programme.tier(tier) else { return Ok((GiftState::Lapsed, Vec::new())) };
    let points = terms.gift_points;
    if !points.is_zero() {
        let dies = now.to_zoned(settings.zone.clone()).checked_add(i64::from(programme.gift_months).months());
        let expires_at = dies.map_or(Timestamp::MAX, |at| at.timestamp());
        let lot = LotKey { expires_at, origin: LotOrigin(first.to_bits()) };
        let note = Note::of_programme("tier-gift");
        lots::grant_noted(tx, member.id, House::Adjusted, points, lot, Cause::Adjusted, Some(&note))?;
        points::set_expiry(tx, member.id, expires_at, now, settings)?;
    }
    let coupons = coupons::issue_named(tx, member, &terms.gift_offers, first, now, settings)?;
    let mut told = vec![What::TierGift { tier: tier.to_owned(), points }];
    told.extend(coupons.iter().copied().map(What::CouponIssued));
    Ok((GiftState::Given { points, coupons }, told))
}
