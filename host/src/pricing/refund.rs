//! What a refund pays back: exact shares of what was fixed at commit.
//!
//! The share of some items of a line is the difference of two rounded-down running totals, so that refunding all items
//! pays back exactly what was paid, whatever the order and the parts.

use crate::domain::{
    money::{Money, Overflow, Points, allocate},
    order::{Order, RefundedLine, Source},
};

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
    /// Nothing asked.
    #[error("a refund names at least one line with at least one item")]
    Nothing,
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// What a refund pays back and what stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundPlan {
    /// By line.
    pub lines: Vec<RefundedLine>,
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

/// Plans the refund of these items: pairs of line index and quantity.
///
/// # Errors
///
/// [`RefundError`], naming the line.
pub fn plan(order: &Order, items: &[(u16, u32)]) -> Result<RefundPlan, RefundError> {
    let lines = &order.priced.lines;
    let spent = points_by_line(order)?;
    let mut done = refunded_items(order);
    let mut refunded = Vec::with_capacity(items.len());
    for (i, (index, quantity)) in items.iter().enumerate() {
        let at = usize::from(*index);
        let line = lines.get(at).ok_or(RefundError::UnknownLine(*index))?;
        if items[..i].iter().any(|(other, _)| other == index) {
            return Err(RefundError::LineTwice(*index));
        }
        let left = line.quantity - done[at];
        if *quantity == 0 || *quantity > left {
            return Err(RefundError::TooMany { line: *index, asked: *quantity, left });
        }
        let (before, after) = (done[at], done[at] + quantity);
        let part = |total: i64| share(total, after, line.quantity) - share(total, before, line.quantity);
        let (amount, points) = (Money::new(part(line.payable.get())), Points::new(part(spent[at])));
        refunded.push(RefundedLine { line: *index, quantity: *quantity, amount, points });
        done[at] = after;
    }
    if refunded.is_empty() {
        return Err(RefundError::Nothing);
    }
    let complete = lines.iter().zip(&done).all(|(line, done)| line.quantity == *done);
    let delivery = if complete { order.priced.delivery_payable } else { Money::ZERO };
    let goods = Money::sum(refunded.iter().map(|line| line.amount))?;
    let stays = |(line, done): (&crate::domain::order::PricedLine, &u32)| {
        line.payable.minus(Money::new(share(line.payable.get(), *done, line.quantity)))
    };
    Ok(RefundPlan {
        amount: goods.plus(delivery)?,
        points: Points::sum(refunded.iter().map(|line| line.points))?,
        remaining: lines.iter().zip(&done).map(stays).collect::<Result<_, _>>()?,
        lines: refunded,
        delivery,
        complete,
    })
}

/// The share of `total` that `items` of `quantity` items have, rounded down.
fn share(total: i64, items: u32, quantity: u32) -> i64 {
    let exact = i128::from(total) * i128::from(items) / i128::from(quantity.max(1));
    i64::try_from(exact).unwrap_or(total)
}

/// The points spent on each line, by largest remainder over what points took off it.
fn points_by_line(order: &Order) -> Result<Vec<i64>, Overflow> {
    let taken = |line: &crate::domain::order::PricedLine| {
        line.allocations.iter().filter(|a| a.source == Source::Points).map(|a| a.amount.get()).sum::<i64>()
    };
    let weights: Vec<i64> = order.priced.lines.iter().map(taken).collect();
    allocate(order.priced.points.get(), &weights)
}
