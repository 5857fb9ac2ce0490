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
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The high bits of a product are the well mixed ones.
    let seconds = (u128::from(hash) * (u128::from(most) + 1)) >> 64;
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0))
}
