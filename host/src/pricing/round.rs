//! What the policies are asked at a stage, and what they answered.

use jiff::Timestamp;

use super::{
    branch::Branch,
    draft::{Candidate, Draft},
};
use crate::domain::{
    fact::{self, Facts, Value},
    money::Money,
    offer::{Base, OfferClass},
    rule::{CartSubject, Proposal},
};

/// The most offers that a cart puts to a policy.
const OFFERS_PER_CART: usize = 200;

/// The candidates of one stage with what their policies proposed, for every way of combining the stages before.
#[derive(Debug)]
pub struct Round<'a> {
    pub(super) stage: OfferClass,
    pub(super) candidates: Vec<Candidate<'a>>,
    /// By branch, by candidate; nothing where the policy could not answer.
    pub(super) proposals: Vec<Vec<Option<Proposal>>>,
}

impl<'a> Round<'a> {
    /// Adds candidates of one slot with the policy's answers to the carts of [`Draft::carts`] for them.
    pub fn add(&mut self, here: &[Candidate<'a>], answers: Vec<Option<Vec<Proposal>>>) {
        let mut answers = answers.into_iter();
        for proposals in &mut self.proposals {
            let mut answered: Vec<Option<Proposal>> = here.iter().map(|_| None).collect();
            for group in groups(here) {
                let answer = answers.next().flatten().unwrap_or_default();
                for (at, proposal) in group.into_iter().zip(answer) {
                    answered[at] = Some(proposal);
                }
            }
            proposals.extend(answered);
        }
        self.candidates.extend_from_slice(here);
    }

    /// Adds candidates whose policy cannot be asked.
    pub fn add_failed(&mut self, here: &[Candidate<'a>]) {
        self.add(here, Vec::new());
    }
}

/// Which candidates share a cart: those of one declared base, at most 200.
fn groups(here: &[Candidate<'_>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(Base, Vec<usize>)> = Vec::new();
    for (at, candidate) in here.iter().enumerate() {
        let base = candidate.offer.base;
        match groups.iter_mut().find(|(other, group)| *other == base && group.len() < OFFERS_PER_CART) {
            Some((_, group)) => group.push(at),
            None => groups.push((base, vec![at])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

impl<'a> Draft<'a> {
    /// A stage with no candidates yet.
    pub fn round(&self, stage: OfferClass) -> Round<'a> {
        let proposals = self.branches.iter().map(|_| Vec::new()).collect();
        Round { stage, candidates: Vec::new(), proposals }
    }

    /// What one slot's policy is asked at a stage, in one call: the cart as it stands, once for every way of combining
    /// the stages before and for every base that these offers declare. `terms` stand beside the candidates.
    pub fn carts(
        &self,
        stage: OfferClass,
        as_of: Timestamp,
        member: &Facts,
        here: &[Candidate<'_>],
        mut terms: Vec<Vec<Value>>,
    ) -> Vec<CartSubject> {
        let groups = groups(here);
        let mut carts = Vec::with_capacity(self.branches.len() * groups.len());
        for (nth, branch) in self.branches.iter().enumerate() {
            let last = nth + 1 == self.branches.len();
            for group in &groups {
                let base = here[group[0]].offer.base;
                let take = |at: &usize| if last { std::mem::take(&mut terms[*at]) } else { terms[*at].clone() };
                let offers = group.iter().map(take).collect();
                carts.push(self.cart(branch, stage, base, as_of, member, offers));
            }
        }
        carts
    }

    fn cart(
        &self,
        branch: &Branch,
        stage: OfferClass,
        base: Base,
        as_of: Timestamp,
        member: &Facts,
        offers: Vec<Vec<Value>>,
    ) -> CartSubject {
        let mut facts = member.clone();
        let (mut bases, mut amounts) = (0, 0);
        let mut lines = Vec::with_capacity(self.lines.len());
        for at in 0..self.lines.len() {
            let (tested, amount) = self.standing(branch, stage, base, at);
            bases += tested.get();
            amounts += amount.get();
            let mut known = self.facts[at].clone();
            known.set(&fact::LINE_BASE, tested.into());
            known.set(&fact::LINE_AMOUNT, amount.into());
            lines.push(known);
        }
        facts.set(&fact::CART_LIST, self.list.into());
        facts.set(&fact::CART_BASE, bases.into());
        facts.set(&fact::CART_AMOUNT, amounts.into());
        facts.set(&fact::CART_DELIVERY_FEE, branch.fee.into());
        facts.set(&fact::CART_QUANTITY, self.quantity.into());
        CartSubject { as_of, facts, lines, offers }
    }

    /// What thresholds test of a line, and what percentages are of. At the stage of member prices lines stand at list
    /// price, because a member price competes with the tier price.
    fn standing(&self, branch: &Branch, stage: OfferClass, base: Base, at: usize) -> (Money, Money) {
        let line = &self.lines[at].priced;
        let less = |until| Money::new(line.payable.get() - branch.taken(at, &self.asked, until));
        match base {
            Base::Standard if stage == OfferClass::MemberPrice => (line.base, line.list),
            Base::Standard => (line.base, branch.left[at]),
            Base::List => (line.list, line.list),
            Base::AfterPromotions => (less(OfferClass::Promotion), less(OfferClass::Promotion)),
            Base::AfterCoupons => (less(OfferClass::Coupon), less(OfferClass::Coupon)),
        }
    }
}
