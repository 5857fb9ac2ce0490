//! How orders consume prescriptions: looked at by a quote, taken in the transaction that places, put back by a
//! cancellation and by what is refunded before it leaves.
//!
//! An order may be placed while its prescription is under review. It then holds everything, as any order does, but
//! nobody can pay it and no payment window runs until a pharmacist has decided.

use jiff::Timestamp;

use super::{
    cancel::{self, Goods},
    gives_up_at, hold_until, rows, save_order,
};
use crate::{
    domain::{
        member::ExternalId,
        order::{Cart, Order, OrderState},
        prescription::{Prescription, PrescriptionState},
        product::{Class, Product},
    },
    ids::{MemberId, ProductId},
    service::{
        Caller, Error, Settings,
        tables::{PRESCRIPTIONS, PRESCRIPTIONS_BY_EXTERNAL_ID},
    },
    store::Tx,
};

/// Whether a cart's prescription covers every line that needs one.
///
/// # Errors
///
/// [`Error::PrescriptionRequired`], [`Error::Unknown`], [`Error::PrescriptionNotUsable`],
/// [`Error::PrescriptionExceeded`].
pub(super) fn check(
    tx: &mut Tx<'_>,
    caller: Caller,
    member: MemberId,
    cart: &Cart,
    products: &[Product],
    now: Timestamp,
) -> Result<(), Error> {
    let lines = products.iter().zip(&cart.lines).enumerate();
    let needs: Vec<Need> = lines
        .filter(|(_, (product, _))| product.class == Class::Rx)
        .map(|(line, (product, (_, quantity)))| Need { line, product: product.id, quantity: *quantity })
        .collect();
    covered(tx, caller, member, cart.prescription.as_ref(), &needs, now).map(drop)
}

/// Takes what an order's lines need from its prescription; the order then waits if that is under review.
///
/// # Errors
///
/// Those of [`check`].
pub(super) fn take(tx: &mut Tx<'_>, caller: Caller, order: &mut Order, now: Timestamp) -> Result<(), Error> {
    let lines = order.priced.lines.iter().enumerate().filter(|(_, line)| line.class == Class::Rx);
    let needs: Vec<Need> =
        lines.map(|(i, line)| Need { line: i, product: line.product, quantity: line.quantity }).collect();
    let found = covered(tx, caller, order.member, order.prescription.as_ref(), &needs, now)?;
    let Some(mut prescription) = found else { return Ok(()) };
    if prescription.state == PrescriptionState::UnderReview {
        prescription.waiting = Some(order.id);
        order.awaits_review = true;
        order.hold_until = None;
    }
    order.prescription_id = Some(prescription.id);
    order.acting_for = prescription.acting_for;
    save(tx, &mut prescription)
}

/// Puts items back that an order took: pairs of line and quantity.
///
/// # Errors
///
/// Those of the store.
pub(super) fn put_back(tx: &mut Tx<'_>, order: &Order, items: &[(u16, u32)]) -> Result<(), Error> {
    let Some(id) = order.prescription_id else { return Ok(()) };
    let Some(mut prescription) = tx.get(&PRESCRIPTIONS, &id)? else { return Ok(()) };
    for (line, quantity) in items {
        if let Some(line) = order.priced.lines.get(usize::from(*line)).filter(|line| line.class == Class::Rx) {
            prescription.put_back(line.product, *quantity);
        }
    }
    if prescription.waiting == Some(order.id) {
        prescription.waiting = None;
    }
    save(tx, &mut prescription)
}

/// Writes a prescription that was decided or has expired. The order that waited for it can be paid from now on, or gives
/// back all it held if the prescription was not approved.
///
/// # Errors
///
/// Those of the ledger.
pub(in crate::service) fn decided(
    tx: &mut Tx<'_>,
    prescription: &mut Prescription,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), Error> {
    let waiting = prescription.waiting.take();
    save(tx, prescription)?;
    let Some(id) = waiting else { return Ok(()) };
    let Some(mut order) = rows::get(tx, id)?.filter(|order| order.awaits_review) else { return Ok(()) };
    if order.state != OrderState::Placed {
        return Ok(());
    }
    order.awaits_review = false;
    if prescription.state != PrescriptionState::Approved {
        cancel::release(tx, order, now, Goods::NeverLeft)?;
        if let Some(after) = tx.get(&PRESCRIPTIONS, &prescription.id)? {
            *prescription = after;
        }
        return Ok(());
    }
    let until = gives_up_at(order.cash_on_delivery, now, settings);
    hold_until(tx, &mut order, until)?;
    save_order(tx, &mut order)
}

/// Refuses a step that an order under review cannot take.
///
/// # Errors
///
/// [`Error::UnderReview`].
pub(super) fn require_decided(order: &Order, verb: &'static str) -> Result<(), Error> {
    if order.awaits_review { Err(Error::UnderReview { order: order.id, verb }) } else { Ok(()) }
}

/// A line that needs a prescription.
struct Need {
    line: usize,
    product: ProductId,
    quantity: u32,
}

/// The prescription with the needed items taken; nothing where nothing is needed.
fn covered(
    tx: &mut Tx<'_>,
    caller: Caller,
    member: MemberId,
    name: Option<&ExternalId>,
    needs: &[Need],
    now: Timestamp,
) -> Result<Option<Prescription>, Error> {
    let Some(first) = needs.first() else { return Ok(None) };
    let name = name.ok_or(Error::PrescriptionRequired { line: first.line })?;
    let mut prescription = named(tx, caller, name)?
        .filter(|found| found.member == member)
        .ok_or_else(|| Error::unknown("prescription", name))?;
    if let Some(why) = prescription.unusable(now) {
        return Err(Error::PrescriptionNotUsable { prescription: name.to_string(), why });
    }
    for need in needs {
        if !prescription.take(need.product, need.quantity) {
            return Err(Error::PrescriptionExceeded { line: need.line, left: prescription.left(need.product) });
        }
    }
    Ok(Some(prescription))
}

/// The prescription that the caller calls this, or that has this id.
fn named(tx: &mut Tx<'_>, caller: Caller, name: &ExternalId) -> Result<Option<Prescription>, Error> {
    let id = match name.as_str().parse() {
        Ok(id) => Some(id),
        Err(_) => tx.get(&PRESCRIPTIONS_BY_EXTERNAL_ID, &(caller.partner, name.as_str().to_owned()))?,
    };
    let Some(id) = id else { return Ok(None) };
    Ok(tx.get(&PRESCRIPTIONS, &id)?.filter(|found| caller.sees(found.partner)))
}

fn save(tx: &mut Tx<'_>, prescription: &mut Prescription) -> Result<(), Error> {
    prescription.revision = prescription.revision.next();
    Ok(tx.put(&PRESCRIPTIONS, &prescription.id, prescription)?)
}
