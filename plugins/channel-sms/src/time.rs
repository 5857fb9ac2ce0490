//! The two ways the vendor writes an instant.

const DAY_MS: i64 = 86_400_000;
/// Beijing is eight hours ahead, all year.
const BEIJING_MS: i64 = 8 * 3_600_000;

/// `2023-10-26T10:22:32Z`.
pub(crate) fn iso_8601(ms: i64) -> String {
    let (days, second) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS) / 1_000);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Milliseconds since 1970 of `2017-01-01 00:00:00` in Beijing.
pub(crate) fn beijing(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(' ')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let fits = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    let seconds = (hour * 60 + minute) * 60 + second;
    fits.then(|| days_to(year, month, day) * DAY_MS + seconds * 1_000 - BEIJING_MS)
}

fn numbers(text: &str, between: char) -> Option<[i64; 3]> {
    let mut parts = text.split(between).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// Year, month and day of a day since 1970, by the Gregorian calendar; years begin in March meanwhile, so that the leap
/// day is the last.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

/// The way back.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_both_ways() {
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso_8601(1_698_315_752_999), "2023-10-26T10:22:32Z");
        assert_eq!(iso_8601(1_709_164_800_000), "2024-02-29T00:00:00Z");
        assert_eq!(beijing("1970-01-01 08:00:00"), Some(0));
        assert_eq!(beijing("2023-10-26 18:22:32"), Some(1_698_315_752_000));
        for wrong in
            ["", "2017-01-01", "2017-13-01 00:00:00", "2017-01-01 24:00:00", "2017-01-01-01 00:00:00", "x-y-z a:b:c"]
        {
            assert_eq!(beijing(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for days in (-1_000..60_000).step_by(7) {
            let (year, month, day) = date_of(days);
            assert_eq!(days_to(year, month, day), days);
        }
    }
}
