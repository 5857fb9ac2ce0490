//! What everybody but the policy can say of a definition: every wrong field at once.

use jiff::Timestamp;

use super::NewOffer;
use crate::{
    domain::{
        limit::{Limit, Measure, Period, Whose},
        offer::{FunderShare, OfferClass, Trigger, Validity},
        window::{DAY_MINUTES, Window},
    },
    events::What,
    service::{Error, check::Checks, releases::is_slot_name},
};

const NAME_CHARS_MAX: usize = 64;
const FUNDERS_MAX: usize = 3;
/// Ten years.
const VALIDITY_DAYS_MAX: u16 = 3_660;
/// Ninety days.
const VALIDITY_HOURS_MAX: u16 = 2_160;
/// The largest budget, in uses or minor units.
const BUDGET_MAX: u64 = 1_000_000_000_000_000;
/// Limits and windows of one offer: every quote looks at all of them.
const LIMITS_MAX: usize = 12;
const WINDOWS_MAX: usize = 8;
const BREAKERS_MAX: usize = 4;
const CONDITIONS_MAX: usize = 8;
/// Texts of a condition.
const TEXTS_MAX: usize = 32;
const TEXT_BYTES_MAX: usize = 64;

/// What everybody but the policy can say of an offer.
pub(super) fn check(new: &NewOffer, now: Timestamp) -> Result<(), Error> {
    let mut checks = Checks::default();
    checks.text("/name_zh_cn", &new.name_zh_cn, NAME_CHARS_MAX);
    checks.text("/name_en", &new.name_en, NAME_CHARS_MAX);
    if let Some(slot) = &new.slot {
        checks.require(is_slot_name(slot), "/slot", "must be 1 to 64 characters of [a-z0-9.-]");
    }
    if let Some(group) = &new.exclusivity_group {
        checks.text("/exclusivity_group", group, NAME_CHARS_MAX);
        let grouped = new.class != OfferClass::MemberPrice;
        let message = "means nothing for member prices: each line takes the lowest price";
        checks.require(grouped, "/exclusivity_group", message);
    }
    let message = "names amounts that are not known yet at the stage of this class";
    checks.require(new.base.fits(new.class), "/base", message);
    check_funders(&mut checks, &new.funders);
    let uses = new.budget_uses.is_none_or(|uses| (1..=BUDGET_MAX).contains(&uses));
    checks.require(uses, "/budget_uses", format!("must be 1 to {BUDGET_MAX}"));
    let amount =
        new.budget_amount.is_none_or(|most| u64::try_from(most.get()).is_ok_and(|n| (1..=BUDGET_MAX).contains(&n)));
    checks.require(amount, "/budget_amount", format!("must be 1 to {BUDGET_MAX} minor units"));
    let coupon = new.class == OfferClass::Coupon;
    checks.require(new.per_member != Some(0), "/per_member", "must be 1 or more");
    let triggered = "issues coupons: this offer is of another class";
    checks.require(coupon || new.issued_on.is_none(), "/issued_on", triggered);
    checks.require(coupon || new.per_member.is_none(), "/per_member", "limits coupons: this offer is of another class");
    check_validity(&mut checks, new.validity);
    check_limits(&mut checks, new);
    check_windows(&mut checks, &new.windows);
    check_breaker(&mut checks, &new.breaker);
    check_issue(&mut checks, new);
    if let Some(ends_at) = new.ends_at {
        let after = ends_at > new.starts_at.unwrap_or(now) && ends_at > now;
        checks.require(after, "/ends_at", "must lie behind now and behind `starts_at`");
    }
    checks.finish()
}

fn check_validity(checks: &mut Checks, validity: Validity) {
    let (pointer, length, most) = match validity {
        Validity::OfferEnd | Validity::EndOfDay | Validity::EndOfMonth => return,
        Validity::Days(days) => ("/validity/days", days, VALIDITY_DAYS_MAX),
        Validity::Hours(hours) => ("/validity/hours", hours, VALIDITY_HOURS_MAX),
    };
    checks.require((1..=most).contains(&length), pointer, format!("must be 1 to {most}"));
}

fn check_limits(checks: &mut Checks, new: &NewOffer) {
    checks.require(new.limits.len() <= LIMITS_MAX, "/limits", format!("has at most {LIMITS_MAX} limits"));
    for (at, limit) in new.limits.iter().take(LIMITS_MAX).enumerate() {
        let pointer = format!("/limits/{at}");
        let fits = u64::try_from(limit.most).is_ok_and(|most| (1..=BUDGET_MAX).contains(&most));
        checks.require(fits, &pointer, format!("must be 1 to {BUDGET_MAX}"));
        let same =
            |other: &Limit| (other.whose, other.measure, other.period) == (limit.whose, limit.measure, limit.period);
        checks.require(!new.limits[..at].iter().any(same), &pointer, "is the same limit as one before");
        let budget = (limit.whose, limit.period) == (Whose::All, Period::Ever) && limit.measure != Measure::Issues;
        checks.require(!budget, &pointer, "of all, for ever: say it as `budget_uses` or `budget_amount`");
        let slow = !matches!(limit.period, Period::Hour | Period::Minute);
        checks.require(slow, &pointer, "of an hour or a minute is a rate: say it as `breaker`");
        let coupons = limit.measure != Measure::Issues || new.class == OfferClass::Coupon;
        checks.require(coupons, &pointer, "counts coupons issued: this offer is of another class");
    }
}

fn check_windows(checks: &mut Checks, windows: &[Window]) {
    checks.require(windows.len() <= WINDOWS_MAX, "/windows", format!("has at most {WINDOWS_MAX} windows"));
    for (at, window) in windows.iter().take(WINDOWS_MAX).enumerate() {
        for (name, numbers, most) in
            [("weekdays", &window.weekdays, 7), ("days", &window.days, 31), ("months", &window.months, 12)]
        {
            let distinct = numbers.iter().enumerate().all(|(i, number)| !numbers[..i].contains(number));
            let fit = distinct && numbers.iter().all(|number| (1..=most).contains(number));
            checks.require(fit, format!("/windows/{at}/{name}"), format!("must be different numbers from 1 to {most}"));
        }
        let fits = window.from < window.to && window.to <= DAY_MINUTES;
        let message = "must lie behind `from`, up to 24:00; two windows make one over midnight";
        checks.require(fits, format!("/windows/{at}/to"), message);
    }
}

fn check_breaker(checks: &mut Checks, breaker: &[Limit]) {
    checks.require(breaker.len() <= BREAKERS_MAX, "/breaker", format!("has at most {BREAKERS_MAX} rates"));
    for (at, rate) in breaker.iter().take(BREAKERS_MAX).enumerate() {
        let quick = matches!(rate.period, Period::Minute | Period::Hour);
        let fits = quick && rate.whose == Whose::All && rate.measure != Measure::Issues;
        let message = "is a rate of all: `uses` or `amount` in a `minute` or `hour`";
        checks.require(fits, format!("/breaker/{at}"), message);
        let most = u64::try_from(rate.most).is_ok_and(|most| (1..=BUDGET_MAX).contains(&most));
        checks.require(most, format!("/breaker/{at}"), format!("must be 1 to {BUDGET_MAX}"));
        let again = |other: &Limit| (other.measure, other.period) == (rate.measure, rate.period);
        let again = breaker.iter().take(at).any(again);
        checks.require(!again, format!("/breaker/{at}"), "is there already: they would count together");
    }
}

/// Who may have its coupons, and how they come by them.
fn check_issue(checks: &mut Checks, new: &NewOffer) {
    checks.require(new.conditions.len() <= CONDITIONS_MAX, "/conditions", format!("has at most {CONDITIONS_MAX}"));
    for (at, condition) in new.conditions.iter().take(CONDITIONS_MAX).enumerate() {
        if let Some(wrong) = condition.wrong() {
            checks.wrong(format!("/conditions/{at}"), wrong);
        }
        let texts =
            condition.one_of.len() <= TEXTS_MAX && condition.one_of.iter().all(|text| text.len() <= TEXT_BYTES_MAX);
        let message = format!("has at most {TEXTS_MAX} texts of at most {TEXT_BYTES_MAX} bytes");
        checks.require(texts, format!("/conditions/{at}/one_of"), message);
    }
    let claims = !new.claimed || (new.class == OfferClass::Coupon && new.issued_on.is_none());
    checks.require(claims, "/claimed", "is for coupons that nothing issues by itself");
    let event = new.event.as_deref();
    let named = event.is_some() == (new.issued_on == Some(Trigger::Event));
    checks.require(named, "/event", "is said exactly where `issued_on` is `event`");
    let known = event.is_none_or(|event| What::NAMES.contains(&event) && event != "coupon-issued");
    checks.require(known, "/event", "must be the name of an event, but not `coupon-issued`, which would never end");
    let profile = new.profile_fields.is_empty() || new.issued_on == Some(Trigger::ProfileCompleted);
    checks.require(profile, "/profile_fields", "is said where `issued_on` is `profile-completed`");
}

fn check_funders(checks: &mut Checks, funders: &[FunderShare]) {
    let sum: u64 = funders.iter().map(|funder| u64::from(funder.share.get())).sum();
    checks.require(
        funders.is_empty() || sum == 10_000,
        "/funders",
        format!("must sum to 10000 basis points, are {sum}"),
    );
    for (at, share) in funders.iter().take(FUNDERS_MAX + 1).enumerate() {
        let once = funders[..at].iter().all(|other| other.funder != share.funder);
        checks.require(once, format!("/funders/{at}/funder"), "is named twice");
        checks.require(share.share.get() > 0, format!("/funders/{at}/share"), "must be above 0");
    }
}
