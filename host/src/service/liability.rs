//! What the programme owes its members in points: by state, by the month it dies in, and how it came to that, month by
//! month. Read from totals that are counted with every posting and from the history of the house accounts; nobody's purse
//! is looked at.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::{Error, Services};
use crate::{
    domain::{
        money::Money,
        points::{Account, House, Purse},
    },
    events,
    ledger::{postings, totals},
    store::StoreError,
};

/// The most months of one report.
pub const MONTHS_MAX: u8 = 36;

const HOUSES: [House; 6] =
    [House::Issued, House::Opening, House::Adjusted, House::Redeemed, House::Expired, House::ClawedBack];

/// Points and what they are worth at checkout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worth {
    /// How many.
    pub points: i64,
    /// Rounded down.
    pub money: Money,
}

/// What happened to points in one month of the deployment's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonthFlow {
    /// Its first day.
    pub month: Date,
    /// Given for orders and activities.
    pub issued: Worth,
    /// Taken over from an earlier programme.
    pub opening: Worth,
    /// Given by operators, less what they took.
    pub adjusted: Worth,
    /// Spent, less what refunds gave back.
    pub redeemed: Worth,
    /// Died.
    pub expired: Worth,
    /// Taken back after refunds.
    pub clawed_back: Worth,
    /// With members at its end; in the month that is not over, now.
    pub outstanding: Worth,
}

/// What the programme owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liability {
    /// As of.
    pub at: Timestamp,
    /// Earned, not yet to be spent.
    pub pending: Worth,
    /// Can be spent.
    pub active: Worth,
    /// Reserved.
    pub held: Worth,
    /// Owed by members: taken off.
    pub debt: Worth,
    /// All of it.
    pub outstanding: Worth,
    /// What can be spent by the month it dies in, named by its first day.
    pub expiring: Vec<(Date, Worth)>,
    /// What the house accounts gave beyond what they took, less what members hold: zero, or the books do not close.
    pub difference: i128,
    /// The months asked for, the newest last.
    pub months: Vec<MonthFlow>,
}

impl Services {
    /// Reports what members hold now, and the flows of so many months up to this one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for the number of months, [`Error::Overflow`] if the points do not fit.
    pub async fn points_liability(&self, months: u8) -> Result<Liability, Error> {
        if !(1..=MONTHS_MAX).contains(&months) {
            return Err(Error::field("/months", format!("must be 1 to {MONTHS_MAX}")));
        }
        let (now, zone) = (self.clock.now(), &self.settings.zone);
        let read = self.store.read(|tx| {
            let houses: Result<i128, StoreError> = HOUSES.iter().map(|house| totals::of_house(tx, *house)).sum();
            Ok::<_, StoreError>((totals::read(tx)?, houses?))
        });
        let (held, houses) = read.await?;
        let of = |purse: Purse| -> i128 {
            held.iter().filter(|((of, _), _)| *of == purse as u8).map(|(_, points)| *points).sum()
        };
        let members: i128 = held.values().sum();
        let mut expiring: BTreeMap<Date, i128> = BTreeMap::new();
        for ((_, hour), points) in held.iter().filter(|((purse, _), _)| *purse == Purse::Active as u8) {
            let at = Timestamp::from_second(i64::from(*hour) * 3_600).unwrap_or(Timestamp::MAX);
            *expiring.entry(month_of(at, zone)).or_default() += points;
        }
        let expiring = expiring.into_iter().map(|(month, points)| Ok::<_, Error>((month, self.worth(points)?)));
        Ok(Liability {
            at: now,
            pending: self.worth(of(Purse::Pending))?,
            active: self.worth(of(Purse::Active))?,
            held: self.worth(of(Purse::Held))?,
            debt: self.worth(of(Purse::Debt))?,
            outstanding: self.worth(members)?,
            expiring: expiring.collect::<Result<_, Error>>()?,
            difference: -houses - members,
            months: self.flows(now, months).await?,
        })
    }

    /// What the house accounts did in each month, from what they held at its ends.
    async fn flows(&self, now: Timestamp, months: u8) -> Result<Vec<MonthFlow>, Error> {
        let this = month_of(now, &self.settings.zone);
        let firsts: Vec<Date> = (0..i32::from(months)).rev().map(|back| this.saturating_sub(back.months())).collect();
        let ends = firsts.iter().copied().chain([this.saturating_add(1.months())]);
        let zone = &self.settings.zone;
        let ends: Vec<Timestamp> = ends.map(|month| last_before(month, zone)).collect();
        let mut held = vec![[0_i128; HOUSES.len()]; ends.len()];
        for shard in 0..events::SHARDS {
            let ends = ends.clone();
            let read = self.store.read(move |tx| {
                let at = |tx: &mut crate::store::Tx<'_>, end: Timestamp| {
                    let one = |house: &House| postings::balance_at(tx, Account::House(*house, shard), end);
                    HOUSES.iter().map(one).collect::<Result<Vec<_>, StoreError>>()
                };
                ends.iter().map(|end| at(tx, *end)).collect::<Result<Vec<_>, StoreError>>()
            });
            for (held, more) in held.iter_mut().zip(read.await?) {
                held.iter_mut().zip(more).for_each(|(held, more)| *held += i128::from(more.get()));
            }
        }
        let month = |(i, month): (usize, &Date)| {
            let (before, after) = (held[i], held[i + 1]);
            let [issued, opening, adjusted, redeemed, expired, clawed_back] =
                std::array::from_fn(|house| after[house] - before[house]);
            Ok::<_, Error>(MonthFlow {
                month: *month,
                issued: self.worth(-issued)?,
                opening: self.worth(-opening)?,
                adjusted: self.worth(-adjusted)?,
                redeemed: self.worth(redeemed)?,
                expired: self.worth(expired)?,
                clawed_back: self.worth(clawed_back)?,
                outstanding: self.worth(-after.iter().sum::<i128>())?,
            })
        };
        firsts.iter().enumerate().map(month).collect()
    }

    fn worth(&self, points: i128) -> Result<Worth, Error> {
        let overflow = |_| Error::Overflow(crate::domain::money::Overflow);
        let money = (points * i128::from(self.settings.points_value_per_100.get())).div_euclid(100);
        let money = Money::new(i64::try_from(money).map_err(overflow)?);
        Ok(Worth { points: i64::try_from(points).map_err(overflow)?, money })
    }
}

/// The first day of the month that an instant lies in.
fn month_of(at: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(at).date().first_of_month()
}

/// The last millisecond before a day begins.
fn last_before(day: Date, zone: &TimeZone) -> Timestamp {
    let begins = day.to_zoned(zone.clone()).map_or(Timestamp::MAX, |midnight| midnight.timestamp());
    Timestamp::from_millisecond(begins.as_millisecond() - 1).unwrap_or(Timestamp::MAX)
}
