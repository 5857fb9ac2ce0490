//! Where a member stands: what is held and why, until when, and what is missing for the next tier and to keep this one.
//!
//! Rules are opaque, so what is missing is found by asking: the rule is given the same member with more and more spend,
//! a column of guesses at a time, until two neighbouring amounts stand on either side. That is exact to the smallest
//! unit and takes five calls at most, whatever the rule. Whether a tier is lost as days go by is found by asking about
//! every day of the year to come. Nothing of it is a decision, and nothing is recorded.

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date};

use super::current;
use crate::{
    domain::{
        fact::{self, Fact, Facts, Value},
        member::{DayTotals, Member},
        money::{Money, Overflow},
        order::ReleaseRef,
        programme::{Evaluation, Period, Programme},
        rule::{Code, Kind, Reason, Tier, TierSubject},
    },
    ids::MemberId,
    plugin::Release,
    service::{
        Caller, Error, Services,
        facts::{self, Totals, YEAR_DAYS, date_of, day_number, sealed_profile},
        members,
        rules::{Rules, TIER_SLOT},
        tables::DAY_TOTALS,
    },
    store::{Scan, Tx},
};

/// Guesses asked together.
const GUESSES: i64 = 256;
/// The most spend that is guessed: what it does not reach, spend alone does not.
const SPEND_MAX: i64 = 1 << 40;

/// A tier to reach or to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub tier: Tier,
    /// The spend that is missing; `None` where spend alone does not do it.
    pub missing: Option<Money>,
    /// The last day on which it counts; `None` where there is no last day.
    pub by: Option<Date>,
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The member.
    pub member: Member,
    /// The tier held, in the words of the live rule.
    pub tier: Tier,
    /// What the rule gives today.
    pub given: Option<Code>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The release that says so.
    pub release: ReleaseRef,
    /// The period that runs; without periods of its own a programme has calendar years.
    pub period: Period,
    /// Until when the tier is held if nothing is bought, as far as a year ahead shows; `None` for no end in sight.
    pub until: Option<Timestamp>,
    /// The tier above, if there is one.
    pub next: Option<Target>,
    /// What keeps this tier, if it is lost within the year.
    pub keep: Option<Target>,
}

/// What is known of a member.
struct Known {
    member: Member,
    sealed: Option<Vec<u8>>,
    days: Vec<(i32, DayTotals)>,
    programme: Programme,
}

/// A member on a day.
struct Day {
    as_of: Timestamp,
    facts: Facts,
}

impl Services {
    /// Where a member stands.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Erased`], [`Error::NoRule`] if the tier rule cannot be asked.
    pub async fn tier_standing(&self, caller: Caller, id: MemberId) -> Result<Standing, Error> {
        let now = self.clock.now();
        let today = day_number(now, &self.settings.zone);
        let known = self.store.read(move |tx| read(tx, caller, id, today)).await?;
        let mut rules = Rules::new(self);
        let release = rules.release(TIER_SLOT, Kind::TierRule)?;
        let tier = rules.held_tier(&known.member)?;
        let held = rules.rank(&tier.code)?;
        let birthday = self.open_profile(id, known.sealed.as_deref())?.birthday;
        let on = |day: i32| self.on(&known, birthday, &tier, day, today, now);
        let verdict = rules.tier(vec![subject(on(today)?)]).await?.into_iter().next().flatten();
        let lost = self.lost_on(&mut rules, held, today, on).await?;
        let (programme, zone) = (&known.programme, &self.settings.zone);
        let period = programme.period(now, zone);
        let (until, counts) = match (&known.member.tier.kept, lost) {
            (Some(kept), _) => (Some(kept.until), Some(today)),
            (None, Some(day)) => (self.kept_until(programme, day), Some(counts_on(programme, day, zone))),
            (None, None) => (None, None),
        };
        let by = |at: Timestamp| date_of(day_number(at, zone) - 1);
        let keep = match counts {
            Some(day) => Some(Target {
                missing: missing(&release, &on(day)?, held).await?,
                tier: tier.clone(),
                by: until.map(by),
            }),
            None => None,
        };
        let next = match release.tiers().get(held + 1) {
            Some(above) => Some(Target {
                missing: missing(&release, &on(today)?, held + 1).await?,
                tier: above.clone(),
                by: matches!(programme.evaluation, Evaluation::Period { .. }).then(|| by(period.end(zone))),
            }),
            None => None,
        };
        let named = rules.named(TIER_SLOT, Kind::TierRule)?;
        let (given, reasons) = verdict.map(|verdict| (verdict.tier, verdict.reasons)).unzip();
        let reasons = reasons.unwrap_or_default();
        Ok(Standing { member: known.member, tier, given, reasons, release: named, period, until, next, keep })
    }

    /// The member on a day, today or later, if nothing is bought until then.
    fn on(
        &self,
        known: &Known,
        birthday: Option<Date>,
        tier: &Tier,
        day: i32,
        today: i32,
        now: Timestamp,
    ) -> Result<Day, Error> {
        let as_of = if day <= today { now } else { self.last_of(day) };
        let mut totals = facts::lifetime(&known.member);
        for (of, counted) in &known.days {
            if *of > day - YEAR_DAYS {
                totals = plus(totals, counted)?;
            }
        }
        Ok(Day { as_of, facts: self.member_facts(&known.member, birthday, &totals, Some(tier), as_of) })
    }

    /// The last instant of a day.
    fn last_of(&self, day: i32) -> Timestamp {
        let next = date_of(day + 1).to_zoned(self.settings.zone.clone());
        let last = next.ok().and_then(|next| next.timestamp().checked_sub(SignedDuration::from_millis(1)).ok());
        last.unwrap_or(Timestamp::MAX)
    }

    /// The first day of the year to come on which the rule no longer gives the tier.
    async fn lost_on(
        &self,
        rules: &mut Rules<'_>,
        held: usize,
        today: i32,
        on: impl Fn(i32) -> Result<Day, Error>,
    ) -> Result<Option<i32>, Error> {
        let days = today..=today + YEAR_DAYS;
        let subjects = days.clone().map(|day| on(day).map(subject)).collect::<Result<Vec<_>, _>>()?;
        let verdicts = rules.tier(subjects).await?;
        for (day, verdict) in days.zip(verdicts) {
            if let Some(verdict) = verdict
                && rules.rank(&verdict.tier)? < held
            {
                return Ok(Some(day));
            }
        }
        Ok(None)
    }

    /// Until when the programme keeps a tier that is lost on a day.
    fn kept_until(&self, programme: &Programme, lost: i32) -> Option<Timestamp> {
        let zone = &self.settings.zone;
        match programme.evaluation {
            Evaluation::Period { .. } => Some(programme.end_with_grace(self.last_of(lost), zone)),
            Evaluation::Lifetime | Evaluation::Rolling => {
                let first_without = date_of(lost).saturating_add(i64::from(programme.grace_days).days());
                first_without.to_zoned(zone.clone()).ok().map(|at| at.timestamp())
            }
        }
    }
}

/// The day whose facts decide whether a tier that is lost on `lost` is kept after all.
fn counts_on(programme: &Programme, lost: i32, zone: &jiff::tz::TimeZone) -> i32 {
    match programme.evaluation {
        Evaluation::Period { .. } => {
            let noon = date_of(lost).at(12, 0, 0, 0).to_zoned(zone.clone());
            noon.map_or(lost, |noon| crate::domain::programme::days(programme.period(noon.timestamp(), zone).next) - 1)
        }
        Evaluation::Lifetime | Evaluation::Rolling => lost,
    }
}

fn read(tx: &mut Tx<'_>, caller: Caller, id: MemberId, today: i32) -> Result<Known, Error> {
    let member = members::active_member(tx, caller, id)?;
    let scan = Scan::prefix(&id).from(&(id, today - YEAR_DAYS + 1)).limit(YEAR_DAYS.unsigned_abs() as usize);
    let days = tx.scan(&DAY_TOTALS, &scan)?.into_iter().map(|((_, day), totals)| (day, totals)).collect();
    Ok(Known { member, sealed: sealed_profile(tx, id)?, days, programme: current(tx)? })
}

fn plus(totals: Totals, day: &DayTotals) -> Result<Totals, Overflow> {
    Ok(Totals {
        year_net_spend: totals.year_net_spend.plus(day.net_spend)?,
        year_paid_orders: totals.year_paid_orders + i64::from(day.paid_orders),
        year_interactions: totals.year_interactions + i64::from(day.interactions),
        ..totals
    })
}

fn subject(day: Day) -> TierSubject {
    TierSubject { as_of: day.as_of, facts: day.facts }
}

/// The least spend more with which the rule gives a tier as high as `rank`; `None` if none does.
async fn missing(release: &Release, day: &Day, rank: usize) -> Result<Option<Money>, Error> {
    match first_enough(release, day, rank, &[0, SPEND_MAX]).await? {
        None => return Ok(None),
        Some(0) => return Ok(Some(Money::ZERO)),
        Some(_) => {}
    }
    let (mut below, mut enough) = (0, SPEND_MAX);
    while enough - below > 1 {
        let step = ((enough - below) / GUESSES).max(1);
        let guesses: Vec<i64> = (1..=GUESSES).map(|n| below + n * step).take_while(|guess| *guess < enough).collect();
        let found = first_enough(release, day, rank, &guesses).await?;
        let at = found.unwrap_or(guesses.len());
        enough = guesses.get(at).copied().unwrap_or(enough);
        below = at.checked_sub(1).map_or(below, |before| guesses[before]);
    }
    Ok(Some(Money::new(enough)))
}

/// Which of these amounts is the first that suffices.
async fn first_enough(release: &Release, day: &Day, rank: usize, guesses: &[i64]) -> Result<Option<usize>, Error> {
    let members: Vec<Facts> = guesses.iter().map(|more| raised(&day.facts, *more)).collect();
    let columns = release.tier_columns(day.as_of, &members).await;
    let columns = columns.map_err(|fault| Error::NoRule { slot: TIER_SLOT.to_owned(), why: fault.to_string() })?;
    Ok(columns.tiers.iter().position(|tier| usize::from(*tier) >= rank))
}

/// The same member with more spent.
fn raised(facts: &Facts, more: i64) -> Facts {
    let mut raised = facts.clone();
    for fact in [&fact::MEMBER_LIFETIME_NET_SPEND, &fact::MEMBER_YEAR_NET_SPEND] {
        add(&mut raised, fact, more);
    }
    raised
}

fn add(facts: &mut Facts, fact: &Fact, more: i64) {
    if let Value::Integer(spent) = facts.get(fact) {
        let sum = spent.saturating_add(more);
        facts.set(fact, Value::Integer(sum));
    }
}
