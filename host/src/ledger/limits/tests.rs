//! Whatever is taken and given back, over period ends and by whom: a limit is never exceeded, and never leaks.

use jiff::{Timestamp, ToSpan as _, civil::date};
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        money::Money,
        offer::{Purpose, fixture},
    },
    ids::Id as _,
    store::Store,
};

const MEMBERS: u128 = 5;

#[derive(Clone, Debug)]
enum Step {
    /// A member uses it and saves so much.
    Use(u128, i64),
    /// What was used so many uses ago comes back.
    Back(usize),
    /// So many hours go by.
    Wait(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..MEMBERS, 1..80_i64).prop_map(|(member, amount)| Step::Use(member, amount)),
        3 => (0..8_usize).prop_map(Step::Back),
        2 => (1..60_i64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

fn limits_of_all_kinds() -> Vec<Limit> {
    let limit = |whose, measure, period, most| Limit { whose, measure, period, most };
    vec![
        limit(Whose::All, Measure::Uses, Period::Day, 5),
        limit(Whose::All, Measure::Amount, Period::Week, 400),
        limit(Whose::All, Measure::Uses, Period::Month, 20),
        limit(Whose::Member, Measure::Uses, Period::Day, 2),
        limit(Whose::Member, Measure::Uses, Period::Month, 6),
        limit(Whose::Member, Measure::Amount, Period::Ever, 600),
    ]
}

fn offer(limits: Vec<Limit>) -> Offer {
    let plain = fixture::offer(1, OfferClass::Promotion, Purpose::General);
    Offer { budget_uses: Some(40), budget_amount: Some(Money::new(1_500)), limits, ..plain }
}

/// Who holds what since when: all there is to know, added up anew for every question.
type Held = Vec<(u128, i64, DateTime)>;

fn allows(held: &Held, limits: &[Limit], member: u128, amount: i64, now: DateTime) -> bool {
    limits.iter().all(|limit| {
        let counts = |(who, _, at): &&(u128, i64, DateTime)| {
            (limit.whose == Whose::All || *who == member) && limit.period.index(*at) == limit.period.index(now)
        };
        let of = |amount: i64| if limit.measure == Measure::Amount { amount } else { 1 };
        let taken: i64 = held.iter().filter(counts).map(|(_, amount, _)| of(*amount)).sum();
        taken + of(amount) <= limit.most
    })
}

async fn check(seed: u64, steps: Vec<Step>) {
    let (store, offer) = (Store::model(seed), offer(limits_of_all_kinds()));
    let at = Timestamp::UNIX_EPOCH;
    let (id, all) = (offer.id, limits(&offer));
    let begin = store.run(at, move |tx| {
        counters::set_limit(tx, CounterKey::OfferUses(id), 40)?;
        counters::set_limit(tx, CounterKey::OfferAmount(id), 1_500)
    });
    begin.await.expect("begins");
    let (mut now, mut held, mut notes) = (date(2026, 3, 30).at(20, 0, 0, 0), Held::new(), Vec::new());
    for step in steps {
        match step {
            Step::Wait(hours) => now = now.checked_add(hours.hours()).expect("a time"),
            Step::Back(ago) => {
                let Some(at) = held.len().checked_sub(ago + 1) else { continue };
                let (who, _, _) = held.remove(at);
                let taken: Vec<Taken> = notes.remove(at);
                let back = store.run(Timestamp::UNIX_EPOCH, move |tx| {
                    taken.iter().try_for_each(|taken| give_back(tx, id, MemberId::from_bits(who), *taken))
                });
                back.await.expect("gives back");
            }
            Step::Use(who, amount) => {
                let limits = all.clone();
                let take = store.run(Timestamp::UNIX_EPOCH, move |tx| {
                    let amounts = [(Measure::Uses, 1), (Measure::Amount, amount)];
                    let member = MemberId::from_bits(who);
                    Taking { offer: id, limits: &limits, member, local: now, amounts: &amounts }.take(tx)
                });
                let taken = take.await.expect("asks");
                assert_eq!(taken.is_ok(), allows(&held, &all, who, amount, now), "{who} {amount} at {now}: {taken:?}");
                if let Ok(taken) = taken {
                    held.push((who, amount, now));
                    notes.push(taken);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// An answer depends on what is held in the period asked about, and on nothing else.
    #[test]
    fn limits_are_never_exceeded_and_never_leak(seed in any::<u64>(), steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check(seed, steps));
    }
}

/// A day's counter leaves no rows behind that grow with the days.
#[tokio::test]
async fn past_periods_are_swept() {
    let daily = Limit { whose: Whose::All, measure: Measure::Uses, period: Period::Day, most: 3 };
    let own = Limit { whose: Whose::Member, ..daily };
    let offer = Offer { budget_uses: None, budget_amount: None, ..offer(vec![daily, own]) };
    let store = Store::model(1);
    for day in 0..40 {
        let (id, limits, local) =
            (offer.id, limits(&offer), date(2026, 3, 1).at(12, 0, 0, 0).checked_add(day.days()).expect("a day"));
        let take = store.run(Timestamp::UNIX_EPOCH, move |tx| {
            let (member, amounts) = (MemberId::from_bits(0), [(Measure::Uses, 1)]);
            Taking { offer: id, limits: &limits, member, local, amounts: &amounts }.take(tx)
        });
        take.await.expect("asks").expect("is free");
    }
    let rows = store.read(|tx| {
        let shared = tx.scan(&COUNTERS, &Scan::all().limit(100))?.len();
        Ok::<_, StoreError>((shared, tx.scan(&OFFER_TAKEN, &Scan::all().limit(100))?.len()))
    });
    assert_eq!(rows.await.expect("reads"), (2, 2));
}
