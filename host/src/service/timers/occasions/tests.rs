use jiff::SignedDuration;

use super::*;
use crate::{
    domain::offer::OfferClass,
    service::{
        fixture::{Fixture, offer},
        members::{Change, ProfileChange},
        offers::NewOffer,
        timers::tests::{define, happened, join, run},
    },
};

fn settings(fixture: &Fixture) -> &Settings {
    &fixture.services.settings
}

#[test]
fn the_next_time_is_in_a_year_that_has_not_counted() {
    let fixture = Fixture::without_rules(1);
    let instant = |text: &str| text.parse::<Timestamp>().expect("an instant");
    for (day, now, last, expected) in [
        ((5, 15), "2026-05-15T00:59:59Z", None, "2026-05-15T01:00:00Z"),
        ((5, 15), "2026-05-15T01:00:00Z", None, "2027-05-15T01:00:00Z"),
        ((5, 15), "2026-05-01T00:00:00Z", Some(2026), "2027-05-15T01:00:00Z"),
        ((2, 29), "2026-01-01T00:00:00Z", None, "2026-02-28T01:00:00Z"),
        ((2, 29), "2026-03-01T00:00:00Z", Some(2026), "2027-02-28T01:00:00Z"),
        ((2, 29), "2027-03-01T00:00:00Z", None, "2028-02-29T01:00:00Z"),
        ((1, 1), "2025-12-31T16:30:00Z", None, "2026-01-01T01:00:00Z"),
    ] {
        assert_eq!(next(day, instant(now), last, settings(&fixture)), Some(instant(expected)), "{day:?} after {now}");
    }
}

async fn set_birthday_to(fixture: &Fixture, member: MemberId, birthday: Change<Date>) {
    let change = ProfileChange { birthday, ..ProfileChange::default() };
    let changed = fixture.services.update_member(fixture.shop, fixture.once(), member, None, change);
    changed.await.expect("changes");
}

async fn birthdays(fixture: &Fixture, member: MemberId) -> Vec<i16> {
    let year = |what| if let What::Birthday(year) = what { Some(year) } else { None };
    happened(fixture, member).await.into_iter().filter_map(year).collect()
}

/// The profile moves, the clock jumps on and back, and every year still counts once.
#[tokio::test]
async fn a_birthday_counts_once_a_year_whatever_moves() {
    let fixture = Fixture::model(51).await;
    let clock = &fixture.services.clock;
    let set = |text: &str| clock.set(text.parse().expect("an instant")).expect("is a manual clock");
    let gift = NewOffer { issued_on: Some(Trigger::Birthday), ..offer("birthday", OfferClass::Coupon) };
    define(&fixture, gift).await;
    let member = join(&fixture, Some(date(1990, 5, 15))).await;
    set("2026-05-14T00:00:00Z");
    run(&fixture).await;
    assert_eq!(birthdays(&fixture, member).await, Vec::<i16>::new());
    set_birthday_to(&fixture, member, Change::Set(date(1990, 5, 16))).await;
    set("2026-05-15T12:00:00Z");
    run(&fixture).await;
    assert_eq!(birthdays(&fixture, member).await, Vec::<i16>::new(), "it moved");
    set("2026-05-16T01:00:00Z");
    run(&fixture).await;
    assert_eq!(birthdays(&fixture, member).await, [2026]);
    set_birthday_to(&fixture, member, Change::Set(date(1990, 12, 1))).await;
    set("2026-05-01T00:00:00Z");
    set_birthday_to(&fixture, member, Change::Clear).await;
    set_birthday_to(&fixture, member, Change::Set(date(1990, 5, 16))).await;
    for at in ["2026-05-17T00:00:00Z", "2026-12-31T00:00:00Z"] {
        set(at);
        run(&fixture).await;
    }
    assert_eq!(birthdays(&fixture, member).await, [2026], "a year counts once");
    set("2029-06-01T00:00:00Z");
    run(&fixture).await;
    assert_eq!(birthdays(&fixture, member).await, [2026, 2029], "the latest that was missed, and no other");
    let issued = happened(&fixture, member).await.into_iter().filter(|what| matches!(what, What::CouponIssued(_)));
    assert_eq!(issued.count(), 2);
}

#[tokio::test]
async fn the_day_of_joining_is_no_anniversary() {
    let fixture = Fixture::model(52).await;
    let member = join(&fixture, None).await;
    for _ in 0..3 {
        fixture.wait(SignedDuration::from_hours(24 * 366));
        run(&fixture).await;
    }
    let told = happened(&fixture, member).await;
    assert_eq!(told, [What::Registered, What::Anniversary(1), What::Anniversary(2), What::Anniversary(3)]);
}
