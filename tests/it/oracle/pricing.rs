//! What a cart costs: the lower of member price and tier price, promotions, one coupon, points, delivery (rule R2).
//!
//! Pure arithmetic over plain values. Thresholds test the amount after the tier discount; all offers of one stage are
//! judged on what the stage began with, and taken one after the other from what is left.

use std::cmp::Reverse;

use super::{
    terms::{Day, Effect, Goods, Terms, WHOLE},
    ways::{self, Way},
};

/// One line of a cart.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) product: String,
    pub(crate) category: String,
    pub(crate) class: String,
    pub(crate) quantity: i128,
    pub(crate) unit: i128,
    /// After the lower of member price and tier price.
    pub(crate) base: i128,
    /// What is still to be paid.
    pub(crate) left: i128,
    pub(crate) taken: Vec<Taken>,
}

/// An amount off a line or off the delivery fee.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) by: By,
    pub(crate) amount: i128,
}

/// What took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Tier,
    /// An offer by its code, and the coupon that was used.
    Offer(String, Option<String>),
    Points,
}

/// When in the order of things an offer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    MemberPrice,
    Promotion,
    Coupon,
    Delivery,
}

/// An offer as it may be applied to one cart.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) code: String,
    /// Decides where nothing else does.
    pub(crate) rank: String,
    pub(crate) stage: Stage,
    pub(crate) terms: Terms,
    pub(crate) priority: i64,
    pub(crate) group: Option<String>,
    /// The coupon, when it dies and its rank.
    pub(crate) coupon: Option<(String, i64, String)>,
    /// What its budget still holds: it takes off all that it gives, or nothing.
    pub(crate) room: i128,
}

/// Everything a price depends on.
#[derive(Clone, Debug)]
pub(crate) struct Cart {
    pub(crate) lines: Vec<Line>,
    /// The tier's discount in basis points.
    pub(crate) discount: i128,
    pub(crate) day: Day,
    pub(crate) candidates: Vec<Candidate>,
    /// The coupon the member named.
    pub(crate) named: Option<String>,
    pub(crate) points: i128,
    pub(crate) delivery_fee: i128,
}

/// What it costs.
#[derive(Clone, Debug)]
pub(crate) struct Price {
    pub(crate) lines: Vec<Line>,
    pub(crate) delivery_fee: i128,
    pub(crate) delivery: Vec<Taken>,
    pub(crate) points: i128,
    pub(crate) points_max: i128,
    /// Offers that were applied: code, coupon, amount.
    pub(crate) applied: Vec<(String, Option<String>, i128)>,
}

impl Price {
    /// Goods after everything, without delivery.
    pub(crate) fn goods(&self) -> i128 {
        self.lines.iter().map(|line| line.left).sum()
    }

    pub(crate) fn delivery_left(&self) -> i128 {
        self.delivery_fee - self.delivery.iter().map(|taken| taken.amount).sum::<i128>()
    }

    pub(crate) fn payable(&self) -> i128 {
        self.goods() + self.delivery_left()
    }

    /// The coupon it uses.
    pub(crate) fn coupon(&self) -> Option<&String> {
        self.applied.iter().find_map(|(_, coupon, _)| coupon.as_ref())
    }
}

/// Prices a cart.
pub(crate) fn price(cart: Cart) -> Price {
    let mut applied = Vec::new();
    let mut lines = cart.lines;
    lower_of_tier_and_member_price(&mut lines, cart.discount, &cart.candidates, &cart.day, &mut applied);
    for line in &mut lines {
        line.base = line.left;
    }
    let way = ways::best(Way::new(lines, cart.delivery_fee), &cart.candidates, cart.named.as_deref(), &cart.day);
    let mut lines = way.lines;
    let points_max = lines.iter().map(|line| line.left).sum::<i128>() / 2;
    take(&mut lines, &[], cart.points, &By::Points);
    applied.extend(way.applied);
    Price { lines, delivery_fee: cart.delivery_fee, delivery: way.delivery, points: cart.points, points_max, applied }
}

/// Per line the tier's discount, or a member price where one is lower.
fn lower_of_tier_and_member_price(
    lines: &mut [Line],
    discount: i128,
    candidates: &[Candidate],
    day: &Day,
    applied: &mut Vec<(String, Option<String>, i128)>,
) {
    for line in lines.iter_mut() {
        line.left = line.unit * line.quantity;
        // Thresholds test the amount after the tier discount, those of member prices, too.
        line.base = line.left - line.left * discount / WHOLE;
    }
    let mut offers: Vec<&Candidate> = candidates.iter().filter(|one| one.stage == Stage::MemberPrice).collect();
    let best = loop {
        let best = lowest(lines, &offers, day);
        let needs = |code: &String| {
            let its = best.iter().filter(|(_, by)| *by == By::Offer(code.clone(), None));
            its.map(|(amount, _)| amount).sum::<i128>()
        };
        let before = offers.len();
        offers.retain(|one| needs(&one.code) <= one.room);
        if offers.len() == before {
            break best;
        }
    };
    for (line, (amount, by)) in lines.iter_mut().zip(best) {
        if amount > 0 {
            if let By::Offer(code, _) = &by {
                add(applied, code, None, amount);
            }
            line.left -= amount;
            line.taken.push(Taken { by, amount });
        }
    }
}

/// What is best for each line, whatever it costs in all.
fn lowest(lines: &[Line], offers: &[&Candidate], day: &Day) -> Vec<(i128, By)> {
    let mut best: Vec<(i128, By)> = lines.iter().map(|line| (line.left - line.base, By::Tier)).collect();
    for candidate in offers {
        let Ok(Effect::PerLine(amounts)) = candidate.terms.judge(&goods(lines), 0, day) else { continue };
        for (at, amount) in amounts {
            if amount > best[at].0 {
                best[at] = (amount, By::Offer(candidate.code.clone(), None));
            }
        }
    }
    best
}

fn add(applied: &mut Vec<(String, Option<String>, i128)>, code: &str, coupon: Option<String>, amount: i128) {
    match applied.iter_mut().find(|(known, with, _)| known == code && *with == coupon) {
        Some(entry) => entry.2 += amount,
        None => applied.push((code.to_owned(), coupon, amount)),
    }
}

pub(super) fn goods(lines: &[Line]) -> Vec<Goods<'_>> {
    let of_line = |line: &'_ Line| (line.quantity, line.base, line.left);
    lines
        .iter()
        .map(|line| {
            let (quantity, base, left) = of_line(line);
            Goods { product: &line.product, category: &line.category, class: &line.class, quantity, base, left }
        })
        .collect()
}

/// What an effect would take off the goods in all, and how.
pub(super) fn total(effect: &Effect) -> i128 {
    match effect {
        Effect::Shared(amount, _) | Effect::Delivery(amount) => *amount,
        Effect::PerLine(amounts) => amounts.iter().map(|(_, amount)| amount).sum(),
    }
}

/// Takes what an effect says, as far as there is something left, and nothing if that is more than the budget holds; how
/// much it was.
pub(super) fn apply(lines: &mut [Line], effect: &Effect, by: &By, room: i128) -> i128 {
    let before = lines.to_vec();
    match effect {
        Effect::Shared(amount, scope) => take(lines, scope, *amount, by),
        Effect::PerLine(amounts) => {
            for (at, amount) in amounts {
                let amount = (*amount).min(lines[*at].left);
                take(lines, &[*at], amount, by);
            }
        }
        Effect::Delivery(_) => {}
    }
    let left = |lines: &[Line]| lines.iter().map(|line| line.left).sum::<i128>();
    let taken = left(&before) - left(lines);
    if taken > room {
        lines.clone_from_slice(&before);
        return 0;
    }
    taken
}

/// Shares an amount among lines by what they still cost, by largest remainder, ties to the earlier line.
///
/// An empty scope is all lines. Nothing goes below zero.
fn take(lines: &mut [Line], scope: &[usize], amount: i128, by: &By) {
    let scope: Vec<usize> = if scope.is_empty() { (0..lines.len()).collect() } else { scope.to_vec() };
    let whole: i128 = scope.iter().map(|at| lines[*at].left).sum();
    let amount = amount.min(whole);
    if amount <= 0 {
        return;
    }
    let mut shares: Vec<i128> = scope.iter().map(|at| lines[*at].left * amount / whole).collect();
    let mut by_remainder: Vec<usize> = (0..scope.len()).collect();
    by_remainder.sort_by_key(|at| Reverse(lines[scope[*at]].left * amount % whole));
    let missing = amount - shares.iter().sum::<i128>();
    for at in by_remainder.into_iter().take(usize::try_from(missing).expect("fewer than lines")) {
        shares[at] += 1;
    }
    for (at, share) in scope.into_iter().zip(shares).filter(|(_, share)| *share > 0) {
        lines[at].left -= share;
        lines[at].taken.push(Taken { by: by.clone(), amount: share });
    }
}
