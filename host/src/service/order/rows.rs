//! Orders as they are stored: what changes in one row, the price in another that is written once.
//!
//! Every step of an order writes it again and keeps it as the answer to a retry. Its price and explanation are most of
//! its bytes and never change after the commit, so both rows leave them out.

use std::mem;

use crate::{
    domain::order::Order,
    ids::OrderId,
    service::{
        Done, Error, Idempotency,
        tables::{ORDER_PRICES, ORDERS},
    },
    store::{StoreError, Tx},
};

/// An order.
pub(in crate::service) fn get(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<Order>, StoreError> {
    let Some(order) = unpriced(tx, id)? else { return Ok(None) };
    whole(tx, order).map(Some)
}

/// An order without lines, offers and amounts: for those who look at its course alone.
pub(super) fn unpriced(tx: &mut Tx<'_>, id: OrderId) -> Result<Option<Order>, StoreError> {
    tx.get(&ORDERS, &id)
}

/// Writes a new order.
pub(super) fn create(tx: &mut Tx<'_>, order: &mut Order) -> Result<(), StoreError> {
    tx.put(&ORDER_PRICES, &order.id, &order.priced)?;
    save(tx, order)
}

/// Writes what changed of an order.
pub(super) fn save(tx: &mut Tx<'_>, order: &mut Order) -> Result<(), StoreError> {
    let priced = mem::take(&mut order.priced);
    let saved = tx.put(&ORDERS, &order.id, order);
    order.priced = priced;
    saved
}

/// Runs a step of an order, unless this key did it before.
pub(super) fn once<E: From<Error> + From<StoreError>>(
    key: &Idempotency,
    tx: &mut Tx<'_>,
    step: impl FnOnce(&mut Tx<'_>) -> Result<Order, E>,
) -> Result<Done<Order>, E> {
    let mut priced = None;
    let done = key.once(tx, |tx| {
        let mut order = step(tx)?;
        priced = Some(mem::take(&mut order.priced));
        Ok::<_, E>(order)
    })?;
    let Done { mut value, replayed } = done;
    match priced {
        Some(priced) => value.priced = priced,
        None => value = whole(tx, value)?,
    }
    Ok(Done { value, replayed })
}

/// The answer given before, if there is one.
pub(super) fn before(key: &Idempotency, tx: &mut Tx<'_>) -> Result<Option<Done<Order>>, Error> {
    let Some(Done { value, replayed }) = key.look_up(tx)? else { return Ok(None) };
    Ok(Some(Done { value: whole(tx, value)?, replayed }))
}

/// The order with its price.
fn whole(tx: &mut Tx<'_>, mut order: Order) -> Result<Order, StoreError> {
    order.priced = tx.get(&ORDER_PRICES, &order.id)?.ok_or_else(|| StoreError::Corrupt {
        table: ORDER_PRICES.name(),
        reason: format!("order {} has no price", order.id).into(),
    })?;
    Ok(order)
}
