//! The worked examples of the rules, and what the properties build their carts from.

use std::cell::RefCell;

use jiff::Timestamp;

use super::{
    COMBINATIONS_MAX, Candidate, CartLine, Draft, PointsTerms, PricingError,
    refund::{self, RefundError},
};
pub(super) use crate::domain::offer::fixture::offer;
use crate::{
    domain::{
        fact::{self, Facts, Value},
        limit::{Limit, Measure, Period, Room, Whose},
        member::Revision,
        money::{BasisPoints, Money, Points},
        offer::{Base, Coupon, CouponState, Offer, OfferClass, Purpose},
        order::{Order, OrderState, Priced, Source},
        product::{Class, Product},
        rule::{CartSubject, Outcome, Proposal},
    },
    ids::{CouponId, Id, MemberId, OrderId, PartnerId, ProductId},
};

pub(super) const TERMS: PointsTerms = PointsTerms { value_per_100: Money::new(100), most: BasisPoints::new(5_000) };

pub(super) fn product(n: u128, class: Class, fen: i64) -> Product {
    Product {
        id: ProductId::from_bits(n),
        partner: PartnerId::from_bits(1),
        external_id: format!("p{n}").parse().expect("an id"),
        name: "vitamin c".into(),
        category: "VITAMINS".into(),
        class,
        urgent: false,
        list_price: Money::new(fen),
        substances: Vec::new(),
        days_of_supply: None,
        stock_tracked: false,
        revision: Revision::FIRST,
        floor_price: None,
    }
}

pub(super) fn coupon(n: u128, of: &Offer, expires_ms: i64) -> Coupon {
    Coupon {
        id: CouponId::from_bits(n),
        offer: of.id,
        member: MemberId::from_bits(1),
        partner: PartnerId::from_bits(1),
        external_id: None,
        state: CouponState::Issued,
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::from_millisecond(expires_ms).ok(),
    }
}

/// What a policy says: to this cart, of the offer with this number.
pub(super) type Policy<'p> = &'p dyn Fn(&CartSubject, u128) -> Proposal;

/// Walks a draft through all stages as the service does, with every offer in one slot.
pub(super) fn walk<'a>(
    mut draft: Draft<'a>,
    candidates: &[Candidate<'a>],
    policy: Policy<'_>,
    points: i64,
) -> Result<(Priced, Option<CouponId>), PricingError> {
    let mut later = candidates.to_vec();
    for stage in [OfferClass::MemberPrice, OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery] {
        if stage == OfferClass::Delivery {
            draft.points(Points::new(points), TERMS)?;
        }
        let (here, rest): (Vec<_>, Vec<_>) = later.into_iter().partition(|candidate| candidate.offer.class == stage);
        later = rest;
        let number = |c: &Candidate<'_>| vec![Value::Integer(i64::try_from(c.offer.id.to_bits()).expect("small"))];
        let terms = here.iter().map(number).collect();
        let carts = draft.carts(stage, Timestamp::UNIX_EPOCH, &Facts::of(fact::Scope::Subject), &here, terms);
        let answer = |cart: &CartSubject| {
            let number = |terms: &Vec<Value>| match terms[0] {
                Value::Integer(number) => u128::from(number.unsigned_abs()),
                _ => panic!("no number"),
            };
            Some(cart.offers.iter().map(|terms| policy(cart, number(terms))).collect())
        };
        let answers = carts.iter().map(answer).collect();
        let mut round = draft.round(stage);
        round.add(&here, answers);
        draft.take(round, &later)?;
    }
    draft.finish()
}

pub(super) fn shared(fen: i64, lines: &[u16]) -> Proposal {
    Proposal { outcome: Outcome::Shared { amount: Money::new(fen), lines: lines.to_vec() }, reasons: Vec::new() }
}

fn lines(amounts: &[(u16, i64)]) -> Proposal {
    let amounts = amounts.iter().map(|(line, fen)| (*line, Money::new(*fen))).collect();
    Proposal { outcome: Outcome::Lines(amounts), reasons: Vec::new() }
}

/// A draft of one item of food for each price.
fn draft<'a>(fen: &[i64], discount: u32, delivery: i64, named: Option<u128>) -> Draft<'a> {
    let products: Vec<Product> = (1..).zip(fen).map(|(n, fen)| product(n, Class::Food, *fen)).collect();
    let lines: Vec<CartLine<'_>> = products.iter().map(|product| CartLine { product, quantity: 1 }).collect();
    let named = named.map(CouponId::from_bits);
    Draft::new(&lines, BasisPoints::new(discount), Money::new(delivery), named).expect("fits")
}

/// Every offer by itself, or with its coupon.
fn candidates<'a>(offers: &'a [Offer], coupons: &'a [Coupon]) -> Vec<Candidate<'a>> {
    let coupon = |offer: &Offer| coupons.iter().find(|coupon| coupon.offer == offer.id);
    offers.iter().map(|offer| Candidate { offer, coupon: coupon(offer), room: None }).collect()
}

fn why(priced: &Priced) -> Vec<String> {
    priced.offers.iter().map(|o| format!("{} {} {}", o.code, o.amount, o.reasons[0].code)).collect()
}

fn integer(value: &Value) -> i64 {
    if let Value::Integer(number) = value { *number } else { panic!("{value:?}") }
}

/// Gold, the 15th, ¥130, a ¥9.90 coupon, 500 points: 114.40 → 94.40 → 84.50 → 79.50.
#[test]
fn r2_the_order_of_things() {
    let offers = [
        offer(1, OfferClass::Promotion, Purpose::General),
        offer(2, OfferClass::Coupon, Purpose::General),
        offer(3, OfferClass::Delivery, Purpose::General),
    ];
    let coupons = [coupon(9, &offers[1], 1)];
    let seen = RefCell::new(Vec::new());
    let policy = |cart: &CartSubject, number: u128| {
        let line = &cart.lines[0];
        seen.borrow_mut().push((integer(line.get(&fact::LINE_BASE)), integer(line.get(&fact::LINE_AMOUNT))));
        match number {
            1 => shared(2_000, &[0]),
            2 => shared(990, &[0]),
            _ => Proposal { outcome: Outcome::Delivery(Money::new(100)), reasons: Vec::new() },
        }
    };
    let (priced, taken) =
        walk(draft(&[13_000], 1_200, 600, None), &candidates(&offers, &coupons), &policy, 500).expect("prices");
    assert_eq!(*seen.borrow(), [(11_440, 11_440), (11_440, 9_440), (11_440, 7_950)], "the threshold's base stays");
    assert_eq!((priced.goods_payable, priced.payable), (Money::new(7_950), Money::new(8_450)));
    assert_eq!((priced.points_max, taken), (Points::new(4_225), Some(coupons[0].id)), "half of 84.50");
    let off: Vec<i64> = priced.lines[0].allocations.iter().map(|a| a.amount.get()).collect();
    assert_eq!(off, [1_560, 2_000, 990, 500]);
}

/// Each declared base shows its own amounts: of 100.00 less 10 %, 20.00 off by promotion, 10.00 by coupon, 5.00 in points.
#[test]
fn d3_a_declared_base_says_what_is_tested() {
    let mut offers =
        vec![offer(1, OfferClass::Promotion, Purpose::General), offer(2, OfferClass::Coupon, Purpose::General)];
    let bases = [Base::Standard, Base::List, Base::AfterPromotions, Base::AfterCoupons];
    for (number, base) in (3..).zip(bases) {
        offers.push(Offer { base, ..offer(number, OfferClass::Delivery, Purpose::General) });
    }
    let coupons = [coupon(9, &offers[1], 1)];
    let seen = RefCell::new(Vec::new());
    let policy = |cart: &CartSubject, number: u128| match number {
        1 => shared(2_000, &[0]),
        2 => shared(1_000, &[0]),
        _ => {
            let (line, all) = (&cart.lines[0], &cart.facts);
            assert_eq!(line.get(&fact::LINE_BASE), all.get(&fact::CART_BASE));
            assert_eq!(line.get(&fact::LINE_AMOUNT), all.get(&fact::CART_AMOUNT));
            seen.borrow_mut().push((integer(line.get(&fact::LINE_BASE)), integer(line.get(&fact::LINE_AMOUNT))));
            Proposal { outcome: Outcome::Declined, reasons: Vec::new() }
        }
    };
    walk(draft(&[10_000], 1_000, 600, None), &candidates(&offers, &coupons), &policy, 500).expect("prices");
    let (after_promotion, after_coupon) = (7_000, 6_000);
    // Without the coupon or the promotion, the later bases are higher: those branches are asked, too.
    for expected in [(9_000, 5_500), (10_000, 10_000), (after_promotion, after_promotion), (after_coupon, after_coupon)]
    {
        assert!(seen.borrow().contains(&expected), "{expected:?} in {seen:?}");
    }
    let fits = |base: Base| {
        [OfferClass::MemberPrice, OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery]
            .map(|class| base.fits(class))
    };
    assert_eq!(bases.map(fits), [[true; 4], [true; 4], [false, false, true, true], [false, false, false, true]]);
}

/// A coupon of 100−20 on what promotions leave: a promotion that would spoil it is left out where that is cheaper.
#[test]
fn d3_a_promotion_that_costs_more_than_it_gives_is_left_out() {
    let run = |promotion: i64| {
        let mut offers =
            [offer(1, OfferClass::Promotion, Purpose::General), offer(2, OfferClass::Coupon, Purpose::General)];
        offers[1].base = Base::AfterPromotions;
        let coupons = [coupon(9, &offers[1], 1)];
        let policy = |cart: &CartSubject, number: u128| {
            let enough = integer(cart.lines[0].get(&fact::LINE_BASE)) >= 10_000;
            match number {
                1 => shared(promotion, &[0]),
                _ if enough => shared(2_000, &[0]),
                _ => Proposal { outcome: Outcome::Declined, reasons: Vec::new() },
            }
        };
        let (priced, _) =
            walk(draft(&[10_500], 0, 0, None), &candidates(&offers, &coupons), &policy, 0).expect("prices");
        (priced.payable.get(), why(&priced))
    };
    assert_eq!(run(400), (8_100, vec!["o1 4.00 applied".to_owned(), "o2 20.00 applied".to_owned()]));
    assert_eq!(run(600), (8_500, vec!["o1 0.00 better-without".to_owned(), "o2 20.00 applied".to_owned()]));
    assert_eq!(run(2_500), (8_000, vec!["o1 25.00 applied".to_owned(), "o2 0.00 policy-failed".to_owned()]));
}

#[test]
fn d1_the_lower_of_member_price_and_tier_price_wins_line_by_line() {
    let offers: Vec<Offer> = (1..=3).map(|n| offer(n, OfferClass::MemberPrice, Purpose::General)).collect();
    let policy = |_: &CartSubject, number: u128| match number {
        1 => lines(&[(0, 3_000), (1, 500)]),
        2 => lines(&[(0, 2_000)]),
        _ => lines(&[(1, 999)]),
    };
    let (priced, _) =
        walk(draft(&[10_000, 10_000], 1_000, 0, None), &candidates(&offers, &[]), &policy, 0).expect("prices");
    assert_eq!(priced.lines.iter().map(|l| l.payable.get()).collect::<Vec<_>>(), [7_000, 9_000]);
    assert_eq!(priced.lines[1].allocations[0].source, Source::Tier);
    assert_eq!(why(&priced), ["o1 30.00 applied", "o2 0.00 member-price-lower", "o3 0.00 tier-price-lower"]);
}

#[test]
fn r2_one_coupon_the_largest_saving_then_the_earliest_expiry() {
    let offers: Vec<Offer> = (1..=3).map(|n| offer(n, OfferClass::Coupon, Purpose::General)).collect();
    let coupons = [coupon(1, &offers[0], 50), coupon(2, &offers[1], 40), coupon(3, &offers[2], 10)];
    let policy = |_: &CartSubject, number: u128| shared(if number == 3 { 700 } else { 800 }, &[0]);
    let run = |named: Option<u128>| {
        let draft = draft(&[5_000], 0, 0, named);
        let (priced, taken) = walk(draft, &candidates(&offers, &coupons), &policy, 0).expect("prices");
        (taken.map(Id::to_bits), why(&priced), priced.offers[1].reasons[0].parameters.clone())
    };
    let (taken, mut told, _) = run(None);
    told.sort_unstable();
    assert_eq!(taken, Some(2));
    assert_eq!(told, ["o1 0.00 not-chosen", "o2 8.00 applied", "o3 0.00 not-chosen"]);
    let (taken, mut told, parameters) = run(Some(3));
    told.sort_unstable();
    assert_eq!((taken, told[2].as_str()), (Some(3), "o3 7.00 applied"), "the member named it");
    assert_eq!(parameters, [crate::domain::rule::Parameter::Text("o3".into())]);
    assert_eq!(run(Some(7)).0, None, "no other coupon is taken for one that cannot be");
}

/// Of coupons that save the same, the one that dies first is taken, whatever the priorities; a promotion that saves as much
/// spares the coupon.
#[test]
fn r2_coupon_ties_go_to_the_earliest_expiry() {
    let run = |first: OfferClass| {
        let mut offers = [offer(1, first, Purpose::General), offer(2, OfferClass::Coupon, Purpose::General)];
        offers[0].priority = 9;
        offers.iter_mut().for_each(|offer| offer.exclusivity_group = Some("one".into()));
        let coupons = [coupon(1, &offers[0], 50), coupon(2, &offers[1], 40)];
        let coupons = if first == OfferClass::Coupon { &coupons[..] } else { &coupons[1..] };
        let policy = |_: &CartSubject, _: u128| shared(800, &[0]);
        walk(draft(&[5_000], 0, 0, None), &candidates(&offers, coupons), &policy, 0).expect("prices").1.map(Id::to_bits)
    };
    assert_eq!(run(OfferClass::Coupon), Some(2));
    assert_eq!(run(OfferClass::Promotion), None);
}

/// An offer whose limit has less left than it would take off takes nothing, and says both amounts; what stood behind it
/// moves up: the next coupon, the next lowest member price.
#[test]
fn d1_no_partial_savings_where_a_limit_has_less_left() {
    let run = |class: OfferClass, room: [i64; 2]| {
        let offers = [1, 2].map(|n| offer(n, class, Purpose::General));
        let coupons = [coupon(1, &offers[0], 1), coupon(2, &offers[1], 2)];
        let coupons = if class == OfferClass::Coupon { &coupons[..] } else { &[] };
        let limit = Limit { whose: Whose::All, measure: Measure::Amount, period: Period::Ever, most: 10_000 };
        let mut asked = candidates(&offers, coupons);
        for (candidate, left) in asked.iter_mut().zip(room) {
            candidate.room = Some(Room { limit, observed: left });
        }
        let policy = |_: &CartSubject, number: u128| {
            let fen = if number == 1 { 900 } else { 800 };
            if class == OfferClass::MemberPrice { lines(&[(0, fen), (1, fen)]) } else { shared(fen, &[0]) }
        };
        let (priced, _) = walk(draft(&[5_000, 5_000], 0, 0, None), &asked, &policy, 0).expect("prices");
        let mut told = why(&priced);
        told.sort_unstable();
        told.join(", ")
    };
    assert_eq!(run(OfferClass::Promotion, [900, 799]), "o1 9.00 applied, o2 0.00 budget-gone");
    assert_eq!(run(OfferClass::Coupon, [900, 800]), "o1 9.00 applied, o2 0.00 not-chosen");
    assert_eq!(run(OfferClass::Coupon, [899, 800]), "o1 0.00 budget-gone, o2 8.00 applied");
    assert_eq!(run(OfferClass::MemberPrice, [1_800, 9_999]), "o1 18.00 applied, o2 0.00 member-price-lower");
    assert_eq!(run(OfferClass::MemberPrice, [1_799, 9_999]), "o1 0.00 budget-gone, o2 16.00 applied");
    assert_eq!(run(OfferClass::MemberPrice, [1_799, 1_599]), "o1 0.00 budget-gone, o2 0.00 budget-gone");
}

/// The larger saving wins; of two that save the same, the higher priority, then the earlier end, then the smaller id.
#[test]
fn d3_a_group_takes_the_offer_that_saves_most() {
    let run = |savings: [i64; 2], priorities: [i32; 2], ends: [Option<i64>; 2]| {
        let mut offers: Vec<Offer> = (1..=2).map(|n| offer(n, OfferClass::Promotion, Purpose::General)).collect();
        for (nth, offer) in offers.iter_mut().enumerate() {
            offer.exclusivity_group = Some("day".into());
            offer.priority = priorities[nth];
            offer.ends_at = ends[nth].map(|ms| Timestamp::from_millisecond(ms).expect("a time"));
        }
        let policy = |_: &CartSubject, number: u128| shared(savings[number as usize - 1], &[0]);
        let (priced, _) = walk(draft(&[5_000], 0, 0, None), &candidates(&offers, &[]), &policy, 0).expect("prices");
        let mut told = why(&priced);
        told.sort_unstable();
        told.join(", ")
    };
    assert_eq!(run([900, 100], [1, 2], [None; 2]), "o1 9.00 applied, o2 0.00 exclusive-with");
    assert_eq!(run([500, 500], [1, 2], [None; 2]), "o1 0.00 exclusive-with, o2 5.00 applied");
    assert_eq!(run([500, 500], [0, 0], [Some(9), Some(8)]), "o1 0.00 exclusive-with, o2 5.00 applied");
    assert_eq!(run([500, 500], [0, 0], [None; 2]), "o1 5.00 applied, o2 0.00 exclusive-with");
}

/// A promotion that excludes the coupon, and what each saves: the pair is chosen together, delivery included.
#[test]
fn d3_groups_reach_over_stages() {
    let run = |savings: [i64; 3]| {
        let classes = [OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery];
        let mut offers: Vec<Offer> = (1..).zip(classes).map(|(n, class)| offer(n, class, Purpose::General)).collect();
        offers[0].exclusivity_group = Some("sale".into());
        offers[1].exclusivity_group = Some("sale".into());
        offers[2].exclusivity_group = Some("sale".into());
        let coupons = [coupon(9, &offers[1], 1)];
        let policy = |_: &CartSubject, number: u128| {
            let fen = savings[number as usize - 1];
            match number {
                3 => Proposal { outcome: Outcome::Delivery(Money::new(fen)), reasons: Vec::new() },
                _ => shared(fen, &[0]),
            }
        };
        let draft = draft(&[5_000], 0, 1_000, None);
        why(&walk(draft, &candidates(&offers, &coupons), &policy, 0).expect("prices").0).join(", ")
    };
    assert_eq!(run([900, 100, 100]), "o1 9.00 applied, o2 0.00 exclusive-with, o3 0.00 exclusive-with");
    assert_eq!(run([100, 900, 100]), "o1 0.00 exclusive-with, o2 9.00 applied, o3 0.00 exclusive-with");
    assert_eq!(run([100, 100, 900]), "o1 0.00 exclusive-with, o2 0.00 exclusive-with, o3 9.00 applied");
}

/// Two to the eighth ways: the price says that not all were compared, and is no worse than by priority alone.
#[test]
fn d3_a_bound_on_combinations_is_told() {
    let mut offers: Vec<Offer> = (1..=16).map(|n| offer(n, OfferClass::Promotion, Purpose::General)).collect();
    for (nth, offer) in offers.iter_mut().enumerate() {
        offer.exclusivity_group = Some(format!("g{}", nth / 2));
        offer.priority = if nth % 2 == 0 { 1 } else { 0 };
    }
    offers.push(offer(17, OfferClass::Coupon, Purpose::General));
    let coupons = [coupon(9, &offers[16], 1)];
    // Of each pair the less urgent saves a fen more; the coupon takes half of the first line, where the others do not act.
    let asked = RefCell::new(0);
    let policy = |cart: &CartSubject, number: u128| match number {
        17 => {
            *asked.borrow_mut() += 1;
            shared(integer(cart.lines[0].get(&fact::LINE_AMOUNT)) / 2, &[0])
        }
        _ => shared(100 + i64::from(number.is_multiple_of(2)), &[u16::from(number.is_multiple_of(2))]),
    };
    let (priced, _) =
        walk(draft(&[5_000, 5_000], 0, 0, None), &candidates(&offers, &coupons), &policy, 0).expect("prices");
    assert!(priced.bounded);
    assert_eq!(*asked.borrow(), COMBINATIONS_MAX);
    assert!(priced.payable < Money::new(10_000 - 8 * 100 - 2_100), "{} is no better than by priority", priced.payable);
}

/// Two offers leave each item its floor; what one line cannot take, the others do.
#[test]
fn d3_no_offer_takes_an_item_below_its_floor_price() {
    let run = |discount: u32, said: [i64; 2]| {
        let mut products = [product(1, Class::Food, 10_000), product(2, Class::Food, 10_000)];
        products[0].floor_price = Some(Money::new(9_000));
        let lines: Vec<CartLine<'_>> = products.iter().map(|product| CartLine { product, quantity: 2 }).collect();
        let offers: Vec<Offer> = (1..=2).map(|n| offer(n, OfferClass::Promotion, Purpose::General)).collect();
        let draft = Draft::new(&lines, BasisPoints::new(discount), Money::ZERO, None).expect("fits");
        let policy = |_: &CartSubject, number: u128| match number {
            1 => shared(said[0], &[0, 1]),
            _ => lines_of_first(said[1]),
        };
        let (priced, _) = walk(draft, &candidates(&offers, &[]), &policy, 0).expect("prices");
        let payable: Vec<i64> = priced.lines.iter().map(|line| line.payable.get()).collect();
        (payable, why(&priced).join(", "))
    };
    let (payable, told) = run(0, [6_000, 1_000]);
    assert_eq!((payable, told.as_str()), (vec![18_000, 16_000], "o1 60.00 applied, o2 0.00 floor-price"));
    let (payable, told) = run(0, [1_000, 5_000]);
    assert_eq!(payable, [18_000, 19_000], "the other line takes all of it: {told}");
    assert_eq!(run(2_000, [0, 0]).0, [18_000, 16_000], "the tier's discount, too");
}

fn lines_of_first(fen: i64) -> Proposal {
    lines(&[(0, fen)])
}

#[test]
fn points_above_the_limit_are_refused_with_the_limit() {
    let error = walk(draft(&[1_001], 0, 300, None), &[], &|_, _| shared(1, &[0]), 501).expect_err("too many");
    assert_eq!(error.to_string(), "501 points were asked for, this cart takes at most 500");
}

/// 150 + 60 with 199−20: allocated 14.29 and 5.71; refunding the second pays 54.29.
#[test]
fn r6_a_refund_pays_by_the_shares_of_the_commit() {
    let threshold = [offer(1, OfferClass::Promotion, Purpose::General)];
    let draft = draft(&[15_000, 6_000], 0, 0, None);
    let policy = |_: &CartSubject, _| shared(2_000, &[0, 1]);
    let order = order(walk(draft, &candidates(&threshold, &[]), &policy, 0).expect("prices").0);
    assert_eq!(order.priced.lines[0].allocations[0].amount, Money::new(1_429));
    let plan = items(&order, &[(1, 1)]).expect("plans");
    assert_eq!(plan.amount, Money::new(5_429));
    assert_eq!(items(&order, &[(2, 1)]), Err(RefundError::UnknownLine(2)));
    assert_eq!(items(&order, &[(0, 2)]), Err(RefundError::TooMany { line: 0, asked: 2, left: 1 }));
    assert_eq!(items(&order, &[(0, 1), (0, 1)]), Err(RefundError::LineTwice(0)));
    assert_eq!(refund::plan(&order, &[]), Err(RefundError::Nothing));
}

fn items(order: &Order, items: &[(u16, u32)]) -> Result<refund::RefundPlan, RefundError> {
    let parts: Vec<_> = items.iter().map(|(line, items)| (*line, refund::Part::Items(*items))).collect();
    refund::plan(order, &parts)
}

pub(super) fn order(priced: Priced) -> Order {
    let id = OrderId::from_bits(1);
    Order {
        id,
        partner: PartnerId::from_bits(1),
        external_id: None,
        member: MemberId::from_bits(1),
        state: OrderState::Paid,
        revision: Revision::FIRST,
        priced,
        quote: Id::from_bits(1),
        coupon: None,
        draws: Vec::new(),
        prescription: None,
        cash_on_delivery: false,
        placed_at: Timestamp::UNIX_EPOCH,
        hold_until: None,
        payment: None,
        shipped_at: None,
        delivered_at: None,
        cancelled_at: None,
        earning: None,
        refunds: Vec::new(),
        releases: Vec::new(),
        decision: Id::from_bits(1),
        prescription_id: None,
        awaits_review: false,
        acting_for: None,
        refunds_due: Vec::new(),
        reprices: Vec::new(),
        instalments: None,
    }
}
