//! What a step of an order writes into the books of its day.

use jiff::Timestamp;

use crate::{
    domain::{
        money::Money,
        order::{DiscountBack, Order, Payment, Refund},
        payment::{MoneyKind, MoneyMove, RefundDue, SeenPayment},
    },
    ids::Id as _,
    pricing::funders::{self, ByFunder},
    service::{
        Error,
        tables::{MONEY, PAYMENTS},
    },
    store::Tx,
};

/// Writes a payment, and its reference as seen; [`Error::Busy`] if the reference was seen meanwhile.
///
/// # Errors
///
/// Those of the store.
pub(super) fn paid(tx: &mut Tx<'_>, order: &Order, payment: &Payment, day: i32) -> Result<(), Error> {
    let key = (order.partner, payment.reference.as_str().to_owned());
    if tx.get(&PAYMENTS, &key)?.is_some() {
        return Err(Error::Busy);
    }
    tx.put(&PAYMENTS, &key, &SeenPayment { order: order.id, amount: payment.amount, late: None })?;
    let [platform, brand, pharmacy] = funders::given(order)?.amounts();
    let row = MoneyMove {
        kind: MoneyKind::Payment,
        order: order.id,
        partner: order.partner,
        at: payment.at,
        reference: payment.reference.clone(),
        method: payment.method,
        refund: None,
        amount: payment.amount,
        delivery: order.priced.delivery_payable,
        platform,
        brand,
        pharmacy,
    };
    write(tx, day, order.id.to_bits(), &row)
}

/// Writes a refund of what `payment` paid; `delivery_back` is what funders get back of the delivery.
///
/// # Errors
///
/// Those of the store.
pub(super) fn refunded(
    tx: &mut Tx<'_>,
    order: &Order,
    payment: &Payment,
    refund: &Refund,
    delivery_back: ByFunder,
    day: i32,
) -> Result<(), Error> {
    let back = |back: &DiscountBack| ByFunder::of([back.platform, back.brand, back.pharmacy]);
    let back = refund.discounts_back.iter().map(back).try_fold(delivery_back, ByFunder::plus)?;
    let [platform, brand, pharmacy] = back.amounts();
    let row = MoneyMove {
        kind: MoneyKind::Refund,
        order: order.id,
        partner: order.partner,
        at: refund.at,
        reference: payment.reference.clone(),
        method: payment.method,
        refund: Some(refund.id),
        amount: refund.amount,
        delivery: refund.delivery,
        platform,
        brand,
        pharmacy,
    };
    write(tx, day, refund.id.to_bits(), &row)
}

/// Writes a payment that came too late, or that it was paid back.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn late(
    tx: &mut Tx<'_>,
    due: &RefundDue,
    kind: MoneyKind,
    at: Timestamp,
    day: i32,
) -> Result<(), Error> {
    let reference = match &due.done {
        Some(done) if kind == MoneyKind::LateRefund => done.reference.clone(),
        _ => due.reference.clone(),
    };
    let row = MoneyMove {
        kind,
        order: due.order,
        partner: due.partner,
        at,
        reference,
        method: due.method,
        refund: Some(due.id),
        amount: due.amount,
        delivery: Money::ZERO,
        platform: Money::ZERO,
        brand: Money::ZERO,
        pharmacy: Money::ZERO,
    };
    write(tx, day, due.id.to_bits(), &row)
}

fn write(tx: &mut Tx<'_>, day: i32, id: u128, row: &MoneyMove) -> Result<(), Error> {
    Ok(tx.put(&MONEY, &(day, row.at, id, row.kind as u8), row)?)
}
