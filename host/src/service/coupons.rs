//! Coupons: issued from offers, listed, and moved through their life.

use jiff::{SignedDuration, Timestamp};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, members, offers,
    tables::{COUPONS, COUPONS_BY_EXTERNAL_ID, COUPONS_ISSUED, COUPONS_OF_MEMBER},
};
use crate::{
    domain::{
        member::ExternalId,
        offer::{Coupon, CouponState, Offer, OfferClass, OfferState, Validity},
    },
    events::{self, What},
    ids::{CouponId, MemberId, OfferId},
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, Tx},
};

/// The coupon to issue.
#[derive(Clone, Debug)]
pub struct IssueCoupon {
    /// Of which offer.
    pub offer: OfferId,
    /// To whom.
    pub member: MemberId,
    /// What the partner calls it.
    pub external_id: Option<ExternalId>,
}

impl Services {
    /// Puts a coupon of a live offer into a member's hands.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for the offer or the member, [`Error::Erased`], [`Error::NotIssuable`] if the offer has no
    /// coupons, is paused, is outside its times, or the member has had their share, [`Error::Taken`] for an external id
    /// in use.
    pub async fn issue_coupon(
        &self,
        caller: Caller,
        once: Idempotency,
        issue: IssueCoupon,
    ) -> Result<Done<Coupon>, Error> {
        let now = self.clock.now();
        let id = self.ids.ordered(now);
        let run = self.store.run(now, move |tx| once.once(tx, |tx| self::issue(tx, caller, id, &issue, now)));
        run.await
    }

    /// One coupon: to the partner that issued it and to the one whose member holds it.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn coupon(&self, caller: Caller, id: CouponId) -> Result<Coupon, Error> {
        self.store.read(move |tx| visible_coupon(tx, caller, id)).await
    }

    /// The coupon that the caller's partner calls this.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn coupon_by_external_id(&self, caller: Caller, external_id: &str) -> Result<Coupon, Error> {
        let external_id = external_id.to_owned();
        let read = self.store.read(move |tx| {
            let id = tx.get(&COUPONS_BY_EXTERNAL_ID, &(caller.partner, external_id.clone()))?;
            visible_coupon(tx, caller, id.ok_or_else(|| Error::unknown("coupon", &external_id))?)
        });
        read.await
    }

    /// A member's coupons: those in hand, or all (those no longer in hand first).
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::Invalid`] for a bad page.
    pub async fn coupons_of(
        &self,
        caller: Caller,
        member: MemberId,
        in_hand: bool,
        page: PageRequest,
    ) -> Result<Page<Coupon>, Error> {
        let read = self.store.read(move |tx| {
            members::active_member(tx, caller, member)?;
            let scan = if in_hand { Scan::prefix(&(member, true)) } else { Scan::prefix(&member) };
            let rows = page.page(tx.scan(&COUPONS_OF_MEMBER, &page.scan(scan)?)?)?;
            let ids: Vec<CouponId> = rows.rows.iter().map(|((_, _, id), ())| *id).collect();
            Ok::<_, Error>(Page { rows: tx.get_many(&COUPONS, &ids)?.into_iter().flatten().collect(), next: rows.next })
        });
        read.await
    }
}

fn visible_coupon(tx: &mut Tx<'_>, caller: Caller, id: CouponId) -> Result<Coupon, Error> {
    let unknown = || Error::unknown("coupon", id);
    let coupon = tx.get(&COUPONS, &id)?.ok_or_else(unknown)?;
    if caller.sees(coupon.partner) {
        return Ok(coupon);
    }
    match members::visible_member(tx, caller, coupon.member) {
        Ok(_) => Ok(coupon),
        Err(Error::Unknown { .. }) => Err(unknown()),
        Err(error) => Err(error),
    }
}

fn issue(tx: &mut Tx<'_>, caller: Caller, id: CouponId, issue: &IssueCoupon, now: Timestamp) -> Result<Coupon, Error> {
    let mut member = members::active_member(tx, caller, issue.member)?;
    let offer = offers::known_offer(tx, issue.offer)?;
    let issued = tx.get(&COUPONS_ISSUED, &(offer.id, member.id))?.unwrap_or(0);
    if let Some(why) = not_issuable(&offer, issued, now) {
        return Err(Error::NotIssuable { offer: offer.id, why });
    }
    if let Some(external_id) = &issue.external_id {
        let row = (caller.partner, external_id.as_str().to_owned());
        if let Some(holder) = tx.get(&COUPONS_BY_EXTERNAL_ID, &row)? {
            return Err(Error::Taken { what: "coupon", name: external_id.clone(), id: holder.to_string() });
        }
        tx.put(&COUPONS_BY_EXTERNAL_ID, &row, &id)?;
    }
    let coupon = Coupon {
        id,
        offer: offer.id,
        member: member.id,
        partner: caller.partner,
        external_id: issue.external_id.clone(),
        state: CouponState::Issued,
        issued_at: now,
        expires_at: expiry(&offer, now),
    };
    tx.put(&COUPONS, &id, &coupon)?;
    tx.put(&COUPONS_OF_MEMBER, &(member.id, true, id), &())?;
    tx.put(&COUPONS_ISSUED, &(offer.id, member.id), &issued.saturating_add(1))?;
    if let Some(at) = coupon.expires_at {
        scheduler::schedule(tx, TimerKey::new(at, TimerKind::ExpireCoupon, id))?;
    }
    members::put_moved(tx, &mut member)?;
    events::append(tx, member.id, [What::CouponIssued(id)])?;
    Ok(coupon)
}

fn not_issuable(offer: &Offer, issued: u32, now: Timestamp) -> Option<&'static str> {
    if offer.class != OfferClass::Coupon {
        return Some("it applies without a coupon");
    }
    if offer.state == OfferState::Paused {
        return Some("it is paused");
    }
    if now < offer.starts_at {
        return Some("it has not begun");
    }
    if offers::has_ended(offer, now) {
        return Some("it has ended");
    }
    offer.per_member.filter(|most| issued >= *most).map(|_| "the member was issued as many as one member may have")
}

/// When a coupon issued now dies: by its days, and never after its offer.
fn expiry(offer: &Offer, now: Timestamp) -> Option<Timestamp> {
    match offer.validity {
        Validity::OfferEnd => offer.ends_at,
        Validity::Days(days) => {
            let days = SignedDuration::from_hours(24 * i64::from(days));
            let dies = now.checked_add(days).unwrap_or(Timestamp::MAX);
            Some(offer.ends_at.map_or(dies, |end| end.min(dies)))
        }
    }
}

#[cfg(test)]
mod tests;
