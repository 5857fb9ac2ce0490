//! A cart becomes a price that holds.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};

use super::{active_member, prescription};
use crate::{
    domain::{
        fact::{self, Facts, Value},
        limit::Room,
        member::Member,
        money::{BasisPoints, Points},
        offer::{Coupon, CouponState, Offer, OfferClass, OfferState},
        order::{Cart, Priced, Quote},
        product::Product,
        rule::{Parameter, Reason},
    },
    ids::{CouponId, MemberId, OfferId, OrderId, QuoteId},
    ledger::lots,
    pricing::{Candidate, CartLine, Draft, PointsTerms, PricingError, Round, reasons},
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
/// The most that a cart costs before anything comes off, delivery included, in minor units: no mistake of a partner may
/// make the sums of a day overflow.
const CART_MAX: i128 = 1_000_000_000_000;
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
    /// What can be spent, where points are to be.
    available: Points,
    products: Vec<Product>,
    offered: Vec<Offered>,
    /// Whether the named coupon is not the member's, or nobody's.
    not_yours: bool,
}

/// An offer that a quote considers, with the coupon that brings it.
struct Offered {
    offer: Offer,
    coupon: Option<Coupon>,
    /// The tightest limit on what it may take off; or the one that one more use would break.
    standing: Result<Option<Room>, Reason>,
}

/// What every stage of a price is asked with.
struct Asking<'a> {
    now: Timestamp,
    facts: &'a Facts,
    /// The tier's.
    discount: BasisPoints,
    /// Offers that turned out not to be had.
    gone: &'a [Gone],
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
        let asking = Asking { now, facts: &facts, discount: tier.discount, gone };
        let (priced, coupon) = self.walk(&mut rules, &snapshot, &cart, &asking).await?;
        let (id, decision) = (self.ids.ordered(now), self.ids.ordered(now));
        let releases = rules.releases();
        rules.record(decision, now, member)?;
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
    async fn walk(
        &self,
        rules: &mut Rules<'_>,
        snapshot: &Snapshot,
        cart: &Cart,
        asking: &Asking<'_>,
    ) -> Result<(Priced, Option<CouponId>), Error> {
        let lines: Vec<CartLine<'_>> = snapshot
            .products
            .iter()
            .zip(&cart.lines)
            .map(|(product, (_, quantity))| CartLine { product, quantity: *quantity })
            .collect();
        let mut draft = Draft::new(&lines, asking.discount, cart.delivery_fee, cart.coupon)?;
        let birthday_month = *asking.facts.get(&fact::MEMBER_BIRTHDAY_MONTH) == Value::Flag(true);
        let zone = self.settings.zone.clone();
        let moment = Moment { now: asking.now, zone, facts: asking.facts, birthday_month };
        let mut candidates = eligible(&mut draft, snapshot, &moment, asking.gone);
        candidates.sort_by_key(|candidate| candidate.offer.class);
        let mut later = candidates.as_slice();
        for stage in [OfferClass::MemberPrice, OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery] {
            if stage == OfferClass::Delivery {
                draft.points(cart.points, self.points_terms())?;
            }
            let here = later.partition_point(|candidate| candidate.offer.class == stage);
            let (here, rest) = later.split_at(here);
            let round = ask(rules, &draft, stage, here, asking).await?;
            draft.take(round, rest)?;
            later = rest;
        }
        let (mut priced, coupon) = draft.finish()?;
        priced.not_yours = cart.coupon.filter(|_| snapshot.not_yours);
        Ok((priced, coupon))
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

/// Puts the candidates of a stage to their policies, each slot's once.
async fn ask<'a>(
    rules: &mut Rules<'_>,
    draft: &Draft<'a>,
    stage: OfferClass,
    candidates: &[Candidate<'a>],
    asking: &Asking<'_>,
) -> Result<Round<'a>, Error> {
    let mut slots: Vec<&str> = candidates.iter().map(|candidate| candidate.offer.slot.as_str()).collect();
    slots.sort_unstable();
    slots.dedup();
    let mut round = draft.round(stage);
    for slot in slots {
        let here: Vec<Candidate<'a>> = candidates.iter().filter(|c| c.offer.slot == slot).copied().collect();
        match here.iter().map(|c| rules.terms(c.offer)).collect::<Result<Vec<_>, _>>() {
            // A slot that lost its policy costs its own offers, not the order.
            Err(Error::NoRule { .. }) => round.add_failed(&here),
            Err(error) => return Err(error),
            Ok(terms) => {
                let carts = draft.carts(stage, asking.now, asking.facts, &here, terms);
                round.add(&here, rules.price(slot, carts).await?);
            }
        }
    }
    Ok(round)
}

/// The offers that may be put to a policy; the draft learns why the others may not.
fn eligible<'a>(
    draft: &mut Draft<'a>,
    snapshot: &'a Snapshot,
    moment: &Moment<'_>,
    gone: &[Gone],
) -> Vec<Candidate<'a>> {
    let mut asked = Vec::with_capacity(snapshot.offered.len());
    for Offered { offer, coupon, standing } in &snapshot.offered {
        let room = standing.as_ref().ok().copied().flatten();
        let candidate = Candidate { offer, coupon: coupon.as_ref(), room };
        let gone = gone.iter().find(|gone| gone.offer == offer.id).map(|gone| &gone.why);
        match barred(candidate, moment).or_else(|| gone.or(standing.as_ref().err()).cloned()) {
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
    /// The deployment's.
    zone: TimeZone,
    /// Whether the member was born in this month.
    birthday_month: bool,
}

impl Moment<'_> {
    fn shown(&self, at: Timestamp) -> Parameter {
        Parameter::Text(at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string())
    }
}

/// Why an offer may not even be put to its policy.
fn barred(candidate: Candidate<'_>, moment: &Moment<'_>) -> Option<Reason> {
    let (offer, coupon) = (candidate.offer, candidate.coupon);
    let order = |order: OrderId| vec![Parameter::Text(order.to_string())];
    let dates = |other: Timestamp| vec![moment.shown(moment.now), moment.shown(other)];
    match coupon.map(|coupon| coupon.state) {
        None | Some(CouponState::Issued) => {}
        Some(CouponState::Held(by)) => return Some(reasons::HELD.with(order(by))),
        Some(CouponState::Redeemed(by)) => return Some(reasons::REDEEMED.with(order(by))),
        Some(CouponState::Revoked) => return Some(reasons::REVOKED.plain()),
        Some(CouponState::Expired) => {
            let end = coupon.and_then(|coupon| coupon.expires_at).unwrap_or(moment.now);
            return Some(reasons::EXPIRED.with(dates(end)));
        }
    }
    let ends = [coupon.and_then(|coupon| coupon.expires_at), offer.ends_at];
    if offer.state != OfferState::Live {
        Some(reasons::PAUSED.plain())
    } else if offer.starts_at > moment.now {
        Some(reasons::NOT_STARTED.with(dates(offer.starts_at)))
    } else if let Some(end) = ends.into_iter().flatten().find(|end| *end <= moment.now) {
        Some(reasons::EXPIRED.with(dates(end)))
    } else {
        room::closed(offer, moment.zone.to_datetime(moment.now), moment.birthday_month)
            .or_else(|| room::ineligible(offer, moment.facts))
    }
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
    let (coupons, not_yours) = read_coupons(tx, &member, cart.coupon, settings.coupons_per_quote)?;
    let automatic = tx.scan(&AUTOMATIC_OFFERS, &Scan::all().limit(AUTOMATIC_OFFERS_MAX))?;
    let automatic: Vec<OfferId> = automatic.into_iter().map(|(offer, ())| offer).collect();
    let mut offered = Vec::with_capacity(automatic.len() + coupons.len());
    for offer in tx.get_many(&OFFERS, &automatic)?.into_iter().flatten() {
        let standing = room::standing(tx, &offer, id, local)?;
        offered.push(Offered { offer, coupon: None, standing });
    }
    let offers = tx.get_many(&OFFERS, &coupons.iter().map(|coupon| coupon.offer).collect::<Vec<_>>())?;
    for (coupon, offer) in coupons.into_iter().zip(offers) {
        let offer = offer.ok_or_else(|| Error::unknown("offer", coupon.offer))?;
        let standing = room::standing(tx, &offer, id, local)?;
        offered.push(Offered { offer, coupon: Some(coupon), standing });
    }
    Ok(Snapshot {
        totals: facts::totals(tx, &member, day_number(now, &settings.zone))?,
        sealed: sealed_profile(tx, id)?,
        available: if cart.points.is_zero() { Points::ZERO } else { lots::available(tx, id, now)? },
        member,
        products,
        offered,
        not_yours,
    })
}

/// The coupons in hand, the named one first, whatever its state; and whether the named one is not the member's.
fn read_coupons(
    tx: &mut Tx<'_>,
    member: &Member,
    named: Option<CouponId>,
    most: usize,
) -> Result<(Vec<Coupon>, bool), Error> {
    let mut ids: Vec<CouponId> = named.into_iter().collect();
    let in_hand = tx.scan(&COUPONS_OF_MEMBER, &Scan::prefix(&(member.id, true)).limit(most))?;
    ids.extend(in_hand.into_iter().map(|((_, _, id), ())| id).filter(|id| Some(*id) != named));
    let mut coupons = Vec::with_capacity(ids.len());
    let mut not_yours = false;
    for (id, coupon) in ids.iter().zip(tx.get_many(&COUPONS, &ids)?) {
        match coupon.filter(|coupon| coupon.member == member.id) {
            Some(coupon) => coupons.push(coupon),
            None if Some(*id) == named => not_yours = true,
            None => return Err(Error::unknown("coupon", id)),
        }
    }
    Ok((coupons, not_yours))
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
    let lines = snapshot.products.iter().zip(&cart.lines);
    let goods = lines.map(|(product, (_, quantity))| i128::from(product.list_price.get()) * i128::from(*quantity));
    if goods.sum::<i128>() + i128::from(cart.delivery_fee.get()) > CART_MAX {
        return Err(Error::field(
            "/lines",
            format!("cost more than {CART_MAX} minor units with delivery: split the cart"),
        ));
    }
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
