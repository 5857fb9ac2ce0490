//! Ways of combining offers, and which of them are followed.
//!
//! Offers of a stage come in units: one that stands alone, the members of an exclusivity group, all coupons. Each unit
//! turns every branch into one for each of its members that has an effect there. A branch that takes none is followed
//! only where that can pay: a later offer is of the same group, or declares a base that this one would lower.

use std::cmp::{Ordering, Reverse};

use jiff::Timestamp;

use super::{
    draft::{Candidate, Draft, PricingError, Spent},
    effect::{Effect, effect},
    reasons,
    round::Round,
};
use crate::{
    domain::{
        money::Money,
        offer::{Base, OfferClass},
        rule::{Outcome, Parameter, Proposal, Reason},
    },
    ids::{CouponId, OfferId},
};

/// The most ways of combining offers that are followed from one offer to the next.
pub const COMBINATIONS_MAX: usize = 32;

/// One way of combining the offers so far.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// What each line still costs.
    pub(super) left: Vec<Money>,
    /// What is left of the delivery fee.
    pub(super) fee: Money,
    /// What offers took off.
    pub(super) saving: Money,
    /// What became of the candidates, by their place in the draft.
    pub(super) told: Vec<(usize, Verdict)>,
    /// What points take off; the error where they are too many for what is left to pay.
    pub(super) points: Result<Spent, PricingError>,
    /// The branch of the stage's beginning that this one comes from.
    origin: usize,
    /// Whether every unit took its first member that has an effect.
    greedy: bool,
}

/// What became of a candidate in a branch.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// Took this off, for these reasons of the policy's.
    Applied(Effect, Vec<Reason>),
    /// Has no effect.
    Declined(Reason),
    /// Has one, but another candidate of its unit was taken.
    Beaten(usize),
    /// Has one, but the branch goes without.
    Passed,
}

/// One way to go on from a branch.
struct Choice {
    branch: usize,
    /// The member of the unit that is taken.
    pick: Option<usize>,
    saving: Money,
    greedy: bool,
}

/// Of an offer that was applied: the higher priority, the earlier end, the smaller id comes first.
type Tie = (Reverse<i32>, Timestamp, OfferId, Option<CouponId>);

/// Which ways are followed further.
#[derive(Clone, Copy)]
enum Keep {
    /// All.
    All,
    /// Those that offers on the delivery fee can still make the best.
    WithinFee,
    /// The best.
    Best,
}

impl Branch {
    pub(super) fn new(left: Vec<Money>, fee: Money) -> Self {
        let (saving, told) = (Money::ZERO, Vec::new());
        Self { left, fee, saving, told, points: Ok(Spent::default()), origin: 0, greedy: true }
    }

    /// What offers up to this class took off a line.
    pub(super) fn taken(&self, line: usize, asked: &[Candidate<'_>], until: OfferClass) -> i64 {
        let effects = self.told.iter().filter(|(at, _)| asked[*at].offer.class <= until);
        let shares = effects.filter_map(|(_, verdict)| match verdict {
            Verdict::Applied(effect, _) => Some(&effect.shares),
            _ => None,
        });
        shares.flatten().filter(|(at, _)| *at == line).map(|(_, amount)| amount.get()).sum()
    }

    /// The candidates that were applied.
    pub(super) fn applied(&self) -> impl Iterator<Item = usize> {
        self.told.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Applied(..))).map(|(at, _)| *at)
    }

    fn take(&mut self, at: usize, effect: Effect, reasons: Vec<Reason>) {
        for (line, amount) in &effect.shares {
            self.left[*line] = Money::new(self.left[*line].get() - amount.get());
        }
        self.fee = Money::new(self.fee.get() - effect.delivery.get());
        self.saving = Money::new(self.saving.get() + effect.saving.get());
        self.told.push((at, Verdict::Applied(effect, reasons)));
    }
}

impl<'a> Draft<'a> {
    /// Follows every way of combining the offers of a stage; `later` are the candidates of the stages after it.
    pub(super) fn combine(&mut self, round: Round<'a>, later: &[Candidate<'_>]) {
        let first = self.asked.len();
        self.asked.extend_from_slice(&round.candidates);
        for (origin, branch) in self.branches.iter_mut().enumerate() {
            branch.origin = origin;
        }
        let units = self.units(&round, first);
        let keep = self.keep(round.stage, later);
        let count = units.len();
        for (nth, unit) in units.into_iter().enumerate() {
            let pass = unit.iter().any(|at| pays_to_pass(self.asked[*at], round.stage, later));
            let keep = if nth + 1 == count { keep } else { Keep::All };
            self.unit(&unit, first, &round, pass, keep);
        }
    }

    /// The units of a stage in their order: by priority, then by what the policy gives, then by id.
    fn units(&self, round: &Round<'_>, first: usize) -> Vec<Vec<usize>> {
        let candidates = &round.candidates;
        let offered = |at: usize| round.proposals[0][at].as_ref().map_or(0, |proposal| offered(&proposal.outcome));
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by_key(|at| {
            let Candidate { offer, coupon, .. } = candidates[*at];
            (Reverse(offer.priority), Reverse(offered(*at)), offer.id, coupon.map(|coupon| coupon.id))
        });
        if round.stage == OfferClass::Coupon {
            return if order.is_empty() { Vec::new() } else { vec![order.into_iter().map(|at| first + at).collect()] };
        }
        let mut units: Vec<Vec<usize>> = Vec::new();
        for at in order {
            let group = candidates[at].offer.exclusivity_group.as_ref();
            let same = |unit: &&mut Vec<usize>| self.asked[unit[0]].offer.exclusivity_group.as_ref() == group;
            match units.iter_mut().find(same).filter(|_| group.is_some()) {
                Some(unit) => unit.push(first + at),
                None => units.push(vec![first + at]),
            }
        }
        units
    }

    /// What must be followed beyond a stage, so that the best is among it.
    fn keep(&self, stage: OfferClass, later: &[Candidate<'_>]) -> Keep {
        let depends = |candidate: &Candidate<'_>| {
            candidate.offer.base >= Base::AfterPromotions || self.asked.iter().any(|other| excludes(*other, *candidate))
        };
        match stage {
            OfferClass::MemberPrice | OfferClass::Delivery => Keep::Best,
            OfferClass::Promotion if later.iter().any(|candidate| candidate.offer.class == OfferClass::Coupon) => {
                Keep::All
            }
            OfferClass::Promotion | OfferClass::Coupon if later.iter().any(depends) => Keep::WithinFee,
            OfferClass::Promotion | OfferClass::Coupon => Keep::Best,
        }
    }

    /// Turns every branch into those that one unit allows.
    fn unit(&mut self, members: &[usize], first: usize, round: &Round<'_>, pass: bool, keep: Keep) {
        let effects: Vec<Vec<Result<Effect, Reason>>> = (self.branches.iter())
            .map(|branch| {
                members.iter().map(|at| self.tried(branch, *at, &round.proposals[branch.origin][at - first])).collect()
            })
            .collect();
        let mut choices = Vec::with_capacity(effects.len());
        for (nth, (branch, effects)) in self.branches.iter().zip(&effects).enumerate() {
            let choice = |pick, saving: Money, greedy| {
                let saving = Money::new(branch.saving.get() + saving.get());
                Choice { branch: nth, pick, saving, greedy: branch.greedy && greedy }
            };
            let before = choices.len();
            for (nth, effect) in effects.iter().enumerate() {
                let Ok(effect) = effect else { continue };
                choices.push(choice(Some(nth), effect.saving, choices.len() == before));
            }
            if pass || choices.len() == before {
                choices.push(choice(None, Money::ZERO, choices.len() == before));
            }
        }
        self.narrow(&mut choices, members, keep);
        self.branches = self.grown(&choices, members, effects, first, round);
    }

    /// The effect of a candidate in a branch, unless one that excludes it was applied there.
    fn tried(&self, branch: &Branch, at: usize, proposal: &Option<Proposal>) -> Result<Effect, Reason> {
        let candidate = self.asked[at];
        let proposal = proposal.as_ref().ok_or_else(|| reasons::POLICY_FAILED.plain())?;
        let effect = effect(&self.lines, &branch.left, branch.fee, candidate.offer, proposal)?;
        if let Some(reason) = candidate.beyond_room(effect.saving) {
            return Err(reason);
        }
        let is_named = self.named.is_none() || candidate.coupon.map(|coupon| coupon.id) == self.named;
        if candidate.offer.class == OfferClass::Coupon && !is_named {
            return Err(reasons::NOT_CHOSEN.with(vec![Parameter::Text(self.name_of_named())]));
        }
        match branch.applied().find(|other| excludes(self.asked[*other], candidate)) {
            Some(other) => Err(self.exclusive_with(other)),
            None => Ok(effect),
        }
    }

    /// Leaves out the ways that cannot or will not be followed.
    fn narrow(&mut self, choices: &mut Vec<Choice>, members: &[usize], keep: Keep) {
        if choices.len() == 1 {
            return;
        }
        let Some(best) = choices.iter().min_by(|a, b| self.better(a, b, members)) else { return };
        match keep {
            Keep::All => {}
            Keep::Best => {
                let (branch, pick) = (best.branch, best.pick);
                choices.retain(|choice| (choice.branch, choice.pick) == (branch, pick));
            }
            Keep::WithinFee => {
                let saving = best.saving.get();
                let reach = |choice: &Choice| choice.saving.get() + self.branches[choice.branch].fee.get();
                choices.retain(|choice| reach(choice) >= saving);
            }
        }
        if choices.len() > COMBINATIONS_MAX {
            choices.sort_by(|a, b| self.better(a, b, members));
            let greedy = choices.iter().rposition(|choice| choice.greedy);
            if let Some(greedy) = greedy.filter(|at| *at >= COMBINATIONS_MAX) {
                choices.swap(greedy, COMBINATIONS_MAX - 1);
            }
            choices.truncate(COMBINATIONS_MAX);
            self.bounded = true;
        }
    }

    /// The branches of the choices, in which every member of the unit is told what became of it.
    fn grown(
        &self,
        choices: &[Choice],
        members: &[usize],
        effects: Vec<Vec<Result<Effect, Reason>>>,
        first: usize,
        round: &Round<'_>,
    ) -> Vec<Branch> {
        let grow = |choice: &Choice| {
            let mut branch = self.branches[choice.branch].clone();
            let origin = branch.origin;
            branch.greedy = choice.greedy;
            let taken = choice.pick.map(|nth| members[nth]);
            for (nth, effect) in effects[choice.branch].iter().enumerate() {
                let at = members[nth];
                match effect {
                    Ok(effect) if taken == Some(at) => {
                        let said = round.proposals[origin][at - first].as_ref();
                        branch.take(at, effect.clone(), said.map_or_else(Vec::new, |said| said.reasons.clone()));
                    }
                    Ok(_) => branch.told.push((at, taken.map_or(Verdict::Passed, Verdict::Beaten))),
                    Err(reason) => branch.told.push((at, Verdict::Declined(reason.clone()))),
                }
            }
            branch
        };
        choices.iter().map(grow).collect()
    }

    fn better(&self, a: &Choice, b: &Choice, members: &[usize]) -> Ordering {
        let ties = |choice: &Choice| {
            let picked = choice.pick.map(|nth| members[nth]);
            self.ties(self.branches[choice.branch].applied().chain(picked))
        };
        b.saving.cmp(&a.saving).then_with(|| ties(a).cmp(&ties(b)))
    }

    /// The branch that saves most.
    pub(super) fn best(&self) -> &Branch {
        let by_ties = |a: &Branch, b: &Branch| self.ties(a.applied()).cmp(&self.ties(b.applied()));
        let best = self.branches.iter().min_by(|a, b| b.saving.cmp(&a.saving).then_with(|| by_ties(a, b)));
        best.expect("a draft always has a branch")
    }

    /// What decides between ways that save the same: the smaller wins. A way that spares the coupon comes before one that
    /// takes it, then the coupon that dies first.
    fn ties(&self, applied: impl Iterator<Item = usize>) -> (Option<Timestamp>, Vec<Tie>) {
        let mut dies = None;
        let key = |at: usize| {
            let Candidate { offer, coupon, .. } = self.asked[at];
            let ends = coupon.map_or(offer.ends_at, |coupon| coupon.expires_at).unwrap_or(Timestamp::MAX);
            dies = dies.or(coupon.map(|_| ends));
            (Reverse(offer.priority), ends, offer.id, coupon.map(|coupon| coupon.id))
        };
        let mut keys: Vec<Tie> = applied.map(key).collect();
        keys.sort_unstable();
        (dies, keys)
    }

    /// The reason of a candidate that had an effect, but was not applied in this branch.
    pub(super) fn beaten(&self, branch: &Branch, at: usize, by: Option<usize>) -> Reason {
        let candidate = self.asked[at];
        let by_group = branch.applied().find(|other| excludes(self.asked[*other], candidate));
        match (by_group, by) {
            (Some(other), _) => self.exclusive_with(other),
            (None, Some(other)) => {
                reasons::NOT_CHOSEN.with(vec![Parameter::Text(self.asked[other].offer.code.to_string())])
            }
            (None, None) => reasons::BETTER_WITHOUT.plain(),
        }
    }

    fn exclusive_with(&self, other: usize) -> Reason {
        reasons::EXCLUSIVE_WITH.with(vec![Parameter::Text(self.asked[other].offer.code.to_string())])
    }
}

/// Whether two offers are of one exclusivity group. Member prices have none: each line takes the lowest.
fn excludes(one: Candidate<'_>, other: Candidate<'_>) -> bool {
    let group = one.offer.exclusivity_group.as_ref();
    let grouped = |candidate: Candidate<'_>| candidate.offer.class != OfferClass::MemberPrice;
    group.is_some() && group == other.offer.exclusivity_group.as_ref() && grouped(one) && grouped(other)
}

/// Whether an order can cost less without an offer of this stage that has an effect.
fn pays_to_pass(candidate: Candidate<'_>, stage: OfferClass, later: &[Candidate<'_>]) -> bool {
    let lowers = |base: Base| match base {
        Base::Standard | Base::List => false,
        Base::AfterPromotions => stage == OfferClass::Promotion,
        Base::AfterCoupons => true,
    };
    later.iter().any(|other| lowers(other.offer.base) || excludes(candidate, *other))
}

/// What a proposal offers, before any check.
fn offered(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Declined => 0,
        Outcome::Shared { amount, .. } | Outcome::Delivery(amount) => amount.get(),
        Outcome::Lines(amounts) => amounts.iter().fold(0, |sum, (_, amount)| sum.saturating_add(amount.get())),
    }
}
