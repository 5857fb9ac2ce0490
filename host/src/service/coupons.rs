//! Coupons: issued from offers, listed, and moved through their life.

mod claim;
pub(super) mod codes;
pub(super) mod happened;
pub(super) mod revoke;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services, Settings, members,
    offers::{self, room},
    tables::{COUPONS, COUPONS_BY_EXTERNAL_ID, COUPONS_ISSUED, COUPONS_OF_MEMBER, OFFERS},
    timers::{notice, occasions},
};
use crate::{
    domain::{
        limit::Measure,
        member::{ExternalId, Member},
        offer::{Coupon, CouponState, Offer, OfferClass, OfferState, ProfileField, Trigger, Validity},
        window,
    },
    events::{self, What},
    ids::{CouponId, Id as _, MemberId, OfferId},
    ledger::limits::{self, Taking},
    scheduler::{self, TimerKey, TimerKind},
    store::{Scan, Tx},
};

pub use codes::{CodeBatch, Guesses, MadeCode};
pub use revoke::Revocation;

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

/// Who brought a coupon about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A partner or operator.
    Assigned,
    /// The member.
    Claimed,
    /// The member, with a code.
    Code,
    /// What happened.
    ByItself,
}

/// A coupon to write.
struct Issue {
    id: CouponId,
    offer: OfferId,
    member: MemberId,
    external_id: Option<ExternalId>,
    how: How,
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
        let settings = Arc::clone(&self.settings);
        let IssueCoupon { offer, member, external_id } = issue;
        let issue = Issue { id, offer, member, external_id, how: How::Assigned };
        let run = self.store.run(now, move |tx| once.once(tx, |tx| self::issue(tx, caller, &issue, now, &settings)));
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

fn issue(tx: &mut Tx<'_>, caller: Caller, issue: &Issue, now: Timestamp, settings: &Settings) -> Result<Coupon, Error> {
    let id = issue.id;
    let mut member = members::active_member(tx, caller, issue.member)?;
    let offer = offers::known_offer(tx, issue.offer)?;
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
        expires_at: expiry(&offer, now, settings),
    };
    put_issued(tx, &offer, &coupon, issue.how, settings)?;
    members::put_moved(tx, &mut member)?;
    events::append(tx, member.id, [What::CouponIssued(id)])?;
    Ok(coupon)
}

/// Issues a coupon of every live offer with this trigger that has one to give: what happened, for the caller to append.
/// The caller writes the member. The first coupon has the id `first`, the others follow on it.
///
/// # Errors
///
/// Those of the store.
pub(super) fn issue_triggered(
    tx: &mut Tx<'_>,
    member: &Member,
    trigger: Trigger,
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<Vec<What>, Error> {
    issue_matching(tx, member, trigger, first, now, settings, |_| true)
}

/// Issues a coupon of each of these offers that has one to give; which. As [`issue_triggered`] in all else.
///
/// # Errors
///
/// Those of the store.
pub(super) fn issue_named(
    tx: &mut Tx<'_>,
    member: &Member,
    named: &[OfferId],
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<Vec<CouponId>, Error> {
    let offers = tx.get_many(&OFFERS, named)?;
    issue_all(tx, member, offers.into_iter().flatten(), first, now, settings)
}

/// The same for offers that wait for the fields which the member's profile holds now, once for each member.
///
/// # Errors
///
/// Those of the store.
pub(super) fn issue_for_profile(
    tx: &mut Tx<'_>,
    member: &Member,
    held: &[ProfileField],
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<Vec<What>, Error> {
    let mut due = Vec::new();
    for offer in offers::triggered(tx, Trigger::ProfileCompleted)? {
        let complete = offer.profile_fields.iter().all(|field| held.contains(field));
        if complete && tx.get(&COUPONS_ISSUED, &(offer.id, member.id))?.is_none() {
            due.push(offer.id);
        }
    }
    issue_matching(tx, member, Trigger::ProfileCompleted, first, now, settings, |offer| due.contains(&offer.id))
}

/// The same for those of the offers with this trigger that match.
fn issue_matching(
    tx: &mut Tx<'_>,
    member: &Member,
    trigger: Trigger,
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
    matches: impl Fn(&Offer) -> bool,
) -> Result<Vec<What>, Error> {
    let offers = offers::triggered(tx, trigger)?.into_iter().filter(matches);
    let issued = issue_all(tx, member, offers, first, now, settings)?;
    Ok(issued.into_iter().map(What::CouponIssued).collect())
}

fn issue_all(
    tx: &mut Tx<'_>,
    member: &Member,
    offers: impl IntoIterator<Item = Offer>,
    first: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<Vec<CouponId>, Error> {
    let mut issued = Vec::new();
    for offer in offers {
        let id = CouponId::from_bits(first.to_bits().wrapping_add(issued.len() as u128));
        let coupon = new_coupon(id, &offer, member, now, settings);
        match put_issued(tx, &offer, &coupon, How::ByItself, settings) {
            Ok(()) => issued.push(id),
            // Not begun, ended, closed, or the member has had their share: the day comes without it.
            Err(Error::NotIssuable { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(issued)
}

/// Issues the coupon that a member bought with points. The caller writes the member.
///
/// # Errors
///
/// [`Error::NotIssuable`], and those of the store.
pub(super) fn issue_bought(
    tx: &mut Tx<'_>,
    member: &Member,
    offer: OfferId,
    id: CouponId,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), Error> {
    let offer = offers::known_offer(tx, offer)?;
    let coupon = new_coupon(id, &offer, member, now, settings);
    put_issued(tx, &offer, &coupon, How::Assigned, settings)?;
    Ok(events::append(tx, member.id, [What::CouponIssued(id)])?)
}

/// Puts a coupon into a member's hands that they had in an earlier programme. The caller writes the member.
///
/// # Errors
///
/// [`Error::NotIssuable`], and those of the store.
pub(super) fn take_over(
    tx: &mut Tx<'_>,
    member: &Member,
    offer: &Offer,
    (id, external_id): (CouponId, &ExternalId),
    expires_at: Option<Timestamp>,
    now: Timestamp,
    settings: &Settings,
) -> Result<(), Error> {
    let mut coupon = new_coupon(id, offer, member, now, settings);
    coupon.external_id = Some(external_id.clone());
    coupon.expires_at = expires_at.or(coupon.expires_at);
    put_issued(tx, offer, &coupon, How::Assigned, settings)?;
    Ok(tx.put(&COUPONS_BY_EXTERNAL_ID, &(member.partner, external_id.as_str().to_owned()), &id)?)
}

/// A coupon that a member is issued now, of their own partner.
fn new_coupon(id: CouponId, offer: &Offer, member: &Member, now: Timestamp, settings: &Settings) -> Coupon {
    Coupon {
        id,
        offer: offer.id,
        member: member.id,
        partner: member.partner,
        external_id: None,
        state: CouponState::Issued,
        issued_at: now,
        expires_at: expiry(offer, now, settings),
    }
}

/// Writes a coupon that a member is issued now, with its timers.
fn put_issued(tx: &mut Tx<'_>, offer: &Offer, coupon: &Coupon, how: How, settings: &Settings) -> Result<(), Error> {
    let (id, member, now) = (coupon.id, coupon.member, coupon.issued_at);
    let local = settings.zone.to_datetime(now);
    let birthday_month = occasions::birthday_month(tx, member)? == Some(local.month());
    let issued = tx.get(&COUPONS_ISSUED, &(offer.id, member))?.unwrap_or(0);
    if let Some(why) = not_issuable(offer, issued, how, now) {
        return Err(Error::NotIssuable { offer: offer.id, why: why.into() });
    }
    if coupon.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::NotIssuable { offer: offer.id, why: "it would end at once: its day is over".into() });
    }
    if !window::is_open(&offer.windows, local, birthday_month) {
        let why = format!("it is open at {} alone", room::windows(offer));
        return Err(Error::NotIssuable { offer: offer.id, why: why.into() });
    }
    let limits = limits::limits(offer);
    let taking = Taking { offer: offer.id, limits: &limits, member, local, amounts: &[(Measure::Issues, 1)] };
    let taken = taking.take(tx)?;
    taken.map_err(|short| Error::NotIssuable { offer: offer.id, why: room::words(short).into() })?;
    tx.put(&COUPONS, &id, coupon)?;
    tx.put(&COUPONS_OF_MEMBER, &(member, true, id), &())?;
    tx.put(&COUPONS_ISSUED, &(offer.id, member), &issued.saturating_add(1))?;
    if let Some(at) = coupon.expires_at {
        scheduler::schedule(tx, TimerKey::new(at, TimerKind::ExpireCoupon, id))?;
        notice::for_coupon(tx, id, at, now, settings)?;
    }
    Ok(())
}

fn not_issuable(offer: &Offer, issued: u32, how: How, now: Timestamp) -> Option<&'static str> {
    if offer.class != OfferClass::Coupon {
        return Some("it applies without a coupon");
    }
    if offer.claimed && matches!(how, How::Assigned | How::ByItself) {
        return Some("its coupons are claimed by members, one by one");
    }
    if !offer.claimed && how == How::Claimed {
        return Some("its coupons cannot be claimed");
    }
    match offer.state {
        OfferState::Live => {}
        OfferState::Paused => return Some("it is paused"),
        OfferState::Draft => return Some("it is a draft, which others have to approve"),
    }
    if now < offer.starts_at {
        return Some("it has not begun");
    }
    if offers::has_ended(offer, now) {
        return Some("it has ended");
    }
    offer.per_member.filter(|most| issued >= *most).map(|_| "the member was issued as many as one member may have")
}

/// When a coupon issued now dies: by its validity, and never after its offer.
fn expiry(offer: &Offer, now: Timestamp, settings: &Settings) -> Option<Timestamp> {
    let after = |hours: i64| now.checked_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
    let today = settings.zone.to_datetime(now).date();
    // The last second of a day: 23:59:59, by then it is dead.
    let end_of = |date: Date| {
        let end = date.at(23, 59, 59, 0).to_zoned(settings.zone.clone());
        end.map_or(Timestamp::MAX, |end| end.timestamp())
    };
    let dies = match offer.validity {
        Validity::OfferEnd => return offer.ends_at,
        Validity::Days(days) => after(24 * i64::from(days)),
        Validity::Hours(hours) => after(i64::from(hours)),
        Validity::EndOfDay => end_of(today),
        Validity::EndOfMonth => end_of(today.last_of_month()),
    };
    Some(offer.ends_at.map_or(dies, |end| end.min(dies)))
}

#[cfg(test)]
mod tests;
