//! Offers: defined, listed, paused and resumed.
//!
//! What an offer's terms may be is the live coupon policy's to say. They are converted and checked before anything is
//! written, and the commit makes sure that the same release is still live: an offer whose terms nobody understands is
//! never stored, and a policy that does not understand a live offer is never activated (see `releases`).

mod check;
mod launch;
mod liability;
mod lists;
pub(super) mod room;
mod terms;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::{
    Caller, Done, Error, Idempotency, Page, PageRequest, Services,
    releases::PluginRefusal,
    rules::COUPON_SLOT,
    tables::{ACTIVE_RELEASES, OFFERS, OFFERS_BY_CODE},
};
use crate::{
    domain::{
        condition::Condition,
        fact::Value,
        launch::{Launch, PauseCause},
        limit::Limit,
        member::{ExternalId, Revision},
        money::{BasisPoints, Money},
        offer::{Base, Funder, FunderShare, Offer, OfferClass, OfferState, ProfileField, Purpose, Trigger, Validity},
        rule::Kind,
        window::Window,
    },
    ids::{KeyId, OfferId},
    ledger::counters::{self, CounterKey},
    plugin::Release,
    store::{Scan, Tx},
};

pub use liability::Liability;
pub(super) use lists::triggered;
pub use lists::{AUTOMATIC_MAX, TRIGGERED_MAX};
use lists::{list_automatic, list_triggered};
pub(super) use terms::misfit;

/// How often a definition is checked again because the policy was swapped under it.
const DEFINE_TRIES: usize = 8;

/// The offer to define.
#[derive(Clone, Debug)]
pub struct NewOffer {
    /// What the operator calls it; unique.
    pub code: ExternalId,
    /// Simplified Chinese.
    pub name_zh_cn: String,
    /// English.
    pub name_en: String,
    /// Its stage of pricing.
    pub class: OfferClass,
    /// What it is for.
    pub purpose: Purpose,
    /// The slot whose policy judges it; `coupon` where it is not said.
    pub slot: Option<String>,
    /// Its terms, by the names and types of that policy.
    pub terms: Map<String, Json>,
    /// Offers of one group exclude each other.
    pub exclusivity_group: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// Whose money; the platform's where it is not said.
    pub funders: Vec<FunderShare>,
    /// How often it may be used in all.
    pub budget_uses: Option<u64>,
    /// How much it may give in all.
    pub budget_amount: Option<Money>,
    /// How many coupons one member may be issued.
    pub per_member: Option<u32>,
    /// How long its coupons live.
    pub validity: Validity,
    /// Not before; from now on where it is not said.
    pub starts_at: Option<Timestamp>,
    /// Not from here on.
    pub ends_at: Option<Timestamp>,
    /// Whether a coupon comes back when its order is refunded in full.
    pub returns_on_refund: bool,
    /// What issues its coupons by itself.
    pub issued_on: Option<Trigger>,
    /// How often and how much, by period and member, beside the budgets.
    pub limits: Vec<Limit>,
    /// When it is open; always where there are none.
    pub windows: Vec<Window>,
    /// What a member must be to use or claim it.
    pub conditions: Vec<Condition>,
    /// Members claim its coupons themselves, and nobody else issues them.
    pub claimed: bool,
    /// The event that issues its coupons, where an event does.
    pub event: Option<String>,
    /// What a profile has to hold to bring a coupon, where a profile does; everything it may hold where nothing is said.
    pub profile_fields: Vec<ProfileField>,
    /// Uses and money of all members in a minute or hour above which it pauses itself.
    pub breaker: Vec<Limit>,
    /// It stays a draft even where nobody else could approve it.
    pub draft: bool,
    /// On which amounts thresholds are tested and percentages computed.
    pub base: Base,
}

impl NewOffer {
    /// An offer under a code that is its name, too: without limits, and live from now on for ever.
    pub fn plain(code: ExternalId, class: OfferClass, terms: Map<String, Json>) -> Self {
        Self {
            name_zh_cn: code.to_string(),
            name_en: code.to_string(),
            code,
            class,
            purpose: Purpose::General,
            slot: None,
            terms,
            exclusivity_group: None,
            priority: 0,
            funders: Vec::new(),
            budget_uses: None,
            budget_amount: None,
            per_member: None,
            validity: Validity::OfferEnd,
            starts_at: None,
            ends_at: None,
            returns_on_refund: false,
            issued_on: None,
            limits: Vec::new(),
            windows: Vec::new(),
            conditions: Vec::new(),
            claimed: false,
            event: None,
            profile_fields: Vec::new(),
            breaker: Vec::new(),
            draft: false,
            base: Base::Standard,
        }
    }
}

impl Services {
    /// Defines an offer: a draft, which others approve. Where no other key could approve it and it is not asked to stay a
    /// draft, it is live at once, within its times, and the record says so.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field and term, [`Error::Taken`] for a code in use, [`Error::Plugin`] if the
    /// policy cannot be asked, [`Error::Busy`] if it keeps being swapped.
    pub async fn define_offer(&self, caller: Caller, once: Idempotency, new: NewOffer) -> Result<Done<Offer>, Error> {
        let now = self.clock.now();
        check::check(&new, now)?;
        if let Some(done) = once.before(&self.store).await? {
            return Ok(done);
        }
        let id: OfferId = self.ids.ordered(now);
        let slot = new.slot.clone().unwrap_or_else(|| COUPON_SLOT.to_owned());
        for _ in 0..DEFINE_TRIES {
            let policy = self.live_policy(&slot)?;
            let terms = self.checked_terms(&policy, &new.terms).await?;
            let offer = described(id, &new, slot.clone(), terms, caller.key, now);
            let (once, number, draft) = (once.clone(), policy.reference().number, new.draft);
            let run = self.store.run(now, move |tx| {
                once.once(tx, |tx| {
                    if live_number(tx, &offer.slot)? != Some(number) {
                        return Err(Error::Busy);
                    }
                    define(tx, offer.clone(), draft, now)
                })
            });
            match run.await {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    /// One offer.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn offer(&self, id: OfferId) -> Result<Offer, Error> {
        self.store.read(move |tx| known_offer(tx, id)).await
    }

    /// The offer with this code.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn offer_by_code(&self, code: &str) -> Result<Offer, Error> {
        let code = code.to_owned();
        let read = self.store.read(move |tx| {
            let id = tx.get(&OFFERS_BY_CODE, &code)?.ok_or_else(|| Error::unknown("offer", &code))?;
            known_offer(tx, id)
        });
        read.await
    }

    /// All offers, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_offers(&self, page: PageRequest) -> Result<Page<Offer>, Error> {
        let read = self.store.read(move |tx| {
            let rows = tx.scan(&OFFERS, &page.scan(Scan::all())?)?;
            Ok(page.page(rows)?.map(|(_, offer)| offer))
        });
        read.await
    }

    /// Stops an offer: it is neither issued nor applied until it is resumed. Pausing a paused offer changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn pause_offer(&self, _: Caller, once: Idempotency, id: OfferId) -> Result<Done<Offer>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut offer = known_offer(tx, id)?;
                if offer.state == OfferState::Live {
                    launch::pause(tx, &mut offer, PauseCause::Operator)?;
                }
                Ok(offer)
            })
        });
        run.await
    }

    /// Makes a paused offer live again. Resuming a live offer changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::NotIssuable`] if it has ended, [`Error::Plugin`] if the live policy no longer
    /// understands its terms, [`Error::Invalid`] if too many automatic offers are live.
    pub async fn resume_offer(&self, _: Caller, once: Idempotency, id: OfferId) -> Result<Done<Offer>, Error> {
        let now = self.clock.now();
        self.with_live_policy(once, id, now, move |tx, offer, policy| resume(tx, offer, policy, now)).await
    }

    /// Commits a step of an offer together with the policy that is live in that moment.
    ///
    /// # Errors
    ///
    /// Those of the step; [`Error::Unknown`], [`Error::Busy`] if the policy keeps being swapped.
    async fn with_live_policy(
        &self,
        once: Idempotency,
        id: OfferId,
        now: Timestamp,
        step: impl Fn(&mut Tx<'_>, Offer, &Release) -> Result<Offer, Error> + Clone + Send + 'static,
    ) -> Result<Done<Offer>, Error> {
        let offer: Offer = self.store.read(move |tx| known_offer(tx, id)).await?;
        for _ in 0..DEFINE_TRIES {
            let policy = self.live_policy(&offer.slot)?;
            let (once, step) = (once.clone(), step.clone());
            let run = self.store.run(now, move |tx| {
                once.once(tx, |tx| {
                    let offer = known_offer(tx, id)?;
                    if live_number(tx, &offer.slot)? != Some(policy.reference().number) {
                        return Err(Error::Busy);
                    }
                    step(tx, offer, &policy)
                })
            });
            match run.await {
                Err(Error::Busy) => {}
                done => return done,
            }
        }
        Err(Error::Busy)
    }

    /// The policy that answers in a slot.
    fn live_policy(&self, slot: &str) -> Result<Arc<Release>, Error> {
        let live = self.live_release(slot, Kind::CouponPolicy);
        live.ok_or_else(|| Error::field("/slot", format!("`{slot}` has no live coupon policy")))
    }

    /// The terms as values, by name, if the policy takes them.
    async fn checked_terms(&self, policy: &Release, given: &Map<String, Json>) -> Result<Vec<(String, Value)>, Error> {
        let known = &policy.module().description().terms;
        let values = terms::convert(known, given, &self.settings.currency)?;
        let checked = policy.check_terms(&values).await;
        let checked = checked.map_err(|fault| {
            Error::Plugin(PluginRefusal::Faulted { release: policy.reference().to_string(), fault })
        })?;
        if let Err(fields) = checked {
            let field = |field: crate::plugin::FieldError| {
                super::FieldError::new(format!("/terms{}", field.pointer), field.message)
            };
            return Err(Error::Invalid(fields.into_iter().map(field).collect()));
        }
        let names = known.iter().map(|term| term.name.clone());
        Ok(names.zip(values).filter(|(_, value)| *value != Value::Absent).collect())
    }
}

/// An offer that must be there.
pub(super) fn known_offer(tx: &mut Tx<'_>, id: OfferId) -> Result<Offer, Error> {
    tx.get(&OFFERS, &id)?.ok_or_else(|| Error::unknown("offer", id))
}

/// The number of the release that answers in a slot, as the store has it.
fn live_number(tx: &mut Tx<'_>, slot: &str) -> Result<Option<u64>, Error> {
    Ok(tx.get(&ACTIVE_RELEASES, &slot.to_owned())?.map(|active| active.number))
}

fn described(
    id: OfferId,
    new: &NewOffer,
    slot: String,
    terms: Vec<(String, Value)>,
    by: KeyId,
    now: Timestamp,
) -> Offer {
    let needed = launch::approvals_needed(&terms);
    let platform = || vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }];
    Offer {
        id,
        code: new.code.clone(),
        name_zh_cn: new.name_zh_cn.clone(),
        name_en: new.name_en.clone(),
        class: new.class,
        purpose: new.purpose,
        slot,
        terms,
        exclusivity_group: new.exclusivity_group.clone(),
        priority: new.priority,
        funders: if new.funders.is_empty() { platform() } else { new.funders.clone() },
        budget_uses: new.budget_uses,
        budget_amount: new.budget_amount,
        per_member: new.per_member,
        validity: new.validity,
        starts_at: new.starts_at.unwrap_or(now),
        ends_at: new.ends_at,
        state: OfferState::Draft,
        revision: Revision::FIRST,
        returns_on_refund: new.returns_on_refund,
        issued_on: new.issued_on,
        limits: new.limits.clone(),
        windows: new.windows.clone(),
        conditions: new.conditions.clone(),
        claimed: new.claimed,
        event: new.event.clone(),
        profile_fields: if new.issued_on == Some(Trigger::ProfileCompleted) && new.profile_fields.is_empty() {
            ProfileField::ALL.to_vec()
        } else {
            new.profile_fields.clone()
        },
        listed_at: 0,
        launch: Some(Launch { defined_by: by, approvals: Vec::new(), needed, alone: false }),
        breaker: new.breaker.clone(),
        paused_by: None,
        base: new.base,
    }
}

fn define(tx: &mut Tx<'_>, mut offer: Offer, draft: bool, now: Timestamp) -> Result<Offer, Error> {
    let code = offer.code.as_str().to_owned();
    if let Some(holder) = tx.get(&OFFERS_BY_CODE, &code)? {
        return Err(Error::Taken { what: "offer", name: offer.code.clone(), id: holder.to_string() });
    }
    tx.put(&OFFERS_BY_CODE, &code, &offer.id)?;
    if let Some(launch) = offer.launch.as_mut().filter(|_| !draft)
        && !launch::others_can_approve(tx, launch.defined_by)?
    {
        launch.alone = true;
        (offer.state, offer.listed_at) = (OfferState::Live, tx.seq().get());
    }
    tx.put(&OFFERS, &offer.id, &offer)?;
    if let Some(uses) = offer.budget_uses {
        counters::set_limit(tx, CounterKey::OfferUses(offer.id), i64::try_from(uses).unwrap_or(i64::MAX))?;
    }
    if let Some(amount) = offer.budget_amount {
        counters::set_limit(tx, CounterKey::OfferAmount(offer.id), amount.get())?;
    }
    if offer.state == OfferState::Live {
        list_automatic(tx, &offer, now)?;
        list_triggered(tx, &offer, now)?;
    }
    Ok(offer)
}

fn resume(tx: &mut Tx<'_>, offer: Offer, policy: &Release, now: Timestamp) -> Result<Offer, Error> {
    match offer.state {
        OfferState::Live => Ok(offer),
        OfferState::Paused => go_live(tx, offer, policy, now),
        OfferState::Draft => {
            let why = "it is a draft, which others have to approve".into();
            Err(Error::NotIssuable { offer: offer.id, why })
        }
    }
}

/// Makes an offer live whose policy still understands it.
fn go_live(tx: &mut Tx<'_>, mut offer: Offer, policy: &Release, now: Timestamp) -> Result<Offer, Error> {
    if has_ended(&offer, now) {
        return Err(Error::NotIssuable { offer: offer.id, why: "it has ended".into() });
    }
    if let Some(why) = misfit(&offer, policy) {
        return Err(Error::Plugin(PluginRefusal::Terms {
            release: policy.reference().to_string(),
            misfits: vec![why],
        }));
    }
    (offer.state, offer.listed_at) = (OfferState::Live, tx.seq().get());
    offer.revision = offer.revision.next();
    tx.put(&OFFERS, &offer.id, &offer)?;
    list_automatic(tx, &offer, now)?;
    list_triggered(tx, &offer, now)?;
    Ok(offer)
}

/// Whether the offer's time is over.
pub(super) fn has_ended(offer: &Offer, now: Timestamp) -> bool {
    offer.ends_at.is_some_and(|end| end <= now)
}

#[cfg(test)]
mod tests;
