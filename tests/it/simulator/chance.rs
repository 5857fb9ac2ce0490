//! What a script does next: chosen by a seed, among what the oracle says is possible, with a liking for edges.

use jiff::civil::Date;

use super::script::{Line, NewOffer, Step};
use crate::{
    oracle::{DAY, MINUTE, Oracle, coupons::CouponState, orders::State, terms::Terms},
    store_crash::Chance,
};

const MEMBERS: usize = 4;
const PRODUCTS: usize = 7;
const OFFERS: usize = 12;
const CATEGORIES: [&str; 2] = ["VITAMINS", "FLU"];
const CLASSES: [&str; 6] = ["food", "food", "device", "otc-b", "otc-a", "other"];

/// One of several.
fn one<'a, T>(chance: &mut Chance, of: &'a [T]) -> Option<&'a T> {
    if of.is_empty() { None } else { of.get(usize::try_from(chance.below(of.len() as u64)).expect("an index")) }
}

fn pick<T: Clone>(chance: &mut Chance, of: &[T]) -> T {
    one(chance, of).expect("something to pick from").clone()
}

fn within(chance: &mut Chance, from: i64, to: i64) -> i64 {
    from + chance.below((to - from).max(0).cast_unsigned() + 1).cast_signed()
}

fn percent(chance: &mut Chance, of_hundred: u64) -> bool {
    chance.below(100) < of_hundred
}

/// The next line of a script: number `n`, after what the oracle has seen.
pub(crate) fn next(chance: &mut Chance, oracle: &Oracle, n: usize) -> Line {
    let step = loop {
        if let Some(step) = attempt(chance, oracle, n) {
            break step;
        }
    };
    let alone = matches!(step, Step::Wait { .. } | Step::Restart | Step::Again { .. } | Step::Other { .. });
    Line { n, twice: !alone && percent(chance, 3), step }
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
    match chance.below(100) {
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

fn names<T>(of: &std::collections::BTreeMap<String, T>) -> Vec<String> {
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

fn offer(chance: &mut Chance, oracle: &Oracle, n: usize) -> NewOffer {
    let class = pick(chance, &["member-price", "promotion", "promotion", "promotion", "coupon", "coupon", "delivery"]);
    let percent_off = [1, 333, 1_000, 1_250, 2_000, 3_333, 5_000, 10_000];
    let mut terms = Terms::default();
    match class {
        "member-price" => {
            let product = pick(chance, &names(&oracle.products));
            terms.r#type = class.to_owned();
            terms.price = Some(oracle.products[&product].price * within(chance, 60, 99) / 100);
            terms.products = vec![product];
        }
        "delivery" => {
            terms.r#type = "free-delivery".to_owned();
            terms.cap = percent(chance, 50).then(|| within(chance, 1, 700));
        }
        _ => match chance.below(4) {
            0 | 1 => {
                terms.r#type = "amount".to_owned();
                terms.amount = Some(pick(chance, &[1, 7, 100, 990, 2_000, 5_000, 30_001]));
            }
            2 => {
                terms.r#type = "percent".to_owned();
                terms.percent = Some(pick(chance, &percent_off));
                terms.cap = percent(chance, 30).then(|| within(chance, 1, 3_000));
            }
            _ => {
                terms.r#type = "nth-item".to_owned();
                terms.percent = Some(pick(chance, &percent_off));
                terms.every = Some(within(chance, 2, 4));
                terms.cap = percent(chance, 30).then(|| within(chance, 1, 3_000));
            }
        },
    }
    conditions(chance, oracle, &mut terms);
    let coupon = class == "coupon";
    NewOffer {
        offer: format!("f{n}"),
        class: class.to_owned(),
        terms,
        priority: if coupon {
            0
        } else if class == "delivery" {
            i64::try_from(n).expect("small")
        } else {
            within(chance, 0, 2)
        },
        group: None,
        budget_uses: percent(chance, 30).then(|| within(chance, 1, 8)),
        budget_amount: percent(chance, 20).then(|| within(chance, 1, 20_000)),
        per_member: (coupon && percent(chance, 30)).then(|| within(chance, 1, 3)),
        valid_days: coupon.then(|| i64::try_from(n % 97).expect("small") + 1),
        returns_on_refund: percent(chance, 50),
    }
}

fn conditions(chance: &mut Chance, oracle: &Oracle, terms: &mut Terms) {
    terms.threshold = percent(chance, 30).then(|| pick(chance, &[100, 5_000, 10_000, 19_900, 20_000]));
    terms.min_items = percent(chance, 10).then(|| within(chance, 1, 5));
    if percent(chance, 15) {
        terms.categories = vec![pick(chance, &CATEGORIES).to_owned()];
    }
    if terms.products.is_empty() && percent(chance, 10) {
        terms.products = vec![pick(chance, &names(&oracle.products)), pick(chance, &names(&oracle.products))];
        terms.products.dedup();
    }
    if percent(chance, 4) {
        terms.requires = vec![pick(chance, &names(&oracle.products))];
    }
    if percent(chance, 6) {
        terms.tiers = vec!["bronze".to_owned(), "gold".to_owned()];
    }
    terms.members = percent(chance, 8).then(|| pick(chance, &["new", "existing"]).to_owned());
    terms.birthday_month = percent(chance, 6).then_some(true);
    if percent(chance, 8) {
        terms.days = vec![pick(chance, &["15", "1-10", "25-5"]).to_owned()];
    }
}

fn pause(chance: &mut Chance, oracle: &Oracle) -> Option<Step> {
    let offer = one(chance, &names(&oracle.offers))?.clone();
    let paused = oracle.offers[&offer].paused;
    Some(if paused { Step::Resume { offer } } else { Step::Pause { offer } })
}

fn issue(chance: &mut Chance, oracle: &Oracle, n: usize) -> Option<Step> {
    let of_coupons = |code: &&String| oracle.offers[*code].stage == crate::oracle::pricing::Stage::Coupon;
    let offers: Vec<String> = oracle.offers.keys().filter(of_coupons).cloned().collect();
    let offer = one(chance, &offers)?.clone();
    Some(Step::Issue { coupon: format!("c{n}"), offer, member: pick(chance, &names(&oracle.members)) })
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
    Step::Quote { quote: format!("q{n}"), member, lines, coupon, points: points.max(0), delivery }
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
        _ => within(chance, 1, 1_000),
    }
}
