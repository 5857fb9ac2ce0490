//! Tiers by score: spend, orders, tenure and interactions each count with a weight, and the sum decides.

use galenic_sdk::prelude::*;

config! {
    /// The weights and the ladder of tiers.
    pub struct Config {
        /// For goods paid in the last 365 days, less refunds, in minor units.
        pub spend: Weight,
        /// For orders paid in the last 365 days.
        pub orders: Weight,
        /// For full months since registration.
        pub tenure: Weight,
        /// For interactions of the last 365 days.
        pub interactions: Weight,
        /// Lowest first; the first starts at 0.
        pub tiers: Vec<Step>,
    }
    /// How much something counts: `score` for each full `per`.
    pub struct Weight {
        /// How many make one step; at least 1.
        pub per: i64,
        /// What each step counts.
        pub score: i64,
        /// The most that it counts in all.
        #[serde(default)]
        pub at_most: Option<i64>,
    }
    /// A tier and the score it takes.
    pub struct Step {
        /// The least score.
        pub from: i64,
        /// The tier.
        pub tier: TierConfig,
    }
}

facts! {
    /// What the rule wants to know.
    pub struct Known {
        /// Goods paid in the last 365 days, less refunds.
        spend: Money = "member.year-net-spend",
        /// Orders paid in the last 365 days.
        orders: i64 = "member.year-paid-orders",
        /// Full months since registration.
        tenure: i64 = "member.tenure-months",
        /// Interactions of the last 365 days.
        interactions: i64 = "member.year-interactions",
    }
}

reasons! {
    SCORE = "score": "综合评分{0}：消费{1}、订单{2}、会龄{3}、互动{4}",
        "score {0}: spend {1}, orders {2}, tenure {3}, interactions {4}";
    BELOW = "below-score": "综合评分{0}，升级需{1}", "score {0}, the next tier needs {1}";
}

/// The rule, configured.
pub struct CompositeTiers(Config);

impl Weight {
    /// What `amount` counts; less than nothing counts nothing.
    fn of(&self, amount: i64) -> i64 {
        let score = (amount.max(0) / self.per).saturating_mul(self.score);
        self.at_most.map_or(score, |most| score.min(most))
    }

    /// Notes what is wrong with it.
    fn check(&self, name: &str, errors: &mut Errors) {
        errors.require(self.per >= 1, format!("/{name}/per"), "must be at least 1");
        errors.require(self.score >= 0, format!("/{name}/score"), "must be 0 or more");
        errors.require(self.at_most.is_none_or(|most| most >= 0), format!("/{name}/at_most"), "must be 0 or more");
    }
}

impl CompositeTiers {
    /// The four parts of the score.
    fn parts(&self, known: &Known) -> [i64; 4] {
        let Self(config) = self;
        [
            config.spend.of(known.spend.get()),
            config.orders.of(known.orders),
            config.tenure.of(known.tenure),
            config.interactions.of(known.interactions),
        ]
    }

    /// The place of the highest tier for a score.
    fn tier_for(&self, score: i64) -> u16 {
        tier_rule::highest(&self.0.tiers, |step| step.from <= score)
    }
}

/// The score of its parts.
fn total(parts: [i64; 4]) -> i64 {
    parts.into_iter().fold(0, i64::saturating_add)
}

impl TierRule for CompositeTiers {
    type Config = Config;
    type Facts = Known;
    const ABOUT: About = about!();
    const REASONS: &'static [ReasonCode] = REASONS;

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        config.spend.check("spend", &mut errors);
        config.orders.check("orders", &mut errors);
        config.tenure.check("tenure", &mut errors);
        config.interactions.check("interactions", &mut errors);
        tier_rule::check_ladder(config.tiers.iter().map(|step| (step.from, &step.tier)), &mut errors);
        errors.into_result(Self(config))
    }

    fn tiers(&self) -> Vec<Tier> {
        self.0.tiers.iter().map(|step| Tier::from(&step.tier)).collect()
    }

    fn tier_of(&self, _: Instant, known: &Known) -> u16 {
        self.tier_for(total(self.parts(known)))
    }

    fn evaluate(&self, _: Instant, known: &Known) -> Verdict {
        let parts = self.parts(known);
        let score = total(parts);
        let tier = self.tier_for(score);
        let reason = parts.into_iter().fold(SCORE.with(score), Reason::with);
        let next = self.0.tiers.get(usize::from(tier) + 1).map(|next| BELOW.with(score).with(next.from));
        Verdict::new(tier).because(reason).because_all(next)
    }
}

export_tier_rule!(CompositeTiers);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        galenic_sdk::testing::tier_rule::<super::CompositeTiers>(
            include_str!("../config.json"),
            include_str!("../cases.json"),
        );
    }
}
