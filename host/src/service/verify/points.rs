//! The ledger's tables, what earns points beside orders, and what points buy.

use super::{ReferencesReport, each, must_be, must_have, readable};
use crate::{
    ledger::tables::{BALANCES, COUNTERS, ENTRIES, LOTS, OFFER_TAKEN, PENDING_LOTS, TOTALS},
    service::tables::{
        ACTIVITIES, ACTIVITIES_BY_EXTERNAL_ID, ACTIVITIES_OF_MEMBER, ACTIVITY_DAYS, COUPONS, GIFTS, GIFTS_BY_CODE,
        MEMBERS, OFFERS, ORDERS, REDEMPTIONS, REDEMPTIONS_OF_MEMBER, RESERVATIONS, SERVICE_CODES, TAKEN_OVER,
    },
    store::{Store, StoreError},
};

pub(super) async fn books(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    readable(store, report, BALANCES).await?;
    readable(store, report, ENTRIES).await?;
    readable(store, report, LOTS).await?;
    readable(store, report, PENDING_LOTS).await?;
    each(store, report, OFFER_TAKEN, |tx, (member, offer, _, _), _, problems| {
        must_have(tx, &OFFERS, offer, offer, problems)?;
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await?;
    each(store, report, RESERVATIONS, |tx, order, _, problems| must_have(tx, &ORDERS, order, order, problems)).await?;
    readable(store, report, COUNTERS).await?;
    readable(store, report, TOTALS).await
}

/// What members did, and how often.
pub(super) async fn activities(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, ACTIVITIES, |tx, id, activity, problems| {
        must_have(tx, &MEMBERS, &activity.member, id, problems)?;
        must_have(tx, &ACTIVITIES_OF_MEMBER, &(activity.member, *id), id, problems)?;
        let external = activity.external_id.as_str().to_owned();
        let key = (activity.partner, activity.kind.as_str().to_owned(), external);
        must_be(tx, &ACTIVITIES_BY_EXTERNAL_ID, &key, id, id, problems)
    })
    .await?;
    each(store, report, ACTIVITIES_BY_EXTERNAL_ID, |tx, _, id, problems| must_have(tx, &ACTIVITIES, id, id, problems))
        .await?;
    each(store, report, ACTIVITIES_OF_MEMBER, |tx, (_, id), (), problems| must_have(tx, &ACTIVITIES, id, id, problems))
        .await?;
    each(store, report, ACTIVITY_DAYS, |tx, (member, ..), _, problems| {
        must_have(tx, &MEMBERS, member, member, problems)
    })
    .await
}

/// What points buy, who took it, and what was brought along from an earlier programme.
pub(super) async fn gifts(store: &Store, report: &mut ReferencesReport) -> Result<(), StoreError> {
    each(store, report, GIFTS, |tx, id, gift, problems| {
        must_be(tx, &GIFTS_BY_CODE, &gift.code.as_str().to_owned(), id, id, problems)
    })
    .await?;
    each(store, report, GIFTS_BY_CODE, |tx, _, id, problems| must_have(tx, &GIFTS, id, id, problems)).await?;
    each(store, report, REDEMPTIONS, |tx, id, redemption, problems| {
        must_have(tx, &GIFTS, &redemption.gift, id, problems)?;
        must_have(tx, &MEMBERS, &redemption.member, id, problems)?;
        must_have(tx, &REDEMPTIONS_OF_MEMBER, &(redemption.member, *id), id, problems)?;
        match redemption.coupon {
            Some(coupon) => must_have(tx, &COUPONS, &coupon, id, problems),
            None => Ok(()),
        }
    })
    .await?;
    each(store, report, REDEMPTIONS_OF_MEMBER, |tx, (_, id), (), problems| {
        must_have(tx, &REDEMPTIONS, id, id, problems)
    })
    .await?;
    each(store, report, SERVICE_CODES, |tx, (gift, taken, _), code, problems| {
        must_have(tx, &GIFTS, gift, gift, problems)?;
        match code.redemption {
            Some(id) => must_have(tx, &REDEMPTIONS, &id, id, problems)?,
            None if *taken => problems.push(format!("a code of {gift} is taken by nobody")),
            None => {}
        }
        if code.sealed.is_some() == *taken {
            problems.push(format!("a code of {gift} is both taken and free, or neither"));
        }
        Ok(())
    })
    .await?;
    each(store, report, TAKEN_OVER, |tx, _, taken, problems| {
        must_have(tx, &MEMBERS, &taken.member, taken.member, problems)
    })
    .await
}
