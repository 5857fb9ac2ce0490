//! From draft to live, and what stops an offer: approvals by others, and the breaker.
//!
//! Who defines an offer does not approve it, unless no other key could: then it goes live at once, and the record says
//! that one person did it alone.

use jiff::Timestamp;

use super::{go_live, known_offer, lists::unlist};
use crate::{
    domain::{
        fact::Value,
        launch::{Approval, PauseCause},
        offer::{Offer, OfferState},
    },
    events::{self, What},
    ids::{KeyId, MemberId, OfferId},
    plugin::Release,
    service::{
        Caller, Done, Error, Idempotency, Services,
        keys::Scope,
        tables::{KEYS, KEYS_BY_ID, OFFERS},
    },
    store::{Scan, Tx},
};

/// Keys looked through for one that could approve.
const KEYS_SEEN_MAX: usize = 1_000;
/// Above this share an offer needs another approval: basis points.
const DEEP_DISCOUNT: i64 = 5_000;

impl Services {
    /// Approves a draft; with the last approval it needs, it is live. Approving what is live, or approving twice, changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::OwnApproval`] for the key that defined it, [`Error::NotIssuable`] if it has ended,
    /// [`Error::Plugin`] if the live policy no longer understands its terms, [`Error::Invalid`] if too many are live.
    pub async fn approve_offer(&self, caller: Caller, once: Idempotency, id: OfferId) -> Result<Done<Offer>, Error> {
        let now = self.clock.now();
        let approve = move |tx: &mut Tx<'_>, mut offer: Offer, policy: &Release| {
            if !approved(tx, &mut offer, caller.key, now)? {
                return Ok(offer);
            }
            go_live(tx, offer, policy, now)
        };
        self.with_live_policy(once, id, now, approve).await
    }

    /// Pauses an offer that was used faster than its breaker allows; the event names the member whose order was the one
    /// too many.
    pub(in crate::service) async fn trip_breaker(&self, id: OfferId, member: MemberId) -> Result<(), Error> {
        let run = self.store.run(self.clock.now(), move |tx| {
            let mut offer = known_offer(tx, id)?;
            if offer.state != OfferState::Live {
                return Ok(None);
            }
            pause(tx, &mut offer, PauseCause::Breaker)?;
            events::append(tx, member, [What::OfferTripped(id)])?;
            Ok::<_, Error>(Some(offer.code))
        });
        if let Some(code) = run.await? {
            metrics::counter!("galenic_offer_breaker_trips_total", "offer" => code.to_string()).increment(1);
            tracing::warn!(offer = %code, "an offer was used faster than its breaker allows: it is paused");
        }
        Ok(())
    }
}

/// Stops a live offer.
pub(super) fn pause(tx: &mut Tx<'_>, offer: &mut Offer, cause: PauseCause) -> Result<(), Error> {
    (offer.state, offer.paused_by) = (OfferState::Paused, Some(cause));
    offer.revision = offer.revision.next();
    tx.put(&OFFERS, &offer.id, offer)?;
    unlist(tx, offer)
}

/// Notes an approval of a draft; whether it may go live with it.
fn approved(tx: &mut Tx<'_>, offer: &mut Offer, by: KeyId, now: Timestamp) -> Result<bool, Error> {
    let Some(launch) = offer.launch.as_mut().filter(|_| offer.state == OfferState::Draft) else { return Ok(false) };
    if launch.approvals.iter().any(|approval| approval.by == by) {
        return Ok(false);
    }
    if launch.defined_by == by {
        if others_can_approve(tx, by)? {
            return Err(Error::OwnApproval(offer.id));
        }
        launch.alone = true;
    }
    launch.approvals.push(Approval { by, at: now });
    if launch.alone || launch.approvals.len() >= usize::from(launch.needed) {
        return Ok(true);
    }
    offer.revision = offer.revision.next();
    tx.put(&OFFERS, &offer.id, offer)?;
    Ok(false)
}

/// Whether another key than this one may approve offers.
///
/// # Errors
///
/// Those of the store.
pub(super) fn others_can_approve(tx: &mut Tx<'_>, than: KeyId) -> Result<bool, Error> {
    let rows = tx.scan(&KEYS_BY_ID, &Scan::all().limit(KEYS_SEEN_MAX))?;
    let hashes: Vec<_> = rows.iter().map(|(_, hash)| *hash).collect();
    let mut keys = tx.get_many(&KEYS, &hashes)?.into_iter().flatten();
    let other = keys.any(|key| key.id != than && key.revoked_at.is_none() && key.scopes.contains(Scope::OffersApprove));
    Ok(other || rows.len() == KEYS_SEEN_MAX)
}

/// How many others have to approve these terms: one more where they take off more than half.
pub(super) fn approvals_needed(terms: &[(String, Value)]) -> u8 {
    if deepest(terms).is_some_and(|share| share > DEEP_DISCOUNT) { 2 } else { 1 }
}

/// The largest share that terms take off, in basis points, as far as their names tell it: `percent`, of every so many
/// items where they say `every`, or `amount` of `threshold`. An amount without threshold is bounded in money instead.
fn deepest(terms: &[(String, Value)]) -> Option<i64> {
    let number = |name: &str| number(terms, name);
    match (number("percent"), number("amount"), number("threshold")) {
        (Some(percent), ..) => Some(percent / number("every").unwrap_or(1).max(1)),
        (None, Some(amount), Some(threshold)) => {
            let share = i128::from(amount) * 10_000 / i128::from(threshold.max(1));
            Some(i64::try_from(share).unwrap_or(i64::MAX))
        }
        _ => None,
    }
}

/// A term that is a number.
pub(super) fn number(terms: &[(String, Value)], name: &str) -> Option<i64> {
    terms.iter().find(|(known, _)| known == name).and_then(|(_, value)| match value {
        Value::Integer(number) => Some(*number),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_needs_two() {
        let terms = |all: &[(&str, i64)]| -> Vec<(String, Value)> {
            all.iter().map(|(name, number)| ((*name).to_owned(), Value::Integer(*number))).collect()
        };
        for (given, needed) in [
            (terms(&[("percent", 5_000)]), 1),
            (terms(&[("percent", 5_001)]), 2),
            (terms(&[("percent", 10_000), ("every", 2)]), 1),
            (terms(&[("percent", 10_000), ("every", 1)]), 2),
            (terms(&[("amount", 2_000), ("threshold", 4_000)]), 1),
            (terms(&[("amount", 2_001), ("threshold", 4_000)]), 2),
            (terms(&[("amount", 990)]), 1),
            (terms(&[]), 1),
        ] {
            assert_eq!(approvals_needed(&given), needed, "{given:?}");
        }
    }
}
