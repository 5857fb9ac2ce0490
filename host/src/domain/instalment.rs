//! Instalments: what is due when. Computed and recorded; the money is lent by others.
//!
//! Principal is split evenly with largest remainder. Interest is simple: the rate of a month on what is still owed, for the
//! months until the next instalment, all of it rounded down once and split over the instalments that it arises for.

use jiff::{Timestamp, ToSpan as _, civil::Date};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::money::{BasisPoints, Money, Overflow, allocate};

/// How an order is paid in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum InstalmentPlan {
    /// Three months, without a fee.
    #[n(0)]
    Monthly,
    /// Four quarters, with interest.
    #[n(1)]
    Quarterly,
}

impl InstalmentPlan {
    /// Every plan.
    pub const ALL: [Self; 2] = [Self::Monthly, Self::Quarterly];

    /// How many instalments.
    pub const fn count(self) -> usize {
        match self {
            Self::Monthly => 3,
            Self::Quarterly => 4,
        }
    }

    /// Months from one to the next.
    pub const fn months(self) -> i32 {
        match self {
            Self::Monthly => 1,
            Self::Quarterly => 3,
        }
    }
}

/// One part, due on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Instalment {
    /// The day, in days since 1970-01-01.
    #[n(0)]
    pub due: i32,
    /// Of the order's payable.
    #[n(1)]
    pub principal: Money,
    /// On top.
    #[n(2)]
    pub interest: Money,
}

/// That the member agreed to pay interest.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct InstalmentConsent {
    /// Which text they agreed to.
    #[n(0)]
    pub text_version: String,
    /// When it was recorded.
    #[cbor(n(1), with = "super::cbor::instant")]
    pub at: Timestamp,
}

/// How an order is paid in parts, as recorded with its payment and adjusted by refunds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Instalments {
    /// Which plan.
    #[n(0)]
    pub plan: InstalmentPlan,
    /// Of a month, on what is owed.
    #[n(1)]
    pub rate: BasisPoints,
    /// What the member agreed to.
    #[n(2)]
    pub consent: Option<InstalmentConsent>,
    /// As agreed.
    #[n(3)]
    pub agreed: Vec<Instalment>,
    /// After refunds.
    #[n(4)]
    pub current: Vec<Instalment>,
    /// What refunds pay back of instalments that were due before.
    #[n(5)]
    pub paid_back: Money,
}

impl Instalments {
    /// The schedule of an amount that is owed from `begins` on.
    ///
    /// # Errors
    ///
    /// [`Overflow`] for a negative amount, or interest that does not fit.
    pub fn new(
        plan: InstalmentPlan,
        rate: BasisPoints,
        consent: Option<InstalmentConsent>,
        amount: Money,
        begins: Date,
    ) -> Result<Self, Overflow> {
        let principals = allocate(amount.get(), &vec![1; plan.count()])?;
        let interests = interest(&principals, plan, rate)?;
        let mut agreed = Vec::with_capacity(plan.count());
        for ((months, principal), interest) in (1..).map(|n| n * plan.months()).zip(principals).zip(interests) {
            // Counted from the first day, so that the end of a short month does not stay for the rest.
            let due = begins.checked_add(months.months()).map_err(|_| Overflow)?;
            agreed.push(Instalment {
                due: day_of(due),
                principal: Money::new(principal),
                interest: Money::new(interest),
            });
        }
        Ok(Self { plan, rate, consent, current: agreed.clone(), agreed, paid_back: Money::ZERO })
    }

    /// Lowers what is due after `today` by a refund, evenly; what that does not cover was paid before and is paid back.
    ///
    /// # Errors
    ///
    /// [`Overflow`].
    pub fn refund(&mut self, amount: Money, today: i32) -> Result<(), Overflow> {
        let first = self.current.iter().position(|part| part.due > today).unwrap_or(self.current.len());
        let open = &mut self.current[first..];
        let before: Vec<i64> = open.iter().map(|part| part.principal.get()).collect();
        let owed: i64 = before.iter().sum();
        let less = amount.get().min(owed);
        let after = allocate(owed - less, &before)?;
        let interests = interest(&after, self.plan, self.rate)?;
        for ((part, principal), interest) in open.iter_mut().zip(after).zip(interests) {
            (part.principal, part.interest) = (Money::new(principal), Money::new(interest));
        }
        self.paid_back = self.paid_back.plus(Money::new(amount.get() - less))?;
        Ok(())
    }
}

/// Interest by instalment: each bears that on what is owed until it is due.
fn interest(principals: &[i64], plan: InstalmentPlan, rate: BasisPoints) -> Result<Vec<i64>, Overflow> {
    let mut owed: i64 = principals.iter().sum();
    let mut weights = Vec::with_capacity(principals.len());
    for principal in principals {
        weights.push(owed);
        owed -= principal;
    }
    let months = i128::from(plan.months()) * i128::from(rate.get());
    let all = weights.iter().map(|owed| i128::from(*owed)).sum::<i128>() * months / 10_000;
    allocate(i64::try_from(all).map_err(|_| Overflow)?, &weights)
}

/// Days since 1970-01-01.
fn day_of(date: Date) -> i32 {
    date.since((jiff::Unit::Day, jiff::civil::date(1970, 1, 1))).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn schedule(plan: InstalmentPlan, rate: u32, fen: i64, begins: Date) -> Instalments {
        Instalments::new(plan, BasisPoints::new(rate), None, Money::new(fen), begins).expect("fits")
    }

    fn check(instalments: &Instalments, expect: &[(Date, i64, i64)]) {
        let rows = instalments.current.iter().map(|part| (part.due, part.principal.get(), part.interest.get()));
        let expect: Vec<_> =
            expect.iter().map(|(due, principal, interest)| (day_of(*due), *principal, *interest)).collect();
        assert_eq!(rows.collect::<Vec<_>>(), expect);
    }

    /// 200.00 in three; the end of January falls on the end of February, and March has its 31st again.
    #[test]
    fn d6_three_months_at_no_fee() {
        let mut three = schedule(InstalmentPlan::Monthly, 0, 20_000, date(2026, 1, 31));
        let (feb, mar, apr) = (date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30));
        check(&three, &[(feb, 6_667, 0), (mar, 6_667, 0), (apr, 6_666, 0)]);
        three.refund(Money::new(3_333), day_of(feb)).expect("fits");
        check(&three, &[(feb, 6_667, 0), (mar, 5_000, 0), (apr, 5_000, 0)]);
        three.refund(Money::new(16_667), day_of(mar)).expect("fits");
        check(&three, &[(feb, 6_667, 0), (mar, 5_000, 0), (apr, 0, 0)]);
        assert_eq!(three.paid_back, Money::new(11_667), "the rest was paid before");
    }

    /// 1,000.00 in four quarters at 3 % a month on what is owed: 90.00, 67.50, 45.00, 22.50.
    #[test]
    fn d6_quarters_at_simple_interest() {
        let mut four = schedule(InstalmentPlan::Quarterly, 300, 100_000, date(2026, 11, 30));
        let dates = [date(2027, 2, 28), date(2027, 5, 30), date(2027, 8, 30), date(2027, 11, 30)];
        let rows =
            |interests: [i64; 4]| dates.iter().zip(interests).map(|(due, i)| (*due, 25_000, i)).collect::<Vec<_>>();
        check(&four, &rows([9_000, 6_750, 4_500, 2_250]));
        four.refund(Money::new(75_000), day_of(dates[0])).expect("fits");
        check(&four, &[(dates[0], 25_000, 9_000), (dates[1], 0, 0), (dates[2], 0, 0), (dates[3], 0, 0)]);
        assert_eq!(four.paid_back, Money::ZERO);
    }

    proptest! {
        /// Principals sum to the amount, and with what was paid back to the amount less refunds.
        #[test]
        fn d6_principals_sum(fen in 0..1_000_000_000_i64, cut in 0..1_000_000_000_i64, rate in 0..1_000_u32, quarterly: bool) {
            let plan = if quarterly { InstalmentPlan::Quarterly } else { InstalmentPlan::Monthly };
            let mut parts = schedule(plan, rate, fen, date(2026, 1, 31));
            let sum = |parts: &Instalments| parts.current.iter().map(|part| part.principal.get()).sum::<i64>();
            prop_assert_eq!(sum(&parts), fen);
            let cut = cut.min(fen);
            parts.refund(Money::new(cut), day_of(date(2026, 5, 1))).expect("fits");
            prop_assert_eq!(sum(&parts) - parts.paid_back.get(), fen - cut);
            prop_assert!(parts.current.iter().all(|part| part.principal >= Money::ZERO && part.interest >= Money::ZERO));
        }
    }
}
