//! The complete facts of a member: what every decision is made from, and what is recorded with it.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};

use super::{
    Error, Services,
    tables::{DAY_TOTALS, PROFILES},
};
use crate::{
    domain::{
        fact::{self, Facts, Scope, Value},
        member::{DayTotals, Member, Profile},
        money::{Money, Overflow},
        rule::Tier,
    },
    ids::MemberId,
    members::vault::{KeyClass, VaultError},
    pricing::refund::RefundPlan,
    store::{Scan, StoreError, Tx},
};

/// Days that rolling facts look back.
pub(super) const YEAR_DAYS: i32 = 365;

/// What one member did over the last year and ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) lifetime_net_spend: Money,
    pub(super) lifetime_paid_orders: i64,
    pub(super) year_net_spend: Money,
    pub(super) year_paid_orders: i64,
    pub(super) year_interactions: i64,
}

impl Totals {
    /// What stays after a refund; `in_year` says whether the order's day still counts for the year.
    pub(super) fn less(self, plan: &RefundPlan, in_year: bool) -> Result<Self, Overflow> {
        let goods = plan.amount.minus(plan.delivery)?;
        let order = i64::from(plan.complete);
        let (year_goods, year_order) = if in_year { (goods, order) } else { (Money::ZERO, 0) };
        Ok(Self {
            lifetime_net_spend: self.lifetime_net_spend.minus(goods)?,
            lifetime_paid_orders: self.lifetime_paid_orders - order,
            year_net_spend: self.year_net_spend.minus(year_goods)?,
            year_paid_orders: self.year_paid_orders - year_order,
            ..self
        })
    }

    /// Sets the facts that say it.
    pub(super) fn tell(&self, facts: &mut Facts) {
        facts.set(&fact::MEMBER_LIFETIME_NET_SPEND, self.lifetime_net_spend.into());
        facts.set(&fact::MEMBER_YEAR_NET_SPEND, self.year_net_spend.into());
        facts.set(&fact::MEMBER_LIFETIME_PAID_ORDERS, self.lifetime_paid_orders.into());
        facts.set(&fact::MEMBER_YEAR_PAID_ORDERS, self.year_paid_orders.into());
        facts.set(&fact::MEMBER_YEAR_INTERACTIONS, self.year_interactions.into());
    }
}

/// The day an instant falls on in a zone, in days since 1970-01-01.
pub(super) fn day_number(at: Timestamp, zone: &TimeZone) -> i32 {
    let date = zone.to_datetime(at).date();
    date.since(Date::constant(1970, 1, 1)).map_or(0, |span| span.get_days())
}

/// The day with this number.
pub(super) fn date_of(day: i32) -> Date {
    Date::constant(1970, 1, 1).saturating_add(day.days())
}

/// Sums a member's days: at most 366 rows, however long the history.
///
/// # Errors
///
/// Those of the store.
pub(super) fn totals(tx: &mut Tx<'_>, member: &Member, today: i32) -> Result<Totals, Error> {
    let days =
        Scan::prefix(&member.id).from(&(member.id, today - YEAR_DAYS + 1)).limit(YEAR_DAYS.unsigned_abs() as usize);
    let mut totals = lifetime(member);
    for (_, day) in tx.scan(&DAY_TOTALS, &days)? {
        totals.year_net_spend = totals.year_net_spend.plus(day.net_spend)?;
        totals.year_paid_orders += i64::from(day.paid_orders);
        totals.year_interactions += i64::from(day.interactions);
    }
    Ok(totals)
}

/// What a member did ever; nothing of the last year.
pub(super) fn lifetime(member: &Member) -> Totals {
    Totals {
        lifetime_net_spend: member.lifetime_net_spend,
        lifetime_paid_orders: i64::from(member.lifetime_paid_orders),
        ..Totals::default()
    }
}

/// Changes one day of a member.
///
/// # Errors
///
/// [`Overflow`], and those of the store.
pub(super) fn change_day(
    tx: &mut Tx<'_>,
    member: MemberId,
    day: i32,
    change: impl FnOnce(&mut DayTotals) -> Result<(), Overflow>,
) -> Result<(), Error> {
    let mut totals = tx.get(&DAY_TOTALS, &(member, day))?.unwrap_or_default();
    change(&mut totals)?;
    tx.put(&DAY_TOTALS, &(member, day), &totals)?;
    Ok(())
}

/// A member's sealed profile; empty once erased.
///
/// # Errors
///
/// Those of the store.
pub(super) fn sealed_profile(tx: &mut Tx<'_>, member: MemberId) -> Result<Option<Vec<u8>>, StoreError> {
    tx.get(&PROFILES, &member)
}

impl Services {
    /// Opens a sealed profile; the empty profile where there is none.
    pub(super) fn open_profile(&self, member: MemberId, sealed: Option<&[u8]>) -> Result<Profile, Error> {
        let Some(sealed) = sealed else { return Ok(Profile::default()) };
        match self.vault.open(member, KeyClass::Profile, PROFILES.name().as_bytes(), sealed) {
            Ok(plain) => minicbor::decode(&plain).map_err(|_| Error::Vault(VaultError::Tampered)),
            Err(VaultError::Erased) => Ok(Profile::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// The facts of a member that do not depend on a cart or an activity.
    pub(super) fn member_facts(
        &self,
        member: &Member,
        birthday: Option<Date>,
        totals: &Totals,
        tier: Option<&Tier>,
        as_of: Timestamp,
    ) -> Facts {
        let mut facts = self.tier_and_calendar(tier.map_or(&*member.tier.code, |tier| &*tier.code), tier, as_of);
        totals.tell(&mut facts);
        facts.set(&fact::MEMBER_TENURE_MONTHS, self.tenure_months(member, as_of).into());
        facts.set(&fact::MEMBER_BIRTHDAY_MONTH, self.birthday_month(birthday, as_of));
        facts
    }

    /// The facts that all members of a tier share at an instant.
    pub(super) fn tier_and_calendar(&self, code: &str, tier: Option<&Tier>, as_of: Timestamp) -> Facts {
        let now = self.settings.zone.to_datetime(as_of);
        let minute = i64::from(now.hour()) * 60 + i64::from(now.minute());
        let (discount, points, birthday_points) = tier.map_or_else(Default::default, |tier| {
            (tier.discount.into(), tier.points_multiplier.into(), tier.birthday_points_multiplier.into())
        });
        Facts::of(Scope::Subject)
            .with(&fact::MEMBER_TIER, code.into())
            .with(&fact::TIER_DISCOUNT, discount)
            .with(&fact::TIER_POINTS_MULTIPLIER, points)
            .with(&fact::TIER_BIRTHDAY_POINTS_MULTIPLIER, birthday_points)
            .with(&fact::CALENDAR_DAY, i64::from(now.day()).into())
            .with(&fact::CALENDAR_MONTH, i64::from(now.month()).into())
            .with(&fact::CALENDAR_WEEKDAY, i64::from(now.weekday().to_monday_one_offset()).into())
            .with(&fact::CALENDAR_MINUTE, minute.into())
    }

    /// Whether it is the birthday month; absent where the birthday is not known.
    pub(super) fn birthday_month(&self, birthday: Option<Date>, as_of: Timestamp) -> Value {
        let month = self.settings.zone.to_datetime(as_of).month();
        birthday.map_or(Value::Absent, |date| Value::Flag(date.month() == month))
    }

    /// Full months since registration, in the deployment's zone.
    pub(super) fn tenure_months(&self, member: &Member, as_of: Timestamp) -> i64 {
        let (joined, now) =
            (member.registered_at.to_zoned(self.settings.zone.clone()), as_of.to_zoned(self.settings.zone.clone()));
        now.since((jiff::Unit::Month, &joined)).map_or(0, |span| i64::from(span.get_months()).max(0))
    }
}
