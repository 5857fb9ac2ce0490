//! Claims: a member takes a coupon of an offer that is there to be claimed.

use std::sync::Arc;

use super::{How, Issue, issue};
use crate::{
    domain::{
        member::Member,
        offer::{Coupon, Offer},
    },
    ids::{MemberId, OfferId},
    service::{
        Caller, Done, Error, Idempotency, Services,
        facts::{self, Totals, day_number, sealed_profile},
        members, offers,
        rules::Rules,
    },
};

/// How often a claim is judged again because the member moved meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// What a claim is judged by, of one moment.
struct Snapshot {
    member: Member,
    offer: Offer,
    totals: Totals,
    sealed: Option<Vec<u8>>,
}

impl Services {
    /// Gives a member a coupon of an offer whose coupons are claimed, if its conditions hold.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::NotIssuable`] with the condition, limit or time that forbids it,
    /// [`Error::Busy`] if the member keeps moving.
    pub async fn claim_coupon(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        offer: OfferId,
    ) -> Result<Done<Coupon>, Error> {
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        for _ in 0..ATTEMPTS_MAX {
            match self.try_claim(caller, &once, member, offer).await {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    async fn try_claim(
        &self,
        caller: Caller,
        once: &Idempotency,
        member: MemberId,
        offer: OfferId,
    ) -> Result<Done<Coupon>, Error> {
        let now = self.clock.now();
        let today = day_number(now, &self.settings.zone);
        let read = self.store.read(move |tx| {
            let member = members::active_member(tx, caller, member)?;
            let (totals, sealed) = (facts::totals(tx, &member, today)?, sealed_profile(tx, member.id)?);
            Ok::<_, Error>(Snapshot { offer: offers::known_offer(tx, offer)?, member, totals, sealed })
        });
        let Snapshot { member, offer, totals, sealed } = read.await?;
        let birthday = self.open_profile(member.id, sealed.as_deref())?.birthday;
        let tier = Rules::new(self).held_tier(&member)?;
        let facts = self.member_facts(&member, birthday, &totals, Some(&tier), now);
        if let Some(unmet) = offer.conditions.iter().find(|condition| !condition.holds(&facts)) {
            let observed = offers::room::shown(unmet.observed(&facts));
            let why = format!("{} is {observed}, must be {unmet}", unmet.fact);
            return Err(Error::NotIssuable { offer: offer.id, why: why.into() });
        }
        let (id, once, settings) = (self.ids.ordered(now), once.clone(), Arc::clone(&self.settings));
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let moved = members::active_member(tx, caller, member.id)?.revision != member.revision;
                if moved || offers::known_offer(tx, offer.id)?.revision != offer.revision {
                    return Err(Error::Busy);
                }
                let wanted = Issue { id, offer: offer.id, member: member.id, external_id: None, how: How::Claimed };
                issue(tx, caller, &wanted, now, &settings)
            })
        });
        run.await
    }
}
