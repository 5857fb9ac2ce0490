//! What a refund pays back: exact shares of what was fixed at commit.
//!
//! The share of some items of a line is the difference of two rounded-down running totals, so that refunding all items
//! pays back exactly what was paid, whatever the order and the parts. Beside items an amount of a line can be paid back:
//! what is left of the line is then shared by the items that are left. An amount is money; points come back with items.
//!
//! An offer may declare that a threshold which a refund loses costs the discount ([`Reprice`]): the refund is lowered by
//! what the offer still gives, never below zero, when the threshold is lost. What it was lowered by is from then on paid for the lines that the
//! discount lay on, and comes back with them.

use crate::domain::{
    money::{Money, Overflow, Points, allocate},
    order::{Order, PricedLine, RefundedLine, Reprice, Repriced, Source},
};

/// What comes back of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// So many items.
    Items(u32),
    /// An amount of money, and no items.
    Amount(Money),
}

/// Why items cannot be refunded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefundError {
    /// No such line.
    #[error("the order has no line {0}")]
    UnknownLine(u16),
    /// The same line twice in one request.
    #[error("line {0} is named twice")]
    LineTwice(u16),
    /// More than is left.
    #[error("line {line}: {asked} items asked, {left} are left to refund")]
    TooMany {
        /// Index of the line.
        line: u16,
        /// Items asked for.
        asked: u32,
        /// Items not yet refunded.
        left: u32,
    },
    /// More money than is left.
    #[error("line {line}: {asked} asked, {left} is left to refund; an amount is above zero")]
    TooMuch {
        /// Index of the line.
        line: u16,
        /// Asked for.
        asked: Money,
        /// Not yet refunded.
        left: Money,
    },
    /// Nothing asked.
    #[error("a refund names at least one line with at least one item or an amount")]
    Nothing,
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// What a refund pays back and what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundPlan {
    /// By line, before what the refund is lowered by.
    pub lines: Vec<RefundedLine>,
    /// Discounts that are lost with it.
    pub repriced: Vec<Repriced>,
    /// Of the delivery fee; paid back with the last item.
    pub delivery: Money,
    /// Money in all.
    pub amount: Money,
    /// Spent points to give back.
    pub points: Points,
    /// Goods that stay paid, by line.
    pub remaining: Vec<Money>,
    /// Whether nothing is left after this.
    pub complete: bool,
}

/// Items of each line that were refunded so far.
pub fn refunded_items(order: &Order) -> Vec<u32> {
    let mut items = vec![0; order.priced.lines.len()];
    for refunded in order.refunds.iter().flat_map(|refund| &refund.lines) {
        if let Some(count) = items.get_mut(usize::from(refunded.line)) {
            *count += refunded.quantity;
        }
    }
    items
}

/// All items that are left, as a refund of the whole order asks for them.
pub fn everything_left(order: &Order) -> Vec<(u16, u32)> {
    let done = refunded_items(order);
    let left = order.priced.lines.iter().zip(done).map(|(line, done)| line.quantity - done);
    (0..).zip(left).filter(|(_, left)| *left > 0).collect()
}

/// Whether a paid order came back whole: no item of it is left.
pub fn came_back_whole(order: &Order) -> bool {
    order.payment.is_some() && everything_left(order).is_empty()
}

/// Money that can still be refunded of each line.
///
/// # Errors
///
/// [`Overflow`].
pub fn money_left(order: &Order) -> Result<Vec<Money>, Overflow> {
    let mut left: Vec<Money> = order.priced.lines.iter().map(|line| line.payable).collect();
    for refund in &order.refunds {
        for line in &refund.lines {
            if let Some(left) = left.get_mut(usize::from(line.line)) {
                *left = left.minus(line.amount)?;
            }
        }
        for charge in &refund.repriced {
            if let Some(left) = left.get_mut(usize::from(charge.line)) {
                *left = left.plus(charge.amount)?;
            }
        }
    }
    Ok(left)
}

/// Whether what is left of a line is no longer what its items share by the commit.
fn is_adjusted(order: &Order, line: u16) -> bool {
    let mut refunds = order.refunds.iter();
    refunds.any(|refund| {
        refund.lines.iter().any(|part| part.line == line && part.quantity == 0)
            || refund.repriced.iter().any(|charge| charge.line == line)
    })
}

/// Plans the refund of these parts: pairs of line index and what comes back of it.
///
/// # Errors
///
/// [`RefundError`], naming the line.
pub fn plan(order: &Order, parts: &[(u16, Part)]) -> Result<RefundPlan, RefundError> {
    let lines = &order.priced.lines;
    let spent = points_by_line(order)?;
    let (mut done, mut left) = (refunded_items(order), money_left(order)?);
    let mut refunded = Vec::with_capacity(parts.len());
    for (i, (index, part)) in parts.iter().enumerate() {
        let at = usize::from(*index);
        let line = lines.get(at).ok_or(RefundError::UnknownLine(*index))?;
        if parts[..i].iter().any(|(other, _)| other == index) {
            return Err(RefundError::LineTwice(*index));
        }
        let back = match part {
            Part::Items(items) => items_back(order, *index, line, done[at], *items, left[at], spent[at])?,
            Part::Amount(amount) if *amount <= Money::ZERO || *amount > left[at] => {
                return Err(RefundError::TooMuch { line: *index, asked: *amount, left: left[at] });
            }
            Part::Amount(amount) => RefundedLine { line: *index, quantity: 0, amount: *amount, points: Points::ZERO },
        };
        done[at] += back.quantity;
        left[at] = left[at].minus(back.amount)?;
        refunded.push(back);
    }
    if refunded.is_empty() {
        return Err(RefundError::Nothing);
    }
    let complete = lines.iter().zip(&done).all(|(line, done)| line.quantity == *done);
    let delivery = if complete { order.priced.delivery_payable } else { Money::ZERO };
    let goods = Money::sum(refunded.iter().map(|line| line.amount))?;
    let repriced = lost_discounts(order, &done, goods)?;
    for charge in &repriced {
        let left = &mut left[usize::from(charge.line)];
        *left = left.plus(charge.amount)?;
    }
    let lowered = Money::sum(repriced.iter().map(|charge| charge.amount))?;
    Ok(RefundPlan {
        amount: goods.minus(lowered)?.plus(delivery)?,
        points: Points::sum(refunded.iter().map(|line| line.points))?,
        remaining: left,
        lines: refunded,
        repriced,
        delivery,
        complete,
    })
}

/// What some items of a line bring back; all that is left of it with the last one.
fn items_back(
    order: &Order,
    index: u16,
    line: &PricedLine,
    done: u32,
    items: u32,
    money_left: Money,
    spent: i64,
) -> Result<RefundedLine, RefundError> {
    let left = line.quantity - done;
    if items == 0 || items > left {
        return Err(RefundError::TooMany { line: index, asked: items, left });
    }
    let part = |total: i64| share(total, done + items, line.quantity) - share(total, done, line.quantity);
    let amount = if is_adjusted(order, index) {
        money_left.get() - share(money_left.get(), left - items, left)
    } else {
        part(line.payable.get())
    };
    Ok(RefundedLine { line: index, quantity: items, amount: Money::new(amount), points: Points::new(part(spent)) })
}

/// What offers still give whose threshold is lost once so many items came back, and was not before; not more than `most`
/// in all.
fn lost_discounts(order: &Order, done: &[u32], most: Money) -> Result<Vec<Repriced>, Overflow> {
    let (mut lost, mut most, done_before) = (Vec::new(), most.get(), refunded_items(order));
    for Reprice { offer, below } in &order.reprices {
        let (mut before, mut after, mut lines, mut gives) = (0_i64, 0_i64, Vec::new(), Vec::new());
        for (((index, line), done_before), done) in (0_u16..).zip(&order.priced.lines).zip(&done_before).zip(done) {
            let of = line.allocations.iter().filter(|from| matches!(&from.source, Source::Offer(id, _) if id == offer));
            let given = Money::sum(of.map(|allocation| allocation.amount))?.get();
            if given > 0 {
                let stays = |total: i64, done: u32| total - share(total, done, line.quantity);
                before = before.checked_add(stays(line.base.get(), *done_before)).ok_or(Overflow)?;
                after = after.checked_add(stays(line.base.get(), *done)).ok_or(Overflow)?;
                lines.push(index);
                gives.push(stays(given, *done));
            }
        }
        let all: i64 = gives.iter().sum();
        let is_lost = before >= below.get() && after < below.get();
        if !is_lost || all.min(most) <= 0 {
            continue;
        }
        for (line, amount) in lines.into_iter().zip(allocate(all.min(most), &gives)?) {
            if amount > 0 {
                lost.push(Repriced { offer: *offer, line, amount: Money::new(amount) });
            }
        }
        most -= all.min(most);
    }
    Ok(lost)
}

/// The share of `total` that `items` of `quantity` items have, rounded down.
fn share(total: i64, items: u32, quantity: u32) -> i64 {
    let exact = i128::from(total) * i128::from(items) / i128::from(quantity.max(1));
    i64::try_from(exact).unwrap_or(total)
}

/// The points spent on each line, by largest remainder over what points took off it.
fn points_by_line(order: &Order) -> Result<Vec<i64>, Overflow> {
    let taken = |line: &PricedLine| {
        line.allocations.iter().filter(|a| a.source == Source::Points).map(|a| a.amount.get()).sum::<i64>()
    };
    let weights: Vec<i64> = order.priced.lines.iter().map(taken).collect();
    allocate(order.priced.points.get(), &weights)
}

#[cfg(test)]
mod tests;
