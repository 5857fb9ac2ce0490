//! Member prices compete with the tier price, line by line.

use super::{
    draft::{Candidate, Draft, PricingError, allocation, applied, outcome},
    effect::{Effect, effect},
    reasons,
    round::Round,
};
use crate::domain::{
    fact,
    money::Money,
    rule::{Parameter, Reason},
};

impl<'a> Draft<'a> {
    /// Takes, line by line, the lowest member price where it is below the tier price; the smaller id of two equal ones.
    pub(super) fn member_prices(&mut self, round: &Round<'a>) -> Result<(), PricingError> {
        let list: Vec<Money> = self.lines.iter().map(|line| line.priced.list).collect();
        let tried = round.candidates.iter().zip(&round.proposals[0]).map(|(candidate, proposal)| {
            let proposal = proposal.as_ref().ok_or_else(|| reasons::POLICY_FAILED.plain())?;
            effect(&self.lines, &list, Money::ZERO, candidate.offer, proposal)
        });
        let mut tried: Vec<Result<Effect, Reason>> = tried.collect();
        let lowest = self.lowest_with_room(&round.candidates, &mut tried)?;
        for (at, lowest) in lowest.iter().enumerate() {
            let Some((by, amount)) = *lowest else { continue };
            let line = &mut self.lines[at].priced;
            line.payable = line.list.minus(amount)?;
            line.base = line.payable;
            line.allocations = vec![allocation(round.candidates[by], amount)];
            self.facts[at].set(&fact::LINE_BASE, line.base.into());
            self.facts[at].set(&fact::LINE_AMOUNT, line.payable.into());
            self.branches[0].left[at] = line.payable;
        }
        for (nth, (candidate, tried)) in round.candidates.iter().zip(tried).enumerate() {
            let saving = saving_of(nth, &lowest)?;
            let told = match tried {
                Err(reason) => outcome(*candidate, Money::ZERO, vec![reason]),
                Ok(effect) if saving.is_zero() => {
                    outcome(*candidate, Money::ZERO, vec![not_lowest(&round.candidates, &effect, &lowest)])
                }
                Ok(effect) => {
                    let said = round.proposals[0][nth].as_ref();
                    applied(
                        *candidate,
                        saving,
                        said.map_or_else(Vec::new, |said| said.reasons.clone()),
                        effect.floored(),
                    )
                }
            };
            self.offers.push(told);
        }
        Ok(())
    }

    /// The same as [`Draft::lowest`], without the candidates that would take off more in all than their limits have left:
    /// where one goes, the next lowest takes its lines.
    fn lowest_with_room(
        &self,
        candidates: &[Candidate<'_>],
        tried: &mut [Result<Effect, Reason>],
    ) -> Result<Vec<Option<(usize, Money)>>, PricingError> {
        loop {
            let lowest = self.lowest(candidates, tried);
            let mut all_fit = true;
            for (nth, candidate) in candidates.iter().enumerate() {
                if let Some(reason) = candidate.beyond_room(saving_of(nth, &lowest)?) {
                    tried[nth] = Err(reason);
                    all_fit = false;
                }
            }
            if all_fit {
                return Ok(lowest);
            }
        }
    }

    /// For each line the candidate with the lowest price below the tier price, and what it takes off the list price.
    fn lowest(&self, candidates: &[Candidate<'_>], tried: &[Result<Effect, Reason>]) -> Vec<Option<(usize, Money)>> {
        let tier = |line: usize| self.lines[line].priced.list.get() - self.lines[line].priced.base.get();
        let mut lowest: Vec<Option<(usize, Money)>> = vec![None; self.lines.len()];
        for (nth, effect) in tried.iter().enumerate() {
            for (line, amount) in effect.iter().flat_map(|effect| &effect.shares) {
                let id = |nth: usize| std::cmp::Reverse(candidates[nth].offer.id);
                let lower = lowest[*line].is_none_or(|(other, most)| (*amount, id(nth)) > (most, id(other)));
                if amount.get() > tier(*line) && lower {
                    lowest[*line] = Some((nth, *amount));
                }
            }
        }
        lowest
    }
}

/// What a candidate takes off all lines.
fn saving_of(nth: usize, lowest: &[Option<(usize, Money)>]) -> Result<Money, PricingError> {
    let its = lowest.iter().flatten().filter(|(by, _)| *by == nth);
    Ok(Money::sum(its.map(|(_, amount)| *amount))?)
}

/// Why a member price that takes something off the list price was taken on no line.
fn not_lowest(candidates: &[Candidate<'_>], effect: &Effect, lowest: &[Option<(usize, Money)>]) -> Reason {
    let lower = effect.shares.iter().find_map(|(line, _)| lowest[*line]);
    lower.map_or_else(
        || reasons::TIER_PRICE_LOWER.plain(),
        |(by, _)| reasons::MEMBER_PRICE_LOWER.with(vec![Parameter::Text(candidates[by].offer.code.to_string())]),
    )
}
