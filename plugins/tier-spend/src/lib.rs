//! Tiers by spend: a member holds the highest tier whose amount they have reached since registration.

use galenic_sdk::prelude::*;

config! {
    /// The ladder of tiers.
    pub struct Config {
        /// Lowest first; the first starts at 0.
        pub tiers: Vec<Step>,
    }
    /// A tier and what it takes.
    pub struct Step {
        /// Goods paid since registration, less refunds, in minor units.
        pub from: Money,
        /// The tier.
        pub tier: TierConfig,
    }
}

facts! {
    /// What the rule wants to know.
    pub struct Known {
        /// Goods paid since registration, less refunds.
        spend: Money = "member.lifetime-net-spend",
    }
}

reasons! {
    REACHED = "reached": "累计消费{0}，已达到{1}", "spent {0}, reached {1}";
    BELOW = "below-threshold": "累计消费{0}，升级需满{1}", "spent {0}, the next tier needs {1}";
}

/// The rule, configured.
pub struct SpendTiers(Vec<Step>);

impl TierRule for SpendTiers {
    type Config = Config;
    type Facts = Known;
    const ABOUT: About = about!();
    const REASONS: &'static [ReasonCode] = REASONS;

    fn configure(Config { tiers }: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        tier_rule::check_ladder(tiers.iter().map(|step| (step.from.get(), &step.tier)), &mut errors);
        errors.into_result(Self(tiers))
    }

    fn tiers(&self) -> Vec<Tier> {
        self.0.iter().map(|step| Tier::from(&step.tier)).collect()
    }

    fn tier_of(&self, _: Instant, known: &Known) -> u16 {
        tier_rule::highest(&self.0, |step| step.from <= known.spend)
    }

    fn evaluate(&self, as_of: Instant, known: &Known) -> Verdict {
        let tier = self.tier_of(as_of, known);
        let reached = REACHED.with(known.spend).with(self.0[usize::from(tier)].from);
        let next = self.0.get(usize::from(tier) + 1).map(|next| BELOW.with(known.spend).with(next.from));
        Verdict::new(tier).because(reached).because_all(next)
    }
}

export_tier_rule!(SpendTiers);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        galenic_sdk::testing::tier_rule::<super::SpendTiers>(
            include_str!("../config.json"),
            include_str!("../cases.json"),
        );
    }
}
