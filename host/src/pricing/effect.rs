//! What a proposal takes off, after the host's checks: each line keeps its floor price, a discount over several lines is
//! shared by largest remainder.

use super::{promotable::may_promote, reasons};
use crate::domain::{
    money::{Money, Overflow, allocate},
    offer::{Offer, OfferClass},
    order::PricedLine,
    rule::{Outcome, Parameter, Proposal, Reason},
};

/// A line on its way to its price.
#[derive(Debug)]
pub(super) struct Line {
    /// As it stands after the tier discount or member price.
    pub(super) priced: PricedLine,
    /// What tier, member price and offers leave at least.
    pub(super) floor: Money,
}

/// Amounts off lines and off the delivery fee.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    /// By line, each above zero.
    pub(super) shares: Vec<(usize, Money)>,
    /// Off the delivery fee.
    pub(super) delivery: Money,
    /// In all; above zero.
    pub(super) saving: Money,
    /// What it would have taken off the goods, where the floor price left less.
    pub(super) wanted: Option<Money>,
}

impl Effect {
    /// The reason that the floor price left less than the policy gave.
    pub(super) fn floored(&self) -> Option<Reason> {
        self.wanted.map(|wanted| floor_price(wanted, self.saving))
    }
}

/// The effect of a proposal on lines that still cost `left`, and on what is left of the delivery fee; or the reason why
/// it has none.
pub(super) fn effect(
    lines: &[Line],
    left: &[Money],
    fee: Money,
    offer: &Offer,
    proposal: &Proposal,
) -> Result<Effect, Reason> {
    let off_delivery = matches!(offer.class, OfferClass::Coupon | OfferClass::Delivery);
    match &proposal.outcome {
        Outcome::Declined => Err(first_reason(proposal)),
        Outcome::Delivery(amount) if off_delivery => delivery(fee.min(*amount)),
        Outcome::Lines(amounts) if offer.class != OfferClass::Delivery => {
            let amounts = amounts.iter().map(|(line, amount)| (usize::from(*line), *amount));
            let amounts: Vec<(usize, Money)> = amounts.collect();
            check(lines, offer, amounts.iter().map(|(line, _)| *line))?;
            let wanted = amounts.iter().map(|(line, amount)| (*amount).min(left[*line]).get()).sum();
            let room = |(line, amount): (usize, Money)| (line, amount.min(room(&lines[line], left[line])));
            goods(amounts.into_iter().map(room).collect(), Money::new(wanted))
        }
        Outcome::Shared { amount, lines: over } if offer.class != OfferClass::Delivery => {
            let over: Vec<usize> = over.iter().map(|line| usize::from(*line)).collect();
            check(lines, offer, over.iter().copied())?;
            let wanted = over.iter().map(|line| left[*line].get()).sum::<i64>().min(amount.get());
            let shares = spread(lines, left, over, wanted).map_err(|_| reasons::WRONG_STAGE.plain())?;
            goods(shares, Money::new(wanted))
        }
        Outcome::Delivery(_) | Outcome::Lines(_) | Outcome::Shared { .. } => Err(reasons::WRONG_STAGE.plain()),
    }
}

/// The reason that a policy declined for.
pub(super) fn first_reason(proposal: &Proposal) -> Reason {
    proposal.reasons.first().cloned().unwrap_or_else(|| reasons::POLICY_FAILED.plain())
}

/// Lines must exist, and be of classes that the offer may touch.
fn check(lines: &[Line], offer: &Offer, over: impl Iterator<Item = usize>) -> Result<(), Reason> {
    for index in over {
        let line = lines.get(index).ok_or_else(|| reasons::WRONG_STAGE.plain())?;
        if !may_promote(offer.purpose, line.priced.class) {
            let class = Parameter::Text(line.priced.class.name().to_owned());
            return Err(reasons::CLASS_NOT_PROMOTABLE.with(vec![class]));
        }
    }
    Ok(())
}

/// What may still be taken off a line.
fn room(line: &Line, left: Money) -> Money {
    Money::new(left.get().saturating_sub(line.floor.get()).max(0))
}

/// Shares an amount over lines by what they cost. A line that reaches its floor takes no more; the others take the rest.
fn spread(lines: &[Line], left: &[Money], mut over: Vec<usize>, amount: i64) -> Result<Vec<(usize, Money)>, Overflow> {
    let mut shares = Vec::with_capacity(over.len());
    let mut amount = amount;
    loop {
        let weights: Vec<i64> = over.iter().map(|line| left[*line].get()).collect();
        let most = weights.iter().sum::<i64>().min(amount);
        let exact = allocate(most, &weights)?;
        let fits = |(line, share): (&usize, &i64)| *share <= room(&lines[*line], left[*line]).get();
        if over.iter().zip(&exact).all(fits) {
            shares.extend(over.into_iter().zip(exact.into_iter().map(Money::new)));
            shares.sort_unstable_by_key(|(line, _)| *line);
            return Ok(shares);
        }
        let mut open = Vec::with_capacity(over.len());
        for (line, share) in over.into_iter().zip(exact) {
            let room = room(&lines[line], left[line]);
            if share <= room.get() {
                open.push(line);
            } else {
                amount -= room.get();
                shares.push((line, room));
            }
        }
        over = open;
    }
}

fn goods(mut shares: Vec<(usize, Money)>, wanted: Money) -> Result<Effect, Reason> {
    shares.retain(|(_, amount)| *amount > Money::ZERO);
    let saving = Money::new(shares.iter().map(|(_, amount)| amount.get()).sum());
    match (saving.is_zero(), saving < wanted) {
        (true, true) => Err(floor_price(wanted, saving)),
        (true, false) => Err(reasons::NOTHING_LEFT.plain()),
        (false, floored) => Ok(Effect { shares, delivery: Money::ZERO, saving, wanted: floored.then_some(wanted) }),
    }
}

fn delivery(amount: Money) -> Result<Effect, Reason> {
    if amount.is_zero() {
        return Err(reasons::NOTHING_LEFT.plain());
    }
    Ok(Effect { shares: Vec::new(), delivery: amount, saving: amount, wanted: None })
}

fn floor_price(wanted: Money, left: Money) -> Reason {
    reasons::FLOOR_PRICE.with(vec![Parameter::Money(wanted), Parameter::Money(left)])
}
