//! What is sold, by which offers, to whom, and on which prescription.

use super::{ReferencesReport, each, must_be, must_have, readable};
use crate::{
    domain::{offer::CouponState, prescription::PrescriptionState},
    service::tables::{
        AUTOMATIC_OFFERS, BONUSES, BONUSES_GIVEN, CODE_BATCHES, CODES, COUPONS, COUPONS_BY_EXTERNAL_ID, COUPONS_ISSUED,
        COUPONS_OF_MEMBER, GUESSES, MEMBERS, MONEY, OFFERS, OFFERS_BY_CODE, OPEN_REFUNDS_DUE, ORDER_PRICES, ORDERS,
        ORDERS_BY_EXTERNAL_ID, ORDERS_OF_MEMBER, PAPERS, PATIENTS, PAYMENTS, PLACED_QUOTES, PRESCRIPTIONS,
        PRESCRIPTIONS_BY_EXTERNAL_ID, PRESCRIPTIONS_OF_PATIENT, PRODUCTS, PRODUCTS_BY_EXTERNAL_ID, QUOTES, REFUNDS_DUE,
        REPRICED_BELOW, REVIEW_QUEUE, REVOCATIONS, TRIGGERED_OFFERS,
    },
    store::{Store, StoreError},
};

pub(super) async fn catalogue(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, PRODUCTS, |tx, id, product, problems| {
        let key = (product.partner, product.external_id.as_str().to_owned());
        must_be(tx, &PRODUCTS_BY_EXTERNAL_ID, &key, id, id, problems)
    })
    .await?;
    each(store, report, PRODUCTS_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &PRODUCTS, id, id, problems))
        .await?;
    each(store, report, OFFERS, |tx, id, offer, problems| {
        must_be(tx, &OFFERS_BY_CODE, &offer.code.as_str().to_owned(), id, id, problems)
    })
    .await?;
    each(store, report, OFFERS_BY_CODE, |tx, _, id, problems| must_have(tx, &OFFERS, id, id, problems)).await?;
    each(store, report, TRIGGERED_OFFERS, |tx, (_, id), (), problems| must_have(tx, &OFFERS, id, id, problems)).await?;
    each(store, report, AUTOMATIC_OFFERS, |tx, id, (), problems| must_have(tx, &OFFERS, id, id, problems)).await
}

pub(super) async fn coupons(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, COUPONS, |tx, id, coupon, problems| {
        must_have(tx, &OFFERS, &coupon.offer, id, problems)?;
        must_have(tx, &MEMBERS, &coupon.member, id, problems)?;
        let in_hand = coupon.state == CouponState::Issued;
        must_have(tx, &COUPONS_OF_MEMBER, &(coupon.member, in_hand, *id), id, problems)?;
        if tx.get(&COUPONS_OF_MEMBER, &(coupon.member, !in_hand, *id))?.is_some() {
            problems.push(format!("{id} is both in hand and not"));
        }
        match &coupon.external_id {
            Some(name) => {
                let key = (coupon.partner, name.as_str().to_owned());
                must_be(tx, &COUPONS_BY_EXTERNAL_ID, &key, id, id, problems)
            }
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, COUPONS_OF_MEMBER, |tx, (_, _, id), (), problems| must_have(tx, &COUPONS, id, id, problems))
        .await?;
    each(store, report, COUPONS_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &COUPONS, id, id, problems))
        .await?;
    each(store, report, REVOCATIONS, |tx, offer, _, problems| must_have(tx, &OFFERS, offer, offer, problems)).await?;
    each(store, report, CODES, |tx, _, code, problems| {
        must_have(tx, &CODE_BATCHES, &(code.offer, code.batch), format_args!("a code of {}", code.offer), problems)
    })
    .await?;
    each(store, report, CODE_BATCHES, |tx, (offer, _), _, problems| must_have(tx, &OFFERS, offer, offer, problems))
        .await?;
    readable(store, report, GUESSES).await?;
    readable(store, report, BONUSES).await?;
    each(store, report, BONUSES_GIVEN, |tx, (member, _, _), _, problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    each(store, report, COUPONS_ISSUED, |tx, (offer, member), _, problems| {
        must_have(tx, &OFFERS, offer, offer, problems)?;
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await
}

pub(super) async fn orders(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, ORDERS, |tx, id, order, problems| {
        must_have(tx, &MEMBERS, &order.member, id, problems)?;
        must_have(tx, &ORDERS_OF_MEMBER, &(order.member, *id), id, problems)?;
        must_have(tx, &ORDER_PRICES, id, id, problems)?;
        if let Some(prescription) = &order.prescription_id {
            must_have(tx, &PRESCRIPTIONS, prescription, id, problems)?;
        }
        match &order.external_id {
            Some(name) => {
                let key = (order.partner, name.as_str().to_owned());
                must_be(tx, &ORDERS_BY_EXTERNAL_ID, &key, id, id, problems)
            }
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, ORDERS_OF_MEMBER, |tx, (_, id), (), problems| must_have(tx, &ORDERS, id, id, problems)).await?;
    each(store, report, ORDERS_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &ORDERS, id, id, problems)).await?;
    each(store, report, ORDER_PRICES, |tx, id, _, problems| must_have(tx, &ORDERS, id, id, problems)).await?;
    each(store, report, PAYMENTS, |tx, _, seen, problems| {
        must_have(tx, &ORDERS, &seen.order, seen.order, problems)?;
        match &seen.late {
            Some(late) => must_have(tx, &REFUNDS_DUE, late, seen.order, problems),
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, REFUNDS_DUE, |tx, id, due, problems| {
        must_have(tx, &PAYMENTS, &(due.partner, due.reference.as_str().to_owned()), id, problems)?;
        if tx.get(&OPEN_REFUNDS_DUE, id)?.is_some() == due.done.is_some() {
            problems.push(format!("{id} is both open and done, or neither"));
        }
        must_have(tx, &ORDERS, &due.order, id, problems)
    })
    .await?;
    each(store, report, OPEN_REFUNDS_DUE, |tx, id, (), problems| must_have(tx, &REFUNDS_DUE, id, id, problems)).await?;
    each(store, report, MONEY, |tx, _, row, problems| must_have(tx, &ORDERS, &row.order, row.order, problems)).await?;
    each(store, report, REPRICED_BELOW, |tx, id, _, problems| must_have(tx, &OFFERS, id, id, problems)).await?;
    readable(store, report, QUOTES).await?;
    each(store, report, PLACED_QUOTES, |tx, _, id, problems| must_have(tx, &ORDERS, id, id, problems)).await
}

/// Prescriptions, and what points at them.
pub(super) async fn prescriptions(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, PRESCRIPTIONS, |tx, id, found, problems| {
        must_have(tx, &PATIENTS, &(found.member, found.patient), id, problems)?;
        must_have(tx, &PRESCRIPTIONS_OF_PATIENT, &(found.member, found.patient, *id), id, problems)?;
        let queued = tx.get(&REVIEW_QUEUE, &(!found.urgent, found.due_at, *id))?.is_some();
        if queued != (found.state == PrescriptionState::UnderReview) {
            problems.push(format!(
                "{id} is {:?}, and is {}in the queue",
                found.state,
                if queued { "" } else { "not " }
            ));
        }
        if found.items.iter().any(|item| item.used > item.quantity) {
            problems.push(format!("{id} was used more often than it allows"));
        }
        if let Some(order) = &found.waiting {
            must_have(tx, &ORDERS, order, id, problems)?;
        }
        match &found.external_id {
            Some(name) => {
                let key = (found.partner, name.as_str().to_owned());
                must_be(tx, &PRESCRIPTIONS_BY_EXTERNAL_ID, &key, id, id, problems)
            }
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, PAPERS, |tx, id, _, problems| must_have(tx, &PRESCRIPTIONS, id, id, problems)).await?;
    each(store, report, REVIEW_QUEUE, |tx, (_, _, id), (), problems| must_have(tx, &PRESCRIPTIONS, id, id, problems))
        .await?;
    each(store, report, PRESCRIPTIONS_OF_PATIENT, |tx, (_, _, id), (), problems| {
        must_have(tx, &PRESCRIPTIONS, id, id, problems)
    })
    .await?;
    each(store, report, PRESCRIPTIONS_BY_EXTERNAL_ID, |tx, _, id, problems| {
        must_have(tx, &PRESCRIPTIONS, id, id, problems)
    })
    .await
}
