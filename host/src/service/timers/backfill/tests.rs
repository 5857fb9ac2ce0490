use jiff::{SignedDuration, civil::date};

use super::*;
use crate::{
    events::What,
    scheduler::TIMERS,
    service::{
        fixture::Fixture,
        tables::OCCASIONS,
        timers::{
            Pace,
            tests::{happened, join, run},
        },
    },
    store::{Scan, StoreError},
};

/// Makes members as if they had joined before there were birthdays and anniversaries.
async fn forget_days(fixture: &Fixture, members: &[MemberId]) {
    for members in members.chunks(50) {
        let members = members.to_vec();
        let run = fixture.services.store.run(fixture.services.clock.now(), move |tx| {
            members.iter().try_for_each(|member| occasions::forget(tx, *member))
        });
        let run: Result<(), StoreError> = run.await;
        run.expect("is forgotten");
    }
}

/// Timers, and days that members have.
async fn rows(fixture: &Fixture) -> (usize, usize) {
    let read = fixture.services.store.read(|tx| {
        let timers = tx.scan(&TIMERS, &Scan::all().limit(1_000))?.len();
        Ok::<_, StoreError>((timers, tx.scan(&OCCASIONS, &Scan::all().limit(1_000))?.len()))
    });
    read.await.expect("reads")
}

/// Two hundred and fifty members, most of them without days: each gets theirs once, over stops and restarts, and nobody
/// is told of a day that was past.
#[tokio::test]
async fn who_joined_before_there_were_birthdays_gets_theirs_once() {
    let mut fixture = Fixture::sled().await;
    let born = |n: usize| match n % 3 {
        0 => None,
        1 => Some(date(1980, 2, 10)),
        _ => Some(date(1990, 12, 24)),
    };
    let members = futures::future::join_all((0..250).map(|n| join(&fixture, born(n)))).await;
    fixture.wait(SignedDuration::from_hours(24 * 200));
    run(&fixture).await;
    forget_days(&fixture, &members[10..]).await;
    fixture.services.erase_member(fixture.shop, fixture.once(), members[200]).await.expect("erases");
    fixture.wait(SignedDuration::from_hours(24 * 200));
    // Four hundred days after all joined, on 5 April 2027.
    let mut steps = 0;
    loop {
        fixture.services.ensure_occasions().await.expect("begins once");
        let looks = std::cell::Cell::new(0);
        let ran = fixture.services.run_due(Pace::Measured, || looks.replace(looks.get() + 1) < 1).await.expect("runs");
        steps += ran.steps;
        if ran.idle {
            break;
        }
        fixture = fixture.restart().await;
    }
    assert_eq!(steps, 3, "a page has a hundred");
    let with_birthday = (0..250).filter(|n| *n != 200 && born(*n).is_some()).count();
    assert_eq!(rows(&fixture).await, (249 + with_birthday, 249 + with_birthday));
    let told = happened(&fixture, members[100]).await;
    assert_eq!(told, [What::Registered], "what is past is not made up for");
    fixture.services.ensure_occasions().await.expect("was done");
    fixture.wait(SignedDuration::from_hours(24 * 365));
    run(&fixture).await;
    for (n, member) in members.iter().enumerate().skip(10) {
        let mut expected = vec![What::Registered];
        match born(n) {
            _ if n == 200 => expected.push(What::Erased),
            None => expected.push(What::Anniversary(2)),
            Some(day) if day.month() == 12 => expected.extend([What::Birthday(2027), What::Anniversary(2)]),
            Some(_) => expected.extend([What::Birthday(2028), What::Anniversary(2)]),
        }
        assert_eq!(happened(&fixture, *member).await, expected, "member {n}");
    }
}
