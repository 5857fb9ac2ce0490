//! An order is given up: before it is paid its hold is released, after that it is refunded.

use jiff::Timestamp;

use super::{
    any_member, expire_returned, give_limits_back, give_stock_back, prescription, require, return_coupon, rows,
    save_member, save_order, seen_order,
};
use crate::{
    domain::order::{Order, OrderState, RefundCause},
    events::{self, What},
    ids::OrderId,
    ledger::lots,
    pricing::refund,
    scheduler::{self, TimerKey, TimerKind},
    service::{Caller, Done, Error, Idempotency, RefundOrder, Services},
    store::Tx,
};

impl Services {
    /// Gives up an order that has not left. One that was paid is refunded in full.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] once it was shipped, [`Error::Unknown`].
    pub async fn cancel(&self, caller: Caller, once: Idempotency, id: OrderId) -> Result<Done<Order>, Error> {
        let key = once.clone();
        let read = self.store.read(move |tx| match rows::before(&key, tx)? {
            Some(done) => Ok((done, true)),
            None => Ok::<_, Error>((Done { value: seen_order(tx, caller, id)?, replayed: false }, false)),
        });
        let (done, answered) = read.await?;
        if answered {
            return Ok(done);
        }
        require(&done.value, &[OrderState::Placed, OrderState::Paid], "cancelled")?;
        if done.value.state == OrderState::Paid {
            let everything = RefundOrder { cause: RefundCause::ChangeOfMind, lines: None };
            return self.refund_or_cancel(caller, once, id, everything, true).await;
        }
        let now = self.clock.now();
        self.store
            .run(now, move |tx| {
                rows::once(&once, tx, |tx| {
                    let order = seen_order(tx, caller, id)?;
                    require(&order, &[OrderState::Placed], "cancelled")?;
                    release(tx, order, now)
                })
            })
            .await
    }
}

/// Cancels an order that was not paid in time: the timer's work. Nothing happens if it was.
///
/// # Errors
///
/// Those of the ledger.
pub(in crate::service) fn cancel_unpaid(tx: &mut Tx<'_>, id: OrderId, now: Timestamp) -> Result<(), Error> {
    match rows::get(tx, id)? {
        Some(order) if order.state == OrderState::Placed => release(tx, order, now).map(drop),
        _ => Ok(()),
    }
}

/// Gives back everything that a placed order holds.
pub(super) fn release(tx: &mut Tx<'_>, mut order: Order, now: Timestamp) -> Result<Order, Error> {
    if let Some(until) = order.hold_until.take() {
        scheduler::cancel(tx, TimerKey::new(until, TimerKind::UnpaidOrder, order.id))?;
    }
    if let Some(coupon) = order.coupon {
        return_coupon(tx, coupon, now)?;
    }
    lots::release(tx, order.member, order.id, &order.draws)?;
    expire_returned(tx, &order, now)?;
    give_limits_back(tx, &order, |_| true)?;
    let everything = refund::everything_left(&order);
    give_stock_back(tx, &order, &everything)?;
    prescription::put_back(tx, &order, &everything)?;
    order.awaits_review = false;
    order.state = OrderState::Cancelled;
    order.cancelled_at = Some(now);
    save_order(tx, &mut order)?;
    let mut member = any_member(tx, order.member)?;
    save_member(tx, &mut member)?;
    events::append(tx, order.member, [What::OrderCancelled(order.id)])?;
    Ok(order)
}
