//! Which offers a script defines: small and odd amounts, caps, budgets and conditions in every mixture.

use super::{
    chance::{CATEGORIES, names, percent, pick, within},
    script::NewOffer,
};
use crate::{
    oracle::{Oracle, pricing::Stage, terms::Terms},
    store_crash::Chance,
};

/// Promotions of one exclusivity group: so few that the engine walks every way of combining them, too.
const IN_GROUP: usize = 3;
const GROUP: &str = "one-of-these";

/// Offer number `n`.
pub(super) fn offer(chance: &mut Chance, oracle: &Oracle, n: usize) -> NewOffer {
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
        group: group(chance, oracle, class),
        budget_uses: percent(chance, 30).then(|| within(chance, 1, 8)),
        budget_amount: percent(chance, 20).then(|| within(chance, 1, 20_000)),
        per_member: (coupon && percent(chance, 30)).then(|| within(chance, 1, 3)),
        valid_days: coupon.then(|| i64::try_from(n % 97).expect("small") + 1),
        returns_on_refund: percent(chance, 50),
    }
}

fn group(chance: &mut Chance, oracle: &Oracle, class: &str) -> Option<String> {
    let promotions = oracle.offers.values().filter(|one| one.stage == Stage::Promotion && one.group.is_some()).count();
    let may = class != "member-price" && (class != "promotion" || promotions < IN_GROUP);
    (may && percent(chance, 30)).then(|| GROUP.to_owned())
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
