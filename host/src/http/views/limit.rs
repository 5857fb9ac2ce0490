//! Limits, windows and conditions of offers, as requests bring them and answers show them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    MoneyView, Show,
    input::{Fields, MoneyInput},
    schema,
};
use crate::domain::{
    condition::Condition,
    limit::{Limit, Measure, Period, Whose},
    money::Money,
    window::{DAY_MINUTES, Window},
};

/// The day whose end a coupon lives to.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ValidUntil {
    /// The day of its issue.
    EndOfDay,
    /// The last one of the month of its issue.
    EndOfMonth,
}

/// The most of one thing in one period: exactly one of `uses`, `amount` and `issues`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitInput {
    /// Of all members together, or of each one.
    #[schema(schema_with = schema::limit_whose)]
    per: Whose,
    /// By the calendar of the deployment's zone; a week begins on Monday.
    #[schema(schema_with = schema::limit_period)]
    period: Period,
    /// Orders that it may take something off.
    uses: Option<i64>,
    /// What it may take off.
    amount: Option<MoneyInput>,
    /// Coupons that may be issued of it.
    issues: Option<i64>,
}

impl LimitInput {
    /// The limit; what is wrong with it is noted.
    pub(crate) fn read(self, list: &str, at: usize, fields: &mut Fields) -> Limit {
        let amount = self.amount.map(|amount| fields.money(&format!("{list}/{at}/amount"), &amount).get());
        let said = [(Measure::Uses, self.uses), (Measure::Amount, amount), (Measure::Issues, self.issues)];
        let mut said = said.into_iter().filter_map(|(measure, most)| Some((measure, most?)));
        let first = said.next();
        if first.is_none() || said.next().is_some() {
            fields.wrong(format!("{list}/{at}"), "must have exactly one of `uses`, `amount` and `issues`");
        }
        let (measure, most) = first.unwrap_or((Measure::Uses, 1));
        Limit { whose: self.per, measure, period: self.period, most }
    }
}

/// The most of one thing in one period.
#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitView {
    /// Of all members together, or of each one.
    #[schema(schema_with = schema::limit_whose)]
    per: Whose,
    #[schema(schema_with = schema::limit_period)]
    period: Period,
    /// Orders that it may take something off.
    uses: Option<i64>,
    /// What it may take off.
    amount: Option<MoneyView>,
    /// Coupons that may be issued of it.
    issues: Option<i64>,
}

impl Show<'_> {
    /// A limit.
    pub(crate) fn limit(&self, limit: Limit) -> LimitView {
        let only = |measure| (limit.measure == measure).then_some(limit.most);
        LimitView {
            per: limit.whose,
            period: limit.period,
            uses: only(Measure::Uses),
            amount: only(Measure::Amount).map(|most| self.money(Money::new(most))),
            issues: only(Measure::Issues),
        }
    }
}

/// When an offer is open. What is not said is always so.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowInput {
    /// 1 is Monday, 7 is Sunday.
    #[serde(default)]
    weekdays: Vec<u8>,
    /// Days of the month.
    #[serde(default)]
    days: Vec<u8>,
    /// 1 is January.
    #[serde(default)]
    months: Vec<u8>,
    /// From this time of the day.
    #[schema(example = "20:00")]
    from: Option<String>,
    /// Up to this one, which is outside; at most `24:00`.
    #[schema(example = "22:00")]
    to: Option<String>,
    /// In the month the member was born in alone.
    #[serde(default)]
    birthday_month: bool,
}

impl WindowInput {
    /// The window; what is wrong with it is noted.
    pub(crate) fn read(self, at: usize, fields: &mut Fields) -> Window {
        let mut clock = |name: &str, text: Option<String>, otherwise| match text.as_deref().map(minute) {
            None => otherwise,
            Some(Some(minute)) => minute,
            Some(None) => {
                fields.wrong(format!("/windows/{at}/{name}"), "must be a time like 20:00, at most 24:00");
                otherwise
            }
        };
        let (from, to) = (clock("from", self.from, 0), clock("to", self.to, DAY_MINUTES));
        let Self { weekdays, days, months, birthday_month, .. } = self;
        Window { weekdays, days, months, from, to, birthday_month }
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain { digits.parse::<u16>().ok() } else { None }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let whole = hour * 60 + minute;
    (minute < 60 && whole <= DAY_MINUTES).then_some(whole)
}

/// When an offer is open.
#[derive(Serialize, ToSchema)]
#[schema(as = Window)]
pub(crate) struct WindowView {
    /// 1 is Monday, 7 is Sunday.
    weekdays: Vec<u8>,
    /// Days of the month.
    days: Vec<u8>,
    /// 1 is January.
    months: Vec<u8>,
    #[schema(example = "20:00")]
    from: String,
    #[schema(example = "22:00")]
    to: String,
    birthday_month: bool,
}

impl From<Window> for WindowView {
    fn from(window: Window) -> Self {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let (from, to) = (clock(window.from), clock(window.to));
        let Window { weekdays, days, months, birthday_month, .. } = window;
        Self { weekdays, days, months, from, to, birthday_month }
    }
}

/// What a member must be: exactly one sort of question, by the fact's type.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Condition)]
pub(crate) struct ConditionView {
    /// A fact of the member, the tier or the calendar; amounts in minor units.
    #[schema(example = "member.lifetime-paid-orders")]
    fact: String,
    /// A number not below this.
    at_least: Option<i64>,
    /// A number not above this.
    at_most: Option<i64>,
    /// One of these texts.
    #[serde(default)]
    one_of: Vec<String>,
    /// A flag that says this.
    is: Option<bool>,
}

impl From<ConditionView> for Condition {
    fn from(ConditionView { fact, at_least, at_most, one_of, is }: ConditionView) -> Self {
        Self { fact, at_least, at_most, one_of, is }
    }
}

impl From<Condition> for ConditionView {
    fn from(Condition { fact, at_least, at_most, one_of, is }: Condition) -> Self {
        Self { fact, at_least, at_most, one_of, is }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_day() {
        for (text, expected) in [("00:00", Some(0)), ("20:30", Some(1_230)), ("24:00", Some(1_440))] {
            assert_eq!(minute(text), expected, "{text}");
        }
        for bad in ["24:01", "12:60", "8:00", "+8:00", "", "20", "99:00"] {
            assert_eq!(minute(bad), None, "{bad}");
        }
    }
}
