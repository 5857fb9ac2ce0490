//! What an offer could cost: at worst by what it declares, and as expected from the orders of the last weeks.

use jiff::{SignedDuration, Timestamp};

use super::{known_offer, launch::number};
use crate::{
    domain::{
        limit::{Measure, Period, Whose},
        money::{BasisPoints, Money},
        offer::{Offer, OfferClass},
        order::Order,
    },
    ids::OfferId,
    ledger::limits,
    service::{
        Error, Services,
        order::rows,
        tables::{MEMBERS, ORDERS},
    },
    store::{Scan, Tx},
};

/// An offer without an end is looked at for so many days.
const HORIZON_DAYS: i64 = 30;
/// The newest orders that are looked at, and how old they may be.
const ORDERS_SEEN_MAX: usize = 200;
const ORDERS_DAYS: i64 = 30;
/// Members counted, and how many at once.
const MEMBERS_COUNTED_MAX: usize = 1_000_000;
const MEMBERS_AT_ONCE: usize = 1_000;

/// What an offer could cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liability {
    /// Days that are looked at: to the offer's end, or so many where it has none.
    pub horizon_days: i64,
    /// Members there are.
    pub members: i64,
    /// The most uses that its limits allow; none where nothing limits them.
    pub uses_max: Option<i64>,
    /// The most that one use can take off; none where the terms do not say.
    pub per_use_max: Option<Money>,
    /// The most it can cost; none where nothing bounds it.
    pub worst: Option<Money>,
    /// Orders that were looked at.
    pub orders_seen: i64,
    /// Those of them that its terms fit.
    pub orders_fitting: i64,
    /// Uses to be expected.
    pub expected_uses: i64,
    /// What they cost.
    pub expected: Money,
    /// What this rests on, in words.
    pub assumptions: Vec<String>,
}

/// The newest orders, as far as they matter here.
struct Sample {
    /// Orders there were.
    orders: i64,
    /// What the offer would have taken off those it fits.
    savings: Vec<i64>,
    /// Days that they span; at least one.
    days: i64,
}

impl Services {
    /// What an offer could cost, as it stands now.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn liability(&self, id: OfferId) -> Result<Liability, Error> {
        let now = self.clock.now();
        let members = self.count_members().await?;
        let read = self.store.read(move |tx| {
            let offer = known_offer(tx, id)?;
            let sample = sample(tx, &offer, now)?;
            Ok::<_, Error>((offer, sample))
        });
        let (offer, sample) = read.await?;
        Ok(assess(&offer, &sample, members, now))
    }

    /// Members there are, up to a million.
    async fn count_members(&self) -> Result<i64, Error> {
        let (mut last, mut count) = (None, 0);
        while count < MEMBERS_COUNTED_MAX {
            let read = self.store.read(move |tx| {
                let scan = Scan::all().limit(MEMBERS_AT_ONCE);
                let rows = tx.scan(&MEMBERS, &if let Some(last) = &last { scan.after(last) } else { scan })?;
                Ok::<_, Error>((rows.len(), rows.last().map(|(id, _)| *id)))
            });
            let (rows, next) = read.await?;
            count += rows;
            if rows < MEMBERS_AT_ONCE {
                break;
            }
            last = next;
        }
        Ok(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

fn sample(tx: &mut Tx<'_>, offer: &Offer, now: Timestamp) -> Result<Sample, Error> {
    let since = now.checked_sub(SignedDuration::from_hours(24 * ORDERS_DAYS)).unwrap_or(Timestamp::MIN);
    let newest = tx.scan(&ORDERS, &Scan::all().reverse().limit(ORDERS_SEEN_MAX))?;
    let (mut orders, mut oldest, mut savings) = (0, now, Vec::new());
    for (id, order) in newest {
        if order.placed_at < since {
            break;
        }
        let Some(order) = rows::get(tx, id)?.filter(|order| order.payment.is_some()) else { continue };
        (orders, oldest) = (orders + 1, order.placed_at);
        savings.extend(saving(offer, &order));
    }
    let days = (now.duration_since(oldest).as_hours() / 24).max(1);
    Ok(Sample { orders, savings, days })
}

/// What an offer would take off an order, by the terms whose names say it; none if they do not fit it.
fn saving(offer: &Offer, order: &Order) -> Option<i64> {
    let term = |name: &str| number(&offer.terms, name);
    let base = Money::sum(order.priced.lines.iter().map(|line| line.base)).ok()?;
    if term("threshold").is_some_and(|threshold| base.get() < threshold) {
        return None;
    }
    let whole = if offer.class == OfferClass::Delivery { order.priced.delivery_fee } else { base };
    let off = match (term("amount"), term("percent")) {
        (Some(amount), _) => amount,
        (None, Some(percent)) => BasisPoints::new(u32::try_from(percent).ok()?).of(whole).ok()?.get(),
        (None, None) if offer.class == OfferClass::Delivery => whole.get(),
        (None, None) => return None,
    };
    let off = off.min(whole.get()).min(term("cap").unwrap_or(i64::MAX));
    (off > 0).then_some(off)
}

fn assess(offer: &Offer, sample: &Sample, members: i64, now: Timestamp) -> Liability {
    let begins = offer.starts_at.max(now);
    let horizon_days =
        offer.ends_at.map_or(HORIZON_DAYS, |end| (end.duration_since(begins).as_hours() + 23) / 24).max(1);
    let uses_max = bound(offer, &[Measure::Uses, Measure::Issues], horizon_days, members);
    let per_use = number(&offer.terms, "amount").or_else(|| number(&offer.terms, "cap"));
    let by_uses = uses_max.zip(per_use).map(|(uses, each)| uses.saturating_mul(each));
    let worst = [bound(offer, &[Measure::Amount], horizon_days, members), by_uses].into_iter().flatten().min();
    let fitting = i64::try_from(sample.savings.len()).unwrap_or(i64::MAX);
    let likely = fitting.saturating_mul(horizon_days) / sample.days;
    let expected_uses = uses_max.map_or(likely, |most| likely.min(most));
    let saved: i128 = sample.savings.iter().map(|off| i128::from(*off)).sum();
    let cost = i128::from(expected_uses) * saved / i128::from(fitting.max(1));
    let expected = i64::try_from(cost).unwrap_or(i64::MAX).min(worst.unwrap_or(i64::MAX));
    let assumptions = vec![
        format!(
            "the next {horizon_days} days are like those of the last {} paid orders ({} days)",
            sample.orders, sample.days
        ),
        "every order that the terms fit uses it, and no other offer takes its place".to_owned(),
        "conditions, windows and lists of goods narrow nothing".to_owned(),
        format!("{members} members take part"),
    ];
    Liability {
        horizon_days,
        members,
        uses_max,
        per_use_max: per_use.map(Money::new),
        worst: worst.map(Money::new),
        orders_seen: sample.orders,
        orders_fitting: fitting,
        expected_uses,
        expected: Money::new(expected),
        assumptions,
    }
}

/// The tightest bound on these measures over so many days.
fn bound(offer: &Offer, measures: &[Measure], days: i64, members: i64) -> Option<i64> {
    let periods = |period: Period| match period {
        Period::Ever => 1,
        Period::Minute => days.saturating_mul(1_440).saturating_add(1),
        Period::Hour => days.saturating_mul(24).saturating_add(1),
        Period::Day => days.saturating_add(1),
        Period::Week => days / 7 + 2,
        Period::Month => days / 28 + 2,
    };
    let whose = |whose: Whose| if whose == Whose::Member { members } else { 1 };
    let limits = limits::limits(offer).into_iter().filter(|limit| measures.contains(&limit.measure));
    let limits =
        limits.map(|limit| limit.most.saturating_mul(periods(limit.period)).saturating_mul(whose(limit.whose)));
    let issued = offer.per_member.filter(|_| measures.contains(&Measure::Issues));
    limits.chain(issued.map(|each| i64::from(each).saturating_mul(members))).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::limit::Limit,
        service::{
            fixture::{Fixture, offer},
            offers::NewOffer,
        },
    };

    /// An offer of ¥1.00 off with a budget and a daily limit, for ten members, held against a sample.
    #[tokio::test]
    async fn the_worst_and_the_expected_case() {
        let fixture = Fixture::model(1).await;
        let daily = Limit { whose: Whose::Member, measure: Measure::Uses, period: Period::Day, most: 2 };
        let new = NewOffer { budget_uses: Some(500), limits: vec![daily], ..offer("x", OfferClass::Promotion) };
        let done = fixture.services.define_offer(fixture.operator, fixture.once(), new).await.expect("is defined");
        let (mut offer, now) = (done.value, fixture.services.clock.now());
        let sample = Sample { orders: 20, savings: vec![100; 10], days: 5 };
        let found = assess(&offer, &sample, 10, now);
        assert_eq!((found.horizon_days, found.uses_max), (30, Some(500)));
        assert_eq!(
            (found.worst, found.expected_uses, found.expected),
            (Some(Money::new(50_000)), 60, Money::new(6_000))
        );
        offer.budget_uses = None;
        assert_eq!(assess(&offer, &sample, 10, now).uses_max, Some(2 * 31 * 10));
        offer.limits.clear();
        let open = assess(&offer, &sample, 10, now);
        assert_eq!((open.uses_max, open.worst, open.expected), (None, None, Money::new(6_000)));
        offer.budget_amount = Some(Money::new(1_500));
        let capped = assess(&offer, &sample, 10, now);
        assert_eq!((capped.worst, capped.expected), (Some(Money::new(1_500)), Money::new(1_500)));
    }
}
