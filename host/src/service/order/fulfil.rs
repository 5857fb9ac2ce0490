//! An order leaves and arrives.

use std::sync::Arc;

use super::{hold_until, prescription::require_decided, require, rows, save_order, schedule_activation, seen_order};
use crate::{
    domain::order::{Order, OrderState},
    events::{self, What},
    ids::OrderId,
    pricing::refund,
    service::{Caller, Done, Error, Idempotency, Services, refills},
};

impl Services {
    /// Records that an order left: a paid one, or one to be paid on delivery.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`], [`Error::Unknown`].
    pub async fn ship(&self, caller: Caller, once: Idempotency, id: OrderId) -> Result<Done<Order>, Error> {
        let now = self.clock.now();
        let cash_due = now.checked_add(self.settings.orders.cash_due_within).ok();
        self.store
            .run(now, move |tx| {
                rows::once(&once, tx, |tx| {
                    let mut order = seen_order(tx, caller, id)?;
                    let from = if order.cash_on_delivery { OrderState::Placed } else { OrderState::Paid };
                    require(&order, &[from], "shipped")?;
                    require_decided(&order, "shipped")?;
                    if refund::came_back_whole(&order) {
                        let verb = "shipped: all of it was refunded";
                        return Err(Error::WrongState { order: id, state: order.state, verb });
                    }
                    order.state = OrderState::Shipped;
                    order.shipped_at = Some(now);
                    if order.cash_on_delivery {
                        hold_until(tx, &mut order, cash_due)?;
                    }
                    save_order(tx, &mut order)?;
                    events::append(tx, order.member, [What::OrderShipped(id)])?;
                    Ok(order)
                })
            })
            .await
    }

    /// Records that an order arrived; its points become spendable some days after.
    ///
    /// # Errors
    ///
    /// [`Error::WrongState`], [`Error::Unknown`].
    pub async fn deliver(&self, caller: Caller, once: Idempotency, id: OrderId) -> Result<Done<Order>, Error> {
        let (now, settings) = (self.clock.now(), Arc::clone(&self.settings));
        self.store
            .run(now, move |tx| {
                rows::once(&once, tx, |tx| {
                    let mut order = seen_order(tx, caller, id)?;
                    require(&order, &[OrderState::Shipped], "delivered")?;
                    order.state = OrderState::Delivered;
                    order.delivered_at = Some(now);
                    save_order(tx, &mut order)?;
                    schedule_activation(tx, &order)?;
                    refills::delivered(tx, &order, now, &settings)?;
                    events::append(tx, order.member, [What::OrderDelivered(id)])?;
                    Ok(order)
                })
            })
            .await
    }
}
