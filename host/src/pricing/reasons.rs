//! The host's own reasons for what became of an offer, with their texts.
//!
//! Codes are a contract, locked by a snapshot. A policy's own reasons stand beside these, with the texts the plugin
//! ships.

use crate::domain::{
    limit::{Measure, Short, Whose},
    money::Money,
    rule::{Parameter, Reason},
};

/// A reason of the host: its stable code and its texts; `{0}` stands for the first parameter.
#[derive(Debug)]
pub struct HostReason {
    /// Stable.
    pub code: &'static str,
    /// Simplified Chinese.
    pub zh_cn: &'static str,
    /// English.
    pub en: &'static str,
}

macro_rules! reasons {
    ($($name:ident, $code:literal, $zh:literal, $en:literal;)*) => {
        $(
            #[doc = $en]
            pub const $name: HostReason = HostReason { code: $code, zh_cn: $zh, en: $en };
        )*
        /// All of them.
        pub const ALL: &[HostReason] = &[$($name),*];
    };
}

reasons! {
    APPLIED, "applied", "已优惠{0}", "took off {0}";
    TIER_PRICE_LOWER, "tier-price-lower", "等级价更低", "the tier price is lower";
    MEMBER_PRICE_LOWER, "member-price-lower", "{0}的会员价更低", "the member price of {0} is lower";
    NOT_STARTED, "not-started", "现在是{0}，活动{1}开始", "it is {0}, starts at {1}";
    EXPIRED, "expired", "现在是{0}，已于{1}到期", "it is {0}, ended at {1}";
    PAUSED, "paused", "活动已暂停", "is paused";
    NOT_YOURS, "not-yours", "不是本会员的优惠券", "is not a coupon of this member";
    HELD, "held", "已被订单{0}占用", "is held by the order {0}";
    REDEEMED, "redeemed", "已在订单{0}中使用", "was used by the order {0}";
    REVOKED, "revoked", "已被收回", "was taken back";
    EXCLUSIVE_WITH, "exclusive-with", "不能与{0}同时使用", "cannot be combined with {0}";
    NOT_CHOSEN, "not-chosen", "每单限用一张优惠券，已选用{0}", "one coupon per order, and {0} was chosen";
    BETTER_WITHOUT, "better-without", "不参加此活动更优惠", "the order costs less without it";
    CLASS_NOT_PROMOTABLE, "class-not-promotable", "{0}类药品不得参加此活动", "products of class {0} may not be in such an offer";
    FLOOR_PRICE, "floor-price", "底价限制，原可优惠{0}，最多{1}", "would take off {0}, the floor price leaves {1}";
    NOTHING_LEFT, "nothing-left", "已无可优惠金额", "nothing is left to take off";
    WRONG_STAGE, "wrong-stage", "规则给出的优惠与活动类别不符", "the policy proposed an effect that this class of offer cannot have";
    POLICY_FAILED, "policy-failed", "优惠规则暂时不可用", "the coupon policy could not answer";
    BUDGET_GONE, "budget-gone", "活动余额仅剩{0}，需要{1}", "{0} is left of the budget, {1} is needed";
    MEMBER_LIMIT, "member-limit", "您已使用{0}，每人限{1}", "the member has had {0}, the limit for one member is {1}";
    NOT_ELIGIBLE, "not-eligible", "不符合条件：{0}为{1}，需要{2}", "not eligible: {0} is {1}, must be {2}";
    NOT_OPEN, "not-open", "现在{0}不在活动时段：{1}", "at {0} it is not open: {1}";
}

impl HostReason {
    /// The reason with its parameters.
    pub fn with(&self, parameters: Vec<Parameter>) -> Reason {
        Reason { code: self.code.into(), parameters }
    }

    /// The reason, where its texts have no parameters.
    pub fn plain(&self) -> Reason {
        self.with(Vec::new())
    }
}

/// A limit of an offer that does not allow what was asked.
pub fn limited(short: Short) -> Reason {
    let number = |count: i64| match short.limit.measure {
        Measure::Amount => Parameter::Money(Money::new(count)),
        Measure::Uses | Measure::Issues => Parameter::Integer(count),
    };
    match short.limit.whose {
        Whose::All => BUDGET_GONE.with(vec![number(short.observed), number(short.wanted)]),
        Whose::Member => MEMBER_LIMIT.with(vec![number(short.observed), number(short.limit.most)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes and what their parameters mean are a contract: clients branch on them.
    #[test]
    fn the_reasons_are_a_contract() {
        let line = |reason: &HostReason| format!("{} | {} | {}\n", reason.code, reason.zh_cn, reason.en);
        insta::assert_snapshot!("reasons", ALL.iter().map(line).collect::<String>());
    }

    #[test]
    fn both_texts_take_the_same_parameters() {
        for reason in ALL {
            let places = |text: &str| (0..4).filter(|at| text.contains(&format!("{{{at}}}"))).collect::<Vec<_>>();
            assert_eq!(places(reason.zh_cn), places(reason.en), "{}", reason.code);
        }
    }
}
