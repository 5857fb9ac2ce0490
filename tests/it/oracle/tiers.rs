//! Tiers by lifetime spend (C1) or by score (C2), and what they give.

use jiff::ToSpan as _;

use super::{DAY, Oracle, shanghai};

/// Which rule says who holds which tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Spend,
    Score,
}

/// A tier's place in its ladder, and what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) code: &'static str,
    /// The least spend in fen, or the least score.
    from: i128,
    /// Basis points off goods.
    pub(crate) discount: i128,
    doubles: bool,
    doubles_in_birthday_month: bool,
}

const fn tier(code: &'static str, from: i128, discount: i128, doubles: bool, birthday: bool) -> Tier {
    Tier { code, from, discount, doubles, doubles_in_birthday_month: birthday }
}

const SPEND: [Tier; 4] = [
    tier("member", 0, 0, false, false),
    tier("bronze", 19_900, 500, false, true),
    tier("silver", 99_900, 1_000, false, true),
    tier("gold", 299_900, 1_200, true, true),
];

const SCORE: [Tier; 4] = [
    tier("regular", 0, 0, false, false),
    tier("silver", 600, 500, false, true),
    tier("gold", 1_800, 1_000, false, true),
    tier("diamond", 4_500, 1_200, true, true),
];

/// A tier that a member holds: as the rule that gave it calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) code: &'static str,
    pub(crate) by: Rule,
}

impl Rule {
    fn ladder(self) -> [Tier; 4] {
        match self {
            Self::Spend => SPEND,
            Self::Score => SCORE,
        }
    }

    /// What a code is worth under this rule: its own, or what the release maps it to (R5).
    pub(crate) fn worth(self, code: &str) -> Tier {
        let own = |code: &str| self.ladder().into_iter().find(|tier| tier.code == code);
        let mapped = match (self, code) {
            (Self::Spend, "regular") => "member",
            (Self::Spend, "diamond") => "gold",
            (Self::Score, "member" | "bronze") => "regular",
            _ => code,
        };
        own(code).or_else(|| own(mapped)).expect("every tier in use is mapped")
    }

    /// The tier that new members have.
    pub(crate) fn lowest(self) -> Held {
        Held { code: self.ladder()[0].code, by: self }
    }

    fn reached(self, amount: i128) -> Held {
        let mut found = self.lowest();
        for tier in self.ladder() {
            if tier.from <= amount {
                found.code = tier.code;
            }
        }
        found
    }
}

impl Tier {
    /// Points for goods paid: 1 per whole yuan, and the highest multiplier (rule R3).
    pub(crate) fn points(self, goods: i128, birthday_month: bool) -> i128 {
        let doubled = self.doubles || (self.doubles_in_birthday_month && birthday_month);
        goods / 100 * if doubled { 2 } else { 1 }
    }
}

/// A day in Shanghai, counted from some day.
fn day(at: i64) -> i64 {
    (at + 8 * 60 * 60_000).div_euclid(DAY)
}

/// The next stroke of three at night after an instant, in Shanghai.
fn three(after: i64) -> i64 {
    let stroke = |day: i64| day * DAY + (3 - 8) * 60 * 60_000;
    let today = stroke(day(after));
    if today > after { today } else { stroke(day(after) + 1) }
}

impl Oracle {
    /// Lets another tier rule answer from now on: whoever is judged next is judged by it (R5).
    pub(crate) fn swap_tiers(&mut self, to: Rule) {
        self.rule = to;
    }

    /// What a member's tier is worth today.
    pub(crate) fn tier_of(&self, member: &str) -> Tier {
        self.rule.worth(self.members[member].tier.code)
    }

    /// When members are judged by themselves, if that can change anything: by score, because time passes; by spend, if
    /// somebody was last judged by another rule.
    pub(crate) fn next_night(&self) -> Option<i64> {
        let news = self.rule == Rule::Score || self.members.values().any(|member| member.tier.by != self.rule);
        news.then(|| three(self.now))
    }

    pub(super) fn judge_all(&mut self) {
        let names: Vec<String> = self.members.keys().cloned().collect();
        for name in names {
            let before = self.members[&name].tier.clone();
            self.judge_tier(&name);
            let member = self.members.get_mut(&name).expect("a member");
            member.revision += u64::from(member.tier != before);
        }
    }

    /// Asks the tier rule anew.
    pub(super) fn judge_tier(&mut self, name: &str) {
        let member = &self.members[name];
        let tier = match self.rule {
            Rule::Spend => self.rule.reached(member.spend.iter().sum()),
            Rule::Score => self.rule.reached(self.score(name)),
        };
        self.members.get_mut(name).expect("a member").tier = tier;
    }

    /// 1 per net yuan and 20 per paid order of the last 365 days, 10 per full month of membership, at most 120 (R5).
    fn score(&self, name: &str) -> i128 {
        let (mut spent, mut orders) = (0, 0);
        for order in self.orders.values().filter(|order| order.member == name) {
            if order.paid_at.is_some_and(|at| day(at) > day(self.now) - 365) {
                spent += order.net();
                orders += i128::from(order.counts());
            }
        }
        let joined = shanghai(self.members[name].joined);
        let full = |months: &i32| shanghai(self.now).checked_sub(months.months()).is_ok_and(|then| then >= joined);
        let months = i128::try_from((1..=12).take_while(full).count()).expect("small");
        spent / 100 + 20 * orders + (10 * months).min(120)
    }
}
