//! Lists of live offers: those that every quote considers, and those whose coupons something issues.

use jiff::Timestamp;

use super::has_ended;
use crate::{
    domain::offer::{Offer, OfferClass, Trigger},
    ids::OfferId,
    service::{
        Error,
        tables::{AUTOMATIC_OFFERS, OFFERS, TRIGGERED_OFFERS},
    },
    store::{Scan, Tx},
};

/// Live offers that apply without a coupon: every quote considers all of them.
pub const AUTOMATIC_MAX: usize = 200;
/// Live offers with the same trigger: a member is issued a coupon of each at once.
pub const TRIGGERED_MAX: usize = 16;

/// The live offers whose coupons this issues, oldest first.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn triggered(tx: &mut Tx<'_>, trigger: Trigger) -> Result<Vec<Offer>, Error> {
    let rows = tx.scan(&TRIGGERED_OFFERS, &Scan::prefix(&(trigger as u8)).limit(TRIGGERED_MAX))?;
    let ids: Vec<OfferId> = rows.into_iter().map(|((_, id), ())| id).collect();
    Ok(tx.get_many(&OFFERS, &ids)?.into_iter().flatten().collect())
}

/// Lists an offer by its trigger, if it has one. Takes those off the list that ended.
pub(super) fn list_triggered(tx: &mut Tx<'_>, offer: &Offer, now: Timestamp) -> Result<(), Error> {
    let Some(trigger) = offer.issued_on else { return Ok(()) };
    let mut live = 0;
    for other in triggered(tx, trigger)? {
        if has_ended(&other, now) {
            tx.delete(&TRIGGERED_OFFERS, &(trigger as u8, other.id))?;
        } else {
            live += 1;
        }
    }
    if live >= TRIGGERED_MAX {
        let message = format!("{TRIGGERED_MAX} live offers are issued on this, which is the limit: pause one first");
        return Err(Error::field("/issued_on", message));
    }
    Ok(tx.put(&TRIGGERED_OFFERS, &(trigger as u8, offer.id), &())?)
}

/// Lists an offer among those that every quote considers, if it needs no coupon. Takes those off the list that ended.
pub(super) fn list_automatic(tx: &mut Tx<'_>, offer: &Offer, now: Timestamp) -> Result<(), Error> {
    if offer.class == OfferClass::Coupon {
        return Ok(());
    }
    let listed: Vec<OfferId> =
        tx.scan(&AUTOMATIC_OFFERS, &Scan::all().limit(AUTOMATIC_MAX + 1))?.into_iter().map(|(id, ())| id).collect();
    let mut live = 0;
    for (id, offer) in listed.iter().zip(tx.get_many(&OFFERS, &listed)?) {
        if offer.is_none_or(|offer| has_ended(&offer, now)) {
            tx.delete(&AUTOMATIC_OFFERS, id)?;
        } else {
            live += 1;
        }
    }
    if live >= AUTOMATIC_MAX {
        let message =
            format!("{AUTOMATIC_MAX} offers that need no coupon are live, which is the limit: pause one first");
        return Err(Error::field("/class", message));
    }
    Ok(tx.put(&AUTOMATIC_OFFERS, &offer.id, &())?)
}

/// Takes an offer off every list of live ones.
pub(super) fn unlist(tx: &mut Tx<'_>, offer: &Offer) -> Result<(), Error> {
    tx.delete(&AUTOMATIC_OFFERS, &offer.id)?;
    if let Some(trigger) = offer.issued_on {
        tx.delete(&TRIGGERED_OFFERS, &(trigger as u8, offer.id))?;
    }
    Ok(())
}
