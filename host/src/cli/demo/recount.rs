//! What the year must come to, counted again from the orders alone.
//!
//! Slow, simple, and written from the rules rather than from the engine: points lie in lots that are spent earliest expiry
//! first, come back to the lot they were taken from, and die twelve months after they became spendable; birthdays,
//! anniversaries and member days are days of a calendar. The report puts these figures beside the server's.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

/// Something that moved a member's points.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) member: usize,
    pub(super) at: Timestamp,
    /// The order's name.
    pub(super) order: String,
    pub(super) what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Spent, when the order was placed.
    Spent(i64),
    /// Awarded, when it was paid.
    Earned(i64),
    /// It arrived.
    Arrived,
    /// Given back and taken back by a refund.
    Refunded { restored: i64, taken: i64 },
}

/// Members by tier of what they spent in all, in fen: 199, 999, 2999 yuan.
pub(super) fn spend_tiers(spent: impl Iterator<Item = i64>) -> BTreeMap<String, u64> {
    let mut tiers = BTreeMap::new();
    for fen in spent {
        let tier = match fen {
            299_900.. => "gold",
            99_900.. => "silver",
            19_900.. => "bronze",
            _ => "member",
        };
        *tiers.entry(tier.to_owned()).or_default() += 1;
    }
    tiers
}

/// How many points a yuan brings: twice in the birthday month from the second tier on, always in the highest.
pub(super) fn multiple(tier: &str, composite: bool, birthday_month: bool) -> i64 {
    let (lowest, highest) = if composite { ("regular", "diamond") } else { ("member", "gold") };
    if tier == highest || (birthday_month && tier != lowest) { 2 } else { 1 }
}

/// How long points wait, and how long they live.
#[derive(Clone, Copy, Debug)]
pub(super) struct PointsTerms {
    pub(super) pending_days: i64,
    pub(super) valid_months: i64,
}

/// What became of all points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Points {
    pub(super) pending: i64,
    pub(super) active: i64,
    pub(super) expired: i64,
}

/// A lot's place: when it dies, then which order it is of.
type Lot = (Timestamp, String);

#[derive(Default)]
struct Purse {
    pending: HashMap<String, i64>,
    /// When the points of an order become spendable.
    due: BTreeMap<(Timestamp, String), ()>,
    lots: BTreeMap<Lot, i64>,
    drawn: HashMap<String, Vec<(Lot, i64)>>,
    expired: i64,
}

impl Purse {
    /// Lets time pass: what is due becomes spendable, what is old dies.
    fn advance(&mut self, now: Timestamp, terms: PointsTerms, zone: &TimeZone) {
        while let Some(((at, order), ())) = self.due.first_key_value().map(|(key, ())| (key.clone(), ())) {
            if at > now {
                break;
            }
            self.due.remove(&(at, order.clone()));
            let points = self.pending.remove(&order).unwrap_or(0);
            let dies = at.to_zoned(zone.clone()).saturating_add(terms.valid_months.months()).timestamp();
            if points > 0 {
                *self.lots.entry((dies, order)).or_default() += points;
            }
        }
        while let Some(((dies, order), points)) =
            self.lots.first_key_value().map(|(lot, points)| (lot.clone(), *points))
            && dies <= now
        {
            self.lots.remove(&(dies, order));
            self.expired += points;
        }
    }

    fn take(&mut self, lot: &Lot, most: i64) -> i64 {
        let Some(points) = self.lots.get_mut(lot) else { return 0 };
        let taken = (*points).min(most);
        *points -= taken;
        if *points == 0 {
            self.lots.remove(lot);
        }
        taken
    }

    fn draw(&mut self, mut points: i64) -> Vec<(Lot, i64)> {
        let mut draws = Vec::new();
        let lots: Vec<Lot> = self.lots.keys().cloned().collect();
        for lot in lots {
            if points == 0 {
                break;
            }
            let taken = self.take(&lot, points);
            points -= taken;
            draws.push((lot, taken));
        }
        draws
    }

    fn apply(&mut self, step: &Move, terms: PointsTerms) {
        match step.what {
            What::Spent(points) => {
                let draws = self.draw(points);
                self.drawn.insert(step.order.clone(), draws);
            }
            What::Earned(points) => {
                self.pending.insert(step.order.clone(), points);
            }
            What::Arrived => {
                let at = step.at.saturating_add(SignedDuration::from_hours(24 * terms.pending_days));
                self.due.insert((at.unwrap_or(Timestamp::MAX), step.order.clone()), ());
            }
            What::Refunded { restored, taken } => {
                self.restore(&step.order, restored);
                self.take_back(&step.order, taken);
            }
        }
    }

    /// What was taken last comes back first.
    fn restore(&mut self, order: &str, mut points: i64) {
        let mut draws = self.drawn.remove(order).unwrap_or_default();
        while points > 0
            && let Some((lot, taken)) = draws.pop()
        {
            let back = taken.min(points);
            points -= back;
            *self.lots.entry(lot.clone()).or_default() += back;
            if back < taken {
                draws.push((lot, taken - back));
            }
        }
        self.drawn.insert(order.to_owned(), draws);
    }

    /// What is pending of the order first, then its own lot, then the lots that die first.
    fn take_back(&mut self, order: &str, mut points: i64) {
        if let Some(pending) = self.pending.get_mut(order) {
            let taken = (*pending).min(points);
            *pending -= taken;
            points -= taken;
        }
        let own: Vec<Lot> = self.lots.keys().filter(|(_, of)| of == order).cloned().collect();
        for lot in own {
            points -= self.take(&lot, points);
        }
        self.draw(points);
    }
}

/// All points at an instant. Moves of a member stand in the order in which they happened.
pub(super) fn points(moves: &[Move], until: Timestamp, terms: PointsTerms, zone: &TimeZone) -> Points {
    let mut purses: HashMap<usize, Purse> = HashMap::new();
    for step in moves {
        let purse = purses.entry(step.member).or_default();
        purse.advance(step.at, terms, zone);
        purse.apply(step, terms);
    }
    let mut sum = Points::default();
    for purse in purses.values_mut() {
        purse.advance(until, terms, zone);
        sum.pending += purse.pending.values().sum::<i64>();
        sum.active += purse.lots.values().sum::<i64>();
        sum.expired += purse.expired;
    }
    sum
}

/// How often a yearly day falls after `from` and no later than `until`, at this hour. A 29 February is kept on the 28th
/// in common years.
pub(super) fn yearly(day: Date, from: Timestamp, until: Timestamp, hour: i8, zone: &TimeZone) -> u64 {
    let years = from.to_zoned(zone.clone()).year()..=until.to_zoned(zone.clone()).year();
    let fires = years.filter_map(|year| {
        let first = Date::new(year, day.month(), 1).ok()?;
        let this = first.with().day(day.day().min(first.days_in_month())).build().ok()?;
        Some(this.at(hour, 0, 0, 0).to_zoned(zone.clone()).ok()?.timestamp())
    });
    fires.filter(|at| *at > from && *at <= until).count() as u64
}

/// How many 15ths at this hour lie after `from` and no later than `until`.
pub(super) fn member_days(from: Timestamp, until: Timestamp, hour: i8, zone: &TimeZone) -> u64 {
    let mut day = from.to_zoned(zone.clone()).date().first_of_month();
    let mut count = 0;
    loop {
        let fifteenth = day.with().day(15).build().map(|day| day.at(hour, 0, 0, 0));
        let Ok(Ok(at)) = fifteenth.map(|at| at.to_zoned(zone.clone())) else { return count };
        if at.timestamp() > until {
            return count;
        }
        count += u64::from(at.timestamp() > from);
        day = day.saturating_add(1.month());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn points_are_spent_by_expiry_come_back_to_their_lot_and_die() {
        let step = |at: &str, order: &str, what| Move { member: 0, at: self::at(at), order: order.into(), what };
        let moves = [
            step("2026-01-01T00:00:00Z", "a", What::Earned(100)),
            step("2026-01-02T00:00:00Z", "a", What::Arrived),
            step("2026-02-01T00:00:00Z", "b", What::Earned(50)),
            step("2026-02-02T00:00:00Z", "b", What::Arrived),
            step("2026-03-01T00:00:00Z", "c", What::Spent(120)),
            step("2026-03-02T00:00:00Z", "c", What::Refunded { restored: 30, taken: 0 }),
            step("2026-03-03T00:00:00Z", "b", What::Refunded { restored: 0, taken: 20 }),
        ];
        let terms = PointsTerms { pending_days: 7, valid_months: 12 };
        let check = |until: &str, expect: (i64, i64, i64)| {
            let Points { pending, active, expired } = points(&moves, at(until), terms, &TimeZone::UTC);
            assert_eq!((pending, active, expired), expect, "{until}");
        };
        // Of 120 spent 100 were of a and 20 of b; 30 come back: 20 to b, 10 to a. Then b gives up 20 of its own.
        check("2026-06-01T00:00:00Z", (0, 40, 0));
        check("2027-01-09T00:00:00Z", (0, 30, 10));
        check("2027-03-01T00:00:00Z", (0, 0, 40));
    }

    #[test]
    fn days_are_counted_at_their_hour() {
        let (from, until) = (at("2026-01-15T02:00:00Z"), at("2028-03-01T00:00:00Z"));
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        let check = |month, day, expect| {
            assert_eq!(yearly(Date::constant(1992, month, day), from, until, 9, &zone), expect, "{month}-{day}");
        };
        check(1, 15, 2);
        check(1, 16, 3);
        check(2, 29, 3);
        check(3, 1, 2);
        assert_eq!(member_days(from, until, 9, &zone), 25, "02:00Z is 10:00 in Shanghai: the first 15th is past");
    }
}
