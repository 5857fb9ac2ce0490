//! Whose money a discount is: what each funder gives with an order, and gets back as goods come back.
//!
//! Every allocation is split by its funders' shares with largest remainder, so the funders of a line sum to what was
//! taken off it, to the fen. What comes back is counted from what a line still owes, so a line that came back whole owes
//! nothing.

use crate::domain::{
    money::{Money, Overflow, allocate},
    offer::{Funder, FunderShare},
    order::{Allocation, DiscountBack, Order, PricedLine, Repriced, Source},
};

/// An amount for each funder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFunder([i64; 3]);

impl ByFunder {
    /// Who there is, in the order of the columns.
    pub const FUNDERS: [Funder; 3] = [Funder::Platform, Funder::Brand, Funder::Pharmacy];

    /// An amount split by shares: they sum to it exactly.
    ///
    /// # Errors
    ///
    /// [`Overflow`] for a negative amount.
    pub fn split(amount: Money, shares: &[FunderShare]) -> Result<Self, Overflow> {
        let weights: Vec<i64> = shares.iter().map(|share| i64::from(share.share.get())).collect();
        let mut split = Self::default();
        for (share, part) in shares.iter().zip(allocate(amount.get(), &weights)?) {
            let at = Self::at(share.funder);
            split.0[at] = split.0[at].checked_add(part).ok_or(Overflow)?;
        }
        Ok(split)
    }

    /// What stored amounts say, in the order of [`ByFunder::FUNDERS`].
    pub fn of(amounts: [Money; 3]) -> Self {
        Self(amounts.map(Money::get))
    }

    /// In the order of [`ByFunder::FUNDERS`].
    pub fn amounts(self) -> [Money; 3] {
        self.0.map(Money::new)
    }

    /// The sum of both.
    ///
    /// # Errors
    ///
    /// [`Overflow`].
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.zip(other, |a, b| a.checked_add(b).ok_or(Overflow))
    }

    /// The difference.
    ///
    /// # Errors
    ///
    /// [`Overflow`].
    pub fn minus(self, other: Self) -> Result<Self, Overflow> {
        self.zip(other, |a, b| a.checked_sub(b).ok_or(Overflow))
    }

    /// Of all funders together.
    ///
    /// # Errors
    ///
    /// [`Overflow`].
    pub fn total(self) -> Result<Money, Overflow> {
        Money::sum(self.amounts())
    }

    /// At most what the other has.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        let mut less = self;
        less.0.iter_mut().zip(other.0).for_each(|(mine, most)| *mine = (*mine).min(most));
        less
    }

    /// What goes when `taken` of `left` items do; all of it with the last one.
    fn part(self, taken: u32, left: u32) -> Self {
        let stays = |amount: i64| {
            let exact = i128::from(amount) * i128::from(left - taken.min(left)) / i128::from(left.max(1));
            amount - i64::try_from(exact).unwrap_or(amount)
        };
        Self(self.0.map(stays))
    }

    fn zip(self, other: Self, f: impl Fn(i64, i64) -> Result<i64, Overflow>) -> Result<Self, Overflow> {
        let [a, b, c] = self.0;
        let [d, e, g] = other.0;
        Ok(Self([f(a, d)?, f(b, e)?, f(c, g)?]))
    }

    fn at(funder: Funder) -> usize {
        match funder {
            Funder::Platform => 0,
            Funder::Brand => 1,
            Funder::Pharmacy => 2,
        }
    }
}

fn of_allocations(allocations: &[Allocation]) -> Result<ByFunder, Overflow> {
    allocations.iter().try_fold(ByFunder::default(), |sum, allocation| {
        sum.plus(ByFunder::split(allocation.amount, &allocation.funders)?)
    })
}

/// What each funder gives with an order as it was committed, delivery included.
///
/// # Errors
///
/// [`Overflow`].
pub fn given(order: &Order) -> Result<ByFunder, Overflow> {
    let delivery = of_allocations(&order.priced.delivery_allocations)?;
    order.priced.lines.iter().try_fold(delivery, |sum, line| sum.plus(of_allocations(&line.allocations)?))
}

/// What funders still give for a line after the refunds so far.
///
/// # Errors
///
/// [`Overflow`].
pub fn left_on(order: &Order, index: u16, line: &PricedLine) -> Result<ByFunder, Overflow> {
    let backs = order.refunds.iter().flat_map(|refund| &refund.discounts_back).filter(|back| back.line == index);
    backs
        .map(|back| ByFunder::of([back.platform, back.brand, back.pharmacy]))
        .try_fold(of_allocations(&line.allocations)?, ByFunder::minus)
}

/// What funders get back for items of a line, of which `left` were not refunded before.
///
/// # Errors
///
/// [`Overflow`].
pub fn back_for_items(order: &Order, index: u16, taken: u32, left: u32) -> Result<ByFunder, Overflow> {
    match order.priced.lines.get(usize::from(index)) {
        Some(line) => Ok(left_on(order, index, line)?.part(taken, left)),
        None => Ok(ByFunder::default()),
    }
}

/// What funders get back of a discount that a refund loses; `already` is what they get of the same refund.
///
/// # Errors
///
/// [`Overflow`].
pub fn back_for_charge(order: &Order, charge: &Repriced, already: &[DiscountBack]) -> Result<ByFunder, Overflow> {
    let Some(line) = order.priced.lines.get(usize::from(charge.line)) else { return Ok(ByFunder::default()) };
    let of = |from: &&Allocation| matches!(&from.source, Source::Offer(id, _) if *id == charge.offer);
    let Some(allocation) = line.allocations.iter().find(of) else { return Ok(ByFunder::default()) };
    let same = already.iter().filter(|back| back.line == charge.line);
    let left = same
        .map(|back| ByFunder::of([back.platform, back.brand, back.pharmacy]))
        .try_fold(left_on(order, charge.line, line)?, ByFunder::minus)?;
    Ok(ByFunder::split(charge.amount, &allocation.funders)?.at_most(left))
}

/// What funders get back for the delivery once everything came back.
///
/// # Errors
///
/// [`Overflow`].
pub fn back_for_delivery(order: &Order) -> Result<ByFunder, Overflow> {
    of_allocations(&order.priced.delivery_allocations)
}

/// As it is stored.
pub fn stored(line: u16, back: ByFunder) -> DiscountBack {
    let [platform, brand, pharmacy] = back.amounts();
    DiscountBack { line, platform, brand, pharmacy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::money::BasisPoints;

    #[test]
    fn r13_shares_sum_to_the_amount() {
        let share = |funder, share| FunderShare { funder, share: BasisPoints::new(share) };
        let thirds = [share(Funder::Platform, 3_334), share(Funder::Brand, 3_333), share(Funder::Pharmacy, 3_333)];
        for (amount, expect) in [(100, [34, 33, 33]), (1, [1, 0, 0]), (0, [0, 0, 0])] {
            let split = ByFunder::split(Money::new(amount), &thirds).expect("splits");
            assert_eq!(split.total(), Ok(Money::new(amount)));
            assert_eq!(split.amounts().map(Money::get), expect, "{amount}");
        }
        let half = ByFunder([5, 0, 3]).part(1, 2);
        assert_eq!((half, ByFunder([5, 0, 3]).part(2, 2)), (ByFunder([3, 0, 2]), ByFunder([5, 0, 3])));
    }
}
