//! Points for purchases by what was paid for goods, and for anything else a fixed number with daily caps.
//!
//! Multipliers do not multiply: in the birthday month the higher of the tier's two holds.

use galenic_sdk::prelude::*;

config! {
    /// What earns how much.
    pub struct Config {
        /// For paid orders.
        pub purchase: Purchase,
        /// For everything else; what is not listed earns nothing.
        pub activities: Vec<Activity>,
        /// Calendar months from activation until points expire, 1 to 120.
        pub valid_months: u16,
    }
    /// How a paid order earns.
    pub struct Purchase {
        /// Points for each full `per`, before the multiplier.
        pub points: Points,
        /// Minor units of goods paid, after all discounts and points and without delivery.
        pub per: Money,
        /// Whole days from delivery until the points can be spent, 0 to 366.
        pub pending_days: u16,
    }
    /// How another activity earns.
    pub struct Activity {
        /// What the member did: `review`, `check-in`, `quiz`, `reading`, `like`, `share`, `test`, `event-sign-up`.
        pub kind: String,
        /// Points each time.
        pub points: Points,
        /// How often a day it earns; as often as done where this is left out.
        #[serde(default)]
        pub daily_times: Option<i64>,
        /// How many points a day it earns at most.
        #[serde(default)]
        pub daily_points: Option<Points>,
        /// Whole days until the points can be spent, 0 to 366.
        #[serde(default)]
        pub pending_days: u16,
    }
}

facts! {
    /// What the rule wants to know.
    pub struct Known {
        /// What the member did.
        kind: String = "activity.kind",
        /// Goods of a paid order after all discounts and points, without delivery.
        goods_net: Money = "activity.goods-net",
        /// How often the member did this today before.
        today_count: i64 = "activity.today-count",
        /// What it earned the member today before.
        today_points: Points = "activity.today-points",
        /// The tier's multiplier; once where no tier is known.
        multiplier: Option<BasisPoints> = "tier.points-multiplier",
        /// The tier's multiplier in the birthday month.
        birthday_multiplier: Option<BasisPoints> = "tier.birthday-points-multiplier",
        /// Whether it is the member's birthday month; no where not known.
        birthday_month: bool = "member.birthday-month",
    }
}

reasons! {
    PURCHASE = "purchase": "商品实付{0}，得{1}积分", "paid {0} for goods, {1}";
    MULTIPLIED = "multiplied": "会员等级积分倍率{0}", "the tier earns {0} of the plain points";
    BIRTHDAY = "birthday-month": "生日月积分倍率{0}", "the birthday month earns {0} of the plain points";
    ACTIVITY = "activity": "{0}得{1}积分", "{0}: {1}";
    CAPPED_TIMES = "daily-times": "今日已{0}次，每日最多{1}次", "done {0} times today, {1} a day earn points";
    CAPPED_POINTS = "daily-points": "今日已得{0}积分，每日最多{1}", "earned {0} today, at most {1} a day";
    UNLISTED = "not-listed": "{0}不积分", "{0} earns no points";
}

/// The rule, configured.
pub struct StandardEarning(Config);

impl StandardEarning {
    /// The higher multiplier, where there is more than the plain rate with its reason.
    fn multiplier(known: &Known) -> (BasisPoints, Option<Reason>) {
        let plain = known.multiplier.unwrap_or(BasisPoints::WHOLE);
        let birthday = known.birthday_multiplier.filter(|_| known.birthday_month).unwrap_or(plain);
        let (code, rate) = if birthday > plain { (BIRTHDAY, birthday) } else { (MULTIPLIED, plain) };
        (rate, Some(code.with(rate)).filter(|_| rate != BasisPoints::WHOLE))
    }

    fn purchase(&self, known: &Known) -> Award {
        let Purchase { points, per, pending_days } = self.0.purchase;
        let plain = points.times(known.goods_net.max(Money::ZERO).get() / per.get());
        let (rate, reason) = Self::multiplier(known);
        let earned = plain.share(rate);
        let award = Award::new(earned, pending_days, self.0.valid_months);
        let award = award.because(PURCHASE.with(known.goods_net).with(earned));
        reason.into_iter().fold(award, Award::because)
    }

    fn activity(&self, known: &Known, activity: &Activity) -> Award {
        let award = |points| Award::new(points, activity.pending_days, self.0.valid_months);
        if let Some(most) = activity.daily_times.filter(|most| known.today_count >= *most) {
            return award(Points::ZERO).because(CAPPED_TIMES.with(known.today_count).with(most));
        }
        let left = activity.daily_points.map_or(activity.points, |most| (most - known.today_points).max(Points::ZERO));
        let earned = activity.points.min(left);
        let because = award(earned).because(ACTIVITY.with(&known.kind).with(earned));
        match activity.daily_points.filter(|_| earned < activity.points) {
            Some(most) => because.because(CAPPED_POINTS.with(known.today_points).with(most)),
            None => because,
        }
    }
}

impl EarningRule for StandardEarning {
    type Config = Config;
    type Facts = Known;
    type Line = ();
    const ABOUT: About = about!();
    const REASONS: &'static [ReasonCode] = REASONS;

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        errors.require(config.purchase.points >= Points::ZERO, "/purchase/points", "must be 0 or more");
        errors.require(config.purchase.per > Money::ZERO, "/purchase/per", "must be above 0");
        errors.require(config.purchase.pending_days <= 366, "/purchase/pending_days", "must be at most 366");
        errors.require((1..=120).contains(&config.valid_months), "/valid_months", "must be 1 to 120");
        for (i, activity) in config.activities.iter().enumerate() {
            let pointer = |field: &str| format!("/activities/{i}/{field}");
            let before = &config.activities[..i];
            errors.require(activity.kind != "purchase", pointer("kind"), "purchases stand under /purchase");
            errors.require(before.iter().all(|other| other.kind != activity.kind), pointer("kind"), "stands twice");
            errors.require(activity.points >= Points::ZERO, pointer("points"), "must be 0 or more");
            errors.require(activity.daily_times.is_none_or(|most| most > 0), pointer("daily_times"), "must be above 0");
            let points_a_day = activity.daily_points.is_none_or(|most| most > Points::ZERO);
            errors.require(points_a_day, pointer("daily_points"), "must be above 0");
            errors.require(activity.pending_days <= 366, pointer("pending_days"), "must be at most 366");
        }
        errors.into_result(Self(config))
    }

    fn evaluate(&self, _: Instant, known: &Known, _: &[()]) -> Award {
        if known.kind == "purchase" {
            return self.purchase(known);
        }
        match self.0.activities.iter().find(|activity| activity.kind == known.kind) {
            Some(activity) => self.activity(known, activity),
            None => Award::new(Points::ZERO, 0, self.0.valid_months).because(UNLISTED.with(&known.kind)),
        }
    }
}

export_earning_rule!(StandardEarning);

#[cfg(test)]
mod tests {
    #[test]
    fn cases() {
        galenic_sdk::testing::earning_rule::<super::StandardEarning>(
            include_str!("../config.json"),
            include_str!("../cases.json"),
        );
    }
}
