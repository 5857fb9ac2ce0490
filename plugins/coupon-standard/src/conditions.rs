//! When an offer is valid: by calendar, by member, by what is in the cart.

use galenic_sdk::prelude::*;

use crate::{
    BELOW, DAY, Known, Line, MISSING, MONTH, NO_BIRTHDAY, NO_GOODS, NOT_BIRTHDAY, NOT_EXISTING, NOT_NEW, REACHED, TIER,
    TOO_FEW, Terms, WEEKDAY,
};

/// Why the offer is not valid for this member now.
pub(crate) fn of_member(known: &Known, terms: &Terms) -> Option<Reason> {
    let calendar =
        [(MONTH, &terms.months, known.month), (DAY, &terms.days, known.day), (WEEKDAY, &terms.weekdays, known.weekday)];
    for (code, entries, today) in calendar {
        if let Some(entries) = entries.as_ref().filter(|entries| !entries.iter().any(|entry| holds(entry, today))) {
            return Some(code.with(today).with(&entries.join(", ")));
        }
    }
    if let Some(tiers) = terms.tiers.as_ref().filter(|tiers| !tiers.contains(&known.tier)) {
        return Some(TIER.with(&known.tier).with(&tiers.join(", ")));
    }
    match (terms.members.as_deref(), known.paid_orders) {
        (Some("new"), 1..) => return Some(NOT_NEW.with(known.paid_orders)),
        (Some("existing"), ..=0) => return Some(NOT_EXISTING.into()),
        _ => {}
    }
    match (terms.birthday_month, known.birthday_month) {
        (Some(true), None) => Some(NO_BIRTHDAY.into()),
        (Some(true), Some(false)) => Some(NOT_BIRTHDAY.into()),
        _ => None,
    }
}

/// Why the goods do not suffice; else the reason that they do, where there was a threshold.
pub(crate) fn of_goods(lines: &[Line], scope: &[u16], terms: &Terms) -> Result<Option<Reason>, Reason> {
    let goods = || scope.iter().map(|place| &lines[usize::from(*place)]);
    if scope.is_empty() {
        return Err(NO_GOODS.into());
    }
    let missing = |product: &&String| goods().all(|line| line.product != **product);
    if let Some(product) = terms.requires.iter().flatten().find(missing) {
        return Err(MISSING.with(product));
    }
    let items = goods().fold(0, |items: i64, line| items.saturating_add(line.quantity));
    if let Some(least) = terms.min_items.max(terms.every).filter(|least| items < *least) {
        return Err(TOO_FEW.with(items).with(least));
    }
    let cost: Money = goods().map(|line| line.base).sum();
    match terms.threshold {
        Some(threshold) if cost < threshold => Err(BELOW.with(cost).with(threshold)),
        threshold => Ok(threshold.map(|threshold| REACHED.with(cost).with(threshold))),
    }
}

/// The two ends of `15` or `11-2`.
pub(crate) fn range(entry: &str) -> Option<(i64, i64)> {
    let (from, to) = entry.split_once('-').unwrap_or((entry, entry));
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// Whether a day, weekday or month lies in an entry; `11-2` goes over the end of the year.
fn holds(entry: &str, today: i64) -> bool {
    range(entry).is_some_and(|(from, to)| {
        if from <= to { (from..=to).contains(&today) } else { today >= from || (1..=to).contains(&today) }
    })
}
