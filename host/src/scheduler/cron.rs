//! Cron expressions in a zone: when something comes again.
//!
//! Five fields: minute, hour, day of the month, month, day of the week; nothing comes more often than once a minute.
//! Where clocks jump, two rules hold. An expression that names its times (`0 9 15 * *`) comes once: at the first instant
//! after a gap that swallowed its time, and at the earlier of two where a time comes twice. One with a wildcard minute or
//! hour (`*/10 * * * *`) keeps its pace: not in the gap, and in both halves of a fold.

use std::{fmt, str::FromStr};

use croner::parser::{CronParser, Seconds, Year};
use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};

/// Nothing is looked for further ahead.
pub const LOOK_AHEAD_YEARS: i32 = 8;
/// The longest expression.
const EXPRESSION_BYTES_MAX: usize = 100;

/// Why a schedule cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// The expression cannot be read.
    #[error("`{expression}` is no cron expression of five fields (minute, hour, day, month, weekday): {why}")]
    Expression {
        /// As given, at most a hundred bytes of it.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
    /// The expression names a time that does not come.
    #[error("`{0}` does not come within {LOOK_AHEAD_YEARS} years")]
    Never(String),
    /// There is no such zone.
    #[error("`{0}` is no IANA time zone such as `Asia/Shanghai`")]
    Zone(String),
    /// In the members' zones it would come too often.
    #[error("`{0}` comes more than once an hour: in the members' zones name the minute, as in `0 9 15 * *`")]
    TooOften(String),
}

/// A cron expression that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    text: String,
    parsed: croner::Cron,
}

impl FromStr for Cron {
    type Err = BadSchedule;

    fn from_str(text: &str) -> Result<Self, BadSchedule> {
        let bad = |why: String| {
            let expression = text.chars().filter(|c| !c.is_control()).take(EXPRESSION_BYTES_MAX).collect();
            BadSchedule::Expression { expression, why }
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" *,-/#?@+".contains(&byte);
        if text.len() > EXPRESSION_BYTES_MAX || !text.bytes().all(plain) {
            return Err(bad(format!("it must be at most {EXPRESSION_BYTES_MAX} plain characters")));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let parsed = parser.parse(text).map_err(|error| bad(error.to_string()))?;
        Ok(Self { text: text.trim().to_owned(), parsed })
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl Cron {
    /// When it comes first after an instant.
    ///
    /// # Errors
    ///
    /// [`BadSchedule::Never`] if that is further ahead than [`LOOK_AHEAD_YEARS`].
    pub fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Result<Timestamp, BadSchedule> {
        let never = || BadSchedule::Never(self.text.clone());
        let start = after.to_zoned(zone.clone());
        let next = self.parsed.find_next_occurrence(&start, false).map_err(|_| never())?;
        let horizon = start.checked_add(LOOK_AHEAD_YEARS.years()).map_err(|_| never())?;
        if next > horizon { Err(never()) } else { Ok(next.timestamp()) }
    }

    /// Whether it names one minute, and so comes once an hour at most.
    pub fn names_its_minute(&self) -> bool {
        let minute = self.text.split_whitespace().next().unwrap_or_default();
        minute.starts_with('@') || minute.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// The latest time it came, up to `now` itself: `known`, which is one of its times, or a later one.
    ///
    /// # Errors
    ///
    /// As for [`Cron::next_after`].
    pub fn latest(&self, known: Timestamp, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, BadSchedule> {
        // What comes first after t is up to now for every t before the latest one, and for none after it.
        let (mut before, mut beyond) = (known.as_second(), now.as_second() + 1);
        let mut latest = known;
        while before + 1 < beyond {
            let middle = before + (beyond - before) / 2;
            let at = Timestamp::from_second(middle).map_err(|_| BadSchedule::Never(self.text.clone()))?;
            match self.next_after(at, zone) {
                Ok(next) if next <= now => (before, latest) = (next.as_second().max(middle), next),
                Ok(_) => beyond = middle,
                Err(error) => return Err(error),
            }
        }
        let first = self.next_after(latest, zone)?;
        Ok(if first <= now { first } else { latest })
    }
}

/// A zone by its IANA name.
///
/// # Errors
///
/// [`BadSchedule::Zone`].
pub(super) fn zone_named(name: &str) -> Result<TimeZone, BadSchedule> {
    TimeZone::get(name).map_err(|_| BadSchedule::Zone(name.chars().take(EXPRESSION_BYTES_MAX).collect()))
}

/// Up to `most` seconds, the same for the same name and occurrence, and spread evenly over others.
pub(super) fn jitter(name: &str, occurrence: Timestamp, most: u32) -> SignedDuration {
    let bytes = name.bytes().chain(occurrence.as_millisecond().to_be_bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The high bits of a product are the well mixed ones.
    let seconds = (u128::from(hash) * (u128::from(most) + 1)) >> 64;
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[track_caller]
    fn check(expression: &str, zone: &str, after: &str, comes: &[&str]) {
        let (cron, zone) = (expression.parse::<Cron>().expect("an expression"), zone_named(zone).expect("a zone"));
        let mut at = instant(after);
        for expected in comes {
            at = cron.next_after(at, &zone).expect("comes");
            assert_eq!(at, instant(expected), "{expression}");
        }
    }

    #[test]
    fn it_comes_by_the_calendar_of_its_zone() {
        let shanghai = "Asia/Shanghai";
        check("0 9 15 * *", shanghai, "2026-01-15T00:59:59.999Z", &["2026-01-15T01:00:00Z", "2026-02-15T01:00:00Z"]);
        check("0 9 15 * *", shanghai, "2026-01-15T01:00:00Z", &["2026-02-15T01:00:00Z", "2026-03-15T01:00:00Z"]);
        check("0 0 29 2 *", shanghai, "2026-03-01T00:00:00Z", &["2028-02-28T16:00:00Z", "2032-02-28T16:00:00Z"]);
        check("0 3 * * MON", "UTC", "2026-03-01T00:00:00Z", &["2026-03-02T03:00:00Z", "2026-03-09T03:00:00Z"]);
        check("59 23 31 12 *", "UTC", "2026-12-31T23:58:00Z", &["2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z"]);
    }

    /// Berlin: 2026-03-29 has no 02:00 to 02:59, 2026-10-25 has them twice.
    #[test]
    fn where_clocks_jump_a_named_time_comes_once() {
        let berlin = "Europe/Berlin";
        check("30 2 * * *", berlin, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        check("30 2 * * *", berlin, "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        check("0 3 * * *", berlin, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]);
    }

    #[test]
    fn where_clocks_jump_a_pace_is_kept() {
        let (berlin, half) = ("Europe/Berlin", "*/30 * * * *");
        check(half, berlin, "2026-03-29T00:30:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
        let fold = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"];
        check(half, berlin, "2026-10-24T23:30:00Z", &fold);
    }

    #[test]
    fn the_latest_occurrence_is_found_without_walking() {
        let zone = zone_named("Europe/Berlin").expect("a zone");
        for (expression, known, now, latest) in [
            ("* * * * *", "2021-01-01T00:00:00Z", "2026-01-01T00:00:30Z", "2026-01-01T00:00:00Z"),
            ("0 3 * * *", "2026-03-01T02:00:00Z", "2026-03-01T02:00:00Z", "2026-03-01T02:00:00Z"),
            ("0 3 * * *", "2026-03-01T02:00:00Z", "2026-03-29T00:59:59Z", "2026-03-28T02:00:00Z"),
            ("0 3 * * *", "2026-03-01T02:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"),
            ("0 9 15 * *", "2026-01-15T08:00:00Z", "2026-12-31T00:00:00Z", "2026-12-15T08:00:00Z"),
        ] {
            let cron: Cron = expression.parse().expect("an expression");
            let found = cron.latest(instant(known), instant(now), &zone).expect("comes");
            assert_eq!(found, instant(latest), "{expression} until {now}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_by_name() {
        for bad in [
            "",
            "x",
            "* * * *",
            "* * * * * *",
            "61 * * * *",
            "0 25 * * *",
            "0 0 32 * *",
            "0 0 * 13 *",
            "\u{0}",
            "０ 9 15 * *",
        ] {
            assert!(matches!(bad.parse::<Cron>(), Err(BadSchedule::Expression { .. })), "{bad:?}");
        }
        assert!("0 ".repeat(100).parse::<Cron>().is_err());
        let never: Cron = "0 0 30 2 *".parse().expect("can be read");
        let never = never.next_after(Timestamp::UNIX_EPOCH, &TimeZone::UTC);
        assert_eq!(never, Err(BadSchedule::Never("0 0 30 2 *".to_owned())));
        assert_eq!(zone_named("Moon/Base"), Err(BadSchedule::Zone("Moon/Base".to_owned())));
    }

    #[test]
    fn jitter_is_bounded_and_spread() {
        let at = |n: i64| Timestamp::from_second(n * 86_400).expect("an instant");
        let seconds: Vec<i64> = (0..1_000).map(|day| jitter("tiers", at(day), 599).as_secs()).collect();
        assert!(seconds.iter().all(|seconds| (0..=599).contains(seconds)));
        for tenth in 0..10 {
            let inside = seconds.iter().filter(|seconds| **seconds / 60 == tenth).count();
            assert!((50..=150).contains(&inside), "{inside} of 1000 in tenth {tenth}");
        }
        assert_eq!(jitter("tiers", at(1), 0).as_secs(), 0);
    }
}
