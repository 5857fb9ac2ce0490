//! Ways of combining offers after member prices, and the one that saves most (D3).
//!
//! Every way is walked, without any bound: of an exclusivity group at most one offer, of all coupons at most one. An offer
//! that has an effect is left out only for another one of its group. Where two ways save the same, one without a coupon comes
//! first, then the coupon that dies first (R2), then priority, the earlier end, the rank.

use std::cmp::Reverse;

use super::{
    pricing::{By, Candidate, Line, Stage, Taken, apply, goods, total},
    terms::{Day, Effect},
};

/// One way of combining offers.
#[derive(Clone)]
pub(super) struct Way<'a> {
    pub(super) lines: Vec<Line>,
    fee: i128,
    pub(super) delivery: Vec<Taken>,
    /// Code, coupon, amount, in the order they were taken.
    pub(super) applied: Vec<(String, Option<String>, i128)>,
    taken: Vec<&'a Candidate>,
}

/// What decides between ways that save the same: the smaller wins.
type Ties = (Option<i64>, Vec<(Reverse<i64>, i64, String, Option<String>)>);

impl<'a> Way<'a> {
    pub(super) fn new(lines: Vec<Line>, fee: i128) -> Self {
        Self { lines, fee, delivery: Vec::new(), applied: Vec::new(), taken: Vec::new() }
    }

    fn saving(&self) -> i128 {
        self.applied.iter().map(|(_, _, amount)| amount).sum()
    }

    fn ties(&self) -> Ties {
        let key = |one: &&Candidate| {
            let ends = one.coupon.as_ref().map_or(i64::MAX, |(_, ends, _)| *ends);
            (Reverse(one.priority), ends, one.rank.clone(), one.coupon.as_ref().map(|(_, _, rank)| rank.clone()))
        };
        let mut ties: Vec<_> = self.taken.iter().map(key).collect();
        ties.sort();
        let dies = self.taken.iter().find_map(|one| one.coupon.as_ref().map(|(_, ends, _)| *ends));
        (dies, ties)
    }

    /// The same with one offer more, if that takes anything.
    fn with(&self, one: &'a Candidate, effect: &Effect) -> Option<Self> {
        if self.taken.iter().any(|other| excludes(other, one)) {
            return None;
        }
        let mut way = self.clone();
        let coupon = one.coupon.as_ref().map(|(coupon, ..)| coupon.clone());
        let by = By::Offer(one.code.clone(), coupon.clone());
        let amount = if let Effect::Delivery(amount) = effect {
            let amount = (*amount).min(way.fee);
            way.fee -= amount;
            way.delivery.push(Taken { by, amount });
            amount
        } else {
            apply(&mut way.lines, effect, &by, one.room)
        };
        way.applied.push((one.code.clone(), coupon, amount));
        way.taken.push(one);
        // It takes off all that it gives, or nothing.
        (amount > 0 && amount <= one.room).then_some(way)
    }

    /// Every way on from here that a stage allows.
    fn on(self, stage: &[&'a Candidate], later: &[&'a Candidate], day: &Day) -> Vec<Self> {
        let goods = goods(&self.lines);
        let judge = |one: &&'a Candidate| (*one, one.terms.judge(&goods, self.fee, day).ok());
        let mut judged: Vec<(&Candidate, Option<Effect>)> = stage.iter().map(judge).collect();
        judged.sort_by_key(|(one, effect)| {
            let rank = (one.rank.clone(), one.coupon.as_ref().map(|(_, _, rank)| rank.clone()));
            (Reverse(one.priority), Reverse(effect.as_ref().map_or(0, total)), rank)
        });
        drop(goods);
        let mut ways = vec![self];
        for unit in units(judged) {
            // Going without can pay where a later stage has one of the same group.
            let may_pass = unit.iter().any(|(one, _)| later.iter().any(|other| excludes(one, other)));
            ways = ways.into_iter().flat_map(|way| choices(way, &unit, may_pass)).collect();
        }
        ways
    }
}

/// What a unit makes of one way: with each of its offers that has an effect, or without.
fn choices<'a>(way: Way<'a>, unit: &[(&'a Candidate, Option<Effect>)], may_pass: bool) -> Vec<Way<'a>> {
    let mut next: Vec<Way<'a>> = unit.iter().filter_map(|(one, effect)| way.with(one, effect.as_ref()?)).collect();
    if next.is_empty() || may_pass {
        next.push(way);
    }
    next
}

/// Offers of which one is taken: those of a group, all coupons. A unit stands where its first offer stands.
fn units<'a>(judged: Vec<(&'a Candidate, Option<Effect>)>) -> Vec<Vec<(&'a Candidate, Option<Effect>)>> {
    let mut units: Vec<Vec<(&Candidate, Option<Effect>)>> = Vec::new();
    for (one, effect) in judged {
        let same =
            |unit: &&mut Vec<(&'a Candidate, Option<Effect>)>| one.stage == Stage::Coupon || excludes(unit[0].0, one);
        match units.iter_mut().find(same) {
            Some(unit) => unit.push((one, effect)),
            None => units.push(vec![(one, effect)]),
        }
    }
    units
}

fn excludes(one: &Candidate, other: &Candidate) -> bool {
    one.group.is_some() && one.group == other.group
}

/// The way that saves most. A coupon that the member names is the only one.
pub(super) fn best<'a>(start: Way<'a>, candidates: &'a [Candidate], named: Option<&str>, day: &Day) -> Way<'a> {
    let is_named = |one: &&Candidate| {
        let coupon = one.coupon.as_ref().map(|(coupon, ..)| coupon.as_str());
        one.stage != Stage::Coupon || named.is_none() || coupon == named
    };
    let of_stage = |stage| candidates.iter().filter(|one| one.stage == stage).filter(is_named).collect();
    let stages: [Vec<&Candidate>; 3] = [Stage::Promotion, Stage::Coupon, Stage::Delivery].map(of_stage);
    let mut ways = vec![start];
    for (at, stage) in stages.iter().enumerate() {
        let later: Vec<&Candidate> = stages[at + 1..].concat();
        ways = ways.into_iter().flat_map(|way| way.on(stage, &later, day)).collect();
    }
    ways.into_iter().min_by_key(|way| (Reverse(way.saving()), way.ties())).expect("one goes without any")
}
