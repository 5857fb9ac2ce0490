//! Bonuses: points for a month's spending, once for each member and month.
//!
//! The spending of a month is what its paid orders still are at the time an order is paid: goods, without delivery, less
//! refunds. A later refund keeps what was given, as a threshold that is lost does.

use jiff::{Timestamp, ToSpan as _, civil::Date};
use minicbor::{Decode, Encode};

use super::{
    Error, Services, Settings,
    check::Checks,
    order::rows,
    points,
    tables::{BONUSES, BONUSES_GIVEN, DAY_TOTALS},
    timers::occasions,
};
use crate::{
    domain::{
        limit::Period,
        member::ExternalId,
        money::{Money, Points},
        points::{Cause, House, LotKey, LotOrigin, Note},
    },
    events::What,
    ids::{Id as _, MemberId, OrderId},
    ledger::lots,
    store::{Scan, Tx},
};

/// Bonuses there can be: every paid order is held against all.
pub const BONUSES_MAX: usize = 16;
const POINTS_MAX: i64 = 1_000_000_000;
const MONTHS_MAX: u16 = 120;

/// Points for a month's spending.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Bonus {
    /// What the operator calls it.
    #[n(0)]
    pub code: ExternalId,
    /// What has to be spent in a month, from the first to the last.
    #[n(1)]
    pub spend: Money,
    /// What is given then.
    #[n(2)]
    pub points: Points,
    /// Only in the month the member was born in.
    #[n(3)]
    pub birthday_month: bool,
    /// Calendar months until the points expire.
    #[n(4)]
    pub valid_months: u16,
    /// Orders paid in earlier commits do not count.
    #[n(5)]
    pub listed_at: u64,
}

impl Services {
    /// Sets a bonus. It is given for orders paid from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field.
    pub async fn set_bonus(&self, new: Bonus) -> Result<Bonus, Error> {
        let mut checks = Checks::default();
        checks.require(new.spend > Money::ZERO, "/spend", "must be above zero");
        let points = (1..=POINTS_MAX).contains(&new.points.get());
        checks.require(points, "/points", format!("must be 1 to {POINTS_MAX}"));
        let months = (1..=MONTHS_MAX).contains(&new.valid_months);
        checks.require(months, "/valid_months", format!("must be 1 to {MONTHS_MAX}"));
        checks.finish()?;
        let run = self.store.run(self.clock.now(), move |tx| {
            let row = new.code.as_str().to_owned();
            if tx.get(&BONUSES, &row)?.is_none() && all(tx)?.len() >= BONUSES_MAX {
                return Err(Error::field("/code", format!("there are {BONUSES_MAX} bonuses: remove one first")));
            }
            let bonus = Bonus { listed_at: tx.seq().get(), ..new.clone() };
            tx.put(&BONUSES, &row, &bonus)?;
            Ok(bonus)
        });
        run.await
    }

    /// Ends a bonus. What was given stays.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`].
    pub async fn remove_bonus(&self, code: ExternalId) -> Result<Bonus, Error> {
        let run = self.store.run(self.clock.now(), move |tx| {
            let row = code.as_str().to_owned();
            let bonus = tx.get(&BONUSES, &row)?.ok_or_else(|| Error::unknown("bonus", &code))?;
            tx.delete(&BONUSES, &row)?;
            Ok::<_, Error>(bonus)
        });
        run.await
    }

    /// Every bonus, by code.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn list_bonuses(&self) -> Result<Vec<Bonus>, Error> {
        self.store.read(all).await
    }
}

/// Every bonus, by code.
///
/// # Errors
///
/// Those of the store.
pub(super) fn all(tx: &mut Tx<'_>) -> Result<Vec<Bonus>, Error> {
    let rows = tx.scan(&BONUSES, &Scan::all().limit(BONUSES_MAX))?;
    Ok(rows.into_iter().map(|(_, bonus)| bonus).collect())
}

/// Gives a bonus if the month of a paid order has come to it, unless it was given for that month; what happened, for the
/// caller to append. The caller writes the member.
///
/// # Errors
///
/// Those of the ledger.
pub(super) fn grant(
    tx: &mut Tx<'_>,
    bonus: &Bonus,
    member: MemberId,
    order: OrderId,
    now: Timestamp,
    settings: &Settings,
) -> Result<Option<What>, Error> {
    let paid_at = rows::get(tx, order)?.and_then(|order| order.payment).map(|payment| payment.at);
    let Some(local) = paid_at.map(|at| settings.zone.to_datetime(at)) else { return Ok(None) };
    if bonus.birthday_month && occasions::birthday_month(tx, member)? != Some(local.month()) {
        return Ok(None);
    }
    let given = (member, bonus.code.as_str().to_owned(), Period::Month.index(local));
    if tx.get(&BONUSES_GIVEN, &given)?.is_some() || spent_in_month(tx, member, local.date())? < bonus.spend {
        return Ok(None);
    }
    tx.put(&BONUSES_GIVEN, &given, &bonus.points)?;
    let expires = now.to_zoned(settings.zone.clone()).checked_add(i64::from(bonus.valid_months).months());
    let expires_at = expires.map_or(Timestamp::MAX, |at| at.timestamp());
    // The order that brought it names the lot: no other bonus of this order dies at the same instant with another count.
    let lot = LotKey { expires_at, origin: LotOrigin(order.to_bits()) };
    let note = Note::of_programme("bonus");
    lots::grant_noted(tx, member, House::Issued, bonus.points, lot, Cause::Adjusted, Some(&note))?;
    points::set_expiry(tx, member, expires_at, now, settings)?;
    Ok(Some(What::BonusGiven(bonus.points)))
}

/// What stays paid of a month.
fn spent_in_month(tx: &mut Tx<'_>, member: MemberId, date: Date) -> Result<Money, Error> {
    let day = |date: Date| Period::Day.index(date.at(0, 0, 0, 0));
    let month = Scan::prefix(&member)
        .from(&(member, day(date.first_of_month())))
        .until(&(member, day(date.last_of_month()) + 1));
    let days = tx.scan(&DAY_TOTALS, &month.limit(31))?;
    Ok(Money::sum(days.into_iter().map(|(_, day)| day.net_spend))?)
}
