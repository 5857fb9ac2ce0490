//! Quotes and orders: quote → place (hold) → pay (capture) → ship → deliver; cancel; refund.
//!
//! Each step asks the plugins first, against a snapshot, and then commits in one transaction that checks that the member
//! has not moved since. What is computed before the transaction is handed into it; a closure that runs twice does the
//! same twice.

mod cancel;
mod fulfil;
mod instalments;
mod late;
mod money;
mod pay;
mod place;
mod policy;
pub(super) mod prescription;
mod quote;
mod refund;
pub(super) mod rows;
pub(super) mod tier;

pub use instalments::PayInInstalments;
pub use pay::PayOrder;
pub use place::PlaceOrder;
pub use refund::RefundOrder;

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};

use super::{
    Caller, Error, Page, PageRequest, Services, Settings,
    members::{active_member, put_moved, visible_member},
    points,
    tables::{
        COUPONS, COUPONS_OF_MEMBER, MEMBERS, OFFERS, ORDERS_BY_EXTERNAL_ID, ORDERS_OF_MEMBER, RESERVATIONS, REVOCATIONS,
    },
    tiers::gifts,
};
use crate::{
    domain::{
        member::Member,
        money::Money,
        offer::{Coupon, CouponState, OfferClass},
        order::{Order, OrderState},
        points::{Cause, LotKey, LotOrigin},
    },
    events::{self, What},
    ids::{CouponId, Id as _, MemberId, OrderId},
    ledger::{
        counters::{self, CounterKey},
        limits::{self, Reserved},
        lots,
    },
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, Tx},
};

/// How often a step is computed again because the member moved meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// The order, if the caller may see it.
fn seen_order(tx: &mut Tx<'_>, caller: Caller, id: OrderId) -> Result<Order, Error> {
    let order = rows::get(tx, id)?.filter(|order| caller.sees(order.partner));
    order.ok_or_else(|| Error::unknown("order", id))
}

/// The member, whatever their state.
fn any_member(tx: &mut Tx<'_>, id: MemberId) -> Result<Member, Error> {
    tx.get(&MEMBERS, &id)?.ok_or_else(|| Error::unknown("member", id))
}

/// Writes an order at its next revision.
fn save_order(tx: &mut Tx<'_>, order: &mut Order) -> Result<(), Error> {
    order.revision = order.revision.next();
    Ok(rows::save(tx, order)?)
}

/// Moves a coupon to another state, and in the member's index.
pub(super) fn move_coupon(tx: &mut Tx<'_>, id: CouponId, to: CouponState) -> Result<(), Error> {
    let mut coupon = tx.get(&COUPONS, &id)?.ok_or_else(|| Error::unknown("coupon", id))?;
    let in_hand = |state: CouponState| matches!(state, CouponState::Issued);
    if in_hand(coupon.state) != in_hand(to) {
        tx.delete(&COUPONS_OF_MEMBER, &(coupon.member, in_hand(coupon.state), id))?;
        tx.put(&COUPONS_OF_MEMBER, &(coupon.member, in_hand(to), id), &())?;
    }
    coupon.state = to;
    Ok(tx.put(&COUPONS, &id, &coupon)?)
}

/// Puts a coupon back into the member's hands; or lets it end there, if its time has come, or if all of its offer were
/// taken back while it was away.
fn return_coupon(tx: &mut Tx<'_>, id: CouponId, now: Timestamp) -> Result<(), Error> {
    let coupon = tx.get(&COUPONS, &id)?.ok_or_else(|| Error::unknown("coupon", id))?;
    let dead = coupon.expires_at.is_some_and(|at| at <= now);
    let asked_at = tx.get(&REVOCATIONS, &coupon.offer)?.map(|revocation| revocation.asked_at);
    let to = match asked_at {
        _ if dead => CouponState::Expired,
        Some(asked_at) if asked_at >= coupon.issued_at => CouponState::Revoked,
        _ => CouponState::Issued,
    };
    if to == CouponState::Revoked {
        events::append(tx, coupon.member, [What::CouponRevoked(id)])?;
    }
    move_coupon(tx, id, to)
}

/// Which offers an order used, and how much each took off.
fn used_offers(order: &Order) -> impl Iterator<Item = (crate::ids::OfferId, OfferClass, Money)> + '_ {
    order.priced.offers.iter().filter(|used| !used.amount.is_zero()).map(|used| (used.offer, used.class, used.amount))
}

/// Gives back what an order holds of the limits of offers of some classes, each to the period it was taken from. What
/// was given back is no longer held: nothing comes back twice.
fn give_limits_back(tx: &mut Tx<'_>, order: &Order, which: impl Fn(OfferClass) -> bool) -> Result<(), Error> {
    let Some(mut held) = tx.get(&RESERVATIONS, &order.id)? else { return give_budgets_back(tx, order, which) };
    let (back, kept) = held.offers.into_iter().partition(|reserved| which(reserved.class));
    held.offers = kept;
    tx.put(&RESERVATIONS, &order.id, &held)?;
    let back: Vec<Reserved> = back;
    for reserved in back {
        for taken in reserved.taken {
            limits::give_back(tx, reserved.offer, order.member, taken)?;
        }
    }
    Ok(())
}

/// The same for orders that were placed before reservations were noted: what they took of budgets.
fn give_budgets_back(tx: &mut Tx<'_>, order: &Order, which: impl Fn(OfferClass) -> bool) -> Result<(), Error> {
    let near = events::shard(order.member);
    let used: Vec<_> = used_offers(order).filter(|(_, class, _)| which(*class)).collect();
    for (id, _, amount) in used {
        let Some(offer) = tx.get(&OFFERS, &id)? else { continue };
        if offer.budget_uses.is_some() {
            counters::give_back(tx, CounterKey::OfferUses(id), near, 1)?;
        }
        if offer.budget_amount.is_some() {
            counters::give_back(tx, CounterKey::OfferAmount(id), near, amount.get())?;
        }
    }
    Ok(())
}

/// Gives items back to stock: pairs of line and quantity.
fn give_stock_back(tx: &mut Tx<'_>, order: &Order, items: &[(u16, u32)]) -> Result<(), Error> {
    let near = events::shard(order.member);
    for (line, quantity) in items {
        if let Some(line) = order.priced.lines.get(usize::from(*line)).filter(|line| line.stock_tracked) {
            counters::give_back(tx, CounterKey::Stock(line.product), near, i64::from(*quantity))?;
        }
    }
    Ok(())
}

/// When the points of an order become spendable: so many days after it was delivered, and not before it was paid (R3).
fn activates_at(order: &Order) -> Option<Timestamp> {
    let (earning, payment, delivered) = (order.earning.as_ref()?, order.payment.as_ref()?, order.delivered_at?);
    let wait = SignedDuration::from_hours(24 * i64::from(earning.pending_days));
    Some(delivered.checked_add(wait).ok()?.max(payment.at))
}

/// The lot that an order's points lie in once they are spendable.
fn lot_of(order: &Order, zone: &TimeZone) -> Option<LotKey> {
    let (active, months) = (activates_at(order)?, order.earning.as_ref()?.valid_months);
    let expires = active.to_zoned(zone.clone()).checked_add(i64::from(months).months()).ok()?;
    Some(LotKey { expires_at: expires.timestamp(), origin: LotOrigin(order.id.to_bits()) })
}

/// Sets the timers of what an order brings once it was paid and has arrived: of its points, if it has earned any, and of
/// the gift of a tier that it reached.
fn schedule_activation(tx: &mut Tx<'_>, order: &Order) -> Result<(), Error> {
    gifts::arrived(tx, order)?;
    if let Some(at) = activates_at(order) {
        scheduler::schedule(tx, TimerKey::new(at, TimerKind::ActivatePoints, order.id))?;
    }
    Ok(())
}

/// Makes an order's points spendable: the timer's work. Answers whether there were any.
///
/// # Errors
///
/// Those of the ledger.
pub(super) fn activate_points(
    tx: &mut Tx<'_>,
    id: OrderId,
    now: Timestamp,
    settings: &Settings,
) -> Result<bool, Error> {
    let Some(order) = rows::unpriced(tx, id)? else { return Ok(false) };
    let Some(lot) = lot_of(&order, &settings.zone) else { return Ok(false) };
    if !lots::activate(tx, order.member, lot, Cause::Activated(id))? {
        return Ok(false);
    }
    let mut member = any_member(tx, order.member)?;
    put_moved(tx, &mut member)?;
    points::set_expiry(tx, order.member, lot.expires_at, now, settings)?;
    events::append(tx, order.member, [events::What::PointsActivated(id)])?;
    Ok(true)
}

/// Points that came back to a lot whose time is over expire at the next firing: the lot's own timer is gone.
fn expire_returned(tx: &mut Tx<'_>, order: &Order, now: Timestamp) -> Result<(), Error> {
    if order.draws.iter().any(|draw| draw.lot.expires_at <= now) {
        scheduler::schedule(tx, TimerKey::new(now, TimerKind::ExpirePoints, order.member))?;
    }
    Ok(())
}

/// Lets a coupon die that is still in hand: the timer's work.
///
/// # Errors
///
/// Those of the store.
pub(super) fn expire_coupon(tx: &mut Tx<'_>, id: CouponId) -> Result<(), Error> {
    let coupon: Option<Coupon> = tx.get(&COUPONS, &id)?.filter(|coupon| coupon.state == CouponState::Issued);
    let Some(coupon) = coupon else { return Ok(()) };
    move_coupon(tx, id, CouponState::Expired)?;
    let mut member = any_member(tx, coupon.member)?;
    put_moved(tx, &mut member)?;
    Ok(events::append(tx, coupon.member, [events::What::CouponExpired(id)])?)
}

pub(super) use cancel::cancel_unpaid;

impl Services {
    /// An order.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] if there is none that the caller may see.
    pub async fn order(&self, caller: Caller, id: OrderId) -> Result<Order, Error> {
        self.store.read(move |tx| seen_order(tx, caller, id)).await
    }

    /// An order by what the caller calls it.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn order_by_external_id(&self, caller: Caller, external_id: &str) -> Result<Order, Error> {
        let key = (caller.partner, external_id.to_owned());
        self.store
            .read(move |tx| {
                let id = tx.get(&ORDERS_BY_EXTERNAL_ID, &key)?;
                seen_order(tx, caller, id.ok_or_else(|| Error::unknown("order", &key.1))?)
            })
            .await
    }

    /// A member's orders, in the order they were placed.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the member, [`Error::Invalid`] for the page.
    pub async fn orders_of(&self, caller: Caller, member: MemberId, page: PageRequest) -> Result<Page<Order>, Error> {
        self.store
            .read(move |tx| {
                visible_member(tx, caller, member)?;
                let rows = tx.scan(&ORDERS_OF_MEMBER, &page.scan(Scan::prefix(&member))?)?;
                let page = page.page(rows)?;
                let orders = page.rows.iter().map(|((_, id), ())| seen_order(tx, caller, *id));
                let visible = orders.filter(|order| !matches!(order, Err(Error::Unknown { .. })));
                Ok(Page { rows: visible.collect::<Result<_, _>>()?, next: page.next })
            })
            .await
    }
}

/// When an order that was placed, or approved, at `now` gives up what it holds: unpaid, or, with cash on delivery, not
/// shipped.
fn gives_up_at(cash_on_delivery: bool, now: Timestamp, settings: &Settings) -> Option<Timestamp> {
    let wait = if cash_on_delivery { settings.orders.cash_ships_within } else { settings.order_holds };
    now.checked_add(wait).ok()
}

/// Sets when an order gives up, and its timer.
fn hold_until(tx: &mut Tx<'_>, order: &mut Order, until: Option<Timestamp>) -> Result<(), Error> {
    if let Some(before) = order.hold_until.take() {
        scheduler::cancel(tx, TimerKey::new(before, TimerKind::UnpaidOrder, order.id))?;
    }
    order.hold_until = until;
    if let Some(until) = until {
        scheduler::schedule(tx, TimerKey::new(until, TimerKind::UnpaidOrder, order.id))?;
    }
    Ok(())
}

/// Refuses a step that the order's state does not allow.
fn require(order: &Order, allowed: &[OrderState], verb: &'static str) -> Result<(), Error> {
    if allowed.contains(&order.state) {
        return Ok(());
    }
    Err(Error::WrongState { order: order.id, state: order.state, verb })
}
