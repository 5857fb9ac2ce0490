//! What holds whatever policies propose, and that the best combination is the best.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    Candidate, CartLine, Draft,
    promotable::may_promote,
    refund,
    tests::{coupon, offer, order, product, shared, walk},
};
use crate::{
    domain::{
        fact::{self, Fact, Facts, Value},
        money::{BasisPoints, Money, Points},
        offer::{Base, Coupon, Offer, OfferClass, Purpose},
        order::{Priced, Source},
        product::{Class, Product},
        rule::{CartSubject, Outcome, Proposal},
    },
    ids::Id,
};

const STAGES: [OfferClass; 4] =
    [OfferClass::MemberPrice, OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery];

/// An offer and what its policy makes of a cart.
#[derive(Clone, Debug)]
struct Said {
    class: OfferClass,
    purpose: Purpose,
    group: Option<u8>,
    priority: i32,
    base: Base,
    /// The least that the cart must cost, by the declared base.
    threshold: i64,
    gives: Gives,
}

/// What an offer gives once its threshold is reached.
#[derive(Clone, Debug)]
enum Gives {
    /// The same to every cart, true or not.
    Anything(Outcome),
    /// A share of some lines, rounded down line by line.
    Percent(u32, Vec<u16>),
}

/// A cart: class, price, items, and the floor's share of the price.
type Goods = Vec<(Class, i64, u32, Option<i64>)>;

fn fact(facts: &Facts, fact: &Fact) -> i64 {
    if let Value::Integer(number) = facts.get(fact) { *number } else { panic!("{} is not known", fact.name) }
}

impl Said {
    fn proposal(&self, cart: &CartSubject) -> Proposal {
        let outcome = if fact(&cart.facts, &fact::CART_BASE) < self.threshold {
            Outcome::Declined
        } else {
            match &self.gives {
                Gives::Anything(outcome) => outcome.clone(),
                Gives::Percent(rate, lines) => {
                    let of = |line: &u16| {
                        let amount = fact(cart.lines.get(usize::from(*line))?, &fact::LINE_AMOUNT);
                        Some((*line, Money::new(amount * i64::from(*rate) / 10_000)))
                    };
                    Outcome::Lines(lines.iter().filter_map(of).collect())
                }
            }
        };
        Proposal { outcome, reasons: Vec::new() }
    }

    fn offer(&self, number: u128) -> Offer {
        Offer {
            exclusivity_group: self.group.map(|group| format!("g{group}")),
            priority: self.priority,
            base: self.base,
            ..offer(number, self.class, self.purpose)
        }
    }
}

/// Prices a cart of these goods under these offers, presented in this order.
fn price(goods: &Goods, discount: u32, fee: i64, said: &[Said], order: &[usize], points: i64) -> Priced {
    let products: Vec<Product> = (1..)
        .zip(goods)
        .map(|(n, (class, fen, _, floor))| Product {
            floor_price: floor.map(|share| Money::new(fen * share / 100)),
            ..product(n, *class, *fen)
        })
        .collect();
    let lines: Vec<CartLine<'_>> = products
        .iter()
        .zip(goods)
        .map(|(product, (_, _, quantity, _))| CartLine { product, quantity: *quantity })
        .collect();
    let offers: Vec<Offer> = (1..).zip(said).map(|(n, said)| said.offer(n)).collect();
    let coupons: Vec<Coupon> = (1..).zip(&offers).map(|(n, offer)| coupon(n, offer, 1)).collect();
    let candidates: Vec<Candidate<'_>> = order
        .iter()
        .map(|at| Candidate {
            offer: &offers[*at],
            coupon: (offers[*at].class == OfferClass::Coupon).then_some(&coupons[*at]),
            room: None,
        })
        .collect();
    let walked = |points| {
        let draft = Draft::new(&lines, BasisPoints::new(discount), Money::new(fee), None).expect("fits");
        let policy =
            |cart: &CartSubject, number: u128| said[usize::try_from(number).expect("small") - 1].proposal(cart);
        walk(draft, &candidates, &policy, points)
    };
    walked(points).or_else(|_| walked(0)).expect("prices").0
}

/// Anything a policy might say, true or not.
fn outcomes() -> impl Strategy<Value = Outcome> {
    let line = 0..8_u16;
    let amount = prop_oneof![0..20_000_i64, Just(i64::MAX)].prop_map(Money::new);
    prop_oneof![
        Just(Outcome::Declined),
        (amount.clone(), prop::collection::btree_set(line.clone(), 0..6))
            .prop_map(|(amount, lines)| Outcome::Shared { amount, lines: lines.into_iter().collect() }),
        prop::collection::btree_map(line, amount.clone(), 0..6).prop_map(|l| Outcome::Lines(l.into_iter().collect())),
        amount.prop_map(Outcome::Delivery),
    ]
}

/// What a policy says that only names lines there are.
fn honest(class: OfferClass, lines: u16) -> BoxedStrategy<Gives> {
    if class == OfferClass::Delivery {
        return (1..2_000_i64).prop_map(|fen| Gives::Anything(Outcome::Delivery(Money::new(fen)))).boxed();
    }
    let some = prop::collection::btree_set(0..lines, 1..=usize::from(lines)).prop_map(|l| l.into_iter().collect());
    let amounts = prop::collection::btree_map(0..lines, (1..3_000_i64).prop_map(Money::new), 1..=usize::from(lines));
    prop_oneof![
        amounts.prop_map(|amounts| Gives::Anything(Outcome::Lines(amounts.into_iter().collect()))),
        (1..10_000_u32, some).prop_map(|(rate, lines)| Gives::Percent(rate, lines)),
    ]
    .boxed()
}

/// An offer of a class that declares any base that fits it.
fn said(class: OfferClass, gives: BoxedStrategy<Gives>, groups: u8) -> impl Strategy<Value = Said> {
    let bases: Vec<Base> = [Base::Standard, Base::List, Base::AfterPromotions, Base::AfterCoupons]
        .into_iter()
        .filter(|base| base.fits(class))
        .collect();
    let group = prop::option::of(0..groups).prop_map(move |group| group.filter(|_| class != OfferClass::MemberPrice));
    let threshold = prop_oneof![Just(0), 0..20_000_i64];
    (group, 0..2_i32, prop::sample::select(bases), threshold, gives).prop_map(
        move |(group, priority, base, threshold, gives)| Said {
            class,
            purpose: Purpose::General,
            group,
            priority,
            base,
            threshold,
            gives,
        },
    )
}

/// Up to so many honest offers of each class; those of one class lie together.
fn offers(most: [usize; 4], groups: u8) -> impl Strategy<Value = Vec<Said>> {
    let of = |at: usize| prop::collection::vec(said(STAGES[at], honest(STAGES[at], 3), groups), 0..=most[at]);
    (of(0), of(1), of(2), of(3)).prop_map(|(a, b, c, d)| [a, b, c, d].concat())
}

fn goods(lines: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Goods> {
    let floor = prop::option::of(1..100_i64);
    prop::collection::vec((prop::sample::select(Class::ALL.to_vec()), 1..10_000_i64, 1..4_u32, floor), lines)
}

fn purposes() -> impl Strategy<Value = Purpose> {
    prop::sample::select(vec![Purpose::General, Purpose::FlashSale, Purpose::Gift, Purpose::Marketing])
}

/// The least that a cart of three lines can cost, by trying every set of offers. No tier, no member prices, no points:
/// written from the rules, not from the engine.
fn brute_force(goods: &Goods, fee: i64, said: &[Said]) -> i64 {
    let list: Vec<i64> = goods.iter().map(|(_, fen, quantity, _)| fen * i64::from(*quantity)).collect();
    let floor: Vec<i64> = goods
        .iter()
        .map(|(_, fen, quantity, floor)| floor.map_or(0, |share| fen * share / 100) * i64::from(*quantity))
        .collect();
    let mut least = i64::MAX;
    for set in 0..1_u32 << said.len() {
        let used: Vec<&Said> = said.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, s)| s).collect();
        let coupons = used.iter().filter(|said| said.class == OfferClass::Coupon).count();
        let twice = used
            .iter()
            .enumerate()
            .any(|(at, one)| one.group.is_some() && used[..at].iter().any(|other| other.group == one.group));
        if coupons > 1 || twice {
            continue;
        }
        let (mut left, mut fee_left, mut after_promotions) = (list.clone(), fee, list.clone());
        for class in STAGES {
            let before = left.clone();
            for said in used.iter().filter(|said| said.class == class) {
                let amounts = match said.base {
                    Base::Standard => (&list, &before),
                    Base::List => (&list, &list),
                    Base::AfterPromotions => (&after_promotions, &after_promotions),
                    Base::AfterCoupons => (&before, &before),
                };
                if amounts.0.iter().sum::<i64>() < said.threshold {
                    continue;
                }
                match &said.gives {
                    Gives::Anything(Outcome::Lines(off)) => {
                        for (line, off) in off {
                            let line = usize::from(*line);
                            left[line] -= off.get().min((left[line] - floor[line]).max(0));
                        }
                    }
                    Gives::Percent(rate, lines) => {
                        for line in lines {
                            let line = usize::from(*line);
                            let off = amounts.1[line] * i64::from(*rate) / 10_000;
                            left[line] -= off.min((left[line] - floor[line]).max(0));
                        }
                    }
                    Gives::Anything(Outcome::Delivery(off)) => fee_left -= off.get().min(fee_left),
                    Gives::Anything(_) => unreachable!("not generated"),
                }
            }
            if class == OfferClass::Promotion {
                after_promotions.clone_from(&left);
            }
        }
        least = least.min(left.iter().sum::<i64>() + fee_left);
    }
    least
}

proptest! {
    /// Whatever policies propose: nothing is below zero or its floor, everything sums, what may not be promoted is not,
    /// and every offer is told what became of it.
    #[test]
    fn every_price_sums_and_every_offer_is_explained(
        cart in goods(1..6),
        discount in 0..10_000_u32,
        fee in 0..2_000_i64,
        told in prop::collection::vec(
            (0..4_usize).prop_flat_map(|at| {
                (purposes(), said(STAGES[at], outcomes().prop_map(Gives::Anything).boxed(), 3))
            }),
            0..8,
        ),
        points in 0..500_i64,
    ) {
        let said: Vec<Said> = told.into_iter().map(|(purpose, said)| Said { purpose, ..said }).collect();
        let order: Vec<usize> = (0..said.len()).collect();
        let priced = price(&cart, discount, fee, &said, &order, points);
        let offers: Vec<Offer> = (1..).zip(&said).map(|(n, said)| said.offer(n)).collect();
        let floor = |(_, fen, quantity, share): &(Class, i64, u32, Option<i64>)| {
            share.map_or(0, |share| fen * share / 100) * i64::from(*quantity)
        };
        check_sums(&priced, &offers, &cart.iter().map(floor).collect::<Vec<_>>())?;
    }

    /// The combination that was found is the best there is.
    #[test]
    fn the_combination_is_the_best_of_all(
        cart in goods(3),
        fee in 0..2_000_i64,
        said in offers([0, 3, 2, 2], 3),
    ) {
        let order: Vec<usize> = (0..said.len()).collect();
        let priced = price(&cart, 0, fee, &said, &order, 0);
        prop_assert!(!priced.bounded, "few enough");
        prop_assert_eq!(priced.payable.get(), brute_force(&cart, fee, &said), "{:#?}", priced.offers);
    }

    /// The order in which offers are found changes neither the price nor what they are told.
    #[test]
    fn the_order_of_the_offers_does_not_matter(
        cart in goods(3),
        discount in 0..5_000_u32,
        fee in 0..2_000_i64,
        (said, order) in offers([2, 4, 3, 2], 3).prop_flat_map(|said| {
            let order = Just((0..said.len()).collect::<Vec<_>>()).prop_shuffle();
            (Just(said), order)
        }),
    ) {
        let sorted: Vec<usize> = (0..said.len()).collect();
        let (one, other) = (price(&cart, discount, fee, &said, &sorted, 0), price(&cart, discount, fee, &said, &order, 0));
        prop_assert_eq!(&one.lines, &other.lines);
        prop_assert_eq!(one.payable, other.payable);
        let told = |priced: &Priced| {
            let mut told: Vec<_> = priced.offers.iter().map(|o| (o.offer, o.amount, o.reasons.clone())).collect();
            told.sort_by_key(|(offer, ..)| *offer);
            told
        };
        prop_assert_eq!(told(&one), told(&other));
    }

    /// One offer more, of no group, never makes the order dearer.
    #[test]
    fn an_unrelated_offer_never_costs_anything(
        cart in goods(3),
        fee in 0..2_000_i64,
        before in offers([0, 3, 2, 1], 3),
        more in (1..4_usize).prop_flat_map(|at| said(STAGES[at], honest(STAGES[at], 3), 1)),
    ) {
        let mut after = before.clone();
        after.push(Said { group: None, ..more });
        let all = |said: &[Said]| (0..said.len()).collect::<Vec<_>>();
        let (one, other) = (
            price(&cart, 0, fee, &before, &all(&before), 0),
            price(&cart, 0, fee, &after, &all(&after), 0),
        );
        prop_assume!(!one.bounded && !other.bounded);
        prop_assert!(other.payable <= one.payable, "{} before, {} after", one.payable, other.payable);
    }

    /// What a coupon's threshold tests is reached in the price that it is part of: its own effect does not count.
    #[test]
    fn no_coupon_invalidates_itself(
        cart in goods(3),
        discount in 0..5_000_u32,
        said in offers([1, 3, 3, 0], 2),
    ) {
        let order: Vec<usize> = (0..said.len()).collect();
        let priced = price(&cart, discount, 0, &said, &order, 0);
        for told in priced.offers.iter().filter(|told| told.class == OfferClass::Coupon && !told.amount.is_zero()) {
            let coupon = &said[usize::try_from(told.offer.to_bits()).expect("small") - 1];
            let mine = Source::Offer(told.offer, told.coupon);
            let tested: i64 = priced.lines.iter().map(|line| match coupon.base {
                Base::Standard => line.base.get(),
                Base::List => line.list.get(),
                Base::AfterPromotions | Base::AfterCoupons => {
                    let others = line.allocations.iter().filter(|allocation| allocation.source != mine);
                    line.list.get() - others.map(|allocation| allocation.amount.get()).sum::<i64>()
                }
            }).sum();
            prop_assert!(tested >= coupon.threshold, "{tested} below {}", coupon.threshold);
        }
    }

    /// Refunding all items, in any order and parts, pays back exactly what was paid.
    #[test]
    fn refunds_in_any_partition_pay_back_what_was_paid(
        cart in prop::collection::vec((0..30_000_i64, 1..6_u32), 1..5),
        off in 0..5_000_i64,
        points in 0..300_i64,
        fee in 0..2_000_i64,
        picks in prop::collection::vec((0..5_usize, 1..4_u32), 40),
    ) {
        let products: Vec<Product> = (1..).zip(&cart).map(|(n, (fen, _))| product(n, Class::Food, *fen)).collect();
        let lines: Vec<CartLine<'_>> = products.iter().zip(&cart)
            .map(|(product, (_, quantity))| CartLine { product, quantity: *quantity }).collect();
        let promotion = offer(1, OfferClass::Promotion, Purpose::General);
        let every: Vec<u16> = (0..).take(cart.len()).collect();
        let priced = |points| {
            let draft = Draft::new(&lines, BasisPoints::new(700), Money::new(fee), None).expect("fits");
            walk(draft, &[Candidate { offer: &promotion, coupon: None, room: None }], &|_, _| shared(off, &every), points)
        };
        let mut order = order(priced(points).or_else(|_| priced(0)).expect("prices").0);
        let (mut money, mut points_back) = (0, 0);
        for (line, quantity) in picks.iter().map(|(l, q)| (l % cart.len(), *q)).chain((0..cart.len()).map(|l| (l, 9))) {
            let left = order.priced.lines[line].quantity - refund::refunded_items(&order)[line];
            if left == 0 { continue }
            let index = u16::try_from(line).expect("few lines");
            let plan = refund::plan(&order, &[(index, refund::Part::Items(quantity.min(left)))]).expect("plans");
            prop_assert!(plan.amount >= Money::ZERO && plan.points >= Points::ZERO);
            prop_assert_eq!(plan.complete, refund::everything_left(&order) == [(index, quantity.min(left))]);
            money += plan.amount.get();
            points_back += plan.points.get();
            order.refunds.push(refunded(plan));
        }
        prop_assert_eq!(money, order.priced.payable.get());
        prop_assert_eq!(points_back, order.priced.points.get());
    }
}

fn refunded(plan: refund::RefundPlan) -> crate::domain::order::Refund {
    crate::domain::order::Refund {
        id: Id::from_bits(1),
        at: Timestamp::UNIX_EPOCH,
        cause: crate::domain::order::RefundCause::Fault,
        lines: plan.lines,
        delivery: plan.delivery,
        amount: plan.amount,
        points_restored: plan.points,
        points_clawed_back: Points::ZERO,
        points_short: Points::ZERO,
        decision: Id::from_bits(1),
        discounts_back: Vec::new(),
        repriced: plan.repriced,
    }
}

fn check_sums(priced: &Priced, offers: &[Offer], floors: &[i64]) -> Result<(), TestCaseError> {
    let mut goods = 0;
    for (line, floor) in priced.lines.iter().zip(floors) {
        let points: i64 = line.allocations.iter().filter(|a| a.source == Source::Points).map(|a| a.amount.get()).sum();
        prop_assert!(line.payable.get() + points >= *floor, "{} below its floor of {floor}", line.payable);
        let off: i64 = line.allocations.iter().map(|a| a.amount.get()).sum();
        prop_assert_eq!(line.list.get() - off, line.payable.get());
        prop_assert!(line.payable >= Money::ZERO);
        prop_assert!(line.allocations.iter().all(|a| a.amount > Money::ZERO));
        goods += line.payable.get();
        for allocation in &line.allocations {
            if let Source::Offer(id, _) = allocation.source {
                let offer = offers.iter().find(|offer| offer.id == id).expect("a known offer");
                prop_assert!(may_promote(offer.purpose, line.class), "{:?} on {:?}", offer.purpose, line.class);
            }
        }
    }
    let delivery = priced.delivery_fee.get() - priced.delivery_allocations.iter().map(|a| a.amount.get()).sum::<i64>();
    prop_assert!(delivery >= 0);
    prop_assert_eq!(goods, priced.goods_payable.get());
    prop_assert_eq!(goods + delivery, priced.payable.get());
    prop_assert_eq!(priced.offers.len(), offers.len());
    for told in &priced.offers {
        prop_assert!(!told.reasons.is_empty() && told.amount >= Money::ZERO, "{told:?}");
    }
    let explained: i64 = priced.offers.iter().map(|o| o.amount.get()).sum();
    let on_lines = priced.lines.iter().flat_map(|l| &l.allocations).chain(&priced.delivery_allocations);
    let by_offers: i64 = on_lines.filter(|a| matches!(a.source, Source::Offer(..))).map(|a| a.amount.get()).sum();
    prop_assert_eq!(explained, by_offers);
    Ok(())
}
