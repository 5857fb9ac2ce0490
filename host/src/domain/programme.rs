//! The tier programme: when a tier is judged for good, how long who no longer qualifies keeps it, and what a tier brings
//! beside the benefits that the tier rule names.
//!
//! The rule says who qualifies; the programme says what becomes of it. Nothing here knows a rule.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{member::Revision, money::Points};
use crate::ids::OfferId;

/// When a tier is confirmed or lost. A tier is reached at once, whatever this says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Evaluation {
    /// What counts never lapses by itself: a tier is lost by refunds and new rules alone.
    #[n(0)]
    Lifetime,
    /// What counts lapses day by day: a tier is lost as soon as the rule gives a lower one, after the grace.
    #[n(1)]
    Rolling,
    /// A tier is kept until the end of the period in which the rule begins to give a lower one, and then the grace.
    #[n(2)]
    Period {
        /// How long a period is: 1, 2, 3, 4, 6 or 12 months.
        #[n(0)]
        months: u8,
        /// The month that a period begins with, 1 to 12.
        #[n(1)]
        first_month: u8,
    },
}

/// When a tier falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Falls {
    /// At once.
    #[n(0)]
    Now,
    /// At the end of the period, and then the grace.
    #[n(1)]
    PeriodEnd,
}

/// A benefit that is no money: an own pharmacist, early access to new products.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Service {
    /// Stable: partners act on it.
    #[n(0)]
    pub code: String,
    /// Simplified Chinese.
    #[n(1)]
    pub name_zh_cn: String,
    /// English.
    #[n(2)]
    pub name_en: String,
}

/// What a tier brings.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TierTerms {
    /// The tier's code.
    #[n(0)]
    pub code: String,
    /// Points given for reaching it.
    #[n(1)]
    pub gift_points: Points,
    /// Offers of which a coupon is given for reaching it.
    #[n(2)]
    pub gift_offers: Vec<OfferId>,
    /// Offers that its members may use: what they see among their benefits.
    #[n(3)]
    pub entitlements: Vec<OfferId>,
    /// Benefits that are no money.
    #[n(4)]
    pub services: Vec<Service>,
}

impl TierTerms {
    /// Whether reaching the tier brings anything.
    pub fn has_gift(&self) -> bool {
        !self.gift_points.is_zero() || !self.gift_offers.is_empty()
    }
}

/// The whole programme, of one version.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Programme {
    /// Counts up with every change; zero where nobody ever set one.
    #[n(0)]
    pub version: Revision,
    /// When a tier is confirmed or lost.
    #[n(1)]
    pub evaluation: Evaluation,
    /// Days that a tier is kept beyond the day on which it would be lost.
    #[n(2)]
    pub grace_days: u16,
    /// A member is told so many days before a tier is lost; not at all where it is zero.
    #[n(3)]
    pub notice_days: u16,
    /// A member is nudged so many days before a tier is lost, with coupons; not at all where it is zero.
    #[n(4)]
    pub renewal_days: u16,
    /// Offers of which the nudge brings a coupon.
    #[n(5)]
    pub renewal_offers: Vec<OfferId>,
    /// When a tier falls that a refund takes away.
    #[n(6)]
    pub on_refund: Falls,
    /// Days from delivery until an order can no longer be returned: then the gift of the tier that it reached comes.
    #[n(7)]
    pub return_days: u16,
    /// Months that points of a gift live.
    #[n(8)]
    pub gift_months: u16,
    /// What the tiers bring.
    #[n(9)]
    pub tiers: Vec<TierTerms>,
}

/// A period of evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first day.
    pub first: Date,
    /// The first day behind it.
    pub next: Date,
}

impl Period {
    /// The instant at which it is over.
    pub fn end(&self, zone: &TimeZone) -> Timestamp {
        midnight(self.next, zone)
    }
}

impl Programme {
    /// Where nobody set one: nothing lapses by itself, a refund counts at once, no gifts.
    pub fn unset() -> Self {
        Self {
            version: Revision::default(),
            evaluation: Evaluation::Lifetime,
            grace_days: 0,
            notice_days: 0,
            renewal_days: 0,
            renewal_offers: Vec::new(),
            on_refund: Falls::Now,
            return_days: 7,
            gift_months: 12,
            tiers: Vec::new(),
        }
    }

    /// The period that an instant lies in; without periods of its own a programme has calendar years.
    pub fn period(&self, at: Timestamp, zone: &TimeZone) -> Period {
        let (months, first) = match self.evaluation {
            Evaluation::Period { months, first_month } => (i32::from(months.max(1)), i32::from(first_month) - 1),
            Evaluation::Lifetime | Evaluation::Rolling => (12, 0),
        };
        let on = zone.to_datetime(at).date();
        let month = i32::from(on.year()) * 12 + i32::from(on.month()) - 1 - first;
        let begins = month.div_euclid(months) * months + first;
        Period { first: first_of(begins), next: first_of(begins + months) }
    }

    /// The period in which one gift of a tier is given, in days since 1970-01-01: zero where all of life is one.
    pub fn gift_period(&self, at: Timestamp, zone: &TimeZone) -> i32 {
        match self.evaluation {
            Evaluation::Lifetime => 0,
            _ => days(self.period(at, zone).first),
        }
    }

    /// What a tier brings, if the programme says anything of it.
    pub fn tier(&self, code: &str) -> Option<&TierTerms> {
        self.tiers.iter().find(|terms| terms.code == code)
    }

    /// The end of the period that `at` lies in, and then the grace.
    pub fn end_with_grace(&self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        midnight(self.period(at, zone).next.saturating_add(i64::from(self.grace_days).days()), zone)
    }
}

/// A day as a number: since 1970-01-01.
pub fn days(date: Date) -> i32 {
    date.since(Date::constant(1970, 1, 1)).map_or(0, |span| span.get_days())
}

fn midnight(on: Date, zone: &TimeZone) -> Timestamp {
    on.to_zoned(zone.clone()).map_or(Timestamp::MAX, |at| at.timestamp())
}

/// The first day of a month, counted from January of the year 0.
fn first_of(month: i32) -> Date {
    let year = i16::try_from(month.div_euclid(12)).unwrap_or(i16::MAX);
    let month = i8::try_from(month.rem_euclid(12)).unwrap_or(0) + 1;
    Date::new(year, month, 1).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(evaluation: Evaluation, at: &str) -> (String, String) {
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        let programme = Programme { evaluation, ..Programme::unset() };
        let found = programme.period(at.parse().expect("an instant"), &zone);
        (found.first.to_string(), found.next.to_string())
    }

    #[test]
    fn periods_tile_the_calendar_of_the_zone() {
        let half = Evaluation::Period { months: 6, first_month: 1 };
        let fiscal = Evaluation::Period { months: 12, first_month: 4 };
        let quarter = Evaluation::Period { months: 3, first_month: 2 };
        for (evaluation, at, first, next) in [
            (half, "2026-06-30T15:59:59Z", "2026-01-01", "2026-07-01"),
            (half, "2026-06-30T16:00:00Z", "2026-07-01", "2027-01-01"),
            (fiscal, "2026-03-31T15:59:59Z", "2025-04-01", "2026-04-01"),
            (fiscal, "2026-03-31T16:00:00Z", "2026-04-01", "2027-04-01"),
            (quarter, "2026-01-15T00:00:00Z", "2025-11-01", "2026-02-01"),
            (Evaluation::Rolling, "2026-12-31T16:00:00Z", "2027-01-01", "2028-01-01"),
            (Evaluation::Lifetime, "2026-02-28T04:00:00Z", "2026-01-01", "2027-01-01"),
        ] {
            assert_eq!(period(evaluation, at), (first.to_owned(), next.to_owned()), "{evaluation:?} at {at}");
        }
    }
}
