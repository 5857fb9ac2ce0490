//! Payments that come when their order was given up: recorded, and due to be paid back.

use jiff::Timestamp;

use super::{money, rows, save_order, seen_order};
use crate::{
    domain::{
        member::ExternalId,
        money::Money,
        order::{Order, OrderState},
        payment::{MoneyKind, PaidBack, RefundDue, SeenPayment},
    },
    events::{self, What},
    ids::{OrderId, RefundId},
    service::{
        Caller, Done, Error, Idempotency, Page, PageRequest, PayOrder, Services,
        facts::day_number,
        tables::{OPEN_REFUNDS_DUE, PAYMENTS, REFUNDS_DUE},
    },
    store::{Scan, Tx},
};

/// Late payments of one order.
const LATE_MAX: usize = 32;
/// The largest of them: no mistake of a partner may make the sums of a day overflow.
const AMOUNT_MAX: Money = Money::new(1_000_000_000_000);

impl Services {
    /// Late payments that are not paid back yet, oldest first; or all of them.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the page.
    pub async fn refunds_due(&self, all: bool, page: PageRequest) -> Result<Page<RefundDue>, Error> {
        let read = self.store.read(move |tx| {
            if all {
                let rows = page.page(tx.scan(&REFUNDS_DUE, &page.scan(Scan::all())?)?)?;
                return Ok(rows.map(|(_, due)| due));
            }
            let rows = page.page(tx.scan(&OPEN_REFUNDS_DUE, &page.scan(Scan::all())?)?)?;
            let ids: Vec<RefundId> = rows.rows.iter().map(|(id, ())| *id).collect();
            let found = tx.get_many(&REFUNDS_DUE, &ids)?.into_iter().flatten().collect();
            Ok::<_, Error>(Page { rows: found, next: rows.next })
        });
        read.await
    }

    /// Marks a late payment as paid back, with the refund's reference. Once more with the same reference changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Taken`] if it was paid back with another reference.
    pub async fn complete_refund_due(
        &self,
        caller: Caller,
        once: Idempotency,
        id: RefundId,
        reference: ExternalId,
    ) -> Result<Done<RefundDue>, Error> {
        let now = self.clock.now();
        let day = day_number(now, &self.settings.zone);
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut due = tx.get(&REFUNDS_DUE, &id)?.ok_or_else(|| Error::unknown("refund", id))?;
                if let Some(done) = &due.done {
                    if done.reference == reference {
                        return Ok(due);
                    }
                    return Err(Error::Taken { what: "refund", name: done.reference.clone(), id: id.to_string() });
                }
                due.done = Some(PaidBack { reference: reference.clone(), at: now, by: caller.key });
                tx.put(&REFUNDS_DUE, &id, &due)?;
                tx.delete(&OPEN_REFUNDS_DUE, &id)?;
                money::late(tx, &due, MoneyKind::LateRefund, now, day)?;
                Ok(due)
            })
        });
        run.await
    }

    /// Records a payment of a cancelled order.
    pub(super) async fn pay_late(
        &self,
        caller: Caller,
        once: Idempotency,
        id: OrderId,
        ask: &PayOrder,
        now: Timestamp,
    ) -> Result<Done<Order>, Error> {
        if ask.amount <= Money::ZERO || ask.amount > AMOUNT_MAX {
            return Err(Error::field("/amount/minor", format!("must be above zero and at most {}", AMOUNT_MAX.get())));
        }
        let (ask, day, refund) = (ask.clone(), day_number(now, &self.settings.zone), self.ids.ordered(now));
        self.store
            .run(now, move |tx| {
                rows::once(&once, tx, |tx| {
                    let order = seen_order(tx, caller, id)?;
                    let key = (order.partner, ask.reference.as_str().to_owned());
                    if order.state != OrderState::Cancelled || tx.get(&PAYMENTS, &key)?.is_some() {
                        return Err(Error::Busy);
                    }
                    record(tx, order, &ask, refund, now, day)
                })
            })
            .await
    }
}

fn record(
    tx: &mut Tx<'_>,
    mut order: Order,
    ask: &PayOrder,
    id: RefundId,
    now: Timestamp,
    day: i32,
) -> Result<Order, Error> {
    if order.refunds_due.len() >= LATE_MAX {
        return Err(Error::WrongState { order: order.id, state: order.state, verb: "paid so often" });
    }
    let due = RefundDue {
        id,
        order: order.id,
        partner: order.partner,
        reference: ask.reference.clone(),
        method: ask.method,
        amount: ask.amount,
        at: now,
        done: None,
    };
    let seen = SeenPayment { order: order.id, amount: ask.amount, late: Some(id) };
    tx.put(&PAYMENTS, &(order.partner, ask.reference.as_str().to_owned()), &seen)?;
    tx.put(&REFUNDS_DUE, &id, &due)?;
    tx.put(&OPEN_REFUNDS_DUE, &id, &())?;
    money::late(tx, &due, MoneyKind::LatePayment, now, day)?;
    order.refunds_due.push(id);
    save_order(tx, &mut order)?;
    events::append(tx, order.member, [What::RefundDue(order.id, id)])?;
    Ok(order)
}
