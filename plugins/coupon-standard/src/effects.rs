//! What an offer gives once its conditions hold.

use galenic_sdk::prelude::*;

use crate::{CAPPED, Known, Line, NO_FEE, NOT_CHEAPER, NOTHING_LEFT, Terms};

/// The proposal of an offer for the lines in its scope; `reached` says that they reached a threshold.
pub(crate) fn propose(cart: &Cart<'_, Known, Line>, scope: &[u16], terms: &Terms, reached: Option<Reason>) -> Proposal {
    let payable = payable(cart.lines, scope);
    let proposal = match terms.kind.as_deref() {
        Some("amount") => together(&payable, terms.amount.unwrap_or_default(), None),
        Some("percent") => {
            let cost: Money = payable.iter().map(|(_, line)| line.amount).sum();
            together(&payable, cost.share(terms.percent.unwrap_or_default()), terms.cap)
        }
        Some("nth-item") => nth_items(payable, terms),
        Some("member-price") => member_price(&payable, terms.price.unwrap_or_default()),
        Some("free-delivery") => delivery(cart.facts.delivery_fee, terms.cap),
        _ => Proposal::declined(NOTHING_LEFT),
    };
    reached.into_iter().fold(proposal, Proposal::because)
}

/// The lines of the scope that still cost something, with their places.
fn payable<'a>(lines: &'a [Line], scope: &[u16]) -> Vec<(u16, &'a Line)> {
    let at = |place: &u16| (*place, &lines[usize::from(*place)]);
    scope.iter().map(at).filter(|(_, line)| line.amount > Money::ZERO && line.quantity > 0).collect()
}

/// `off` from these lines together, as far as the cap and what they cost allow.
fn together(payable: &[(u16, &Line)], off: Money, cap: Option<Money>) -> Proposal {
    let (off, capped) = below_cap(off, cap);
    let off = off.min(payable.iter().map(|(_, line)| line.amount).sum());
    if off <= Money::ZERO {
        return Proposal::declined(NOTHING_LEFT);
    }
    let proposal = Proposal::shared(off, payable.iter().map(|(place, _)| *place).collect());
    capped.into_iter().fold(proposal, Proposal::because)
}

/// The lower of the two, with the reason where that is the cap.
fn below_cap(off: Money, cap: Option<Money>) -> (Money, Option<Reason>) {
    match cap {
        Some(cap) if off > cap => (cap, Some(CAPPED.with(off).with(cap))),
        _ => (off, None),
    }
}

/// Of every n items, dearest first, the last is reduced.
fn nth_items(mut payable: Vec<(u16, &Line)>, terms: &Terms) -> Proposal {
    let (every, rate) = (terms.every.unwrap_or(i64::MAX), terms.percent.unwrap_or_default());
    // By the price of one item, which need not be whole: compared without dividing.
    let times = |line: &Line, other: &Line| i128::from(line.amount.get()) * i128::from(other.quantity);
    payable.sort_by(|(_, a), (_, b)| times(b, a).cmp(&times(a, b)));
    let mut items = 0_i64;
    let mut off: Vec<(u16, &Line, Money)> = Vec::new();
    for (place, line) in payable {
        let before = items;
        items = items.saturating_add(line.quantity);
        let reduced = items / every - before / every;
        let whole = line.quantity.saturating_mul(BasisPoints::WHOLE.get());
        let amount = line.amount.scaled(reduced.saturating_mul(rate.get()), whole);
        if amount > Money::ZERO {
            off.push((place, line, amount.min(line.amount)));
        }
    }
    off.sort_by_key(|(place, ..)| *place);
    let total: Money = off.iter().map(|(_, _, amount)| *amount).sum();
    if terms.cap.is_some_and(|cap| total > cap) {
        let lines: Vec<_> = off.iter().map(|(place, line, _)| (*place, *line)).collect();
        return together(&lines, total, terms.cap);
    }
    by_line(off.into_iter().map(|(place, _, amount)| (place, amount)), NOTHING_LEFT.into())
}

/// Each item down to `price`.
fn member_price(payable: &[(u16, &Line)], price: Money) -> Proposal {
    let off = payable.iter().map(|(place, line)| (*place, line.amount - price.times(line.quantity)));
    by_line(off.filter(|(_, amount)| *amount > Money::ZERO), NOT_CHEAPER.with(price))
}

fn by_line(off: impl Iterator<Item = (u16, Money)>, otherwise: Reason) -> Proposal {
    let mut off = off.peekable();
    if off.peek().is_none() { Proposal::declined(otherwise) } else { Proposal::lines(off) }
}

fn delivery(fee: Money, cap: Option<Money>) -> Proposal {
    let (off, capped) = below_cap(fee, cap);
    if off <= Money::ZERO {
        return Proposal::declined(NO_FEE);
    }
    capped.into_iter().fold(Proposal::delivery(off), Proposal::because)
}
