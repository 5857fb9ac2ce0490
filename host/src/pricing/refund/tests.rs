//! Refunds by item and amount, with and without a discount that is lost.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        offer::{Funder, FunderShare},
        order::{Allocation, Priced, Refund, RefundCause},
        product::Class,
    },
    ids::{Id, OfferId},
};

/// A line of so many items with this list price in all, and what an offer and points took off it.
fn line(quantity: u32, list: i64, off: i64, points: i64) -> PricedLine {
    let funders = vec![FunderShare { funder: Funder::Brand, share: crate::domain::money::BasisPoints::ONE }];
    let allocation = |source, amount| Allocation { source, amount: Money::new(amount), funders: funders.clone() };
    let allocations = [allocation(Source::Offer(OfferId::from_bits(7), None), off), allocation(Source::Points, points)];
    PricedLine {
        product: Id::from_bits(1),
        external_id: "p".parse().expect("a name"),
        category: "X".to_owned(),
        class: Class::Food,
        urgent: false,
        quantity,
        unit_price: Money::new(list / i64::from(quantity)),
        list: Money::new(list),
        base: Money::new(list),
        payable: Money::new(list - off - points),
        allocations: allocations.into_iter().filter(|allocation| !allocation.amount.is_zero()).collect(),
        stock_tracked: false,
        days_of_supply: None,
    }
}

fn order(lines: Vec<PricedLine>, delivery: i64, reprice_below: Option<i64>) -> Order {
    let goods: i64 = lines.iter().map(|line| line.payable.get()).sum();
    let points = lines.iter().flat_map(|line| &line.allocations).filter(|a| a.source == Source::Points);
    let priced = Priced {
        points: Points::new(points.map(|a| a.amount.get()).sum()),
        goods_payable: Money::new(goods),
        delivery_payable: Money::new(delivery),
        payable: Money::new(goods + delivery),
        lines,
        ..Priced::default()
    };
    let reprices = reprice_below.map(|below| Reprice { offer: OfferId::from_bits(7), below: Money::new(below) });
    Order { reprices: reprices.into_iter().collect(), ..crate::pricing::tests::order(priced) }
}

/// Does what was planned.
fn refund(order: &mut Order, parts: &[(u16, Part)]) -> RefundPlan {
    let plan = plan(order, parts).expect("plans");
    order.refunds.push(Refund {
        id: Id::from_bits(1),
        at: Timestamp::UNIX_EPOCH,
        cause: RefundCause::Fault,
        lines: plan.lines.clone(),
        delivery: plan.delivery,
        amount: plan.amount,
        points_restored: plan.points,
        points_clawed_back: Points::ZERO,
        points_short: Points::ZERO,
        decision: Id::from_bits(1),
        discounts_back: Vec::new(),
        repriced: plan.repriced.clone(),
    });
    plan
}

/// 150 + 60 with 199−20. Kept: refunding the second pays 54.29. Repriced: the first one costs 150 then, so 40.00.
#[test]
fn r6_a_lost_threshold_costs_what_the_offer_declares() {
    let lines = || vec![line(1, 15_000, 1_429, 0), line(1, 6_000, 571, 0)];
    for (below, first) in [(None, 5_429), (Some(19_900), 4_000), (Some(15_000), 5_429)] {
        let mut order = order(lines(), 0, below);
        assert_eq!(refund(&mut order, &[(1, Part::Items(1))]).amount, Money::new(first), "{below:?}");
        let rest = refund(&mut order, &[(0, Part::Items(1))]);
        assert_eq!((rest.amount, rest.complete), (Money::new(19_000 - first), true));
    }
    let mut order = order(vec![line(1, 19_900, 1_990, 0), line(1, 500, 10, 0)], 0, Some(20_000));
    let small = refund(&mut order, &[(1, Part::Items(1))]);
    assert_eq!(small.amount, Money::ZERO, "never below zero");
    assert_eq!(refund(&mut order, &[(0, Part::Items(1))]).amount, Money::new(18_400));
}

#[test]
fn r6_amounts_beside_items() {
    let mut order = order(vec![line(3, 1_000, 0, 0)], 0, None);
    assert_eq!(refund(&mut order, &[(0, Part::Items(1))]).amount, Money::new(333));
    assert_eq!(refund(&mut order, &[(0, Part::Amount(Money::new(100)))]).remaining, [Money::new(567)]);
    for asked in [0, -1, 568, i64::MAX, i64::MIN] {
        let too_much = RefundError::TooMuch { line: 0, asked: Money::new(asked), left: Money::new(567) };
        assert_eq!(plan(&order, &[(0, Part::Amount(Money::new(asked)))]), Err(too_much));
    }
    assert_eq!(refund(&mut order, &[(0, Part::Items(1))]).amount, Money::new(284));
    let last = refund(&mut order, &[(0, Part::Items(1))]);
    assert_eq!((last.amount, last.complete), (Money::new(283), true));
}

proptest! {
    /// Items and amounts, in any order and parts, with a discount that is lost or not: everything that was paid comes back,
    /// no refund is below zero, and what stays paid is never negative.
    #[test]
    fn d4_everything_comes_back_whatever_the_parts(
        cart in prop::collection::vec((1..6_u32, 0..5_000_i64, 0..100_i64, 0..100_i64), 1..5),
        fee in 0..1_000_i64,
        below in prop::option::of(0..20_000_i64),
        picks in prop::collection::vec((0..5_usize, 1..4_u32, any::<bool>(), 1..400_i64), 0..30),
    ) {
        let lines = cart.iter().map(|(items, more, off, points)| line(*items, off + points + more, *off, *points));
        let mut order = order(lines.collect(), fee, below);
        let (paid, points) = (order.priced.payable, order.priced.points);
        for (at, items, by_amount, amount) in picks {
            let at = at % cart.len();
            let index = u16::try_from(at).expect("few lines");
            let (left, done) = (money_left(&order).expect("fits")[at], refunded_items(&order)[at]);
            let items = items.min(cart[at].0 - done);
            if by_amount && left > Money::ZERO {
                refund(&mut order, &[(index, Part::Amount(Money::new(amount.min(left.get()))))]);
            } else if items > 0 {
                refund(&mut order, &[(index, Part::Items(items))]);
            }
            let last = order.refunds.last();
            prop_assert!(last.is_none_or(|refund| refund.amount >= Money::ZERO));
            prop_assert!(money_left(&order).expect("fits").iter().all(|left| *left >= Money::ZERO));
        }
        let rest: Vec<(u16, Part)> =
            everything_left(&order).into_iter().map(|(line, items)| (line, Part::Items(items))).collect();
        if !rest.is_empty() {
            prop_assert!(refund(&mut order, &rest).complete);
        }
        let back = Money::sum(order.refunds.iter().map(|refund| refund.amount)).expect("fits");
        let restored = Points::sum(order.refunds.iter().map(|refund| refund.points_restored)).expect("fits");
        prop_assert_eq!((back, restored), (paid, points));
    }
}
