use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;

use super::*;
use crate::{
    ids::{CouponId, Id as _},
    store::{Scan, Store, StoreError},
};

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// Puts the clock to each instant in turn; what fires at each.
#[track_caller]
fn check_schedule(catch_up: CatchUp, steps: &[(&str, &[&str])]) {
    runtime().block_on(async {
        let store = Store::model(7);
        let expression: Cron = "0 9 * * *".parse().expect("an expression");
        let definition = schedules::Definition { expression, zone: None, catch_up, jitter_seconds: 0 };
        let made = instant("2026-03-01T00:00:00Z");
        let run = store.run(made, move |tx| schedules::ensure(tx, "s", &definition, made, &TimeZone::UTC));
        run.await.expect("is made");
        for (now, fires) in steps {
            let mut fired = Vec::new();
            let now = instant(now);
            for _ in 0..10 {
                let due = store.read(move |tx| schedules::due(tx, now)).await;
                if due.expect("reads").is_empty() {
                    break;
                }
                let taken = store.run(now, move |tx| schedules::take(tx, "s", now, &TimeZone::UTC)).await;
                fired.extend(taken.expect("moves on").map(|occurrence| occurrence.at));
            }
            let expected: Vec<Timestamp> = fires.iter().map(|text| instant(text)).collect();
            assert_eq!(fired, expected, "at {now}");
        }
    });
}

const FIRST: &str = "2026-03-01T09:00:00Z";
const FIFTH: &str = "2026-03-05T09:00:00Z";

#[test]
fn once_fires_the_latest_of_what_was_missed() {
    check_schedule(
        CatchUp::Once,
        &[("2026-03-01T08:59:59Z", &[]), (FIRST, &[FIRST]), ("2026-03-05T20:00:00Z", &[FIFTH])],
    );
}

#[test]
fn all_fires_each_of_what_was_missed() {
    let missed = ["2026-03-02T09:00:00Z", "2026-03-03T09:00:00Z", "2026-03-04T09:00:00Z", FIFTH];
    check_schedule(CatchUp::All, &[(FIRST, &[FIRST]), ("2026-03-05T20:00:00Z", &missed)]);
}

#[test]
fn skip_fires_nothing_of_what_was_missed() {
    let sixth = "2026-03-06T09:00:30Z";
    let steps: &[(&str, &[&str])] =
        &[(FIRST, &[FIRST]), ("2026-03-05T20:00:00Z", &[]), (sixth, &["2026-03-06T09:00:00Z"])];
    check_schedule(CatchUp::Skip, steps);
}

#[test]
fn a_clock_set_back_brings_no_occurrence_again() {
    for catch_up in [CatchUp::Once, CatchUp::All, CatchUp::Skip] {
        check_schedule(catch_up, &[(FIRST, &[FIRST]), ("2026-02-01T00:00:00Z", &[]), (FIRST, &[])]);
    }
}

#[test]
fn a_schedule_that_is_changed_counts_from_now() {
    runtime().block_on(async {
        let store = Store::model(8);
        let now = instant(FIRST);
        let done = store.run(now, move |tx| {
            let expression: Cron = "0 9 * * *".parse()?;
            let definition =
                schedules::Definition { expression, zone: None, catch_up: CatchUp::All, jitter_seconds: 0 };
            schedules::ensure(tx, "s", &definition, instant("2026-02-01T00:00:00Z"), &TimeZone::UTC)?;
            let off = schedules::Change { enabled: Some(false), ..schedules::Change::default() };
            schedules::change(tx, "s", &off, now, &TimeZone::UTC)?;
            assert_eq!(schedules::take(tx, "s", now, &TimeZone::UTC)?, None);
            let on = schedules::Change { enabled: Some(true), expression: Some("30 9 * * *".parse()?), ..off };
            let on = schedules::change(tx, "s", &on, now, &TimeZone::UTC)?;
            assert_eq!(on.occurrence, instant("2026-03-01T09:30:00Z"), "what was missed is gone");
            Ok::<_, schedules::ScheduleError>(())
        });
        done.await.expect("is changed");
    });
}

/// A hundred timers that always fail, and one behind them: it fires at once, and they end among the dead.
#[test]
fn timers_that_fail_stand_in_nobodys_way() {
    runtime().block_on(async {
        let store = Store::model(9);
        let mut now = instant(FIRST);
        let key = |n: u128, due| TimerKey::new(due, TimerKind::ExpireCoupon, CouponId::from_bits(n));
        let setup = store.run(now, move |tx| (0..=100).try_for_each(|n| schedule_for(tx, key(n, now), 5)));
        setup.await.expect("sets up");
        let mut tries = 0;
        for _ in 0..ATTEMPTS_MAX {
            let due: Result<Vec<TimerKey>, StoreError> = store.read(move |tx| due(tx, now, 1_000)).await;
            let due = due.expect("reads");
            assert_eq!(due.len(), if tries == 0 { 101 } else { 100 });
            tries += 1;
            for timer in due {
                let done: Result<_, StoreError> = if timer.subject == 100 {
                    store.run(now, move |tx| take(tx, timer).map(|_| Failed::Gone)).await
                } else {
                    store.run(now, move |tx| fail(tx, timer, "broken", now)).await
                };
                match done.expect("is noted") {
                    Failed::Again(at) => assert!(at > now && tries < ATTEMPTS_MAX),
                    Failed::Dead => assert_eq!(tries, ATTEMPTS_MAX),
                    Failed::Gone => assert_eq!(timer.subject, 100),
                }
            }
            now = now.checked_add(SignedDuration::from_hours(6)).expect("an instant");
        }
        let first = instant(FIRST);
        let revived = store.run(now, move |tx| {
            let dead = tx.scan(&DEAD_TIMERS, &Scan::all().limit(200))?;
            assert_eq!(dead.len(), 100);
            let (place, timer) = &dead[0];
            assert_eq!(
                (place.due, timer.attempts, &*timer.why, timer.argument),
                (first, ATTEMPTS_MAX, "broken", Some(5))
            );
            assert!(due(tx, now, 10)?.is_empty());
            assert!(revive(tx, *place, now)? && !revive(tx, *place, now)?);
            let again = due(tx, now, 10)?;
            let timer = take(tx, again[0])?.expect("is there");
            assert_eq!((again.len(), timer.attempts, timer.argument), (1, 0, Some(5)));
            assert_eq!(timer.first_due(again[0]), first, "its work knows when it was due");
            Ok::<_, StoreError>(())
        });
        revived.await.expect("is revived");
    });
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The clock is set, anywhere.
    Clock(i64),
    Take(usize),
    Work(usize),
    Release(usize),
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..100_000_i64).prop_map(Act::Clock),
        (0..3_usize).prop_map(Act::Take),
        (0..3_usize).prop_map(Act::Work),
        (0..3_usize).prop_map(Act::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the clocks do: of all who believe to hold a lease, only the last who took it can commit.
    #[test]
    fn a_lease_lets_one_holder_commit(acts in prop::collection::vec(acts(), 1..60), seed in any::<u64>()) {
        runtime().block_on(async {
            let store = Store::model(seed);
            let mut now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(50_000);
            let mut tokens = [None; 3];
            let mut last: Option<usize> = None;
            for act in acts {
                match act {
                    Act::Clock(second) => now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second + 1),
                    Act::Take(who) => {
                        let lasts = SignedDuration::from_secs(60);
                        let taken: Result<_, StoreError> =
                            store.run(now, move |tx| leases::take(tx, "job", &who.to_string(), now, lasts)).await;
                        if let Some(token) = taken.expect("answers") {
                            prop_assert!(tokens.iter().flatten().all(|other| *other < token), "tokens grow");
                            tokens[who] = Some(token);
                            last = Some(who);
                        }
                    }
                    Act::Work(who) => {
                        let Some(token) = tokens[who] else { continue };
                        let lasts = SignedDuration::from_secs(60);
                        let held: Result<_, StoreError> =
                            store.run(now, move |tx| leases::renew(tx, "job", token, now, lasts)).await;
                        prop_assert_eq!(held.expect("answers"), last == Some(who));
                    }
                    Act::Release(who) => {
                        let Some(token) = tokens[who] else { continue };
                        let released: Result<_, StoreError> =
                            store.run(now, move |tx| leases::release(tx, "job", token)).await;
                        released.expect("answers");
                        if last == Some(who) {
                            last = None;
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_lease_keeps_others_out_until_it_ends_or_the_clock_is_far_back() {
    runtime().block_on(async {
        let store = Store::model(11);
        let now = instant(FIRST);
        let run = store.run(now, move |tx| {
            let lasts = SignedDuration::from_mins(1);
            let at = |seconds: i64| now + SignedDuration::from_secs(seconds);
            assert!(leases::take(tx, "job", "a", now, lasts)?.is_some());
            assert!(leases::take(tx, "job", "b", at(59), lasts)?.is_none());
            assert!(leases::take(tx, "job", "a", at(59), lasts)?.is_some(), "the holder takes it again after a crash");
            assert!(leases::take(tx, "job", "b", at(60), lasts)?.is_none());
            assert!(leases::take(tx, "job", "b", at(120), lasts)?.is_some());
            assert!(leases::take(tx, "job", "a", at(-7_200), lasts)?.is_some(), "nobody waits for a clock set back");
            Ok::<_, StoreError>(())
        });
        run.await.expect("answers");
    });
}
