use std::collections::BTreeMap;

use jiff::{SignedDuration, civil::date};

use super::*;
use crate::{
    domain::{
        member::Profile,
        money::Points,
        offer::{OfferClass, Trigger, Validity},
    },
    events::EVENTS,
    scheduler::{DEAD_TIMERS, TIMERS},
    service::{
        coupons::IssueCoupon,
        facts::day_number,
        fixture::{Fixture, offer},
        members::NewMember,
        offers::NewOffer,
        tables::{IDEMPOTENCY, OCCASIONS},
    },
};

pub(super) async fn join(fixture: &Fixture, birthday: Option<jiff::civil::Date>) -> MemberId {
    let new = NewMember { profile: Profile { birthday, ..Profile::default() }, ..NewMember::default() };
    fixture.services.create_member(fixture.shop, fixture.once(), new).await.expect("joins").value.id
}

pub(super) async fn define(fixture: &Fixture, new: NewOffer) -> crate::ids::OfferId {
    fixture.services.define_offer(fixture.operator, fixture.once(), new).await.expect("is defined").value.id
}

/// Every event of a member, in order.
pub(super) async fn happened(fixture: &Fixture, member: MemberId) -> Vec<What> {
    let mut all = Vec::new();
    let each = fixture.services.store.for_each(EVENTS, |_, row| {
        if row.value.member == member {
            all.push(row.value.what);
        }
        Ok::<_, StoreError>(())
    });
    each.await.expect("reads");
    all
}

pub(super) async fn run(fixture: &Fixture) -> Ran {
    let ran = fixture.services.run_due(Pace::Full, || true).await.expect("runs");
    assert!(ran.idle);
    ran
}

fn set(fixture: &Fixture, at: &str) {
    fixture.services.clock.set(at.parse().expect("an instant")).expect("is a manual clock");
}

/// A year in uneven strides, told day by day beside it: birthdays, anniversaries and member days agree.
#[tokio::test]
async fn a_year_reconciles_with_a_recount() {
    let fixture = Fixture::model(41).await;
    let services = &fixture.services;
    services.ensure_schedules().await.expect("makes schedules");
    let zone = services.settings.zone.clone();
    let begin = services.clock.now();
    let mut people = Vec::new();
    let mut expected: BTreeMap<MemberId, Vec<String>> = BTreeMap::new();
    for (stride, n) in [7, 31, 2, 90, 1, 44, 13, 60, 21, 5, 80, 11].into_iter().zip(0..) {
        let month = 1 + i8::try_from(n).expect("a month");
        let birthday = if month == 2 { date(1980, 2, 29) } else { date(1980 + n, month, 15) };
        let member = join(&fixture, Some(birthday)).await;
        people.push((member, birthday, services.clock.now()));
        fixture.wait(SignedDuration::from_hours(24 * stride));
        run(&fixture).await;
    }
    let end = services.clock.now();
    // The recount walks the days and asks each member what the day is to them.
    let (first, last) = (day_number(begin, &zone), day_number(end, &zone));
    for day in first..=last {
        let on = super::super::facts::date_of(day);
        let at = on.at(9, 0, 0, 0).to_zoned(zone.clone()).expect("exists").timestamp();
        for (member, birthday, joined) in &people {
            if at <= *joined || at > end {
                continue;
            }
            let falls = |of: jiff::civil::Date| {
                let leap = of.month() == 2 && of.day() == 29 && !on.in_leap_year() && on.day() == 28;
                of.month() == on.month() && (of.day() == on.day() || leap)
            };
            let told = expected.entry(*member).or_default();
            if falls(*birthday) {
                told.push(format!("{:?}", What::Birthday(on.year())));
            }
            let since = joined.to_zoned(zone.clone()).date();
            if falls(since) && on.year() > since.year() {
                told.push(format!("{:?}", What::Anniversary(on.year() - since.year())));
            }
            if on.day() == 15 {
                told.push(format!("{:?}", What::MemberDay(day)));
            }
        }
    }
    for (member, _, _) in &people {
        let mut told: Vec<String> = happened(&fixture, *member)
            .await
            .into_iter()
            .filter(|what| matches!(what, What::Birthday(_) | What::Anniversary(_) | What::MemberDay(_)))
            .map(|what| format!("{what:?}"))
            .collect();
        let mut expected = expected.remove(member).unwrap_or_default();
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{member}");
    }
}

#[tokio::test]
async fn coupons_say_once_that_they_die_soon() {
    let fixture = Fixture::model(42).await;
    let member = join(&fixture, None).await;
    let long = define(&fixture, NewOffer { validity: Validity::Days(10), ..offer("long", OfferClass::Coupon) }).await;
    let short = define(&fixture, NewOffer { validity: Validity::Days(7), ..offer("short", OfferClass::Coupon) }).await;
    let issue = |offer| IssueCoupon { offer, member, external_id: None };
    let long = fixture.services.issue_coupon(fixture.shop, fixture.once(), issue(long)).await.expect("issues").value;
    let short = fixture.services.issue_coupon(fixture.shop, fixture.once(), issue(short)).await.expect("issues").value;
    for _ in 0..12 {
        run(&fixture).await;
        fixture.wait(SignedDuration::from_hours(24));
    }
    let told: Vec<What> = happened(&fixture, member).await.into_iter().skip(3).collect();
    let expected = [What::CouponExpiring(long.id), What::CouponExpired(short.id), What::CouponExpired(long.id)];
    assert_eq!(told, expected, "a coupon that lives no longer than the notice says nothing");
}

#[tokio::test]
async fn points_say_once_that_they_die_soon() {
    let fixture = Fixture::model(43).await;
    let member = join(&fixture, None).await;
    let services = &fixture.services;
    for points in [70, 30] {
        services
            .adjust_points(fixture.shop, fixture.once(), member, Points::new(points), "test")
            .await
            .expect("grants");
        fixture.wait(SignedDuration::from_hours(1));
    }
    services.adjust_points(fixture.shop, fixture.once(), member, Points::new(-20), "test").await.expect("takes");
    for _ in 0..450 {
        run(&fixture).await;
        fixture.wait(SignedDuration::from_hours(24));
    }
    let zone = &services.settings.zone;
    let on = day_number("2027-03-01T04:00:00Z".parse().expect("an instant"), zone);
    let told: Vec<What> = happened(&fixture, member)
        .await
        .into_iter()
        .filter(|what| matches!(what, What::PointsExpiring { .. } | What::PointsExpired))
        .collect();
    assert_eq!(told.first(), Some(&What::PointsExpiring { points: Points::new(80), on }), "{told:?}");
    assert!(told[1..].iter().all(|what| *what == What::PointsExpired) && told.len() > 1, "{told:?}");
}

/// Points that a clock set back lets join those that were spoken of die with them, without a second word.
#[tokio::test]
async fn a_clock_set_back_brings_no_notice_again() {
    let fixture = Fixture::model(49).await;
    let member = join(&fixture, None).await;
    let services = &fixture.services;
    let grant = async |points| {
        services
            .adjust_points(fixture.shop, fixture.once(), member, Points::new(points), "test")
            .await
            .expect("grants");
    };
    let ten = define(&fixture, NewOffer { validity: Validity::Days(10), ..offer("ten", OfferClass::Coupon) }).await;
    let issue = IssueCoupon { offer: ten, member, external_id: None };
    let coupon = services.issue_coupon(fixture.shop, fixture.once(), issue).await.expect("issues").value.id;
    grant(70).await;
    for at in ["2026-03-05T00:00:00Z", "2027-02-01T00:00:00Z"] {
        set(&fixture, at);
        run(&fixture).await;
    }
    // Years ago the same clock was wrong as well: what is known of it goes.
    let ancient = services.store.run(services.clock.now(), move |tx| {
        (0..20).try_for_each(|day| tx.put(&crate::service::tables::POINTS_NOTICES, &(member, day), &()))
    });
    let ancient: Result<(), StoreError> = ancient.await;
    ancient.expect("is written");
    for at in ["2026-03-01T06:00:00Z", "2026-03-02T06:00:00Z"] {
        set(&fixture, at);
        grant(30).await;
        for at in ["2026-03-05T00:00:00Z", "2027-02-02T00:00:00Z"] {
            set(&fixture, at);
            run(&fixture).await;
        }
    }
    let day = |at: &str| day_number(at.parse().expect("an instant"), &services.settings.zone);
    let told: Vec<What> = happened(&fixture, member)
        .await
        .into_iter()
        .filter(|what| matches!(what, What::PointsExpiring { .. } | What::CouponExpiring(_)))
        .collect();
    let expected = [
        What::CouponExpiring(coupon),
        What::PointsExpiring { points: Points::new(70), on: day("2027-03-01T04:00:00Z") },
        What::PointsExpiring { points: Points::new(30), on: day("2027-03-02T04:00:00Z") },
    ];
    assert_eq!(told, expected);
    let kept = services.store.read(|tx| tx.scan(&crate::service::tables::POINTS_NOTICES, &Scan::all())).await;
    let kept: Vec<_> = kept.map_err(|error: StoreError| error).expect("reads");
    assert_eq!(kept.len(), 20 + 2 - 8, "each notice forgets some of those that are long past");
}

/// A timer whose work always fails is retried, given up, listed and discarded; what is due beside it fires at once.
#[tokio::test]
async fn a_broken_timer_ends_among_the_dead_and_starves_nobody() {
    let fixture = Fixture::model(44).await;
    let services = &fixture.services;
    let member = join(&fixture, None).await;
    let offer = define(&fixture, NewOffer { validity: Validity::Days(1), ..offer("day", OfferClass::Coupon) }).await;
    let issue = || IssueCoupon { offer, member, external_id: None };
    let broken = services.issue_coupon(fixture.shop, fixture.once(), issue()).await.expect("issues").value;
    let sound = services.issue_coupon(fixture.shop, fixture.once(), issue()).await.expect("issues").value;
    // The broken one's member is gone from the store: its work finds nobody to write.
    let (id, now) = (broken.id, services.clock.now());
    let breaks = services.store.run(now, move |tx| {
        let orphan = crate::domain::offer::Coupon { member: MemberId::from_bits(99), ..broken.clone() };
        tx.put(&crate::service::tables::COUPONS, &id, &orphan)
    });
    let breaks: Result<(), StoreError> = breaks.await;
    breaks.expect("breaks");
    fixture.wait(SignedDuration::from_hours(24));
    run(&fixture).await;
    assert!(happened(&fixture, member).await.contains(&What::CouponExpired(sound.id)));
    for _ in 0..crate::scheduler::ATTEMPTS_MAX {
        fixture.wait(SignedDuration::from_hours(6));
        run(&fixture).await;
    }
    let dead = services.dead_timers(crate::service::PageRequest::default()).await.expect("lists").rows;
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].kind, dead[0].timer.attempts), ("expire-coupon", crate::scheduler::ATTEMPTS_MAX));
    assert!(dead[0].timer.why.contains("member"), "{}", dead[0].timer.why);
    let name: TimerName = dead[0].name.to_string().parse().expect("reads back");
    services.retry_timer(name).await.expect("lives again");
    assert!(services.retry_timer(name).await.is_err());
    run(&fixture).await;
    let again = services.store.read(|tx| tx.scan(&DEAD_TIMERS, &Scan::all())).await;
    let again: Vec<_> = again.map_err(|error: StoreError| error).expect("reads");
    assert!(again.is_empty(), "it has all its tries again");
}

/// Many pages, paced: a run does no more than its share, and what a crash cut off goes on where it was.
#[tokio::test]
async fn a_job_is_paced_and_goes_on_after_a_restart() {
    let fixture = Fixture::sled().await;
    fixture.services.ensure_schedules().await.expect("makes schedules");
    let joins = (0..450).map(|_| join(&fixture, None));
    let members = futures::future::join_all(joins).await;
    let enough = ChangeSchedule { enabled: Some(false), ..ChangeSchedule::default() };
    for name in ["tiers", "decisions", "idempotency", "touches", "statutory", "events"] {
        fixture.services.change_schedule(name, enough.clone()).await.expect("is off");
    }
    set(&fixture, "2026-03-15T01:00:00Z");
    let steps = std::cell::Cell::new(0);
    // Stopped in the middle, as a SIGTERM does.
    let stopped = fixture.services.run_due(Pace::Measured, || steps.replace(steps.get() + 1) < 1).await.expect("runs");
    assert_eq!((stopped.schedules, stopped.steps, stopped.idle), (1, 1, false));
    let fixture = fixture.restart().await;
    let ran = run(&fixture).await;
    assert_eq!((ran.schedules, ran.steps), (0, 2), "450 members are three pages, one of which was done");
    let job = fixture.services.job_list().await.expect("lists").into_iter().find(|job| job.name == "member-day");
    let job = job.expect("ran").job;
    assert_eq!((job.rows, job.changed, job.steps, job.state.name()), (450, 450, 3, "done"));
    for member in members.iter().step_by(50) {
        let days = happened(&fixture, *member).await.into_iter().filter(|what| matches!(what, What::MemberDay(_)));
        assert_eq!(days.count(), 1);
    }
}

#[tokio::test]
async fn old_answers_to_idempotency_keys_are_swept() {
    let fixture = Fixture::model(46).await;
    fixture.services.ensure_schedules().await.expect("makes schedules");
    join(&fixture, None).await;
    fixture.wait(SignedDuration::from_hours(24 * 20));
    join(&fixture, None).await;
    fixture.wait(SignedDuration::from_hours(24 * 15));
    run(&fixture).await;
    let kept = fixture.services.store.read(|tx| tx.scan(&IDEMPOTENCY, &Scan::all())).await;
    let kept: Vec<_> = kept.map_err(|error: StoreError| error).expect("reads");
    assert_eq!(kept.len(), 1);
}

#[tokio::test]
async fn joining_brings_the_coupons_that_wait_for_it() {
    let fixture = Fixture::model(47).await;
    let new = |code| NewOffer { issued_on: Some(Trigger::Registration), ..offer(code, OfferClass::Coupon) };
    let first = define(&fixture, new("welcome")).await;
    let paused = define(&fixture, new("paused")).await;
    fixture.services.pause_offer(fixture.operator, fixture.once(), paused).await.expect("pauses");
    let member = join(&fixture, None).await;
    let page = crate::service::PageRequest::default();
    let coupons = fixture.services.coupons_of(fixture.shop, member, true, page).await.expect("lists").rows;
    assert_eq!(coupons.iter().map(|coupon| coupon.offer).collect::<Vec<_>>(), [first]);
    assert_eq!(happened(&fixture, member).await, [What::Registered, What::CouponIssued(coupons[0].id)]);
    let refused = NewOffer { issued_on: Some(Trigger::Birthday), ..offer("x", OfferClass::Promotion) };
    let refused =
        fixture.services.define_offer(fixture.operator, fixture.once(), refused).await.expect_err("no coupon");
    assert!(refused.to_string().contains("/issued_on"), "{refused}");
}

/// Nothing that gives a birthday away outlives the member.
#[tokio::test]
async fn erasing_a_member_removes_their_days() {
    let fixture = Fixture::model(48).await;
    let member = join(&fixture, Some(date(1990, 5, 17))).await;
    fixture.services.erase_member(fixture.shop, fixture.once(), member).await.expect("erases");
    let left = fixture.services.store.read(|tx| {
        Ok::<_, StoreError>((tx.scan(&TIMERS, &Scan::all())?.len(), tx.scan(&OCCASIONS, &Scan::all())?.len()))
    });
    assert_eq!(left.await.expect("reads"), (0, 0));
}
