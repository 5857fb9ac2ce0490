//! A cart becomes a price that holds.

use std::sync::Arc;

use jiff::{Timestamp, civil::DateTime};

use super::{active_member, prescription};
use crate::{
    domain::{
        fact::{self, Facts, Value},
        member::Member,
        money::Points,
        offer::{Coupon, CouponState, Offer, OfferClass, OfferState},
        order::{Cart, Priced, Quote},
        product::Product,
        rule::{Proposal, Reason},
    },
    ids::{CouponId, MemberId, OfferId, QuoteId},
    ledger::lots,
    pricing::{Candidate, CartLine, Draft, PointsTerms, PricingError, reasons},
    service::{
        Caller, Done, Error, FieldError, Idempotency, Services, Settings,
        facts::{self, Totals, day_number, sealed_profile},
        offers::room,
        rules::Rules,
        tables::{AUTOMATIC_OFFERS, COUPONS, COUPONS_OF_MEMBER, OFFERS, PRODUCTS, QUOTES},
    },
    store::{Scan, Tx},
};

/// The most lines of a cart.
const CART_LINES_MAX: usize = 200;
/// The most items of a line.
const LINE_ITEMS_MAX: u32 = 10_000;
/// The most offers without coupon that a quote considers.
const AUTOMATIC_OFFERS_MAX: usize = 200;

/// An offer that the order could not have, and why.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    pub(super) offer: OfferId,
    pub(super) why: Reason,
}

/// Everything a price is made of, read at one moment.
struct Snapshot {
    member: Member,
    sealed: Option<Vec<u8>>,
    totals: Totals,
    available: Points,
    products: Vec<Product>,
    automatic: Vec<(Offer, Option<Reason>)>,
    coupons: Vec<(Coupon, Offer, Option<Reason>)>,
}

impl Services {
    /// Prices a cart for a member and holds the price.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a cart out of bounds, [`Error::Unknown`] for what it names, and the refusals of pricing.
    pub async fn quote(
        &self,
        caller: Caller,
        once: Idempotency,
        member: MemberId,
        cart: Cart,
    ) -> Result<Done<Quote>, Error> {
        check_cart(&cart)?;
        let key = once.clone();
        if let Some(done) = self.store.peek(move |tx| key.look_up::<QuoteId>(tx)).await? {
            let value = self.get_quote(caller, done.value).await?;
            return Ok(Done { value, replayed: true });
        }
        let quote = self.price(caller, member, cart, &[]).await?;
        let stored = quote.clone();
        let done = self
            .store
            .run(quote.at, move |tx| {
                once.once(tx, |tx| {
                    tx.put(&QUOTES, &stored.id, &stored)?;
                    Ok::<_, Error>(stored.id)
                })
            })
            .await?;
        let value = if done.replayed { self.get_quote(caller, done.value).await? } else { quote };
        Ok(Done { value, replayed: done.replayed })
    }

    /// A quote.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] if there is none that the caller may see.
    pub async fn get_quote(&self, caller: Caller, id: QuoteId) -> Result<Quote, Error> {
        self.store.read(move |tx| seen_quote(tx, caller, id)).await
    }

    /// Prices a cart without storing anything; a refusal is durable, a price only once it is stored. `gone` lists offers
    /// that turned out not to be had.
    pub(super) async fn price(
        &self,
        caller: Caller,
        member: MemberId,
        cart: Cart,
        gone: &[Gone],
    ) -> Result<Quote, Error> {
        let priced = self.price_unsettled(caller, member, cart, gone).await;
        if priced.is_err() {
            self.store.settle().await?;
        }
        priced
    }

    async fn price_unsettled(
        &self,
        caller: Caller,
        member: MemberId,
        cart: Cart,
        gone: &[Gone],
    ) -> Result<Quote, Error> {
        let now = self.clock.now();
        let (asked, settings) = (cart.clone(), Arc::clone(&self.settings));
        let snapshot = self.store.peek(move |tx| read_snapshot(tx, caller, member, &asked, now, &settings)).await?;
        check_snapshot(&snapshot, &cart)?;
        let mut rules = Rules::new(self);
        let tier = rules.held_tier(&snapshot.member)?;
        let birthday = self.open_profile(member, snapshot.sealed.as_deref())?.birthday;
        let facts = self.member_facts(&snapshot.member, birthday, &snapshot.totals, Some(&tier), now);
        let priced = self.walk(&mut rules, &snapshot, &cart, &facts, now, tier.discount, gone).await?;
        let (id, decision) = (self.ids.ordered(now), self.ids.ordered(now));
        let releases = rules.releases();
        rules.record(decision, now, member)?;
        let (priced, coupon) = priced;
        Ok(Quote {
            id,
            partner: caller.partner,
            member,
            revision: snapshot.member.revision,
            at: now,
            expires_at: now.checked_add(self.settings.quote_holds).unwrap_or(Timestamp::MAX),
            priced,
            coupon,
            cart,
            tier: tier.code.to_string(),
            releases,
            decision,
        })
    }

    /// The stages of a price, in their one order.
    #[allow(clippy::too_many_arguments, reason = "the parts of one decision, each of another kind")]
    async fn walk(
        &self,
        rules: &mut Rules<'_>,
        snapshot: &Snapshot,
        cart: &Cart,
        facts: &Facts,
        now: Timestamp,
        discount: crate::domain::money::BasisPoints,
        gone: &[Gone],
    ) -> Result<(Priced, Option<CouponId>), Error> {
        let lines: Vec<CartLine<'_>> = snapshot
            .products
            .iter()
            .zip(&cart.lines)
            .map(|(product, (_, quantity))| CartLine { product, quantity: *quantity })
            .collect();
        let mut draft = Draft::new(&lines, discount, cart.delivery_fee)?;
        let birthday_month = *facts.get(&fact::MEMBER_BIRTHDAY_MONTH) == Value::Flag(true);
        let moment = Moment { now, facts, local: self.settings.zone.to_datetime(now), birthday_month };
        for stage in [OfferClass::MemberPrice, OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery] {
            if stage == OfferClass::Delivery {
                draft.points(cart.points, self.points_terms())?;
            }
            let candidates = eligible(&mut draft, snapshot, stage, &moment, gone);
            let (asked, proposals) = ask(rules, &mut draft, stage, candidates, facts, now).await?;
            match stage {
                OfferClass::MemberPrice => draft.member_prices(&asked, &proposals)?,
                OfferClass::Promotion => draft.promotions(&asked, &proposals)?,
                OfferClass::Coupon => draft.coupons(&asked, &proposals, cart.coupon)?,
                OfferClass::Delivery => draft.delivery(&asked, &proposals)?,
            }
        }
        let coupon = draft.coupon();
        Ok((draft.finish()?, coupon))
    }

    fn points_terms(&self) -> PointsTerms {
        PointsTerms { value_per_100: self.settings.points_value_per_100, most: self.settings.points_most }
    }
}

/// The quote, if the caller may see it.
pub(super) fn seen_quote(tx: &mut Tx<'_>, caller: Caller, id: QuoteId) -> Result<Quote, Error> {
    let quote = tx.get(&QUOTES, &id)?.filter(|quote| caller.sees(quote.partner));
    quote.ok_or_else(|| Error::unknown("quote", id))
}

/// Puts the candidates of a stage to their policies; those whose policy cannot answer are declined.
async fn ask<'a>(
    rules: &mut Rules<'_>,
    draft: &mut Draft,
    stage: OfferClass,
    candidates: Vec<Candidate<'a>>,
    facts: &Facts,
    now: Timestamp,
) -> Result<(Vec<Candidate<'a>>, Vec<Proposal>), Error> {
    let mut slots: Vec<&str> = candidates.iter().map(|candidate| candidate.offer.slot.as_str()).collect();
    slots.sort_unstable();
    slots.dedup();
    let (mut asked, mut proposals) = (Vec::new(), Vec::new());
    for slot in slots {
        let here: Vec<Candidate<'a>> = candidates.iter().filter(|c| c.offer.slot == slot).copied().collect();
        let terms = here.iter().map(|c| rules.terms(c.offer)).collect::<Result<Vec<_>, _>>()?;
        match rules.price(slot, draft.subject(stage, now, facts, terms)).await? {
            Some(answers) => {
                asked.extend(here);
                proposals.extend(answers);
            }
            None => here.into_iter().for_each(|c| draft.decline(c, reasons::POLICY_FAILED.with(Vec::new()))),
        }
    }
    Ok((asked, proposals))
}

/// The offers of a stage that may be put to a policy; the draft learns why the others may not.
fn eligible<'a>(
    draft: &mut Draft,
    snapshot: &'a Snapshot,
    stage: OfferClass,
    moment: &Moment<'_>,
    gone: &[Gone],
) -> Vec<Candidate<'a>> {
    let automatic = snapshot.automatic.iter().map(|(offer, short)| (Candidate { offer, coupon: None }, short));
    let coupons =
        snapshot.coupons.iter().map(|(coupon, offer, short)| (Candidate { offer, coupon: Some(coupon) }, short));
    let mut asked = Vec::new();
    for (candidate, short) in automatic.chain(coupons).filter(|(candidate, _)| candidate.offer.class == stage) {
        let gone = gone.iter().find(|gone| gone.offer == candidate.offer.id).map(|gone| &gone.why);
        match barred(candidate, moment).or_else(|| gone.or(short.as_ref()).cloned()) {
            Some(reason) => draft.decline(candidate, reason),
            None => asked.push(candidate),
        }
    }
    asked
}

/// When a price is made, as offers look at it.
struct Moment<'a> {
    now: Timestamp,
    facts: &'a Facts,
    /// In the deployment's zone.
    local: DateTime,
    /// Whether the member was born in this month.
    birthday_month: bool,
}

/// Why an offer may not even be put to its policy.
fn barred(candidate: Candidate<'_>, moment: &Moment<'_>) -> Option<Reason> {
    let (offer, coupon) = (candidate.offer, candidate.coupon);
    let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= moment.now);
    let reason = if offer.state != OfferState::Live {
        &reasons::PAUSED
    } else if offer.starts_at > moment.now {
        &reasons::NOT_STARTED
    } else if over(offer.ends_at) || over(coupon.and_then(|coupon| coupon.expires_at)) {
        &reasons::EXPIRED
    } else {
        return room::closed(offer, moment.local, moment.birthday_month)
            .or_else(|| room::ineligible(offer, moment.facts));
    };
    Some(reason.with(Vec::new()))
}

fn read_snapshot(
    tx: &mut Tx<'_>,
    caller: Caller,
    id: MemberId,
    cart: &Cart,
    now: Timestamp,
    settings: &Settings,
) -> Result<Snapshot, Error> {
    let local = settings.zone.to_datetime(now);
    let member = active_member(tx, caller, id)?;
    let products = tx.get_many(&PRODUCTS, &cart.lines.iter().map(|(product, _)| *product).collect::<Vec<_>>())?;
    let products = products.into_iter().zip(&cart.lines).map(|(product, (id, _))| {
        product.filter(|product| caller.sees(product.partner)).ok_or_else(|| Error::unknown("product", id))
    });
    let products = products.collect::<Result<Vec<_>, _>>()?;
    prescription::check(tx, caller, id, cart, &products, now)?;
    let mut automatic = Vec::new();
    for (offer, ()) in tx.scan(&AUTOMATIC_OFFERS, &Scan::all().limit(AUTOMATIC_OFFERS_MAX))? {
        if let Some(offer) = tx.get(&OFFERS, &offer)? {
            let short = room::shortage(tx, &offer, id, local)?;
            automatic.push((offer, short));
        }
    }
    let coupons = read_coupons(tx, &member, cart.coupon, local, settings.coupons_per_quote)?;
    Ok(Snapshot {
        totals: facts::totals(tx, &member, day_number(now, &settings.zone))?,
        sealed: sealed_profile(tx, id)?,
        available: lots::available(tx, id, now)?,
        member,
        products,
        automatic,
        coupons,
    })
}

/// The coupons in hand, the named one first.
fn read_coupons(
    tx: &mut Tx<'_>,
    member: &Member,
    named: Option<CouponId>,
    local: DateTime,
    most: usize,
) -> Result<Vec<(Coupon, Offer, Option<Reason>)>, Error> {
    let mut ids: Vec<CouponId> = named.into_iter().collect();
    let in_hand = tx.scan(&COUPONS_OF_MEMBER, &Scan::prefix(&(member.id, true)).limit(most))?;
    ids.extend(in_hand.into_iter().map(|((_, _, id), ())| id).filter(|id| Some(*id) != named));
    let mut coupons = Vec::with_capacity(ids.len());
    for id in ids {
        let coupon = tx.get(&COUPONS, &id)?.filter(|coupon| coupon.member == member.id);
        let coupon = coupon.ok_or_else(|| Error::unknown("coupon", id))?;
        if coupon.state != CouponState::Issued {
            return Err(Error::CouponNotUsable { coupon: id, why: coupon.state.name() });
        }
        let offer = tx.get(&OFFERS, &coupon.offer)?.ok_or_else(|| Error::unknown("offer", coupon.offer))?;
        let short = room::shortage(tx, &offer, member.id, local)?;
        coupons.push((coupon, offer, short));
    }
    Ok(coupons)
}

/// What can be said of a cart alone.
fn check_cart(cart: &Cart) -> Result<(), Error> {
    let mut wrong = Vec::new();
    if cart.lines.is_empty() || cart.lines.len() > CART_LINES_MAX {
        wrong.push(FieldError::new("/lines", format!("a cart has 1 to {CART_LINES_MAX} lines")));
    }
    for (i, (_, quantity)) in cart.lines.iter().enumerate() {
        if *quantity == 0 || *quantity > LINE_ITEMS_MAX {
            wrong.push(FieldError::new(format!("/lines/{i}/quantity"), format!("must be 1 to {LINE_ITEMS_MAX}")));
        }
    }
    if cart.points < Points::ZERO {
        wrong.push(FieldError::new("/points", "must be zero or more"));
    }
    if cart.delivery_fee.get() < 0 {
        wrong.push(FieldError::new("/delivery_fee", "must be zero or more"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::Invalid(wrong)) }
}

/// What can be said of a cart against the snapshot, before any plugin is asked.
fn check_snapshot(snapshot: &Snapshot, cart: &Cart) -> Result<(), Error> {
    if cart.points > snapshot.available {
        return Err(Error::NotEnoughPoints { asked: cart.points, available: snapshot.available });
    }
    Ok(())
}

/// Points that fit what a changed price allows: the host's own second pricing must not fail for wanting too many.
pub(super) fn fewer_points(error: &Error) -> Option<Points> {
    match error {
        Error::Pricing(PricingError::TooManyPoints { most, .. }) => Some(*most),
        Error::NotEnoughPoints { available, .. } => Some(*available),
        _ => None,
    }
}
