//! An order is given up: before it is paid its hold is released, after that it is refunded.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    any_member, expire_returned, give_limits_back, give_stock_back, hold_until, prescription, put_moved, require,
    return_coupon, rows, save_order, seen_order,
};
use crate::{
    domain::order::{Order, OrderState, RefundCause},
    events::{self, What},
    ids::OrderId,
    ledger::lots,
    pricing::refund,
    service::{Caller, Done, Error, Idempotency, RefundOrder, Services, refills},
    store::Tx,
};

impl Services {
    /// Gives up an order that has not left. What is left of one that was paid is refunded; one that came back whole before
    /// is only closed.
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
        if done.value.state == OrderState::Paid && !refund::came_back_whole(&done.value) {
            let everything = RefundOrder { cause: RefundCause::ChangeOfMind, lines: None };
            return self.refund_or_cancel(caller, once, id, everything, true).await;
        }
        let now = self.clock.now();
        self.store
            .run(now, move |tx| {
                rows::once(&once, tx, |tx| {
                    let order = seen_order(tx, caller, id)?;
                    if order.state == OrderState::Paid && refund::came_back_whole(&order) {
                        return close(tx, order, now);
                    }
                    require(&order, &[OrderState::Placed], "cancelled")?;
                    release(tx, order, now, Goods::NeverLeft)
                })
            })
            .await
    }

    /// Gives up an order with cash on delivery that could not be handed over or was not paid: the goods came back, and what
    /// it held is given back. Medicine is not sold again.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`] unless it is under way or delivered, unpaid and with cash on delivery; [`Error::Unknown`].
    pub async fn fail_delivery(&self, caller: Caller, once: Idempotency, id: OrderId) -> Result<Done<Order>, Error> {
        let (now, settings) = (self.clock.now(), Arc::clone(&self.settings));
        self.store
            .run(now, move |tx| {
                rows::once(&once, tx, |tx| {
                    let order = seen_order(tx, caller, id)?;
                    require(&order, &[OrderState::Shipped, OrderState::Delivered], "returned")?;
                    if !order.cash_on_delivery || order.payment.is_some() {
                        let verb = "returned unpaid: refund it";
                        return Err(Error::WrongState { order: id, state: order.state, verb });
                    }
                    if order.delivered_at.is_some() {
                        refills::came_back(tx, &order, &refund::everything_left(&order), now, &settings)?;
                    }
                    release(tx, order, now, Goods::CameBack)
                })
            })
            .await
    }
}

/// Where the goods of an order are that is given up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goods {
    /// In the shop.
    NeverLeft,
    /// They came back; medicine among them is not sold again.
    CameBack,
    /// Nobody knows.
    Lost,
}

/// Cancels an order that was not paid in time, or with cash on delivery not shipped in time, or not paid long after that:
/// the timer's work. Nothing happens if it was.
///
/// # Errors
///
/// Those of the ledger.
pub(in crate::service) fn cancel_unpaid(tx: &mut Tx<'_>, id: OrderId, now: Timestamp) -> Result<(), Error> {
    match rows::get(tx, id)? {
        Some(order) if order.hold_until.is_none_or(|until| until > now) || order.payment.is_some() => Ok(()),
        Some(order) => match order.state {
            OrderState::Placed => release(tx, order, now, Goods::NeverLeft).map(drop),
            OrderState::Shipped | OrderState::Delivered => release(tx, order, now, Goods::Lost).map(drop),
            OrderState::Paid | OrderState::Cancelled => Ok(()),
        },
        None => Ok(()),
    }
}

/// Closes a paid order that came back whole before it left: it holds nothing any more.
fn close(tx: &mut Tx<'_>, mut order: Order, now: Timestamp) -> Result<Order, Error> {
    order.state = OrderState::Cancelled;
    order.cancelled_at = Some(now);
    save_order(tx, &mut order)?;
    events::append(tx, order.member, [What::OrderCancelled(order.id)])?;
    Ok(order)
}

/// Gives back everything that an unpaid order holds.
pub(super) fn release(tx: &mut Tx<'_>, mut order: Order, now: Timestamp, goods: Goods) -> Result<Order, Error> {
    hold_until(tx, &mut order, None)?;
    if let Some(coupon) = order.coupon {
        return_coupon(tx, coupon, now)?;
    }
    lots::release(tx, order.member, order.id, &order.draws)?;
    expire_returned(tx, &order, now)?;
    give_limits_back(tx, &order, |_| true)?;
    let everything = refund::everything_left(&order);
    let medicine = |line: u16| order.priced.lines.get(usize::from(line)).is_none_or(|line| line.class.is_medicine());
    let sold_again = |line: u16| goods == Goods::NeverLeft || (goods == Goods::CameBack && !medicine(line));
    let stock: Vec<(u16, u32)> = everything.iter().copied().filter(|(line, _)| sold_again(*line)).collect();
    give_stock_back(tx, &order, &stock)?;
    prescription::put_back(tx, &order, &everything)?;
    order.awaits_review = false;
    order.state = OrderState::Cancelled;
    order.cancelled_at = Some(now);
    save_order(tx, &mut order)?;
    let mut member = any_member(tx, order.member)?;
    put_moved(tx, &mut member)?;
    events::append(tx, order.member, [What::OrderCancelled(order.id)])?;
    Ok(order)
}
