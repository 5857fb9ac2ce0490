//! The walk from list price to payable.

use super::{
    branch::{Branch, Verdict},
    effect::Line,
    reasons,
    round::Round,
};
use crate::{
    domain::{
        fact::{self, Facts, Scope},
        limit::Room,
        money::{BasisPoints, Money, Overflow, Points, allocate},
        offer::{Coupon, Funder, FunderShare, Offer, OfferClass},
        order::{Allocation, OfferOutcome, Priced, PricedLine, Source},
        product::Product,
        rule::{Parameter, Reason},
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
    /// The tightest of the limits on what the offer may still take off.
    pub room: Option<Room>,
}

impl Candidate<'_> {
    /// Why the offer may not take off so much: it takes off all of it or nothing.
    pub(super) fn beyond_room(&self, saving: Money) -> Option<Reason> {
        self.room?.short_of(saving.get()).map(reasons::limited)
    }
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
pub struct Draft<'a> {
    pub(super) lines: Vec<Line>,
    /// Of each line, at the tier or member price.
    pub(super) facts: Vec<Facts>,
    pub(super) list: Money,
    pub(super) quantity: i64,
    /// The candidates of all stages after member prices, in the order they were taken.
    pub(super) asked: Vec<Candidate<'a>>,
    /// At least one.
    pub(super) branches: Vec<Branch>,
    /// The coupon that the member names.
    pub(super) named: Option<CouponId>,
    /// Whether branches were left out because there were too many.
    pub(super) bounded: bool,
    delivery_fee: Money,
    /// What became of offers that no branch decides on.
    pub(super) offers: Vec<OfferOutcome>,
}

/// What points take off.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    points: Points,
    value: Money,
    /// The most points that could be spent.
    most: Points,
    /// By line; empty where it is nothing.
    shares: Vec<i64>,
}

impl<'a> Draft<'a> {
    /// Lines at list price, less the tier's discount as far as floor prices allow. `named` is the coupon that the member
    /// wants: no other is taken then.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a line's amount does not fit.
    pub fn new(
        lines: &[CartLine<'_>],
        tier_discount: BasisPoints,
        delivery_fee: Money,
        named: Option<CouponId>,
    ) -> Result<Self, PricingError> {
        let lines = lines.iter().map(|line| priced_at_tier(*line, tier_discount)).collect::<Result<Vec<_>, _>>()?;
        let list = Money::sum(lines.iter().map(|line| line.priced.list))?;
        list.plus(delivery_fee)?;
        let left = lines.iter().map(|line| line.priced.payable).collect();
        Ok(Self {
            facts: lines.iter().map(|line| priced_line_facts(&line.priced)).collect(),
            list,
            quantity: lines.iter().map(|line| i64::from(line.priced.quantity)).sum(),
            lines,
            asked: Vec::new(),
            branches: vec![Branch::new(left, delivery_fee)],
            named,
            bounded: false,
            delivery_fee,
            offers: Vec::new(),
        })
    }

    /// Takes what the policies proposed at a stage; `later` are the candidates of the stages after it.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if a sum does not fit, which the checks of the engine rule out.
    pub fn take(&mut self, round: Round<'a>, later: &[Candidate<'_>]) -> Result<(), PricingError> {
        if round.stage == OfferClass::MemberPrice {
            return self.member_prices(&round);
        }
        self.combine(round, later);
        Ok(())
    }

    /// Spends points on the goods. Points are the member's own: they may take a line below its floor price.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if an amount does not fit. More points than the cart takes are the error of [`Draft::finish`].
    pub fn points(&mut self, asked: Points, terms: PointsTerms) -> Result<(), PricingError> {
        let per_100 = i128::from(terms.value_per_100.get().max(1));
        for branch in &mut self.branches {
            let limit = terms.most.of(Money::sum(branch.left.iter().copied())?)?;
            let most = i64::try_from(i128::from(limit.get()) * 100 / per_100).map_err(|_| Overflow)?;
            let most = Points::new(most);
            branch.points = if asked > most {
                Err(PricingError::TooManyPoints { asked, most })
            } else {
                let value = i64::try_from(i128::from(asked.get()) * per_100 / 100).map_err(|_| Overflow)?;
                let weights: Vec<i64> = branch.left.iter().map(|left| left.get()).collect();
                let shares = if value == 0 { Vec::new() } else { allocate(value, &weights)? };
                for (left, share) in branch.left.iter_mut().zip(&shares) {
                    *left = left.minus(Money::new(*share))?;
                }
                Ok(Spent { points: asked, value: Money::new(value), most, shares })
            };
        }
        Ok(())
    }

    /// Records that an offer was not even put to the policy, and why.
    pub fn decline(&mut self, candidate: Candidate<'_>, reason: Reason) {
        self.offers.push(outcome(candidate, Money::ZERO, vec![reason]));
    }

    /// The explained price, and the coupon that it takes.
    ///
    /// # Errors
    ///
    /// [`PricingError::TooManyPoints`] if the terms do not allow the points on this cart, [`Overflow`] if a sum does
    /// not fit.
    pub fn finish(mut self) -> Result<(Priced, Option<CouponId>), PricingError> {
        let mut branch = self.best().clone();
        let spent = std::mem::replace(&mut branch.points, Ok(Spent::default()))?;
        let mut coupon = None;
        let mut delivery_allocations = Vec::new();
        for (at, verdict) in branch.told.clone() {
            let candidate = self.asked[at];
            let told = match verdict {
                Verdict::Declined(reason) => outcome(candidate, Money::ZERO, vec![reason]),
                Verdict::Beaten(by) => outcome(candidate, Money::ZERO, vec![self.beaten(&branch, at, Some(by))]),
                Verdict::Passed => outcome(candidate, Money::ZERO, vec![self.beaten(&branch, at, None)]),
                Verdict::Applied(effect, reasons) => {
                    coupon = coupon.or(candidate.coupon.map(|coupon| coupon.id));
                    for (line, amount) in &effect.shares {
                        take_off(&mut self.lines[*line].priced, allocation(candidate, *amount))?;
                    }
                    if !effect.delivery.is_zero() {
                        delivery_allocations.push(allocation(candidate, effect.delivery));
                    }
                    applied(candidate, effect.saving, reasons, effect.floored())
                }
            };
            self.offers.push(told);
        }
        for (line, share) in self.lines.iter_mut().zip(&spent.shares) {
            let funders = vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }];
            take_off(&mut line.priced, Allocation { source: Source::Points, amount: Money::new(*share), funders })?;
        }
        let goods_payable = Money::sum(self.lines.iter().map(|line| line.priced.payable))?;
        self.offers.sort_by_key(|outcome| outcome.class);
        let priced = Priced {
            lines: self.lines.into_iter().map(|line| line.priced).collect(),
            delivery_fee: self.delivery_fee,
            delivery_allocations,
            offers: self.offers,
            points: spent.points,
            points_value: spent.value,
            points_max: spent.most,
            goods_payable,
            delivery_payable: branch.fee,
            payable: goods_payable.plus(branch.fee)?,
            not_yours: None,
            bounded: self.bounded,
        };
        Ok((priced, coupon))
    }

    /// What the named coupon is called, as far as that is the member's to know.
    pub(super) fn name_of_named(&self) -> String {
        let listed = self.offers.iter().find(|outcome| outcome.coupon == self.named).map(|outcome| &outcome.code);
        let asked = self.asked.iter().find(|asked| asked.coupon.map(|coupon| coupon.id) == self.named);
        let code = listed.or(asked.map(|asked| &asked.offer.code));
        code.map_or_else(|| self.named.map(|id| id.to_string()).unwrap_or_default(), ToString::to_string)
    }
}

fn priced_at_tier(line: CartLine<'_>, discount: BasisPoints) -> Result<Line, Overflow> {
    let list = line.product.list_price.times(i64::from(line.quantity))?;
    let floor = line.product.floor_price.unwrap_or_default().times(i64::from(line.quantity))?;
    let most = Money::new(list.get().saturating_sub(floor.get()).max(0));
    let off = discount.min(BasisPoints::ONE).of(list)?.min(most);
    let payable = list.minus(off)?;
    let funders = vec![FunderShare { funder: Funder::Platform, share: BasisPoints::ONE }];
    let tier = Allocation { source: Source::Tier, amount: off, funders };
    let priced = PricedLine {
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
        days_of_supply: line.product.days_of_supply,
    };
    Ok(Line { priced, floor })
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

pub(super) fn allocation(candidate: Candidate<'_>, amount: Money) -> Allocation {
    let source = Source::Offer(candidate.offer.id, candidate.coupon.map(|coupon| coupon.id));
    Allocation { source, amount, funders: candidate.offer.funders.clone() }
}

/// An offer that took something off: for the policy's reasons, and where the floor price left less, also for that.
pub(super) fn applied(
    candidate: Candidate<'_>,
    amount: Money,
    mut said: Vec<Reason>,
    floored: Option<Reason>,
) -> OfferOutcome {
    if said.is_empty() {
        said.push(reasons::APPLIED.with(vec![Parameter::Money(amount)]));
    }
    said.extend(floored);
    outcome(candidate, amount, said)
}

pub(super) fn outcome(candidate: Candidate<'_>, amount: Money, reasons: Vec<Reason>) -> OfferOutcome {
    OfferOutcome {
        offer: candidate.offer.id,
        code: candidate.offer.code.clone(),
        class: candidate.offer.class,
        coupon: candidate.coupon.map(|coupon| coupon.id),
        amount,
        reasons,
    }
}
