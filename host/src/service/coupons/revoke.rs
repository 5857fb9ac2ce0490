//! Coupons are taken back: one, or all of an offer that are still in hand, in steps that a timer drives.

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::visible_coupon;
use crate::{
    domain::{
        cbor::instant,
        offer::{Coupon, CouponState},
    },
    events::{self, What},
    ids::{CouponId, MemberId, OfferId},
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Caller, Done, Error, Idempotency, Services, members, offers,
        order::move_coupon,
        tables::{COUPONS, COUPONS_ISSUED, COUPONS_OF_MEMBER, MEMBERS, REVOCATIONS},
    },
    store::{Scan, Tx},
};

/// Members looked at, and coupons taken back, in one step.
const MEMBERS_AT_ONCE: usize = 50;
const COUPONS_AT_ONCE: usize = 50;
/// Coupons in one member's hands that are looked at.
const IN_HAND_MAX: usize = 1_000;

/// How far taking back an offer's coupons has come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Revocation {
    /// Coupons issued up to then are taken back.
    #[cbor(n(0), with = "instant")]
    pub asked_at: Timestamp,
    /// The last member done.
    #[n(1)]
    pub after: Option<MemberId>,
    /// Coupons taken back so far.
    #[n(2)]
    pub revoked: u64,
    /// Whether nothing is left to do.
    #[n(3)]
    pub done: bool,
}

impl Services {
    /// Takes a coupon back that is in hand. One that was taken back before stays so.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::CouponNotUsable`] if an order holds or used it, or it died.
    pub async fn revoke_coupon(&self, caller: Caller, once: Idempotency, id: CouponId) -> Result<Done<Coupon>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let coupon = visible_coupon(tx, caller, id)?;
                match coupon.state {
                    CouponState::Revoked => return Ok(coupon),
                    CouponState::Issued => {}
                    other => return Err(Error::CouponNotUsable { coupon: id, why: other.name() }),
                }
                take_back(tx, &coupon)?;
                Ok(Coupon { state: CouponState::Revoked, ..coupon })
            })
        });
        run.await
    }

    /// Takes back every coupon of an offer that is in hand now, step by step. What an order holds is left to it, and taken
    /// back should the order give it back. Asking again while steps are left changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn revoke_coupons_of(
        &self,
        _: Caller,
        once: Idempotency,
        id: OfferId,
    ) -> Result<Done<Revocation>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                offers::known_offer(tx, id)?;
                if let Some(running) = tx.get(&REVOCATIONS, &id)?.filter(|revocation| !revocation.done) {
                    return Ok(running);
                }
                let revocation = Revocation { asked_at: now, after: None, revoked: 0, done: false };
                tx.put(&REVOCATIONS, &id, &revocation)?;
                scheduler::schedule(tx, TimerKey::new(now, TimerKind::RevokeCoupons, id))?;
                Ok(revocation)
            })
        });
        run.await
    }

    /// How far taking back an offer's coupons has come.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] if nobody asked for it.
    pub async fn revocation(&self, id: OfferId) -> Result<Revocation, Error> {
        let read = self
            .store
            .read(move |tx| tx.get(&REVOCATIONS, &id)?.ok_or_else(|| Error::unknown("revocation of offer", id)));
        read.await
    }
}

/// The timer's work: one step; the next one is due at once.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn step(tx: &mut Tx<'_>, id: OfferId, now: Timestamp) -> Result<(), Error> {
    let Some(mut revocation) = tx.get(&REVOCATIONS, &id)?.filter(|revocation| !revocation.done) else { return Ok(()) };
    let scan = Scan::prefix(&id).limit(MEMBERS_AT_ONCE);
    let scan = if let Some(last) = revocation.after { scan.after(&(id, last)) } else { scan };
    let members: Vec<MemberId> = tx.scan(&COUPONS_ISSUED, &scan)?.into_iter().map(|((_, member), _)| member).collect();
    let mut room = COUPONS_AT_ONCE;
    for member in &members {
        let in_hand = tx.scan(&COUPONS_OF_MEMBER, &Scan::prefix(&(*member, true)).limit(IN_HAND_MAX))?;
        let ids: Vec<CouponId> = in_hand.into_iter().map(|((_, _, coupon), ())| coupon).collect();
        let wanted = |coupon: &Coupon| coupon.offer == id && coupon.issued_at <= revocation.asked_at;
        let coupons: Vec<Coupon> = tx.get_many(&COUPONS, &ids)?.into_iter().flatten().filter(wanted).collect();
        for coupon in coupons.iter().take(room) {
            take_back(tx, coupon)?;
            revocation.revoked += 1;
        }
        if coupons.len() > room {
            room = 0;
            break;
        }
        room -= coupons.len();
        revocation.after = Some(*member);
    }
    revocation.done = members.len() < MEMBERS_AT_ONCE && room > 0;
    if !revocation.done {
        scheduler::schedule(tx, TimerKey::new(now, TimerKind::RevokeCoupons, id))?;
    }
    Ok(tx.put(&REVOCATIONS, &id, &revocation)?)
}

fn take_back(tx: &mut Tx<'_>, coupon: &Coupon) -> Result<(), Error> {
    move_coupon(tx, coupon.id, CouponState::Revoked)?;
    if let Some(mut member) = tx.get(&MEMBERS, &coupon.member)? {
        members::put_moved(tx, &mut member)?;
    }
    Ok(events::append(tx, coupon.member, [What::CouponRevoked(coupon.id)])?)
}
