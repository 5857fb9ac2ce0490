//! The offers of a drugstore: an amount, a percentage, every n-th item, a member price, free delivery.
//!
//! An offer's `type` says what it gives, its other terms say when and on which goods. Thresholds test what the goods cost
//! after the tier discount; a discount never takes more than the goods still cost.

mod conditions;
mod effects;
mod terms;

use galenic_sdk::prelude::*;
pub use terms::Terms;

config! {
    /// What holds for every offer.
    pub struct Config {
        /// The most that a percentage may take, in basis points.
        pub percent_max: BasisPoints,
        /// Classes of products that no offer touches.
        pub excluded_classes: Vec<Class>,
    }
    /// A class of products.
    #[derive(Copy, PartialEq, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum Class {
        /// Prescription medicine.
        Rx,
        /// Medicine that a pharmacist sells.
        OtcA,
        /// Medicine on open shelves.
        OtcB,
        /// Medical devices.
        Device,
        /// Food and supplements.
        Food,
        /// Anything else.
        Other,
    }
}

impl Class {
    /// The class of this name.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "rx" => Self::Rx,
            "otc-a" => Self::OtcA,
            "otc-b" => Self::OtcB,
            "device" => Self::Device,
            "food" => Self::Food,
            "other" => Self::Other,
            _ => return None,
        })
    }
}

facts! {
    /// What the policy wants to know of the cart and the member.
    pub struct Known {
        /// The stored tier code.
        tier: String = "member.tier",
        /// Orders paid since registration.
        paid_orders: i64 = "member.lifetime-paid-orders",
        /// Whether it is the birthday month; `None` where no birthday is known.
        birthday_month: Option<bool> = "member.birthday-month",
        /// Day of the month.
        day: i64 = "calendar.day",
        /// Month of the year.
        month: i64 = "calendar.month",
        /// Day of the week, Monday is 1.
        weekday: i64 = "calendar.weekday",
        /// The delivery fee before this stage.
        delivery_fee: Money = "cart.delivery-fee",
    }
}

facts! {
    /// What the policy wants to know of a line.
    pub struct Line {
        /// The partner's id of the product.
        product: String = "line.product",
        /// The product's category.
        category: String = "line.category",
        /// The product's class.
        class: String = "line.class",
        /// Items on the line.
        quantity: i64 = "line.quantity",
        /// What it costs after the tier discount: what thresholds test.
        base: Money = "line.base",
        /// What it costs before this stage: what a discount takes from.
        amount: Money = "line.amount",
    }
}

reasons! {
    MONTH = "other-month": "现在是{0}月，仅{1}月可用", "it is month {0}, valid in {1}";
    DAY = "other-day": "今天是{0}日，仅{1}日可用", "it is day {0} of the month, valid on {1}";
    WEEKDAY = "other-weekday": "今天是星期{0}，仅星期{1}可用", "it is weekday {0}, valid on {1}";
    TIER = "other-tier": "会员等级{0}，仅{1}可用", "the tier is {0}, valid for {1}";
    NOT_NEW = "not-new": "已有{0}笔订单，仅限新会员", "{0} orders paid, for new members only";
    NOT_EXISTING = "no-order-yet": "首单支付后可用", "needs a paid order first";
    NOT_BIRTHDAY = "not-birthday-month": "仅生日月可用", "valid in the birthday month only";
    NO_BIRTHDAY = "birthday-unknown": "生日未知，仅生日月可用", "no birthday is known, valid in the birthday month only";
    NO_GOODS = "no-goods": "购物车中没有适用商品", "no goods in the cart that it is valid for";
    MISSING = "missing-product": "套装缺少商品{0}", "the set lacks {0}";
    TOO_FEW = "too-few-items": "适用商品{0}件，需{1}件", "{0} items that count, needs {1}";
    BELOW = "below-threshold": "适用商品{0}，需满{1}", "{0} of goods that count, needs {1}";
    NOTHING_LEFT = "nothing-left": "适用商品已无可减金额", "nothing is left to take off the goods";
    NOT_CHEAPER = "not-cheaper": "现价不高于会员价{0}", "no item costs more than the member price {0}";
    NO_FEE = "no-delivery-fee": "本单免运费", "there is no delivery fee";
    REACHED = "threshold-reached": "适用商品{0}，已满{1}", "{0} of goods that count, {1} reached";
    CAPPED = "capped": "优惠{0}，最高{1}", "would be {0}, at most {1}";
}

/// The policy, configured.
pub struct StandardCoupons(Config);

impl StandardCoupons {
    /// The lines that an offer is about, by their places.
    fn scope(&self, lines: &[Line], terms: &Terms) -> Vec<u16> {
        let listed = |list: &Option<Vec<String>>, value: &String| list.as_ref().is_none_or(|list| list.contains(value));
        let within = |line: &Line| {
            listed(&terms.categories, &line.category)
                && listed(&terms.products, &line.product)
                && listed(&terms.classes, &line.class)
                && Class::named(&line.class).is_none_or(|class| !self.0.excluded_classes.contains(&class))
        };
        (0..).zip(lines).filter(|(_, line)| within(line)).map(|(place, _)| place).collect()
    }
}

impl CouponPolicy for StandardCoupons {
    type Config = Config;
    type Facts = Known;
    type Line = Line;
    type Terms = Terms;
    const ABOUT: About = about!();
    const REASONS: &'static [ReasonCode] = REASONS;

    fn configure(config: Config) -> Result<Self, Vec<FieldError>> {
        let mut errors = Errors::new();
        let rate = 1..=BasisPoints::WHOLE.get();
        errors.require(rate.contains(&config.percent_max.get()), "/percent_max", "must be 1 to 10000 basis points");
        errors.into_result(Self(config))
    }

    fn check_terms(&self, terms: &Terms) -> Result<(), Vec<FieldError>> {
        terms.check(self.0.percent_max)
    }

    fn evaluate(&self, cart: &Cart<'_, Known, Line>, terms: &Terms) -> Proposal {
        if let Some(reason) = conditions::of_member(cart.facts, terms) {
            return Proposal::declined(reason);
        }
        let scope = self.scope(cart.lines, terms);
        match conditions::of_goods(cart.lines, &scope, terms) {
            Err(reason) => Proposal::declined(reason),
            Ok(reached) => effects::propose(cart, &scope, terms, reached),
        }
    }
}

export_coupon_policy!(StandardCoupons);

#[cfg(test)]
mod tests {
    /// Clients branch on these codes: none changes, new ones go anywhere.
    #[test]
    fn the_reason_codes_are_a_contract() {
        let codes: Vec<&str> = super::REASONS.iter().map(|reason| reason.code).collect();
        let expected = "other-month other-day other-weekday other-tier not-new no-order-yet not-birthday-month \
            birthday-unknown no-goods missing-product too-few-items below-threshold nothing-left not-cheaper \
            no-delivery-fee threshold-reached capped";
        assert_eq!(codes, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn cases() {
        galenic_sdk::testing::coupon_policy::<super::StandardCoupons>(
            include_str!("../config.json"),
            include_str!("../cases.json"),
        );
    }
}
