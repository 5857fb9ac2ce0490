//! The one gate: whether a touch may go now, in one fixed order.
//!
//! Consent → suppression → content guard and review → quiet hours → frequency cap; before them, what makes a touch
//! impossible: an erased member, a time that is over, no carrier, no address. [`check`] is a pure function of what was
//! read; whoever calls it in the transaction that begins an attempt decides for good.

use jiff::{
    SignedDuration, Timestamp, ToSpan as _,
    civil::{Date, Time},
    tz::TimeZone,
};

use crate::domain::touch::{Class, DeferReason, DropReason};

/// How long a touch waits when something of ours does not work.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Proof that the gate let a touch pass: only this module can make one.
#[derive(Debug, PartialEq, Eq)]
pub struct Cleared(());

/// Whether there is a way to the member at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An address, and a release that carries there.
    Open,
    /// The member was erased.
    Erased,
    /// No release carries the channel.
    NoCarrier,
    /// The member has no address.
    NoAddress,
}

/// What is known of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// No text is approved.
    Unapproved,
    /// It cannot be rendered.
    Broken,
    /// Rendered; the guard was not asked yet.
    Unasked,
    /// The guard found nothing.
    Clear,
    /// The guard found something.
    Blocked,
    /// The guard cannot be asked.
    Unavailable,
}

/// When a member sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// From this time of the day.
    pub from: Time,
    /// Until this one, on the next day where it is the earlier of the two; the same time for no quiet hours at all.
    pub to: Time,
}

/// Everything the gate looks at.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Of the touch.
    pub class: Class,
    /// Now.
    pub now: Timestamp,
    /// From here on the touch is worth nothing.
    pub expires: Timestamp,
    /// Whether there is a way.
    pub way: Way,
    /// Whether every needed consent is given.
    pub consented: bool,
    /// Whether the member or the address is suppressed.
    pub suppressed: bool,
    /// Of the text.
    pub review: Review,
    /// Of the deployment.
    pub quiet: QuietHours,
    /// Of the member.
    pub zone: &'a TimeZone,
    /// Touches of the member's day that count, without this one.
    pub counted: usize,
    /// How many may count.
    pub cap: usize,
}

/// What the gate says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go now.
    Pass(Cleared),
    /// Everything before the guard is in order: ask it.
    AskGuard,
    /// It is looked at again then.
    Defer(DeferReason, Timestamp),
    /// It will never go.
    Drop(DropReason),
}

/// The gate.
pub fn check(case: &Case<'_>) -> Verdict {
    match case.way {
        Way::Erased => return Verdict::Drop(DropReason::Erased),
        _ if case.now >= case.expires => return Verdict::Drop(DropReason::Expired),
        Way::NoCarrier => return Verdict::Defer(DeferReason::NoCarrier, again(case.now)),
        Way::NoAddress => return Verdict::Drop(DropReason::NoAddress),
        Way::Open => {}
    }
    if !case.consented {
        return Verdict::Drop(DropReason::NoConsent);
    }
    if case.suppressed {
        return Verdict::Drop(DropReason::Suppressed);
    }
    match case.review {
        Review::Unapproved => return Verdict::Drop(DropReason::TemplateUnapproved),
        Review::Broken => return Verdict::Drop(DropReason::TemplateBroken),
        Review::Blocked => return Verdict::Drop(DropReason::GuardBlocked),
        Review::Unavailable => return Verdict::Defer(DeferReason::GuardUnavailable, again(case.now)),
        Review::Unasked => return Verdict::AskGuard,
        Review::Clear => {}
    }
    if case.class.keeps_quiet()
        && let Some(until) = case.quiet.until(case.now, case.zone)
    {
        return Verdict::Defer(DeferReason::QuietHours, until);
    }
    if case.class.capped() && case.counted >= case.cap {
        let tomorrow = next_day(case.now, case.zone);
        let until = case.quiet.until(tomorrow, case.zone).unwrap_or(tomorrow);
        return Verdict::Defer(DeferReason::FrequencyCap, until);
    }
    Verdict::Pass(Cleared(()))
}

impl QuietHours {
    /// When the quiet hours end that hold at `now`; `None` if none do. Always later than `now`.
    pub fn until(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone());
        let time = local.time();
        let over_midnight = self.from > self.to;
        let quiet = match over_midnight {
            false => (self.from..self.to).contains(&time),
            true => time >= self.from || time < self.to,
        };
        if !quiet {
            return None;
        }
        let today = local.date();
        let day = if time < self.to { Some(today) } else { today.tomorrow().ok() };
        // Where clocks jump over the end, it is as much later; where they go back, the touch is looked at again.
        let end = day.and_then(|day| day.to_datetime(self.to).to_zoned(zone.clone()).ok());
        Some(end.map(|end| end.timestamp()).filter(|end| *end > now).unwrap_or_else(|| again(now)))
    }
}

/// The day of a member at `now`, in days since 1970-01-01.
pub fn day_of(now: Timestamp, zone: &TimeZone) -> i32 {
    let date = now.to_zoned(zone.clone()).date();
    (date - Date::constant(1970, 1, 1)).get_days()
}

/// When the member's next day begins.
fn next_day(now: Timestamp, zone: &TimeZone) -> Timestamp {
    let tomorrow = now.to_zoned(zone.clone()).start_of_day().and_then(|start| start.checked_add(1.day()));
    tomorrow.map(|day| day.timestamp()).ok().filter(|day| *day > now).unwrap_or_else(|| again(now))
}

fn again(now: Timestamp) -> Timestamp {
    now.checked_add(AGAIN_AFTER).unwrap_or(Timestamp::MAX)
}
