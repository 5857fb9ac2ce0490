//! What a member might want: bought before and probably needed again, or never bought and bought together with it.
//!
//! The host picks the candidates and decides what may be shown; the slot [`SCORE_SLOT`] says how much each is worth and
//! why. Prescription medicine is never there to discover, what is sold out is nowhere, and nothing stands twice, whatever
//! the scorer says. Products carry no contraindications yet, so none is looked at.
//!
//! What is read is read in pieces, each of its own moment: a recommendation promises nothing, and one long read would
//! wait in the way of orders.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use super::{
    Caller, Error, Services,
    facts::{self, Totals, day_number, sealed_profile},
    members::active_member,
    order::rows,
    rules::{Rules, SCORE_SLOT},
    tables::{ORDERS_OF_MEMBER, PRODUCTS},
};
use crate::{
    domain::{
        fact::{self, Facts, Scope},
        member::Member,
        order::{Order, OrderState, ReleaseRef},
        product::Product,
        rule::{Kind, Reason},
        score::{Candidate, Score, ScoreRequest, Shelf},
    },
    events,
    ids::{MemberId, OrderId, ProductId},
    ledger::counters::{self, CounterKey},
    plugin::{Answer, FellBackTo},
    pricing::{promotable::may_recommend, refund::refunded_items},
    recommend,
    store::{Scan, Tx},
};

/// The most recommendations of one answer.
pub const RECOMMENDATIONS_MAX: usize = 100;
/// The latest orders of a member that count.
const ORDERS_MAX: usize = 200;
/// Products in question.
const CANDIDATES_MAX: usize = 1_000;
/// Of them, products that the member bought; the lately bought come first.
const BOUGHT_MAX: usize = 500;
/// Of those, products whose company in the orders of others is looked at.
const KNOWN_MAX: usize = 100;
/// Purchases of one product that are told to the scorer.
const PURCHASES_MAX: usize = 32;
/// Rows of one read.
const ROWS_AT_ONCE: usize = 250;
/// Events of a shard that are counted in one go.
const EVENTS_AT_ONCE: usize = 20;

/// What is recommended to one member on one shelf.
#[derive(Clone, Debug)]
pub struct Recommendations {
    /// The best first.
    pub items: Vec<Recommended>,
    /// The release that scored them.
    pub release: ReleaseRef,
}

/// A recommended product.
#[derive(Clone, Debug)]
pub struct Recommended {
    /// Which.
    pub product: Product,
    /// Higher is better; comparable within one answer only.
    pub value: f64,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// What one member bought and kept.
#[derive(Default)]
struct History {
    /// When each product was bought, newest first; never, for those that all came back.
    purchases: BTreeMap<ProductId, Vec<Timestamp>>,
    /// Orders that hold something of a category.
    categories: BTreeMap<String, i64>,
}

/// What the candidates are made of.
struct Picked {
    /// Bought products, the lately bought first, then those that others bought with them, the most often first.
    products: Vec<Product>,
    /// Orders of others that hold a product together with what this member bought.
    together: BTreeMap<ProductId, u64>,
    /// Paid orders that hold each of `products`.
    baskets: Vec<u64>,
    /// Paid orders that hold what this member bought.
    bought_baskets: u64,
}

impl Services {
    /// What a member might want, on one shelf: at most `limit` products, the best first.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] and [`Error::Erased`] for the member, [`Error::Invalid`] for the limit, [`Error::NoRule`] if no
    /// scorer is live or it is declared to fail closed.
    pub async fn recommendations(
        &self,
        caller: Caller,
        member: MemberId,
        shelf: Shelf,
        limit: usize,
    ) -> Result<Recommendations, Error> {
        if !(1..=RECOMMENDATIONS_MAX).contains(&limit) {
            return Err(Error::field("/limit", format!("must be 1 to {RECOMMENDATIONS_MAX}")));
        }
        let now = self.clock.now();
        let today = day_number(now, &self.settings.zone);
        let read = self.store.read(move |tx| {
            let member = active_member(tx, caller, member)?;
            Ok::<_, Error>((facts::totals(tx, &member, today)?, sealed_profile(tx, member.id)?, member))
        });
        let (totals, sealed, member) = read.await?;
        let birthday = self.open_profile(member.id, sealed.as_deref())?.birthday;
        let history = self.history(caller, member.id).await?;
        let picked = self.pick(caller, &history).await?;
        let facts = self.scored_member(&member, birthday, &totals, now, picked.bought_baskets)?;
        let candidates = candidates(&picked, &history);
        let (scores, release) = self.score(ScoreRequest { as_of: now, facts, candidates }).await?;
        let ranked = ranked(scores, &picked.products, &history, shelf);
        let items = self.store.read(move |tx| in_stock(tx, &ranked, limit)).await?;
        Ok(Recommendations { items, release })
    }

    /// Counts further events towards what is bought together, a bounded number; how many. Call again while it is not
    /// zero.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn advance_recommendations(&self) -> Result<usize, Error> {
        let mut waiting = Vec::new();
        for shard in 0..events::SHARDS {
            let read = self.store.peek(move |tx| {
                recommend::read(tx, shard, EVENTS_AT_ONCE, |tx, order| {
                    let order = rows::get(tx, order)?;
                    let lines = order.map(|order| order.priced.lines).unwrap_or_default();
                    Ok::<_, Error>(lines.into_iter().map(|line| line.product).collect())
                })
            });
            waiting.push(read.await?);
        }
        waiting.retain(|waiting| !waiting.is_empty());
        if waiting.is_empty() {
            return Ok(0);
        }
        Ok(self.store.run(self.clock.now(), move |tx| recommend::count(tx, &waiting)).await?)
    }

    /// What the member bought and kept, as far as the caller may see it.
    async fn history(&self, caller: Caller, member: MemberId) -> Result<History, Error> {
        let read = self.store.read(move |tx| {
            tx.scan(&ORDERS_OF_MEMBER, &Scan::prefix(&member).reverse().limit(ORDERS_MAX)).map_err(Error::from)
        });
        let ids: Vec<OrderId> = read.await?.into_iter().map(|((_, order), ())| order).collect();
        let mut history = History::default();
        for some in ids.chunks(ROWS_AT_ONCE) {
            let some = some.to_vec();
            let read = self.store.read(move |tx| {
                let orders = some.iter().map(|id| rows::get(tx, *id));
                orders.collect::<Result<Vec<_>, _>>().map_err(Error::from)
            });
            read.await?
                .iter()
                .flatten()
                .filter(|order| caller.sees(order.partner))
                .for_each(|order| history.add(order));
        }
        for purchases in history.purchases.values_mut() {
            purchases.sort_by_key(|at| Reverse(*at));
            purchases.truncate(PURCHASES_MAX);
        }
        Ok(history)
    }

    async fn pick(&self, caller: Caller, history: &History) -> Result<Picked, Error> {
        let mut bought: Vec<(ProductId, Timestamp)> =
            history.purchases.iter().filter_map(|(product, times)| Some((*product, *times.first()?))).collect();
        bought.sort_by_key(|(product, latest)| (Reverse(*latest), *product));
        bought.truncate(BOUGHT_MAX);
        let mut ids: Vec<ProductId> = bought.into_iter().map(|(product, _)| product).collect();
        let known: Vec<ProductId> = ids.iter().take(KNOWN_MAX).copied().collect();
        let read = self.store.read(move |tx| {
            let together = recommend::bought_with(tx, &known, CANDIDATES_MAX)?;
            Ok::<_, Error>((together, recommend::baskets(tx, &known)?.iter().sum()))
        });
        let (together, bought_baskets) = read.await?;
        let new =
            together.iter().map(|(product, _)| *product).filter(|product| !history.purchases.contains_key(product));
        ids.extend(new.take(CANDIDATES_MAX - ids.len()));
        let mut picked = Picked {
            products: Vec::new(),
            together: together.into_iter().collect(),
            baskets: Vec::new(),
            bought_baskets,
        };
        for some in ids.chunks(ROWS_AT_ONCE) {
            let some = some.to_vec();
            let read = self.store.read(move |tx| {
                let products = tx.get_many(&PRODUCTS, &some)?.into_iter().flatten();
                let products: Vec<Product> = products.filter(|product| caller.sees(product.partner)).collect();
                let ids: Vec<ProductId> = products.iter().map(|product| product.id).collect();
                Ok::<_, Error>((recommend::baskets(tx, &ids)?, products))
            });
            let (baskets, products) = read.await?;
            picked.baskets.extend(baskets);
            picked.products.extend(products);
        }
        Ok(picked)
    }

    fn scored_member(
        &self,
        member: &Member,
        birthday: Option<jiff::civil::Date>,
        totals: &Totals,
        now: Timestamp,
        bought_baskets: u64,
    ) -> Result<Facts, Error> {
        let tier = Rules::new(self).held_tier(member)?;
        let facts = self.member_facts(member, birthday, totals, Some(&tier), now);
        Ok(facts.with(&fact::MEMBER_BOUGHT_BASKETS, number(bought_baskets).into()))
    }

    /// Asks the live scorer; nothing where its fallback is to go on without.
    async fn score(&self, request: ScoreRequest) -> Result<(Vec<Score>, ReleaseRef), Error> {
        let no_rule = |why: String| Error::NoRule { slot: SCORE_SLOT.to_owned(), why };
        let live = self.live_release(SCORE_SLOT, Kind::Scorer);
        let live = live.ok_or_else(|| no_rule("it has no release".to_owned()))?;
        let answered = live.score(&[request]).await;
        let release = ReleaseRef { slot: SCORE_SLOT.to_owned(), number: answered.release.number };
        if let Some(fault) = answered.fault() {
            tracing::warn!(release = %answered.release, fault = fault.code(), "a scorer fell back");
        }
        match answered.answers.into_iter().next() {
            Some(Answer::FellBack { by: FellBackTo::Refusal, fault, .. }) => Err(no_rule(fault.to_string())),
            answer => Ok((answer.and_then(Answer::into_value).unwrap_or_default(), release)),
        }
    }
}

impl History {
    fn add(&mut self, order: &Order) {
        let Some(payment) = &order.payment else { return };
        if order.state == OrderState::Cancelled {
            return;
        }
        let refunded = refunded_items(order);
        let (mut products, mut categories) = (BTreeSet::new(), BTreeSet::new());
        for (line, refunded) in order.priced.lines.iter().zip(refunded) {
            let times = self.purchases.entry(line.product).or_default();
            let kept = line.quantity > refunded;
            if kept && products.insert(line.product) {
                times.push(payment.at);
            }
            if kept && categories.insert(&line.category) {
                *self.categories.entry(line.category.clone()).or_default() += 1;
            }
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What the scorer is told of each product.
fn candidates(picked: &Picked, history: &History) -> Vec<Candidate> {
    let candidate = |(product, baskets): (&Product, &u64)| {
        let purchased_at = history.purchases.get(&product.id).cloned().unwrap_or_default();
        let category = history.categories.get(&product.category).copied().unwrap_or(0);
        let mut facts = Facts::of(Scope::Candidate)
            .with(&fact::CANDIDATE_PRODUCT, product.external_id.as_str().into())
            .with(&fact::CANDIDATE_CATEGORY, product.category.as_str().into())
            .with(&fact::CANDIDATE_CLASS, product.class.name().into())
            .with(&fact::CANDIDATE_PRICE, product.list_price.into())
            .with(&fact::CANDIDATE_BASKETS, number(*baskets).into())
            .with(&fact::CANDIDATE_CATEGORY_BOUGHT, category.into());
        if let Some(days) = product.days_of_supply {
            facts.set(&fact::CANDIDATE_DAYS_OF_SUPPLY, i64::from(days).into());
        }
        if let Some(count) = picked.together.get(&product.id).filter(|_| purchased_at.is_empty()) {
            facts.set(&fact::CANDIDATE_BOUGHT_TOGETHER, number(*count).into());
        }
        Candidate { facts, purchased_at }
    };
    picked.products.iter().zip(&picked.baskets).map(candidate).collect()
}

/// What may stand on the shelf, once each, the highest value first and equal ones by product id. Only what was bought can
/// be bought again, and only what was not can be discovered.
fn ranked(scores: Vec<Score>, products: &[Product], history: &History, shelf: Shelf) -> Vec<Recommended> {
    let mut seen = BTreeSet::new();
    let mut ranked: Vec<Recommended> = scores
        .into_iter()
        .filter(|score| score.shelf == shelf)
        .filter_map(|score| {
            let product = products.get(score.candidate as usize)?;
            let bought = history.purchases.contains_key(&product.id);
            let fits = bought == (shelf == Shelf::BuyAgain) && may_recommend(shelf, product.class);
            (fits && seen.insert(product.id)).then(|| Recommended {
                product: product.clone(),
                value: score.value,
                reasons: score.reasons,
            })
        })
        .collect();
    ranked.sort_by(|one, other| other.value.total_cmp(&one.value).then(one.product.id.cmp(&other.product.id)));
    ranked
}

/// The first `limit` that are not sold out.
fn in_stock(tx: &mut Tx<'_>, ranked: &[Recommended], limit: usize) -> Result<Vec<Recommended>, Error> {
    let mut items = Vec::new();
    for item in ranked {
        if items.len() == limit {
            break;
        }
        if !item.product.stock_tracked || counters::left(tx, CounterKey::Stock(item.product.id))? > 0 {
            items.push(item.clone());
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests;
