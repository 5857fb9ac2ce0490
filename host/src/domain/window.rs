//! When an offer is open, by the calendar: hours of some weekdays, days of the month, a season, the birthday month.

use std::fmt;

use jiff::civil::DateTime;
use minicbor::{Decode, Encode};

/// Minutes of a day.
pub const DAY_MINUTES: u16 = 24 * 60;

/// Times of the calendar of the deployment's zone. Open where every part says so; a part that is empty says so always.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Window {
    /// Days of the week: 1 is Monday, 7 is Sunday.
    #[n(0)]
    pub weekdays: Vec<u8>,
    /// Days of the month, 1 to 31.
    #[n(1)]
    pub days: Vec<u8>,
    /// Months, 1 to 12.
    #[n(2)]
    pub months: Vec<u8>,
    /// From this minute of the day.
    #[n(3)]
    pub from: u16,
    /// Up to this one, which is outside; at most [`DAY_MINUTES`].
    #[n(4)]
    pub to: u16,
    /// In the member's birthday month alone.
    #[n(5)]
    pub birthday_month: bool,
}

impl Window {
    /// Whether it is open at a local time, to a member of whom it is said whether they were born in that month.
    pub fn is_open(&self, local: DateTime, birthday_month: bool) -> bool {
        let among = |all: &[u8], one: i8| all.is_empty() || all.iter().any(|known| i16::from(*known) == i16::from(one));
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
        among(&self.weekdays, local.weekday().to_monday_one_offset())
            && among(&self.days, local.day())
            && among(&self.months, local.month())
            && (self.from..self.to).contains(&minute)
            && (birthday_month || !self.birthday_month)
    }
}

/// Whether one of the windows is open; without any, always.
pub fn is_open(windows: &[Window], local: DateTime, birthday_month: bool) -> bool {
    windows.is_empty() || windows.iter().any(|window| window.is_open(local, birthday_month))
}

impl fmt::Display for Window {
    /// In signs that need no language: `W3 20:00-22:00`, `D15`, `M11,12,1,2`, `birthday-month`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (sign, numbers) in [("M", &self.months), ("D", &self.days), ("W", &self.weekdays)] {
            if !numbers.is_empty() {
                let numbers: Vec<String> = numbers.iter().map(u8::to_string).collect();
                parts.push(format!("{sign}{}", numbers.join(",")));
            }
        }
        if (self.from, self.to) != (0, DAY_MINUTES) {
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            parts.push(format!("{}-{}", clock(self.from), clock(self.to)));
        }
        if self.birthday_month {
            parts.push("birthday-month".to_owned());
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const ALWAYS: Window = Window {
        weekdays: Vec::new(),
        days: Vec::new(),
        months: Vec::new(),
        from: 0,
        to: DAY_MINUTES,
        birthday_month: false,
    };

    fn check(window: Window, at: DateTime, open: bool) {
        assert_eq!(window.is_open(at, false), open, "{window} at {at}");
    }

    #[test]
    fn every_part_counts() {
        let evening = Window { weekdays: vec![3], from: 20 * 60, to: 22 * 60, ..ALWAYS };
        // 4 March 2026 is a Wednesday.
        check(evening.clone(), date(2026, 3, 4).at(19, 59, 59, 0), false);
        check(evening.clone(), date(2026, 3, 4).at(20, 0, 0, 0), true);
        check(evening.clone(), date(2026, 3, 4).at(21, 59, 59, 0), true);
        check(evening.clone(), date(2026, 3, 4).at(22, 0, 0, 0), false);
        check(evening.clone(), date(2026, 3, 5).at(20, 0, 0, 0), false);
        assert_eq!(evening.to_string(), "W3 20:00-22:00");
        let season = Window { months: vec![11, 12, 1, 2], ..ALWAYS };
        check(season.clone(), date(2026, 10, 31).at(23, 59, 59, 0), false);
        check(season.clone(), date(2026, 11, 1).at(0, 0, 0, 0), true);
        check(season.clone(), date(2027, 2, 28).at(23, 59, 59, 0), true);
        check(season, date(2027, 3, 1).at(0, 0, 0, 0), false);
        check(Window { days: vec![31], ..ALWAYS }, date(2026, 4, 30).at(12, 0, 0, 0), false);
        let born = Window { birthday_month: true, ..ALWAYS };
        assert!(!born.is_open(date(2026, 3, 1).at(0, 0, 0, 0), false));
        assert!(born.is_open(date(2026, 3, 1).at(0, 0, 0, 0), true));
        assert!(is_open(&[], date(2026, 3, 1).at(0, 0, 0, 0), false));
    }
}
