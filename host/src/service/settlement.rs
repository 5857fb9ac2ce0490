//! The books: what was paid and paid back on a day, and what each funder owes for a period.

use jiff::civil::Date;

use super::{Error, Services, tables::MONEY};
use crate::{
    domain::{
        money::Money,
        payment::{MoneyKind, MoneyMove},
    },
    pricing::funders::ByFunder,
    store::Scan,
};

/// Rows read at once.
const ROWS_AT_ONCE: usize = 500;
/// The longest period of a settlement.
const DAYS_MAX: i32 = 366;

/// Where a reader of the books is.
pub type MoneyCursor = (i32, jiff::Timestamp, u128, u8);

/// Sums of money that moved one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneySum {
    /// How often.
    pub count: u64,
    /// How much in all.
    pub amount: Money,
    /// Of it for delivery.
    pub delivery: Money,
    /// The funders' parts of the discounts.
    pub discounts: ByFunder,
}

impl MoneySum {
    /// Adds a row.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub fn add(&mut self, row: &MoneyMove) -> Result<(), Error> {
        self.count += 1;
        self.amount = self.amount.plus(row.amount)?;
        self.delivery = self.delivery.plus(row.delivery)?;
        self.discounts = self.discounts.plus(ByFunder::of([row.platform, row.brand, row.pharmacy]))?;
        Ok(())
    }
}

/// Sums by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MoneySums([MoneySum; 4]);

impl MoneySums {
    /// Adds a row.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub fn add(&mut self, row: &MoneyMove) -> Result<(), Error> {
        self.0[row.kind as usize].add(row)
    }

    /// The sum of one kind.
    pub fn of(&self, kind: MoneyKind) -> MoneySum {
        self.0[kind as usize]
    }

    /// What came in less what was paid back.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub fn net(&self) -> Result<Money, Error> {
        MoneyKind::ALL.iter().try_fold(Money::ZERO, |net, kind| {
            let amount = self.of(*kind).amount;
            Ok(if kind.comes_in() { net.plus(amount)? } else { net.minus(amount)? })
        })
    }

    /// What each funder owes: discounts given less those got back.
    ///
    /// # Errors
    ///
    /// [`Error::Overflow`].
    pub fn owed(&self) -> Result<ByFunder, Error> {
        Ok(self.of(MoneyKind::Payment).discounts.minus(self.of(MoneyKind::Refund).discounts)?)
    }
}

impl Services {
    /// The next rows of the books from `from` to `to`, both inclusive, in the order of time; where to go on, unless that
    /// was all.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a period that ends before it begins or is longer than a year.
    pub async fn money_moves(
        &self,
        from: Date,
        to: Date,
        after: Option<MoneyCursor>,
    ) -> Result<(Vec<MoneyMove>, Option<MoneyCursor>), Error> {
        let (first, last) = (day_of(from), day_of(to));
        if last < first || last - first >= DAYS_MAX {
            return Err(Error::field("/to", format!("must be `from` or up to {DAYS_MAX} days from there")));
        }
        let read = self.store.read(move |tx| {
            let scan = Scan::all().from(&first).until(&(last + 1)).limit(ROWS_AT_ONCE);
            let scan = if let Some(after) = &after { scan.after(after) } else { scan };
            Ok::<_, Error>(tx.scan(&MONEY, &scan)?)
        });
        let rows = read.await?;
        let next = if rows.len() == ROWS_AT_ONCE { rows.last().map(|(key, _)| *key) } else { None };
        Ok((rows.into_iter().map(|(_, row)| row).collect(), next))
    }

    /// The sums of a period.
    ///
    /// # Errors
    ///
    /// Those of [`Services::money_moves`].
    pub async fn settlement(&self, from: Date, to: Date) -> Result<MoneySums, Error> {
        let (mut sums, mut after) = (MoneySums::default(), None);
        loop {
            let (rows, next) = self.money_moves(from, to, after).await?;
            rows.iter().try_for_each(|row| sums.add(row))?;
            match next {
                Some(_) => after = next,
                None => return Ok(sums),
            }
        }
    }
}

/// Days since 1970-01-01.
fn day_of(date: Date) -> i32 {
    let epoch = jiff::civil::date(1970, 1, 1);
    date.since((jiff::Unit::Day, epoch)).map_or(0, |span| span.get_days())
}
