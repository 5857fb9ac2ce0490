//! How long a tier is held by one who no longer qualifies.
//!
//! A verdict that is as high as what is held counts at once. A lower one counts at once, or the tier is *kept*: until
//! the period ends, until the grace is over. Then a timer lowers it to what the rule gave last, at that very instant and
//! once: the member's row says until when, and a timer that finds another time there does nothing.
//!
//! Before it falls the member is told and nudged, once per member and period each, whatever happens in between. Nobody
//! is told of what a new rule does (R5).

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};

use super::current;
use crate::{
    domain::{
        member::{HeldTier, KeptTier, Member, MemberState, TierCause},
        programme::{Evaluation, Falls, Programme, days},
        rule::Code,
    },
    events::{self, What},
    ids::{CouponId, MemberId},
    scheduler::{self, TimerKey, TimerKind},
    service::{
        Error, Settings, coupons,
        facts::{date_of, day_number},
        members,
        tables::{MEMBERS, TIER_TOLD},
    },
    store::{StoreError, Tx},
};

/// A verdict, and what it meets.
pub(in crate::service) struct Case<'a> {
    pub(in crate::service) programme: &'a Programme,
    pub(in crate::service) zone: &'a TimeZone,
    pub(in crate::service) now: Timestamp,
    /// The tier that the rule gives.
    pub(in crate::service) verdict: Code,
    /// The release that gives it.
    pub(in crate::service) release: u64,
    /// Whether it is below what is held.
    pub(in crate::service) lower: bool,
    /// Why the rule was asked, or that a new one answers.
    pub(in crate::service) cause: TierCause,
    /// Whether the release lowers at once whom it alone puts lower.
    pub(in crate::service) demote_now: bool,
}

/// What a verdict makes of the tier that is held.
pub(in crate::service) fn next(held: &HeldTier, case: Case<'_>) -> HeldTier {
    let Case { now, release, cause, .. } = case;
    if case.verdict == held.code {
        return HeldTier { release, kept: None, ..held.clone() };
    }
    let moved = |code: Code, cause| HeldTier { code, release, since: now, cause, kept: None };
    if !case.lower || (cause == TierCause::RuleChange && case.demote_now) {
        return moved(case.verdict, cause);
    }
    // What was promised stays promised: until when, and what for. What comes after it follows the rule.
    let kept = match &held.kept {
        Some(kept) => KeptTier { to: case.verdict, release, ..kept.clone() },
        None => match until(&case) {
            Some(until) => KeptTier { to: case.verdict, release, since: now, until, cause },
            None => return moved(case.verdict, cause),
        },
    };
    if kept.until <= now { moved(kept.to, kept.cause) } else { HeldTier { kept: Some(kept), ..held.clone() } }
}

/// Until when a tier is kept that is lost from now on; `None` for not at all.
fn until(case: &Case<'_>) -> Option<Timestamp> {
    let Case { programme, zone, now, .. } = case;
    match (case.cause, programme.on_refund, programme.evaluation) {
        (TierCause::RuleChange, ..) => Some(programme.period(*now, zone).end(zone)),
        (TierCause::Refunded, Falls::Now, _) => None,
        (TierCause::Refunded, Falls::PeriodEnd, _) | (_, _, Evaluation::Period { .. }) => {
            Some(programme.end_with_grace(*now, zone))
        }
        _ => now.checked_add(SignedDuration::from_hours(24 * i64::from(programme.grace_days))).ok(),
    }
}

/// Sets the timers of a tier that is kept now, in place of those it had.
///
/// # Errors
///
/// Those of the store.
pub(super) fn retime(
    tx: &mut Tx<'_>,
    member: MemberId,
    before: Option<&KeptTier>,
    after: Option<&KeptTier>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let ends = |kept: &KeptTier| TimerKey::new(kept.until, TimerKind::TierEnds, member);
    if before.map(|kept| kept.until) == after.map(|kept| kept.until) {
        return Ok(());
    }
    if let Some(before) = before {
        scheduler::cancel(tx, ends(before))?;
    }
    if let Some(after) = after {
        scheduler::schedule(tx, ends(after))?;
        // Each finds out itself when it is time, and waits until then.
        for kind in [TimerKind::TierNotice, TimerKind::TierRenewal] {
            if after.cause != TierCause::RuleChange {
                scheduler::schedule(tx, TimerKey::new(now, kind, member))?;
            }
        }
    }
    Ok(())
}

/// The timer's work: a tier that was kept falls.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn end(tx: &mut Tx<'_>, id: MemberId, now: Timestamp) -> Result<(), Error> {
    let Some((mut member, kept)) = kept(tx, id)? else { return Ok(()) };
    if kept.until > now {
        return Ok(());
    }
    let tier = HeldTier { code: kept.to, release: kept.release, since: now, cause: kept.cause, kept: None };
    let from = std::mem::replace(&mut member.tier, tier).code.to_string();
    members::put_moved(tx, &mut member)?;
    let (to, cause) = (member.tier.code.to_string(), member.tier.cause);
    Ok(events::append(tx, id, [What::TierChanged { from, to, cause }])?)
}

/// The timer's work: says that a tier is lost soon, or that it should be renewed, if it is time; else waits until it is.
///
/// # Errors
///
/// Those of the store.
pub(in crate::service) fn tell(
    tx: &mut Tx<'_>,
    kind: TimerKind,
    id: MemberId,
    now: Timestamp,
    settings: &Settings,
    first_coupon: CouponId,
) -> Result<(), Error> {
    let Some((mut member, kept)) = kept(tx, id)? else { return Ok(()) };
    if kept.until <= now || kept.cause == TierCause::RuleChange {
        return Ok(());
    }
    let programme = current(tx)?;
    let before = if kind == TimerKind::TierRenewal { programme.renewal_days } else { programme.notice_days };
    let on = day_number(kept.until, &settings.zone);
    let due = date_of(on).checked_sub(i64::from(before).days()).map_or(None, |day| {
        day.at(settings.schedule.hour, 0, 0, 0).to_zoned(settings.zone.clone()).ok().map(|at| at.timestamp())
    });
    let Some(due) = due.filter(|_| before > 0) else { return Ok(()) };
    if due > now {
        return Ok(scheduler::schedule(tx, TimerKey::new(due, kind, id))?);
    }
    let row = (id, u8::from(kind == TimerKind::TierRenewal));
    let period = days(programme.period(kept.since, &settings.zone).first);
    if tx.get(&TIER_TOLD, &row)?.is_some_and(|told| told >= period) {
        return Ok(());
    }
    tx.put(&TIER_TOLD, &row, &period)?;
    let tier = member.tier.code.to_string();
    if kind == TimerKind::TierNotice {
        return Ok(events::append(tx, id, [What::TierAtRisk { tier, to: kept.to.to_string(), on }])?);
    }
    let issued = coupons::issue_named(tx, &member, &programme.renewal_offers, first_coupon, now, settings)?;
    if !issued.is_empty() {
        members::put_moved(tx, &mut member)?;
    }
    let coupons = issued.into_iter().map(What::CouponIssued);
    Ok(events::append(tx, id, [What::TierRenewal { tier, on }].into_iter().chain(coupons))?)
}

/// An active member whose tier is kept.
fn kept(tx: &mut Tx<'_>, id: MemberId) -> Result<Option<(Member, KeptTier)>, StoreError> {
    let member = tx.get(&MEMBERS, &id)?.filter(|member| member.state == MemberState::Active);
    Ok(member.and_then(|member| member.tier.kept.clone().map(|kept| (member, kept))))
}
