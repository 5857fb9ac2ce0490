//! The walk from list price to payable.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::{
    promotable::may_promote,
    reasons::{self, HostReason},
};
use crate::{
    domain::{
        fact::{self, Facts, Scope, Value},
        member::ExternalId,
        money::{BasisPoints, Money, Overflow, Points, allocate},
        offer::{Coupon, Funder, FunderShare, Offer, OfferClass},
        order::{Allocation, OfferOutcome, Priced, PricedLine, Source},
        product::Product,
        rule::{CartSubject, Outcome, Parameter, Proposal, Reason},
    },
    ids::CouponId,
};

/// Why a cart has no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PricingError {
    /// An amount does not fit.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// More points were asked for than this cart takes.
    #[error("{asked} points were asked for, this cart takes at most {most}")]
    TooManyPoints {
        /// As asked.
        asked: Points,
        /// As allowed.
        most: Points,
    },
}

/// A product and how many of it.
#[derive(Debug, Clone, Copy)]
pub struct CartLine<'a> {
    /// The product, with the price to pin.
    pub product: &'a Product,
    /// Items; at least one.
    pub quantity: u32,
}

/// An offer that is considered, with the coupon that brings it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The offer.
    pub offer: &'a Offer,
    /// The member's coupon, for offers of that class.
    pub coupon: Option<&'a Coupon>,
}

/// What points are worth at checkout.
#[derive(Debug, Clone, Copy)]
pub struct PointsTerms {
    /// Minor units that 100 points take off.
    pub value_per_100: Money,
    /// The largest share of the goods' payable that points may cover.
    pub most: BasisPoints,
}

/// A price on its way. See the room's documentation for the order of calls.
#[derive(Debug)]
pub struct Draft {
    lines: Vec<PricedLine>,
    delivery_fee: Money,
    delivery_allocations: Vec<Allocation>,
    offers: Vec<OfferOutcome>,
    groups: Vec<(String, ExternalId)>,
    coupon: Option<CouponId>,
    points: (Points, Money, Points),
}

/// An effect after the host's checks: amounts by line.
struct Effect {
    shares: Vec<(usize, Money)>,
    saving: Money,
}

impl Draft {
    /// Lines at list price, less the tier's discount.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a line's amount does not fit.
    pub fn new(lines: &[CartLine<'_>], tier_discount: BasisPoints, delivery_fee: Money) -> Result<Self, PricingError> {
        let lines = lines.iter().map(|line| priced_at_tier(*line, tier_discount)).collect::<Result<Vec<_>, _>>()?;
        Money::sum(lines.iter().map(|line| line.list))?.plus(delivery_fee)?;
        Ok(Self {
            lines,
            delivery_fee,
            delivery_allocations: Vec::new(),
            offers: Vec::new(),
            groups: Vec::new(),
            coupon: None,
            points: (Points::ZERO, Money::ZERO, Points::ZERO),
        })
    }

    /// What the policy is asked before a stage: the cart as it stands. At the stage of member prices lines stand at
    /// list price, because a member price competes with the tier price.
    pub fn subject(&self, stage: OfferClass, as_of: Timestamp, member: &Facts, offers: Vec<Vec<Value>>) -> CartSubject {
        let now = |line: &PricedLine| if stage == OfferClass::MemberPrice { line.list } else { line.payable };
        let total = |amount: &dyn Fn(&PricedLine) -> Money| {
            Value::Integer(self.lines.iter().map(|line| amount(line).get()).sum())
        };
        let facts = member
            .clone()
            .with(&fact::CART_LIST, total(&|line| line.list))
            .with(&fact::CART_BASE, total(&|line| line.base))
            .with(&fact::CART_AMOUNT, total(&now))
            .with(&fact::CART_DELIVERY_FEE, self.delivery_fee.into())
            .with(&fact::CART_QUANTITY, self.lines.iter().map(|line| i64::from(line.quantity)).sum::<i64>().into());
        let lines = self.lines.iter().map(|line| line_facts(line, now(line))).collect();
        CartSubject { as_of, facts, lines, offers }
    }

    /// Takes, line by line, the member price where it is lower than the tier price.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a sum does not fit, which the checks of the engine rule out.
    pub fn member_prices(&mut self, asked: &[Candidate<'_>], proposals: &[Proposal]) -> Result<(), PricingError> {
        let mut best: Vec<Option<(usize, Money)>> = vec![None; self.lines.len()];
        let list = |line: &PricedLine| line.list;
        for (i, (candidate, proposal)) in asked.iter().zip(proposals).enumerate() {
            match self.effect(candidate.offer, proposal, list) {
                Err(reason) => self.decline(*candidate, reason),
                Ok(effect) => {
                    for (line, amount) in effect.shares {
                        let tier = self.lines[line].list.minus(self.lines[line].base)?;
                        if amount > tier && best[line].is_none_or(|(_, other)| amount > other) {
                            best[line] = Some((i, amount));
                        }
                    }
                }
            }
        }
        for (line, (i, amount)) in best.iter().enumerate().filter_map(|(line, best)| best.map(|best| (line, best))) {
            let line = &mut self.lines[line];
            line.payable = line.list.minus(amount)?;
            line.base = line.payable;
            line.allocations = vec![allocation(asked[i], amount)];
        }
        for (i, candidate) in asked.iter().enumerate() {
            let saving = Money::sum(best.iter().flatten().filter(|(by, _)| *by == i).map(|(_, amount)| *amount))?;
            let declined = self.offers.iter().any(|outcome| outcome.offer == candidate.offer.id);
            match (saving.is_zero(), declined) {
                (false, _) => self.applied(*candidate, saving, Vec::new()),
                (true, false) => self.decline(*candidate, reasons::TIER_PRICE_LOWER.with(Vec::new())),
                (true, true) => {}
            }
        }
        Ok(())
    }

    /// Applies promotions by priority, then by saving; one of each exclusivity group.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a sum does not fit.
    pub fn promotions(&mut self, asked: &[Candidate<'_>], proposals: &[Proposal]) -> Result<(), PricingError> {
        let saving = |i: usize| offered(&proposals[i].outcome);
        let mut order: Vec<usize> = (0..asked.len().min(proposals.len())).collect();
        order.sort_by_key(|i| (Reverse(asked[*i].offer.priority), Reverse(saving(*i)), asked[*i].offer.id));
        for i in order {
            self.try_apply(asked[i], &proposals[i])?;
        }
        Ok(())
    }

    /// Applies one coupon: the named one, or else the largest saving, ties by earliest expiry.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a sum does not fit.
    pub fn coupons(
        &mut self,
        asked: &[Candidate<'_>],
        proposals: &[Proposal],
        named: Option<CouponId>,
    ) -> Result<(), PricingError> {
        let id = |i: usize| asked[i].coupon.map(|coupon| coupon.id);
        let expiry = |i: usize| asked[i].coupon.and_then(|coupon| coupon.expires_at).unwrap_or(Timestamp::MAX);
        let mut order: Vec<usize> = (0..asked.len().min(proposals.len())).collect();
        order.sort_by_key(|i| {
            let saving =
                self.effect(asked[*i].offer, &proposals[*i], |line| line.payable).map_or(0, |e| e.saving.get());
            (named.is_some() && id(*i) != named, Reverse(saving), expiry(*i), id(*i))
        });
        let mut taken: Option<ExternalId> = None;
        for i in order {
            match &taken {
                Some(code) if offered(&proposals[i].outcome) > 0 => {
                    let other = vec![Parameter::Text(code.to_string())];
                    self.decline(asked[i], reasons::NOT_CHOSEN.with(other));
                }
                Some(_) => self.decline(asked[i], first_reason(&proposals[i])),
                None if named.is_some() && id(i) != named => {
                    self.decline(asked[i], reasons::NOT_CHOSEN.with(vec![Parameter::Text("another coupon".into())]));
                }
                None => {
                    if self.try_apply(asked[i], &proposals[i])? {
                        taken = Some(asked[i].offer.code.clone());
                        self.coupon = id(i);
                    }
                }
            }
        }
        Ok(())
    }

    /// Spends points on the goods.
    ///
    /// # Errors
    ///
    /// [`PricingError::TooManyPoints`] if the terms do not allow that many on this cart.
    pub fn points(&mut self, asked: Points, terms: PointsTerms) -> Result<(), PricingError> {
        let limit = terms.most.of(self.goods()?)?;
        let per_100 = i128::from(terms.value_per_100.get().max(1));
        let most = i64::try_from(i128::from(limit.get()) * 100 / per_100).map_err(|_| Overflow)?;
        if asked.get() > most {
            return Err(PricingError::TooManyPoints { asked, most: Points::new(most) });
        }
        let value = Money::new(i64::try_from(i128::from(asked.get()) * per_100 / 100).map_err(|_| Overflow)?);
        self.points = (asked, value, Points::new(most));
        if value.is_zero() {
            return Ok(());
        }
        let weights: Vec<i64> = self.lines.iter().map(|line| line.payable.get()).collect();
        for (line, share) in self.lines.iter_mut().zip(allocate(value.get(), &weights)?) {
            let funders = vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }];
            take_off(line, Allocation { source: Source::Points, amount: Money::new(share), funders })?;
        }
        Ok(())
    }

    /// Takes offers off the delivery fee, by priority, never below zero.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a sum does not fit.
    pub fn delivery(&mut self, asked: &[Candidate<'_>], proposals: &[Proposal]) -> Result<(), PricingError> {
        let mut order: Vec<usize> = (0..asked.len().min(proposals.len())).collect();
        order.sort_by_key(|i| (Reverse(asked[*i].offer.priority), asked[*i].offer.id));
        for i in order {
            let (candidate, left) = (asked[i], self.delivery_payable()?);
            match proposals[i].outcome {
                Outcome::Declined => self.decline(candidate, first_reason(&proposals[i])),
                Outcome::Delivery(_) if left.is_zero() => self.decline(candidate, plain(&reasons::NOTHING_LEFT)),
                Outcome::Delivery(amount) => {
                    let amount = amount.min(left);
                    self.delivery_allocations.push(allocation(candidate, amount));
                    self.applied(candidate, amount, proposals[i].reasons.clone());
                }
                Outcome::Shared { .. } | Outcome::Lines(_) => self.decline(candidate, plain(&reasons::WRONG_STAGE)),
            }
        }
        Ok(())
    }

    /// Records that an offer was not even put to the policy, and why.
    pub fn decline(&mut self, candidate: Candidate<'_>, reason: Reason) {
        self.offers.push(outcome(candidate, Money::ZERO, vec![reason]));
    }

    /// The coupon that was taken.
    pub fn coupon(&self) -> Option<CouponId> {
        self.coupon
    }

    /// The explained price.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a sum does not fit.
    pub fn finish(self) -> Result<Priced, PricingError> {
        let (goods_payable, delivery_payable) = (self.goods()?, self.delivery_payable()?);
        let (points, points_value, points_max) = self.points;
        Ok(Priced {
            lines: self.lines,
            delivery_fee: self.delivery_fee,
            delivery_allocations: self.delivery_allocations,
            offers: self.offers,
            points,
            points_value,
            points_max,
            goods_payable,
            delivery_payable,
            payable: goods_payable.plus(delivery_payable)?,
        })
    }

    fn goods(&self) -> Result<Money, Overflow> {
        Money::sum(self.lines.iter().map(|line| line.payable))
    }

    fn delivery_payable(&self) -> Result<Money, Overflow> {
        self.delivery_fee.minus(Money::sum(self.delivery_allocations.iter().map(|a| a.amount))?)
    }

    /// Applies one proposal to the lines unless its group is taken or nothing is left; says whether it did.
    fn try_apply(&mut self, candidate: Candidate<'_>, proposal: &Proposal) -> Result<bool, PricingError> {
        let group = candidate.offer.exclusivity_group.as_ref();
        let taken = group.and_then(|group| self.groups.iter().find(|(name, _)| name == group));
        let effect = match (taken, self.effect(candidate.offer, proposal, |line| line.payable)) {
            (_, Err(reason)) => {
                self.decline(candidate, reason);
                return Ok(false);
            }
            (Some((_, other)), Ok(_)) => {
                let other = vec![Parameter::Text(other.to_string())];
                self.decline(candidate, reasons::EXCLUSIVE_WITH.with(other));
                return Ok(false);
            }
            (None, Ok(effect)) => effect,
        };
        for (line, amount) in effect.shares {
            take_off(&mut self.lines[line], allocation(candidate, amount))?;
        }
        if let Some(group) = group {
            self.groups.push((group.clone(), candidate.offer.code.clone()));
        }
        self.applied(candidate, effect.saving, proposal.reasons.clone());
        Ok(true)
    }

    /// Turns a proposal into amounts by line, each at most what `left` says the line still costs; or the reason why it
    /// has no effect here.
    fn effect(
        &self,
        offer: &Offer,
        proposal: &Proposal,
        left: impl Fn(&PricedLine) -> Money,
    ) -> Result<Effect, Reason> {
        let wrong = || plain(&reasons::WRONG_STAGE);
        let shares: Vec<(usize, Money)> = match &proposal.outcome {
            Outcome::Declined => return Err(first_reason(proposal)),
            Outcome::Delivery(_) => return Err(wrong()),
            Outcome::Lines(amounts) => amounts.iter().map(|(line, amount)| (usize::from(*line), *amount)).collect(),
            Outcome::Shared { amount, lines } => {
                let lines: Vec<usize> = lines.iter().map(|line| usize::from(*line)).collect();
                let weights = lines.iter().map(|line| self.lines.get(*line).map(|line| left(line).get()));
                let weights: Vec<i64> = weights.collect::<Option<_>>().ok_or_else(wrong)?;
                let most = weights.iter().sum::<i64>().min(amount.get());
                let shares = allocate(most, &weights).map_err(|_| wrong())?;
                lines.into_iter().zip(shares.into_iter().map(Money::new)).collect()
            }
        };
        let mut effect = Effect { shares: Vec::with_capacity(shares.len()), saving: Money::ZERO };
        for (index, amount) in shares {
            let line = self.lines.get(index).ok_or_else(wrong)?;
            if !may_promote(offer.purpose, line.class) {
                let class = vec![Parameter::Text(line.class.name().to_owned())];
                return Err(reasons::CLASS_NOT_PROMOTABLE.with(class));
            }
            let amount = amount.min(left(line));
            if amount > Money::ZERO {
                effect.saving = effect.saving.plus(amount).map_err(|_| wrong())?;
                effect.shares.push((index, amount));
            }
        }
        if effect.saving.is_zero() { Err(plain(&reasons::NOTHING_LEFT)) } else { Ok(effect) }
    }

    fn applied(&mut self, candidate: Candidate<'_>, amount: Money, mut why: Vec<Reason>) {
        if why.is_empty() {
            why.push(reasons::APPLIED.with(vec![Parameter::Money(amount)]));
        }
        self.offers.push(outcome(candidate, amount, why));
    }
}

fn priced_at_tier(line: CartLine<'_>, discount: BasisPoints) -> Result<PricedLine, Overflow> {
    let list = line.product.list_price.times(i64::from(line.quantity))?;
    let off = discount.min(BasisPoints::ONE).of(list)?;
    let payable = list.minus(off)?;
    let funders = vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }];
    let tier = Allocation { source: Source::Tier, amount: off, funders };
    Ok(PricedLine {
        product: line.product.id,
        external_id: line.product.external_id.clone(),
        category: line.product.category.clone(),
        class: line.product.class,
        urgent: line.product.urgent,
        quantity: line.quantity,
        unit_price: line.product.list_price,
        list,
        base: payable,
        payable,
        allocations: if off.is_zero() { Vec::new() } else { vec![tier] },
        stock_tracked: line.product.stock_tracked,
    })
}

fn line_facts(line: &PricedLine, now: Money) -> Facts {
    priced_line_facts(line).with(&fact::LINE_AMOUNT, now.into())
}

/// The facts of a priced line; its amount is what is to be paid for it.
pub fn priced_line_facts(line: &PricedLine) -> Facts {
    Facts::of(Scope::Line)
        .with(&fact::LINE_PRODUCT, line.external_id.as_str().into())
        .with(&fact::LINE_CATEGORY, line.category.as_str().into())
        .with(&fact::LINE_CLASS, line.class.name().into())
        .with(&fact::LINE_URGENT, line.urgent.into())
        .with(&fact::LINE_QUANTITY, i64::from(line.quantity).into())
        .with(&fact::LINE_UNIT_PRICE, line.unit_price.into())
        .with(&fact::LINE_LIST, line.list.into())
        .with(&fact::LINE_BASE, line.base.into())
        .with(&fact::LINE_AMOUNT, line.payable.into())
}

fn take_off(line: &mut PricedLine, allocation: Allocation) -> Result<(), Overflow> {
    if !allocation.amount.is_zero() {
        line.payable = line.payable.minus(allocation.amount)?;
        line.allocations.push(allocation);
    }
    Ok(())
}

fn allocation(candidate: Candidate<'_>, amount: Money) -> Allocation {
    let source = Source::Offer(candidate.offer.id, candidate.coupon.map(|coupon| coupon.id));
    Allocation { source, amount, funders: candidate.offer.funders.clone() }
}

fn outcome(candidate: Candidate<'_>, amount: Money, reasons: Vec<Reason>) -> OfferOutcome {
    OfferOutcome {
        offer: candidate.offer.id,
        code: candidate.offer.code.clone(),
        class: candidate.offer.class,
        coupon: candidate.coupon.map(|coupon| coupon.id),
        amount,
        reasons,
    }
}

/// What a proposal offers, before any check.
fn offered(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Declined => 0,
        Outcome::Shared { amount, .. } | Outcome::Delivery(amount) => amount.get(),
        Outcome::Lines(amounts) => amounts.iter().fold(0, |sum, (_, amount)| sum.saturating_add(amount.get())),
    }
}

fn first_reason(proposal: &Proposal) -> Reason {
    proposal.reasons.first().cloned().unwrap_or_else(|| plain(&reasons::POLICY_FAILED))
}

fn plain(reason: &HostReason) -> Reason {
    reason.with(Vec::new())
}
