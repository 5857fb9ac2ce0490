//! A quote becomes an order that holds its coupon, points, budget and stock.

use std::sync::Arc;

use jiff::{Timestamp, civil::DateTime};

use super::{
    ATTEMPTS_MAX, active_member, move_coupon, prescription, put_moved,
    quote::{self, Gone},
    rows, used_offers,
};
use crate::{
    domain::{
        limit::Measure,
        member::{ExternalId, Revision},
        money::Points,
        offer::{CouponState, OfferState},
        order::{Order, OrderState, Quote, Reprice},
        points::Draw,
    },
    events::{self, What},
    ids::{MemberId, OfferId, OrderId, QuoteId},
    ledger::{
        LedgerError,
        counters::{self, CounterKey},
        limits::{self, Reservations, Reserved, Taking},
        lots,
    },
    pricing::reasons,
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Caller, Done, Error, Idempotency, Services, Settings,
        tables::{
            COUPONS, OFFERS, ORDERS_BY_EXTERNAL_ID, ORDERS_OF_MEMBER, PLACED_QUOTES, PRODUCTS, QUOTES, REPRICED_BELOW,
            RESERVATIONS,
        },
    },
    store::{StoreError, Tx},
};

/// What a partner asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    /// The quote to place.
    pub quote: QuoteId,
    /// What the partner calls the order.
    pub external_id: Option<ExternalId>,
    /// Paid to the courier.
    pub cash_on_delivery: bool,
}

/// Why the transaction did not place the quote as it stands: it has to be priced again.
#[derive(Debug)]
enum NotPlaced {
    /// The member moved.
    Moved,
    /// A limit of an offer is used up, or it was paused.
    OfferGone(Gone),
    /// An offer was used faster than its breaker allows: it has to be paused.
    TooFast(OfferId, MemberId),
    /// A refusal.
    Refused(Error),
}

impl<E: Into<Error>> From<E> for NotPlaced {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Services {
    /// Places a quote.
    ///
    /// # Errors
    ///
    /// [`Error::QuoteChanged`] with a fresh quote if the member moved or an offer lost its budget since;
    /// [`Error::QuoteExpired`], [`Error::QuotePlaced`], [`Error::OutOfStock`], [`Error::Taken`], [`Error::Unknown`].
    pub async fn place(&self, caller: Caller, once: Idempotency, ask: PlaceOrder) -> Result<Done<Order>, Error> {
        let now = self.clock.now();
        let (id, until) = (self.ids.ordered(now), super::gives_up_at(ask.cash_on_delivery, now, &self.settings));
        let (quote, settings) = (ask.quote, Arc::clone(&self.settings));
        let run = self
            .store
            .run(now, move |tx| rows::once(&once, tx, |tx| commit(tx, caller, &ask, id, now, until, &settings)));
        let placed = run.await;
        match placed {
            Ok(done) => Ok(done),
            // Stock that lies in many pieces: each is a row.
            Err(NotPlaced::Refused(Error::Store(StoreError::TooManyWrites { .. }))) => {
                Err(Error::field("/quote", "takes more pieces of stock than one order can: split the cart"))
            }
            Err(NotPlaced::Refused(error)) => Err(error),
            Err(NotPlaced::Moved) => Err(self.changed(caller, quote, Vec::new()).await),
            Err(NotPlaced::OfferGone(gone)) => Err(self.changed(caller, quote, vec![gone]).await),
            Err(NotPlaced::TooFast(offer, member)) => {
                self.trip_breaker(offer, member).await?;
                Err(self.changed(caller, quote, Vec::new()).await)
            }
        }
    }

    /// Prices a quote once more, without the offers that are gone, and answers with the refusal that encloses it.
    async fn changed(&self, caller: Caller, old: QuoteId, gone: Vec<Gone>) -> Error {
        match self.reprice(caller, old, gone).await {
            Ok(fresh) => Error::QuoteChanged(Box::new(fresh)),
            Err(error) => error,
        }
    }

    async fn reprice(&self, caller: Caller, old: QuoteId, gone: Vec<Gone>) -> Result<Quote, Error> {
        let old = self.get_quote(caller, old).await?;
        let mut cart = old.cart;
        for _ in 0..ATTEMPTS_MAX {
            match self.price(caller, old.member, cart.clone(), &gone).await {
                Ok(fresh) => {
                    let stored = fresh.clone();
                    self.store.run(fresh.at, move |tx| tx.put(&QUOTES, &stored.id, &stored)).await?;
                    return Ok(fresh);
                }
                Err(error) => match quote::fewer_points(&error) {
                    Some(fewer) if fewer < cart.points => cart.points = fewer.max(Points::ZERO),
                    _ => return Err(error),
                },
            }
        }
        Err(Error::Busy)
    }
}

/// The transaction: everything or nothing.
fn commit(
    tx: &mut Tx<'_>,
    caller: Caller,
    ask: &PlaceOrder,
    id: OrderId,
    now: Timestamp,
    until: Option<Timestamp>,
    settings: &Settings,
) -> Result<Order, NotPlaced> {
    let quote = quote::seen_quote(tx, caller, ask.quote)?;
    if let Some(order) = tx.get(&PLACED_QUOTES, &quote.id)? {
        return Err(Error::QuotePlaced { quote: quote.id, order }.into());
    }
    if quote.expires_at <= now {
        return Err(Error::QuoteExpired { quote: quote.id, at: quote.expires_at }.into());
    }
    let mut member = active_member(tx, caller, quote.member)?;
    if member.revision != quote.revision {
        return Err(NotPlaced::Moved);
    }
    let mut order = new_order(&quote, ask, caller, id, now, until);
    prescription::take(tx, caller, &mut order, now)?;
    reserve_stock(tx, &mut order)?;
    reserve_limits(tx, &order, settings.zone.to_datetime(now))?;
    if let Some(coupon) = quote.coupon {
        let held = tx.get(&COUPONS, &coupon)?.ok_or_else(|| Error::unknown("coupon", coupon))?;
        if held.state != CouponState::Issued {
            return Err(Error::CouponNotUsable { coupon, why: held.state.name() }.into());
        }
        if held.expires_at.is_some_and(|at| at <= now) {
            return Err(NotPlaced::Moved);
        }
        move_coupon(tx, coupon, CouponState::Held(id))?;
    }
    order.reprices = reprices(tx, &order)?;
    order.draws = hold_points(tx, &order, now)?;
    write(tx, &mut order)?;
    tx.put(&PLACED_QUOTES, &quote.id, &id)?;
    put_moved(tx, &mut member)?;
    Ok(order)
}

fn new_order(
    quote: &Quote,
    ask: &PlaceOrder,
    caller: Caller,
    id: OrderId,
    now: Timestamp,
    hold_until: Option<Timestamp>,
) -> Order {
    Order {
        id,
        partner: caller.partner,
        external_id: ask.external_id.clone(),
        member: quote.member,
        state: OrderState::Placed,
        revision: Revision::FIRST,
        priced: quote.priced.clone(),
        quote: quote.id,
        coupon: quote.coupon,
        draws: Vec::new(),
        prescription: quote.cart.prescription.clone(),
        cash_on_delivery: ask.cash_on_delivery,
        placed_at: now,
        hold_until,
        payment: None,
        shipped_at: None,
        delivered_at: None,
        cancelled_at: None,
        earning: None,
        refunds: Vec::new(),
        releases: quote.releases.clone(),
        decision: quote.decision,
        prescription_id: None,
        awaits_review: false,
        acting_for: None,
        refunds_due: Vec::new(),
        reprices: Vec::new(),
        instalments: None,
    }
}

/// Reserves every line's items. A product whose stock was first counted after the quote counts from now on, too: what the
/// order reserved is what it gives back.
fn reserve_stock(tx: &mut Tx<'_>, order: &mut Order) -> Result<(), NotPlaced> {
    let near = events::shard(order.member);
    for (i, line) in order.priced.lines.iter_mut().enumerate() {
        if !line.stock_tracked {
            line.stock_tracked = tx.get(&PRODUCTS, &line.product)?.is_some_and(|product| product.stock_tracked);
        }
        let stock = CounterKey::Stock(line.product);
        if line.stock_tracked && !counters::reserve(tx, stock, near, i64::from(line.quantity))? {
            let left = counters::left(tx, stock)?;
            return Err(Error::OutOfStock { line: i, left }.into());
        }
    }
    Ok(())
}

/// What a lost threshold will cost, as the offers declare it now.
fn reprices(tx: &mut Tx<'_>, order: &Order) -> Result<Vec<Reprice>, NotPlaced> {
    let used: Vec<OfferId> = used_offers(order).map(|(id, ..)| id).collect();
    let declared = tx.get_many(&REPRICED_BELOW, &used)?;
    let pairs = used.into_iter().zip(declared);
    Ok(pairs.filter_map(|(offer, below)| below.map(|below| Reprice { offer, below })).collect())
}

/// Takes what the order uses of its offers from their limits, and notes it to be given back.
fn reserve_limits(tx: &mut Tx<'_>, order: &Order, local: DateTime) -> Result<(), NotPlaced> {
    let mut reservations = Reservations::default();
    for (id, class, amount) in used_offers(order) {
        let offer = tx.get(&OFFERS, &id)?.ok_or_else(|| Error::unknown("offer", id))?;
        let gone = |why| NotPlaced::OfferGone(Gone { offer: id, why });
        if offer.state != OfferState::Live {
            return Err(gone(reasons::PAUSED.with(Vec::new())));
        }
        let amounts = [(Measure::Uses, 1), (Measure::Amount, amount.get())];
        let (member, limits) = (order.member, limits::limits(&offer));
        let taking = Taking { offer: id, limits: &limits, member, local, amounts: &amounts };
        let taken = taking.take(tx)?.map_err(|short| gone(reasons::limited(short)))?;
        // What the breaker counts is how fast orders come: none of it is ever given back.
        let speed = Taking { limits: &offer.breaker, ..taking };
        speed.take(tx)?.map_err(|_| NotPlaced::TooFast(id, member))?;
        if !taken.is_empty() {
            reservations.offers.push(Reserved { offer: id, class, taken });
        }
    }
    if !reservations.offers.is_empty() {
        tx.put(&RESERVATIONS, &order.id, &reservations)?;
    }
    Ok(())
}

/// Holds the points to spend; fewer than at the quote means that the member moved.
fn hold_points(tx: &mut Tx<'_>, order: &Order, now: Timestamp) -> Result<Vec<Draw>, NotPlaced> {
    match lots::hold(tx, order.member, order.id, order.priced.points, now) {
        Ok(draws) => Ok(draws),
        Err(LedgerError::Insufficient { .. }) => Err(NotPlaced::Moved),
        Err(error) => Err(error.into()),
    }
}

fn write(tx: &mut Tx<'_>, order: &mut Order) -> Result<(), NotPlaced> {
    if let Some(name) = &order.external_id {
        let key = (order.partner, name.as_str().to_owned());
        if let Some(other) = tx.get(&ORDERS_BY_EXTERNAL_ID, &key)? {
            return Err(Error::Taken { what: "order", name: name.clone(), id: other.to_string() }.into());
        }
        tx.put(&ORDERS_BY_EXTERNAL_ID, &key, &order.id)?;
    }
    rows::create(tx, order)?;
    tx.put(&ORDERS_OF_MEMBER, &(order.member, order.id), &())?;
    if let Some(until) = order.hold_until {
        scheduler::schedule(tx, TimerKey::new(until, TimerKind::UnpaidOrder, order.id))?;
    }
    Ok(events::append(tx, order.member, [What::OrderPlaced(order.id)])?)
}
