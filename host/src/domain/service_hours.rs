//! Service time: the hours of a day in which people answer, and deadlines that count only those.

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};

/// Days that a deadline may lie ahead.
const DAYS_MAX: usize = 400;

/// From when to when, each day of the deployment's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceHours {
    /// Opens.
    pub from: Time,
    /// Closes; later than `from`.
    pub to: Time,
}

impl ServiceHours {
    /// When so much service time will have passed after `at`.
    pub fn after(self, at: Timestamp, wait: SignedDuration, zone: &TimeZone) -> Timestamp {
        let (mut date, mut left) = (at.to_zoned(zone.clone()).date(), wait);
        for _ in 0..DAYS_MAX {
            let moment = |time: Time| date.to_datetime(time).to_zoned(zone.clone()).map(|at| at.timestamp());
            if let (Ok(opens), Ok(closes)) = (moment(self.from), moment(self.to)) {
                let begins = opens.max(at);
                let open = closes.duration_since(begins);
                if open >= left && open.is_positive() {
                    return begins.checked_add(left).unwrap_or(Timestamp::MAX);
                }
                left -= open.max(SignedDuration::ZERO);
            }
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        Timestamp::MAX
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::time;

    use super::*;

    fn check(at: &str, minutes: i64, expect: &str) {
        let hours = ServiceHours { from: time(9, 0, 0, 0), to: time(21, 0, 0, 0) };
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        let at: Timestamp = format!("{at}+08:00").parse().expect("a time");
        let expect: Timestamp = format!("{expect}+08:00").parse().expect("a time");
        assert_eq!(hours.after(at, SignedDuration::from_mins(minutes), &zone), expect);
    }

    #[test]
    fn r10_only_service_time_counts() {
        check("2026-03-01T20:30:00", 180, "2026-03-02T11:30:00");
        check("2026-03-01T03:00:00", 180, "2026-03-01T12:00:00");
        check("2026-03-01T18:00:00", 180, "2026-03-01T21:00:00");
        check("2026-03-01T21:00:00", 180, "2026-03-02T12:00:00");
        check("2026-03-01T23:59:59", 0, "2026-03-02T09:00:00");
        check("2026-12-31T10:00:00", 24 * 60, "2027-01-02T10:00:00");
    }
}
