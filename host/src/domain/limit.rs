//! Limits of an offer: how often and how much, in all or by one member, ever or in each period of the calendar.

use jiff::civil::{Date, DateTime};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Whose uses a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// All members' together.
    #[n(0)]
    All,
    /// Each member's own.
    #[n(1)]
    Member,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Orders that it took something off.
    #[n(0)]
    Uses,
    /// Minor units that it took off.
    #[n(1)]
    Amount,
    /// Coupons that were issued of it.
    #[n(2)]
    Issues,
}

/// How long a limit counts until it begins anew, by the calendar of the deployment's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// It never begins anew.
    #[n(0)]
    Ever,
    /// From midnight to midnight.
    #[n(1)]
    Day,
    /// From Monday to Sunday.
    #[n(2)]
    Week,
    /// From the first to the last.
    #[n(3)]
    Month,
    /// From minute 0 to minute 59.
    #[n(4)]
    Hour,
    /// From second 0 to second 59.
    #[n(5)]
    Minute,
}

impl Period {
    /// Which period of its kind a local time lies in: one number for each, growing with time.
    pub fn index(self, local: DateTime) -> i32 {
        let date = local.date();
        let day = date.since(Date::constant(1970, 1, 1)).map_or(0, |span| span.get_days());
        match self {
            Self::Ever => 0,
            Self::Day => day,
            // 1 January 1970 was a Thursday.
            Self::Week => (day + 3).div_euclid(7),
            Self::Month => i32::from(date.year()) * 12 + i32::from(date.month()),
            Self::Hour => day * 24 + i32::from(local.hour()),
            Self::Minute => (day * 24 + i32::from(local.hour())) * 60 + i32::from(local.minute()),
        }
    }
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Limit {
    /// Whose.
    #[n(0)]
    pub whose: Whose,
    /// Of what.
    #[n(1)]
    pub measure: Measure,
    /// In which time.
    #[n(2)]
    pub period: Period,
    /// The most there may be; above zero.
    #[n(3)]
    pub most: i64,
}

/// How a limit stands in one of its periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Which.
    pub limit: Limit,
    /// What is left of a shared limit; what the member has taken of their own.
    pub observed: i64,
}

impl Room {
    /// The most that may still be taken.
    pub fn left(self) -> i64 {
        match self.limit.whose {
            Whose::All => self.observed,
            Whose::Member => self.limit.most.saturating_sub(self.observed),
        }
    }

    /// That so much may not be taken; nothing where it may.
    pub fn short_of(self, wanted: i64) -> Option<Short> {
        let Self { limit, observed } = self;
        (wanted > self.left()).then_some(Short { limit, observed, wanted })
    }
}

/// A limit that does not allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Which.
    pub limit: Limit,
    /// What is left of a shared limit; what the member has taken of their own.
    pub observed: i64,
    /// What was asked for.
    pub wanted: i64,
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn periods_begin_at_midnight_on_monday_and_on_the_first() {
        let index = |period: Period, y, m, d, h| period.index(date(y, m, d).at(h, 0, 0, 0));
        assert_eq!(index(Period::Ever, 2026, 3, 1, 0), index(Period::Ever, 2030, 3, 1, 0));
        assert_eq!(index(Period::Day, 2026, 3, 1, 0), index(Period::Day, 2026, 3, 1, 23));
        assert_eq!(index(Period::Day, 2026, 3, 1, 23) + 1, index(Period::Day, 2026, 3, 2, 0));
        // 2 March 2026 is a Monday.
        assert_eq!(index(Period::Week, 2026, 3, 1, 23) + 1, index(Period::Week, 2026, 3, 2, 0));
        assert_eq!(index(Period::Week, 2026, 3, 2, 0), index(Period::Week, 2026, 3, 8, 23));
        assert_eq!(index(Period::Week, 1969, 12, 28, 0) + 1, index(Period::Week, 1969, 12, 29, 0));
        assert_eq!(index(Period::Month, 2025, 12, 31, 23) + 1, index(Period::Month, 2026, 1, 1, 0));
        assert_eq!(index(Period::Month, 2026, 2, 1, 0), index(Period::Month, 2026, 2, 28, 0));
    }
}
