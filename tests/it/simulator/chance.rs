//! What a script does next: chosen by a seed, among what the oracle says is possible, with a liking for edges.

use jiff::civil::Date;

use super::{
    offers::offer,
    script::{Line, Step},
    server::Kind,
};
use crate::{
    oracle::{
        DAY, MINUTE, Oracle,
        coupons::CouponState,
        gifts::{Buys, Redeemed},
        orders::State,
        prescriptions::Review,
        pricing::Stage,
        tiers::Rule,
    },
    store_crash::Chance,
};

const MEMBERS: usize = 4;
const PRODUCTS: usize = 7;
const OFFERS: usize = 12;
pub(super) const CATEGORIES: [&str; 2] = ["VITAMINS", "FLU"];
const CLASSES: [&str; 7] = ["food", "food", "device", "otc-b", "otc-a", "other", "rx"];
const GIFTS: usize = 5;
/// Coupons in one member's hands: so few that the engine walks every way of combining them, too.
const IN_HAND: usize = 6;
/// A kill comes at most so many microseconds after a request was sent.
const KILL_MICROS: u64 = 8_000;

/// One of several.
fn one<'a, T>(chance: &mut Chance, of: &'a [T]) -> Option<&'a T> {
    if of.is_empty() { None } else { of.get(usize::try_from(chance.below(of.len() as u64)).expect("an index")) }
}

pub(super) fn pick<T: Clone>(chance: &mut Chance, of: &[T]) -> T {
    one(chance, of).expect("something to pick from").clone()
}

pub(super) fn within(chance: &mut Chance, from: i64, to: i64) -> i64 {
    from + chance.below((to - from).max(0).cast_unsigned() + 1).cast_signed()
}

pub(super) fn percent(chance: &mut Chance, of_hundred: u64) -> bool {
    chance.below(100) < of_hundred
}

/// The next line of a script: number `n`, after what the oracle has seen.
pub(crate) fn next(chance: &mut Chance, oracle: &Oracle, kind: Kind, n: usize) -> Line {
    let step = loop {
        if kind == Kind::Killed && percent(chance, 2) {
            break Step::Crash;
        }
        if let Some(step) = attempt(chance, oracle, n) {
            break step;
        }
    };
    let restart = matches!(step, Step::Restart | Step::Crash);
    let no_request = restart || matches!(step, Step::Again { .. } | Step::Other { .. });
    let alone = no_request || matches!(step, Step::Wait { .. });
    let swaps = matches!(step, Step::SwapCoupons { .. } | Step::SwapTiers { .. });
    let kill = (kind == Kind::Killed && !no_request && percent(chance, 6)).then(|| chance.below(KILL_MICROS));
    let twice = kill.is_none() && !alone && percent(chance, 3);
    let swap = kill.is_none() && !twice && !alone && !swaps && percent(chance, 3);
    Line { n, twice, swap, kill, step }
}

fn attempt(chance: &mut Chance, oracle: &Oracle, n: usize) -> Option<Step> {
    if oracle.members.len() < 2 || (oracle.members.len() < MEMBERS && percent(chance, 5)) {
        return Some(join(chance, n));
    }
    if oracle.products.len() < PRODUCTS {
        return Some(product(chance, format!("p{n}")));
    }
    if oracle.offers.len() < 5 || (oracle.offers.len() < OFFERS && percent(chance, 2)) {
        return Some(Step::Offer(Box::new(offer(chance, oracle, n))));
    }
    match chance.below(120) {
        100..=119 => beside(chance, oracle, n),
        0..=1 => {
            let product_name = pick(chance, &names(&oracle.products));
            Some(product(chance, product_name))
        }
        2..=3 => pause(chance, oracle),
        4..=8 => issue(chance, oracle, n),
        9..=11 => Some(adjust(chance, oracle)),
        12..=33 => Some(quote(chance, oracle, n)),
        34..=53 => place(chance, oracle, n),
        54..=68 => of_order(chance, oracle, &[State::Placed, State::Delivered])
            .map(|order| Step::Pay { order, off: if percent(chance, 4) { within(chance, -1, 1) } else { 0 } }),
        69..=73 => of_order(chance, oracle, &[State::Paid]).map(|order| Step::Ship { order }),
        74..=78 => of_order(chance, oracle, &[State::Shipped]).map(|order| Step::Deliver { order }),
        79..=81 => of_order(chance, oracle, &[State::Placed, State::Paid]).map(|order| Step::Cancel { order }),
        82..=88 => refund(chance, oracle),
        89..=96 => Some(Step::Wait { millis: millis(chance, oracle) }),
        97 => Some(Step::Again { of: n.saturating_sub(1 + usize::try_from(chance.below(12)).expect("small")) }),
        98 => Some(Step::Other { of: n.saturating_sub(1 + usize::try_from(chance.below(12)).expect("small")) }),
        _ => percent(chance, 10).then_some(Step::Restart),
    }
}

/// Prescriptions, gifts, and rules that are swapped.
fn beside(chance: &mut Chance, oracle: &Oracle, n: usize) -> Option<Step> {
    match chance.below(20) {
        0..=2 => prescribe(chance, oracle, n),
        3..=6 => {
            let open = |name: &&String| oracle.prescriptions[*name].state == Review::Under;
            let names: Vec<String> = oracle.prescriptions.keys().filter(open).cloned().collect();
            let prescription = one(chance, &names)?.clone();
            Some(Step::Decide { prescription, approve: percent(chance, 75) })
        }
        7..=8 if oracle.gifts.len() < GIFTS => Some(gift(chance, oracle, n)),
        7..=8 => {
            let services = |name: &&String| matches!(oracle.gifts[*name].buys, Buys::Code(_));
            let names: Vec<String> = oracle.gifts.keys().filter(services).cloned().collect();
            Some(Step::Codes { gift: one(chance, &names)?.clone(), codes: within(chance, 1, 2) })
        }
        9..=12 => {
            let gift = one(chance, &names(&oracle.gifts))?.clone();
            let member = pick(chance, &names(&oracle.members));
            Some(Step::Take { redemption: format!("r{n}"), gift, member, coupon: format!("c{n}") })
        }
        13..=16 => {
            let any = percent(chance, 20);
            let held = |name: &&String| any || oracle.redemptions[*name].state == Redeemed::Held;
            let names: Vec<String> = oracle.redemptions.keys().filter(held).cloned().collect();
            let redemption = one(chance, &names)?.clone();
            Some(if percent(chance, 60) { Step::HandOver { redemption } } else { Step::TakeBack { redemption } })
        }
        17 => Some(Step::SwapTiers { score: oracle.rule == Rule::Spend }),
        18 => Some(Step::SwapCoupons { no_devices: !oracle.no_devices }),
        _ => None,
    }
}

/// For what a member may buy on prescription, and now and then for something else.
fn prescribe(chance: &mut Chance, oracle: &Oracle, n: usize) -> Option<Step> {
    let member = pick(chance, &names(&oracle.members));
    let any = percent(chance, 10);
    let rx = |name: &&String| any || oracle.products[*name].class == "rx";
    let mut products: Vec<String> = oracle.products.keys().filter(rx).cloned().collect();
    products.truncate(1 + usize::from(percent(chance, 50)));
    let items: Vec<(String, i64)> = products.into_iter().map(|name| (name, within(chance, 1, 8))).collect();
    (!items.is_empty()).then(|| Step::Prescribe { prescription: format!("x{n}"), member, items })
}

fn gift(chance: &mut Chance, oracle: &Oracle, n: usize) -> Step {
    let coupons = coupon_offers(oracle);
    let (product, offer) = match chance.below(3) {
        0 => (None, None),
        1 => (None, one(chance, &coupons).cloned()),
        _ => (Some(pick(chance, &names(&oracle.products))), None),
    };
    Step::Gift { gift: format!("g{n}"), product, offer, points: within(chance, 1, 600) }
}

fn coupon_offers(oracle: &Oracle) -> Vec<String> {
    let of_coupons = |code: &&String| oracle.offers[*code].stage == Stage::Coupon;
    oracle.offers.keys().filter(of_coupons).cloned().collect()
}

pub(super) fn names<T>(of: &std::collections::BTreeMap<String, T>) -> Vec<String> {
    of.keys().cloned().collect()
}

fn join(chance: &mut Chance, n: usize) -> Step {
    let birthday = |chance: &mut Chance| {
        let month = i8::try_from(within(chance, 1, 12)).expect("a month");
        Date::new(1980, month, 17).expect("a day")
    };
    Step::Join { member: format!("m{n}"), birthday: percent(chance, 60).then(|| birthday(chance)) }
}

/// Prices are small and odd, or reach a tier at once, to the fen.
fn product(chance: &mut Chance, product: String) -> Step {
    let price = match chance.below(10) {
        0 => pick(chance, &[19_899, 19_900, 99_900, 299_899, 299_900]),
        1..=3 => within(chance, 1, 99),
        4..=7 => within(chance, 100, 9_999),
        _ => within(chance, 10_000, 60_000),
    };
    Step::Product {
        product,
        price,
        category: pick(chance, &CATEGORIES).to_owned(),
        class: pick(chance, &CLASSES).to_owned(),
        stock: percent(chance, 20).then(|| within(chance, 0, 12)),
    }
}

fn pause(chance: &mut Chance, oracle: &Oracle) -> Option<Step> {
    let offer = one(chance, &names(&oracle.offers))?.clone();
    let paused = oracle.offers[&offer].paused;
    Some(if paused { Step::Resume { offer } } else { Step::Pause { offer } })
}

fn issue(chance: &mut Chance, oracle: &Oracle, n: usize) -> Option<Step> {
    let offer = one(chance, &coupon_offers(oracle))?.clone();
    let member = pick(chance, &names(&oracle.members));
    let mine = oracle.coupons.values().filter(|coupon| coupon.member == member && coupon.state == CouponState::Issued);
    (mine.count() < IN_HAND).then(|| Step::Issue { coupon: format!("c{n}"), offer, member })
}

fn adjust(chance: &mut Chance, oracle: &Oracle) -> Step {
    let member = pick(chance, &names(&oracle.members));
    let active = i64::try_from(oracle.members[&member].wallet.active()).expect("fits");
    let points = match chance.below(4) {
        0 => -within(chance, 1, active.max(1)),
        1 => -active - within(chance, 0, 1),
        _ => within(chance, 1, 5_000),
    };
    Step::Adjust { member, points: if points == 0 { 1 } else { points } }
}

fn quote(chance: &mut Chance, oracle: &Oracle, n: usize) -> Step {
    let member = pick(chance, &names(&oracle.members));
    let mut lines: Vec<(String, i64)> = Vec::new();
    for _ in 0..within(chance, 1, 4) {
        let product = pick(chance, &names(&oracle.products));
        if !lines.iter().any(|(known, _)| *known == product) {
            lines.push((product, within(chance, 1, 4)));
        }
    }
    let usable = |name: &&String| {
        let coupon = &oracle.coupons[*name];
        coupon.member == member && coupon.state == CouponState::Issued
    };
    let coupons: Vec<String> = oracle.coupons.keys().filter(usable).cloned().collect();
    let coupon = if percent(chance, 15) { one(chance, &coupons).cloned() } else { None };
    let active = i64::try_from(oracle.members[&member].wallet.active()).expect("fits");
    let goods: i64 = lines.iter().map(|(product, quantity)| oracle.products[product].price * quantity).sum();
    let points = match chance.below(10) {
        0..=5 => 0,
        6 => active + within(chance, 0, 1),
        7 => goods / 2 + within(chance, -1, 1),
        _ => within(chance, 0, active.min(goods / 3)),
    };
    let delivery = pick(chance, &[0, 0, 600, 799]);
    let prescription = with_prescription(chance, oracle, &member, &mut lines);
    Step::Quote { quote: format!("q{n}"), member, lines, coupon, prescription, points: points.max(0), delivery }
}

/// A prescription for what needs one; without any most carts go without the medicine.
fn with_prescription(
    chance: &mut Chance,
    oracle: &Oracle,
    member: &str,
    lines: &mut Vec<(String, i64)>,
) -> Option<String> {
    let needs = |line: &(String, i64)| oracle.products[&line.0].class == "rx";
    if !lines.iter().any(needs) {
        return None;
    }
    let any = percent(chance, 10);
    let usable = |name: &&String| {
        let found = &oracle.prescriptions[*name];
        any || (found.member == member && found.next_due().is_some())
    };
    let known: Vec<String> = oracle.prescriptions.keys().filter(usable).cloned().collect();
    let named = one(chance, &known).cloned();
    if named.is_none() && lines.iter().any(|line| !needs(line)) && percent(chance, 90) {
        lines.retain(|line| !needs(line));
    }
    named
}

/// One of the last quotes.
fn place(chance: &mut Chance, oracle: &Oracle, n: usize) -> Option<Step> {
    let mut quotes = names(&oracle.quotes);
    quotes.sort_by_key(|name| std::cmp::Reverse(name[1..].parse::<usize>().unwrap_or(0)));
    let at = usize::try_from(chance.below(4).saturating_sub(1)).expect("small");
    let quote = quotes.get(at)?.clone();
    Some(Step::Place { order: format!("o{n}"), quote, fresh: format!("q{n}"), cash: percent(chance, 10) })
}

/// An order in one of these states; now and then any order.
fn of_order(chance: &mut Chance, oracle: &Oracle, states: &[State]) -> Option<String> {
    let any = percent(chance, 5);
    let fits = |name: &&String| any || states.contains(&oracle.orders[*name].state);
    let orders: Vec<String> = oracle.orders.keys().filter(fits).cloned().collect();
    one(chance, &orders).cloned()
}

fn refund(chance: &mut Chance, oracle: &Oracle) -> Option<Step> {
    let order = of_order(chance, oracle, &[State::Paid, State::Shipped, State::Delivered])?;
    let of = &oracle.orders[&order];
    let lines = if percent(chance, 15) {
        None
    } else {
        let mut lines = Vec::new();
        for (at, line) in of.price.lines.iter().enumerate() {
            let left = i64::try_from(line.quantity - of.back(at)).expect("a count");
            if left > 0 && percent(chance, 50) {
                let most = left + i64::from(percent(chance, 3));
                lines.push((at, within(chance, 1, most)));
            }
        }
        Some(lines)
    };
    let cause = pick(chance, &["change-of-mind", "quality", "fault"]).to_owned();
    Some(Step::Refund { order, lines, cause })
}

/// Exactly until something is due, a moment before or after it, or any time.
fn millis(chance: &mut Chance, oracle: &Oracle) -> i64 {
    let due = oracle.next_due().map(|due| due - oracle.now);
    match (chance.below(10), due) {
        (0..=2, Some(due)) => (due + within(chance, -1, 1)).max(0),
        (3, _) => 15 * MINUTE + within(chance, -1, 0),
        (4, _) => within(chance, 1, 20 * MINUTE),
        (5, _) => 31 * MINUTE,
        (6, _) => within(chance, 1, 3 * DAY),
        (7, _) => 7 * DAY,
        (8, _) => within(chance, 7, 40) * DAY,
        _ if percent(chance, 20) => within(chance, 300, 400) * DAY,
        _ if percent(chance, 20) => {
            let night = oracle.next_night().map_or(DAY, |night| night - oracle.now);
            (night + within(chance, -1, 1)).max(0)
        }
        _ => within(chance, 1, 1_000),
    }
}
