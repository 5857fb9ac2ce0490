//! The worked examples of the rules, and the properties that hold whatever a policy proposes.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{
    Candidate, CartLine, Draft, PointsTerms,
    promotable::may_promote,
    refund::{self, RefundError},
};
use crate::{
    domain::{
        member::Revision,
        money::{BasisPoints, Money, Points},
        offer::{Coupon, CouponState, Funder, FunderShare, Offer, OfferClass, OfferState, Purpose, Validity},
        order::{Order, OrderState, Priced, Source},
        product::{Class, Product},
        rule::{Outcome, Proposal},
    },
    ids::{CouponId, Id, MemberId, OfferId, OrderId, PartnerId, ProductId},
};

const TERMS: PointsTerms = PointsTerms { value_per_100: Money::new(100), most: BasisPoints::new(5_000) };

fn product(n: u128, class: Class, fen: i64) -> Product {
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
    }
}

fn offer(n: u128, class: OfferClass, purpose: Purpose) -> Offer {
    Offer {
        id: OfferId::from_bits(n),
        code: format!("o{n}").parse().expect("an id"),
        name_zh_cn: "会员日".into(),
        name_en: "member day".into(),
        class,
        purpose,
        slot: "coupon".into(),
        terms: Vec::new(),
        exclusivity_group: None,
        priority: 0,
        funders: vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }],
        budget_uses: None,
        budget_amount: None,
        per_member: None,
        validity: Validity::OfferEnd,
        starts_at: Timestamp::UNIX_EPOCH,
        ends_at: None,
        state: OfferState::Live,
        revision: Revision::FIRST,
        returns_on_refund: true,
        issued_on: None,
        limits: Vec::new(),
        windows: Vec::new(),
        conditions: Vec::new(),
        claimed: false,
        event: None,
        profile_fields: Vec::new(),
        listed_at: 0,
        launch: None,
        breaker: Vec::new(),
        paused_by: None,
    }
}

fn coupon(n: u128, of: &Offer, expires_ms: i64) -> Coupon {
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

fn shared(fen: i64, lines: &[u16]) -> Proposal {
    Proposal { outcome: Outcome::Shared { amount: Money::new(fen), lines: lines.to_vec() }, reasons: Vec::new() }
}

fn draft(fen: &[i64], discount: u32, delivery: i64) -> Draft {
    let products: Vec<Product> = (1..).zip(fen).map(|(n, fen)| product(n, Class::Food, *fen)).collect();
    let lines: Vec<CartLine<'_>> = products.iter().map(|product| CartLine { product, quantity: 1 }).collect();
    Draft::new(&lines, BasisPoints::new(discount), Money::new(delivery)).expect("fits")
}

fn why(priced: &Priced) -> Vec<String> {
    priced.offers.iter().map(|o| format!("{} {} {}", o.code, o.amount, o.reasons[0].code)).collect()
}

/// Gold, the 15th, ¥130, a ¥9.90 coupon, 500 points: 114.40 → 94.40 → 84.50 → 79.50.
#[test]
fn r2_the_order_of_things() {
    let (day, welcome) =
        (offer(1, OfferClass::Promotion, Purpose::General), offer(2, OfferClass::Coupon, Purpose::General));
    let mine = coupon(9, &welcome, 1);
    let mut draft = draft(&[13_000], 1_200, 0);
    let seen = |draft: &Draft| draft.subject(OfferClass::Coupon, Timestamp::UNIX_EPOCH, &Default::default(), vec![]);
    assert_eq!(*seen(&draft).lines[0].get(&crate::domain::fact::LINE_BASE), 11_440.into());
    draft.promotions(&[Candidate { offer: &day, coupon: None }], &[shared(2_000, &[0])]).expect("applies");
    assert_eq!(*seen(&draft).lines[0].get(&crate::domain::fact::LINE_AMOUNT), 9_440.into());
    draft.coupons(&[Candidate { offer: &welcome, coupon: Some(&mine) }], &[shared(990, &[0])], None).expect("applies");
    assert_eq!(*seen(&draft).lines[0].get(&crate::domain::fact::LINE_AMOUNT), 8_450.into());
    assert_eq!(
        *seen(&draft).lines[0].get(&crate::domain::fact::LINE_BASE),
        11_440.into(),
        "the threshold's base stays"
    );
    draft.points(Points::new(500), TERMS).expect("applies");
    let priced = draft.finish().expect("sums");
    assert_eq!(priced.payable, Money::new(7_950));
    assert_eq!(priced.points_max, Points::new(4_225), "half of 84.50");
    let off: Vec<i64> = priced.lines[0].allocations.iter().map(|a| a.amount.get()).collect();
    assert_eq!(off, [1_560, 2_000, 990, 500]);
}

#[test]
fn the_lower_of_member_price_and_tier_price_wins_line_by_line() {
    let prices = offer(1, OfferClass::MemberPrice, Purpose::General);
    let mut draft = draft(&[10_000, 10_000], 1_000, 0);
    let proposal =
        Proposal { outcome: Outcome::Lines(vec![(0, Money::new(3_000)), (1, Money::new(500))]), reasons: Vec::new() };
    draft.member_prices(&[Candidate { offer: &prices, coupon: None }], &[proposal]).expect("applies");
    let priced = draft.finish().expect("sums");
    assert_eq!(priced.lines.iter().map(|l| l.payable.get()).collect::<Vec<_>>(), [7_000, 9_000]);
    assert_eq!(priced.lines[1].allocations[0].source, Source::Tier);
    assert_eq!(why(&priced), ["o1 30.00 applied"]);
}

#[test]
fn one_coupon_the_largest_saving_then_the_earliest_expiry() {
    let offers: Vec<Offer> = (1..=3).map(|n| offer(n, OfferClass::Coupon, Purpose::General)).collect();
    let coupons = [coupon(1, &offers[0], 50), coupon(2, &offers[1], 40), coupon(3, &offers[2], 10)];
    let asked: Vec<Candidate<'_>> =
        offers.iter().zip(&coupons).map(|(offer, coupon)| Candidate { offer, coupon: Some(coupon) }).collect();
    let proposals = [shared(800, &[0]), shared(800, &[0]), shared(700, &[0])];
    let run = |named: Option<u128>| {
        let mut draft = draft(&[5_000], 0, 0);
        draft.coupons(&asked, &proposals, named.map(CouponId::from_bits)).expect("applies");
        (draft.coupon().map(Id::to_bits), why(&draft.finish().expect("sums")))
    };
    let (taken, why) = run(None);
    assert_eq!(taken, Some(2));
    assert_eq!(why, ["o2 8.00 applied", "o1 0.00 not-chosen", "o3 0.00 not-chosen"]);
    assert_eq!(run(Some(3)).0, Some(3), "the member named it");
}

#[test]
fn an_exclusive_group_takes_one_offer_by_priority() {
    let mut offers: Vec<Offer> = (1..=2).map(|n| offer(n, OfferClass::Promotion, Purpose::General)).collect();
    for (offer, priority) in offers.iter_mut().zip([1, 2]) {
        offer.exclusivity_group = Some("day".into());
        offer.priority = priority;
    }
    let asked: Vec<Candidate<'_>> = offers.iter().map(|offer| Candidate { offer, coupon: None }).collect();
    let mut draft = draft(&[5_000], 0, 0);
    draft.promotions(&asked, &[shared(900, &[0]), shared(100, &[0])]).expect("applies");
    let priced = draft.finish().expect("sums");
    assert_eq!(why(&priced), ["o2 1.00 applied", "o1 0.00 exclusive-with"]);
}

#[test]
fn points_above_the_limit_are_refused_with_the_limit() {
    let error = draft(&[1_001], 0, 300).points(Points::new(501), TERMS).expect_err("too many");
    assert_eq!(error.to_string(), "501 points were asked for, this cart takes at most 500");
}

/// 150 + 60 with 199−20: allocated 14.29 and 5.71; refunding the second pays 54.29.
#[test]
fn r6_a_refund_pays_by_the_shares_of_the_commit() {
    let threshold = offer(1, OfferClass::Promotion, Purpose::General);
    let mut draft = draft(&[15_000, 6_000], 0, 0);
    draft.promotions(&[Candidate { offer: &threshold, coupon: None }], &[shared(2_000, &[0, 1])]).expect("applies");
    let order = order(draft.finish().expect("sums"));
    assert_eq!(order.priced.lines[0].allocations[0].amount, Money::new(1_429));
    let plan = refund::plan(&order, &[(1, 1)]).expect("plans");
    assert_eq!(plan.amount, Money::new(5_429));
    assert_eq!(refund::plan(&order, &[(2, 1)]), Err(RefundError::UnknownLine(2)));
    assert_eq!(refund::plan(&order, &[(0, 2)]), Err(RefundError::TooMany { line: 0, asked: 2, left: 1 }));
    assert_eq!(refund::plan(&order, &[(0, 1), (0, 1)]), Err(RefundError::LineTwice(0)));
    assert_eq!(refund::plan(&order, &[]), Err(RefundError::Nothing));
}

fn order(priced: Priced) -> Order {
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
    }
}

/// Anything a policy might say, true or not.
fn proposals() -> impl Strategy<Value = Outcome> {
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

fn classes() -> impl Strategy<Value = Class> {
    prop::sample::select(Class::ALL.to_vec())
}

fn purposes() -> impl Strategy<Value = Purpose> {
    prop::sample::select(vec![Purpose::General, Purpose::FlashSale, Purpose::Gift, Purpose::Marketing])
}

proptest! {
    /// Whatever policies propose: nothing is below zero, everything sums, and what may not be promoted is not.
    #[test]
    fn every_price_sums_and_every_offer_is_explained(
        cart in prop::collection::vec((classes(), 0..30_000_i64, 1..5_u32), 1..6),
        discount in 0..10_000_u32,
        fee in 0..2_000_i64,
        said in prop::collection::vec((purposes(), 0..4_u8, proposals()), 0..8),
        points in 0..500_i64,
    ) {
        let products: Vec<Product> = (1..).zip(&cart).map(|(n, (class, fen, _))| product(n, *class, *fen)).collect();
        let lines: Vec<CartLine<'_>> = products.iter().zip(&cart)
            .map(|(product, (_, _, quantity))| CartLine { product, quantity: *quantity }).collect();
        let stages = [OfferClass::MemberPrice, OfferClass::Promotion, OfferClass::Coupon, OfferClass::Delivery];
        let offers: Vec<Offer> = (1..).zip(&said)
            .map(|(n, (purpose, stage, _))| offer(n, stages[usize::from(*stage)], *purpose)).collect();
        let coupons: Vec<Coupon> = (1..).zip(&offers).map(|(n, offer)| coupon(n, offer, 1)).collect();
        let mut draft = Draft::new(&lines, BasisPoints::new(discount), Money::new(fee)).expect("fits");
        for stage in stages {
            let of_stage = || offers.iter().enumerate().filter(|(_, offer)| offer.class == stage);
            let asked: Vec<Candidate<'_>> = of_stage().map(|(i, offer)| Candidate {
                offer, coupon: (stage == OfferClass::Coupon).then(|| &coupons[i]),
            }).collect();
            let answers: Vec<Proposal> =
                of_stage().map(|(i, _)| Proposal { outcome: said[i].2.clone(), reasons: Vec::new() }).collect();
            match stage {
                OfferClass::MemberPrice => draft.member_prices(&asked, &answers).expect("applies"),
                OfferClass::Promotion => draft.promotions(&asked, &answers).expect("applies"),
                OfferClass::Coupon => draft.coupons(&asked, &answers, None).expect("applies"),
                OfferClass::Delivery => {
                    let _ = draft.points(Points::new(points), TERMS);
                    draft.delivery(&asked, &answers).expect("applies");
                }
            }
        }
        let priced = draft.finish().expect("sums");
        check_sums(&priced, &offers)?;
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
        let mut draft = Draft::new(&lines, BasisPoints::new(700), Money::new(fee)).expect("fits");
        draft.promotions(&[Candidate { offer: &promotion, coupon: None }], &[shared(off, &every)]).expect("applies");
        let _ = draft.points(Points::new(points), TERMS);
        let mut order = order(draft.finish().expect("sums"));
        let (mut money, mut points_back) = (0, 0);
        for (line, quantity) in picks.iter().map(|(l, q)| (l % cart.len(), *q)).chain((0..cart.len()).map(|l| (l, 9))) {
            let left = order.priced.lines[line].quantity - refund::refunded_items(&order)[line];
            if left == 0 { continue }
            let index = u16::try_from(line).expect("few lines");
            let plan = refund::plan(&order, &[(index, quantity.min(left))]).expect("plans");
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
    }
}

fn check_sums(priced: &Priced, offers: &[Offer]) -> Result<(), TestCaseError> {
    let mut goods = 0;
    for line in &priced.lines {
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
    let explained: i64 = priced.offers.iter().map(|o| o.amount.get()).sum();
    let on_lines = priced.lines.iter().flat_map(|l| &l.allocations).chain(&priced.delivery_allocations);
    let by_offers: i64 = on_lines.filter(|a| matches!(a.source, Source::Offer(..))).map(|a| a.amount.get()).sum();
    prop_assert_eq!(explained, by_offers);
    Ok(())
}
