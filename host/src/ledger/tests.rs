//! Whatever happens to points, none are made and none are lost.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    LedgerError,
    counters::{self, CounterKey},
    lots,
    postings::{balance_at, last_before, post},
    verify,
};
use crate::{
    domain::{
        money::Points,
        points::{Account, Balances, Cause, Clawback, Draw, Entry, House, LotKey, LotOrigin, Purse},
    },
    ids::{Id, MemberId, OfferId, OrderId, RefundId},
    store::{Store, StoreError, Tx},
};

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("in range")
}

fn member() -> MemberId {
    MemberId::from_bits(7)
}

fn order(n: u128) -> OrderId {
    OrderId::from_bits(n)
}

/// Gives an order's points, pending.
fn earn(tx: &mut Tx<'_>, member: MemberId, order: OrderId, points: Points) -> Result<(), LedgerError> {
    lots::earn(tx, member, LotOrigin(order.to_bits()), points, Cause::Earned(order))
}

/// Makes an order's pending points spendable.
fn activate(tx: &mut Tx<'_>, member: MemberId, order: OrderId, expires_at: Timestamp) -> Result<bool, LedgerError> {
    let lot = LotKey { expires_at, origin: LotOrigin(order.to_bits()) };
    lots::activate(tx, member, lot, Cause::Activated(order))
}

fn balances(pending: i64, active: i64, held: i64) -> Balances {
    let (pending, active, held) = (Points::new(pending), Points::new(active), Points::new(held));
    Balances { pending, active, held, debt: Points::ZERO }
}

/// Something that can happen to one member's points; refused where it cannot.
#[derive(Debug, Clone)]
enum Step {
    Earn(u8, i64),
    Activate(u8, i64),
    Hold(u8, i64),
    Release(u8),
    Capture(u8),
    Restore(u8, i64),
    ClawBack(u8, i64, Clawback),
    Expire,
    Adjust(i64),
}

fn policies() -> impl Strategy<Value = Clawback> {
    prop_oneof![Just(Clawback::PendingOnly), Just(Clawback::WithinBalance), Just(Clawback::MayGoNegative)]
}

fn steps() -> impl Strategy<Value = (i64, Step)> {
    let (n, points) = (0..6_u8, 0..300_i64);
    let step = prop_oneof![
        (n.clone(), points.clone()).prop_map(|(n, p)| Step::Earn(n, p)),
        (n.clone(), 1..500_i64).prop_map(|(n, life)| Step::Activate(n, life)),
        (n.clone(), points.clone()).prop_map(|(n, p)| Step::Hold(n, p)),
        n.clone().prop_map(Step::Release),
        n.clone().prop_map(Step::Capture),
        (n.clone(), points.clone()).prop_map(|(n, p)| Step::Restore(n, p)),
        (n, points, policies()).prop_map(|(n, p, policy)| Step::ClawBack(n, p, policy)),
        Just(Step::Expire),
        (-200..200_i64).prop_map(Step::Adjust),
    ];
    (-20..50_i64, step)
}

/// What the steps did to orders: what a service would know from its order rows.
#[derive(Debug, Clone, Default)]
struct Seen {
    held: Vec<(u8, Vec<Draw>)>,
    spent: Vec<(u8, Vec<Draw>, i64)>,
    now: i64,
    n: u128,
}

async fn apply(store: &Store, seen: &mut Seen, step: &Step) {
    seen.n += 1;
    let (now, step, held, spent, n) = (at(seen.now), step.clone(), seen.held.clone(), seen.spent.clone(), seen.n);
    let draws_of = move |n: u8| held.iter().find(|(of, _)| *of == n).map(|(_, draws)| draws.clone());
    let spent_of = move |n: u8| spent.iter().find(|(of, ..)| *of == n).cloned();
    let what = step.clone();
    let done: Result<Vec<Draw>, LedgerError> = store
        .run(now, move |tx| {
            let (m, refund) = (member(), RefundId::from_bits(n));
            match &what {
                Step::Earn(o, p) => earn(tx, m, order(u128::from(*o) + n * 100), Points::new(*p))?,
                Step::Activate(o, life) => {
                    for back in 1..=n {
                        let key = order(u128::from(*o) + (n - back) * 100);
                        if activate(tx, m, key, at(now.as_millisecond() + life))? {
                            break;
                        }
                    }
                }
                Step::Hold(o, p) => {
                    if draws_of(*o).is_none() {
                        return lots::hold(tx, m, order(u128::from(*o)), Points::new(*p), now);
                    }
                }
                Step::Release(o) => {
                    lots::release(tx, m, order(u128::from(*o)), &draws_of(*o).unwrap_or_default())?;
                }
                Step::Capture(o) => {
                    lots::capture(tx, m, order(u128::from(*o)), &draws_of(*o).unwrap_or_default())?;
                }
                Step::Restore(o, p) => {
                    if let Some((_, draws, back)) = spent_of(*o) {
                        let all: i64 = draws.iter().map(|draw| draw.points.get()).sum();
                        let now_back = Points::new((*p).min(all - back));
                        lots::restore(tx, m, refund, &draws, Points::new(back), now_back)?;
                        return Ok(vec![Draw {
                            lot: LotKey { expires_at: now, origin: LotOrigin(0) },
                            points: now_back,
                        }]);
                    }
                }
                Step::ClawBack(o, p, policy) => {
                    let before = lots::balances(tx, m, None)?;
                    let taken = lots::claw_back(tx, m, order(u128::from(*o)), refund, Points::new(*p), None, *policy)?;
                    let after = lots::balances(tx, m, None)?;
                    assert!(*policy != Clawback::PendingOnly || after.active == before.active, "only what is pending");
                    assert!(*policy == Clawback::MayGoNegative || after.debt == before.debt, "nobody owes anything");
                    assert!(*policy != Clawback::MayGoNegative || taken == Points::new(*p), "everything is taken");
                }
                Step::Expire => drop(lots::expire(tx, m, now)?),
                Step::Adjust(p) if *p < 0 => lots::take_away(tx, m, Points::new(-p), now, None)?,
                Step::Adjust(p) => {
                    let lot = LotKey { expires_at: at(now.as_millisecond() + 100), origin: LotOrigin(n) };
                    lots::grant(tx, m, House::Adjusted, Points::new(*p), lot, Cause::Adjusted)?;
                }
            }
            Ok(Vec::new())
        })
        .await;
    if let Err(LedgerError::Store(StoreError::Panicked { message })) = &done {
        panic!("{message}");
    }
    let Ok(draws) = done else { return };
    match step {
        Step::Hold(o, _) if !draws.is_empty() => seen.held.push((o, draws)),
        Step::Release(o) => seen.held.retain(|(of, _)| *of != o),
        Step::Capture(o) => {
            if let Some(i) = seen.held.iter().position(|(of, _)| *of == o) {
                let (_, draws) = seen.held.remove(i);
                seen.spent.retain(|(of, ..)| *of != o);
                seen.spent.push((o, draws, 0));
            }
        }
        Step::Restore(o, _) => {
            for spent in seen.spent.iter_mut().filter(|(of, ..)| *of == o) {
                spent.2 += draws.first().map_or(0, |draw| draw.points.get());
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Σ of all accounts is zero, lots agree with purses and held points with open holds, after any history, with a clock
    /// that may go back, on a store that runs everything twice.
    #[test]
    fn the_books_close_after_any_history(history in prop::collection::vec(steps(), 1..60), seed in 0..1_000_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        runtime.block_on(async {
            let store = Store::model(seed);
            let mut seen = Seen { now: 1_000, ..Seen::default() };
            for (moved, step) in &history {
                seen.now += moved;
                apply(&store, &mut seen, step).await;
            }
            let report = verify::verify(&store).await.expect("reads");
            prop_assert_eq!(report.sum, 0);
            prop_assert_eq!(report.problems, Vec::<String>::new());
            let now = store.read(|tx| lots::balances(tx, member(), None)).await.expect("reads");
            let held: i64 = seen.held.iter().flat_map(|(_, draws)| draws).map(|draw| draw.points.get()).sum();
            prop_assert_eq!(now.held, Points::new(held));
            Ok(())
        })?;
    }

    /// A budget is never exceeded and never leaks, whoever reserves and gives back.
    #[test]
    fn budgets_are_exact(limit in 0..200_i64, asks in prop::collection::vec((0..64_u16, 1..30_i64, any::<bool>()), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
        runtime.block_on(async {
            let (store, key) = (Store::model(1), CounterKey::OfferUses(OfferId::from_bits(1)));
            store.run(at(0), move |tx| counters::set_limit(tx, key, limit)).await.expect("writes");
            let mut taken: Vec<(u16, i64)> = Vec::new();
            for (near, amount, back) in asks {
                let returned = if back { taken.pop() } else { None };
                let got = store.run(at(1), move |tx| match returned {
                    Some((near, amount)) => counters::give_back(tx, key, near, amount).map(|()| false),
                    None => counters::reserve(tx, key, near, amount),
                }).await.expect("runs");
                let out: i64 = taken.iter().map(|(_, amount)| amount).sum();
                if returned.is_none() {
                    prop_assert_eq!(got, out + amount <= limit);
                }
                if got { taken.push((near, amount)) }
                let out: i64 = taken.iter().map(|(_, amount)| amount).sum();
                let left = store.read(move |tx| counters::left(tx, key)).await.expect("reads");
                prop_assert_eq!(left, limit - out);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn points_go_from_pending_over_held_to_spent_and_back_to_their_lot() {
    let store = Store::model(3);
    let (m, o) = (member(), order(1));
    let draws = store
        .run(at(1_000), move |tx| {
            earn(tx, m, o, Points::new(100))?;
            assert_eq!(lots::balances(tx, m, None)?, balances(100, 0, 0));
            assert!(activate(tx, m, o, at(9_000))?, "was pending");
            assert!(!activate(tx, m, o, at(9_000))?, "only once");
            let lot = LotKey { expires_at: at(9_000), origin: LotOrigin(o.to_bits()) };
            let draws = lots::hold(tx, m, order(2), Points::new(60), at(1_000))?;
            assert_eq!(draws, [Draw { lot, points: Points::new(60) }]);
            assert_eq!(lots::balances(tx, m, None)?, balances(0, 40, 60));
            lots::capture(tx, m, order(2), &draws)?;
            Ok::<_, LedgerError>(draws)
        })
        .await
        .expect("runs");
    store
        .run(at(2_000), move |tx| {
            lots::restore(tx, m, RefundId::from_bits(1), &draws, Points::ZERO, Points::new(10))?;
            lots::restore(tx, m, RefundId::from_bits(2), &draws, Points::new(10), Points::new(50))?;
            assert_eq!(lots::balances(tx, m, None)?, balances(0, 100, 0));
            assert_eq!(lots::available(tx, m, at(8_999))?, Points::new(100));
            assert_eq!(lots::available(tx, m, at(9_000))?, Points::ZERO, "dead, though not swept");
            Ok::<_, LedgerError>(())
        })
        .await
        .expect("runs");
    let then = store.read(move |tx| lots::balances(tx, m, Some(at(1_500)))).await.expect("reads");
    assert_eq!(then, balances(0, 40, 0), "as it was before the refund");
    let swept = store.run(at(9_000), move |tx| lots::expire(tx, m, at(9_000))).await.expect("runs");
    assert_eq!(swept, (Points::new(100), false));
}

#[tokio::test]
async fn lots_are_spent_earliest_expiry_first_and_never_after_their_time() {
    let store = Store::model(5);
    let m = member();
    store
        .run(at(0), move |tx| {
            for (n, expires) in [(1, 300), (2, 100), (3, 200)] {
                let lot = LotKey { expires_at: at(expires), origin: LotOrigin(n) };
                lots::grant(tx, m, House::Opening, Points::new(10), lot, Cause::Opening)?;
            }
            let draws = lots::hold(tx, m, order(1), Points::new(15), at(100))?;
            let drawn: Vec<(u128, i64)> = draws.iter().map(|draw| (draw.lot.origin.0, draw.points.get())).collect();
            assert_eq!(drawn, [(3, 10), (1, 5)], "lot 2 is dead at 100");
            let error = lots::hold(tx, m, order(2), Points::new(6), at(100)).expect_err("5 are left");
            assert!(matches!(error, LedgerError::Insufficient { balance, .. } if balance == Points::new(5)));
            Ok::<_, LedgerError>(())
        })
        .await
        .expect("runs");
}

#[tokio::test]
async fn time_never_goes_back_within_an_account() {
    let store = Store::model(9);
    let (from, to) = (Account::House(House::Issued, 0), Account::Member(member(), Purse::Active));
    for (ms, points) in [(1_000, 5), (400, 7), (2_000, 1)] {
        let moved = store.run(at(ms), move |tx| post(tx, from, to, Points::new(points), Cause::Opening)).await;
        moved.expect("posts");
    }
    for (ms, expect) in [(999, 0), (1_000, 12), (1_999, 12), (2_000, 13)] {
        let held = store.read(move |tx| balance_at(tx, to, at(ms))).await.expect("reads");
        assert_eq!(held, Points::new(expect), "at {ms}");
    }
}

/// What was clawed back beyond the balance is paid by what is earned later, before anything of it can be spent.
#[tokio::test]
async fn a_debt_is_paid_by_later_earnings() {
    let (store, m) = (Store::model(11), member());
    let run = store.run(at(1_000), move |tx| {
        let refund = RefundId::from_bits(1);
        let taken = lots::claw_back(tx, m, order(9), refund, Points::new(70), None, Clawback::MayGoNegative)?;
        assert_eq!(taken, Points::new(70));
        let owes = |debt: i64, active: i64| Balances { debt: Points::new(debt), ..balances(0, active, 0) };
        assert_eq!(lots::balances(tx, m, None)?, owes(70, 0));
        earn(tx, m, order(1), Points::new(50))?;
        activate(tx, m, order(1), at(9_000))?;
        assert_eq!(lots::balances(tx, m, None)?, owes(20, 0), "all of it pays");
        earn(tx, m, order(2), Points::new(50))?;
        activate(tx, m, order(2), at(9_000))?;
        assert_eq!(lots::balances(tx, m, None)?, owes(0, 30), "the rest can be spent");
        Ok::<_, LedgerError>(())
    });
    run.await.expect("runs");
    let report = verify::verify(&store).await.expect("reads");
    assert_eq!((report.problems, report.totals.debt), (Vec::new(), 0));
    let then = store.run(at(1_001), move |tx| {
        let (from, to) = (Account::Member(m, Purse::Debt), Account::House(House::Adjusted, 7));
        post(tx, from, to, Points::new(5), Cause::Adjusted)
    });
    then.await.expect("the ledger posts what it is told");
    let report = verify::verify(&store).await.expect("reads");
    let said = report.problems.join("; ");
    assert!(said.contains("only clawing back makes a debt"), "{said}");
}

/// What comes back pays a debt, too, out of the points that die first; the lots go on summing to the purse.
#[tokio::test]
async fn a_debt_is_paid_by_what_comes_back() {
    let (store, m) = (Store::model(12), member());
    let run = store.run(at(1_000), move |tx| {
        for (n, expires) in [(1, 8_000), (2, 9_000)] {
            let lot = LotKey { expires_at: at(expires), origin: LotOrigin(n) };
            lots::grant(tx, m, House::Opening, Points::new(50), lot, Cause::Opening)?;
        }
        let held = lots::hold(tx, m, order(3), Points::new(100), at(1_000))?;
        let refund = RefundId::from_bits(1);
        lots::claw_back(tx, m, order(9), refund, Points::new(130), None, Clawback::MayGoNegative)?;
        let owes = |debt: i64, active: i64| Balances { debt: Points::new(debt), ..balances(0, active, 0) };
        lots::release(tx, m, order(3), &held)?;
        assert_eq!(lots::balances(tx, m, None)?, owes(30, 0), "all of it pays");
        let lot = LotKey { expires_at: at(9_000), origin: LotOrigin(4) };
        lots::grant(tx, m, House::Opening, Points::new(90), lot, Cause::Opening)?;
        let spent = lots::hold(tx, m, order(5), Points::new(60), at(1_000))?;
        lots::capture(tx, m, order(5), &spent)?;
        lots::claw_back(tx, m, order(9), RefundId::from_bits(2), Points::new(20), None, Clawback::MayGoNegative)?;
        lots::restore(tx, m, RefundId::from_bits(3), &spent, Points::ZERO, Points::new(50))?;
        assert_eq!(lots::balances(tx, m, None)?, owes(0, 30), "the rest can be spent");
        assert_eq!(lots::available(tx, m, at(1_000))?, Points::new(30));
        Ok::<_, LedgerError>(())
    });
    run.await.expect("runs");
    let report = verify::verify(&store).await.expect("reads");
    assert_eq!((report.problems, report.totals.debt), (Vec::new(), 0));
}

/// What is available can be spent, however many lots it lies in; a claw-back reaches further.
#[tokio::test]
async fn what_is_available_can_be_spent_at_once() {
    let (store, m) = (Store::model(13), member());
    let grant = |from: u128, to: u128| {
        store.run(at(0), move |tx| {
            for n in from..to {
                let lot = LotKey { expires_at: at(1_000 + i64::try_from(n).expect("small")), origin: LotOrigin(n) };
                lots::grant(tx, m, House::Opening, Points::new(5), lot, Cause::Opening)?;
            }
            Ok::<_, LedgerError>(())
        })
    };
    grant(0, 60).await.expect("runs");
    grant(60, 130).await.expect("runs");
    let run = store.run(at(1), move |tx| {
        let available = lots::available(tx, m, at(1))?;
        assert_eq!(available, Points::new(500), "of a hundred lots");
        lots::hold(tx, m, order(1), available, at(1))?;
        assert_eq!(lots::available(tx, m, at(1))?, Points::new(150), "the others come next");
        Ok::<_, LedgerError>(())
    });
    run.await.expect("runs");
    grant(200, 250).await.expect("runs");
    let run = store.run(at(1), move |tx| {
        lots::claw_back(tx, m, order(2), RefundId::from_bits(1), Points::new(400), None, Clawback::WithinBalance)
    });
    assert_eq!(run.await.expect("runs"), Points::new(400), "out of eighty lots");
}

/// 10,000 postings on disk: the balance of any instant, well below a millisecond where the program is optimised.
#[tokio::test]
async fn a_past_balance_among_many_postings() {
    const POSTINGS: i64 = 10_000;
    let dir = tempfile::TempDir::new().expect("a directory");
    let store = Store::open(dir.path(), crate::store::SledOptions::standard(), Vec::new()).expect("opens");
    let (from, to) = (Account::House(House::Issued, 7), Account::Member(member(), Purse::Active));
    for first in (0..POSTINGS).step_by(100) {
        let posted = store.run(at(10 * first), move |tx| {
            (first..first + 100).try_for_each(|_| post(tx, from, to, Points::new(1), Cause::Opening))
        });
        posted.await.expect("posts");
    }
    let mut slowest = std::time::Duration::ZERO;
    for ms in [0, 5, 4_321, 49_999, 50_000, 98_999] {
        let begun = std::time::Instant::now();
        let held = store.read(move |tx| balance_at(tx, to, at(ms))).await.expect("reads");
        slowest = slowest.max(begun.elapsed());
        assert_eq!(held, Points::new((ms / 1_000 + 1) * 100), "at {ms}");
    }
    assert!(cfg!(debug_assertions) || slowest.as_micros() < 1_000, "{slowest:?}");
    println!("a balance among {POSTINGS} postings took {slowest:?} at most");
}

/// Counts the reads of the search itself, on a list in memory.
#[test]
fn the_search_halves() {
    let entry = |n: u64| Entry {
        amount: Points::new(1),
        balance: Points::new(i64::try_from(n).expect("small") + 1),
        counterpart: Account::House(House::Issued, 0),
        cause: Cause::Opening,
        at: at(i64::try_from(n).expect("small")),
        link: None,
        note: None,
    };
    for ms in 0..10_000 {
        let mut reads = 0;
        let found = last_before(10_000, at(ms), |number| {
            reads += 1;
            Ok(Some(entry(number)))
        });
        let balance = found.expect("reads").map(|(_, entry)| entry.balance);
        assert_eq!(balance, Some(Points::new(ms + 1)));
        assert!(reads <= 14, "{reads} reads");
    }
}
