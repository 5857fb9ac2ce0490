use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, civil::Time};
use proptest::prelude::*;

use super::*;
use crate::{
    events::EVENTS,
    scheduler::jobs::JobState,
    service::{
        fixture::Fixture,
        members::{Change, NewMember, ProfileChange},
        timers::{ChangeSchedule, Pace, tests::run},
    },
};

/// The zones people live in here: the ends of the world, every sort of clock change, and none said.
const ZONES: [Option<&str>; 10] = [
    None,
    Some("Pacific/Kiritimati"),
    Some("Etc/GMT+12"),
    Some("Europe/Berlin"),
    Some("Pacific/Auckland"),
    Some("Australia/Lord_Howe"),
    Some("America/St_Johns"),
    Some("Asia/Kathmandu"),
    Some("America/Santiago"),
    Some("Africa/Cairo"),
];

/// Days before clocks change somewhere.
const STARTS: [&str; 5] = [
    "2026-03-27T05:00:00Z",
    "2026-04-03T00:00:00Z",
    "2026-09-04T12:00:00Z",
    "2026-10-01T20:00:00Z",
    "2026-10-23T03:00:00Z",
];

async fn join(fixture: &Fixture, zone: Option<&str>) -> MemberId {
    let new = NewMember { zone: zone.map(str::to_owned), ..NewMember::default() };
    fixture.services.create_member(fixture.shop, fixture.once(), new).await.expect("joins").value.id
}

async fn move_to(fixture: &Fixture, member: MemberId, zone: Option<&str>) {
    let zone = zone.map_or(Change::Clear, |zone| Change::Set(zone.to_owned()));
    let change = ProfileChange { zone, ..ProfileChange::default() };
    fixture.services.update_member(fixture.shop, fixture.once(), member, None, change).await.expect("moves");
}

fn set(fixture: &Fixture, at: Timestamp) {
    fixture.services.clock.set(at).expect("is a manual clock");
}

async fn change(fixture: &Fixture, change: ChangeSchedule) {
    fixture.services.change_schedule("member-day", change).await.expect("changes");
}

/// Member day alone, by the members' zones.
async fn by_zones(fixture: &Fixture, expression: &str, catch_up: CatchUp) {
    fixture.services.ensure_schedules().await.expect("makes schedules");
    for name in ["tiers", "decisions", "idempotency", "touches", "statutory", "events"] {
        let off = ChangeSchedule { enabled: Some(false), ..ChangeSchedule::default() };
        fixture.services.change_schedule(name, off).await.expect("is off");
    }
    let wanted = ChangeSchedule {
        expression: Some(expression.to_owned()),
        zone: Some(Some("member".to_owned())),
        catch_up: Some(catch_up),
        ..ChangeSchedule::default()
    };
    change(fixture, wanted).await;
}

/// The days that each member was told of, in order.
async fn told(fixture: &Fixture) -> BTreeMap<MemberId, Vec<i32>> {
    let mut told: BTreeMap<MemberId, Vec<i32>> = BTreeMap::new();
    let each = fixture.services.store.for_each(EVENTS, |_, row| {
        if let What::MemberDay(day) = row.value.what {
            told.entry(row.value.member).or_default().push(day);
        }
        Ok::<_, StoreError>(())
    });
    each.await.expect("reads");
    told
}

/// A quarter of an hour by quarter of an hour, when the clocks of a zone first show a day and time or a later one.
fn shown(zone: &TimeZone, day: i32, time: Time) -> Timestamp {
    let wanted = crate::service::facts::date_of(day).to_datetime(time);
    let noon = TimeZone::UTC.to_timestamp(wanted).expect("an instant");
    let quarters = (-16 * 4..40 * 4).map(|quarter| noon + SignedDuration::from_mins(15 * quarter));
    quarters.into_iter().find(|at| zone.to_datetime(*at) >= wanted).expect("comes")
}

/// One member as the oracle knows them.
struct Person {
    id: MemberId,
    zone: usize,
    moved_at: Timestamp,
    active: bool,
    /// Days that were told or passed over.
    dealt: BTreeSet<i32>,
    told: Vec<i32>,
}

/// Who is told what, recounted in the plainest way.
struct Oracle {
    people: Vec<Person>,
    time: Time,
    catch_up: CatchUp,
    days: std::ops::Range<i32>,
    shown: BTreeMap<(usize, i32), Timestamp>,
}

impl Oracle {
    fn shown(&mut self, zone: usize, day: i32) -> Timestamp {
        let named = zone_named(ZONES[zone], &TimeZone::get("Asia/Shanghai").expect("a zone"));
        let time = self.time;
        *self.shown.entry((zone, day)).or_insert_with(|| shown(&named, day, time))
    }

    fn join(&mut self, id: MemberId, zone: usize, now: Timestamp) {
        let dealt = self.days.clone().filter(|day| self.shown(zone, *day) < now).collect();
        self.people.push(Person { id, zone, moved_at: Timestamp::MIN, active: true, dealt, told: Vec::new() });
    }

    /// What has come to each by now, and was not dealt with.
    fn look(&mut self, now: Timestamp) {
        for at in 0..self.people.len() {
            let (zone, moved_at) = (self.people[at].zone, self.people[at].moved_at);
            let come = self.days.clone().filter(|day| !self.people[at].dealt.contains(day));
            let come: Vec<i32> =
                come.collect::<Vec<_>>().into_iter().filter(|day| self.shown(zone, *day) <= now).collect();
            for day in &come {
                let in_time = now.duration_since(self.shown(zone, *day).max(moved_at)) <= GRACE;
                let tells = match self.catch_up {
                    CatchUp::All => true,
                    CatchUp::Once => come.last() == Some(day),
                    CatchUp::Skip => in_time,
                };
                let person = &mut self.people[at];
                person.dealt.insert(*day);
                if tells && person.active {
                    person.told.push(*day);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Wait {
        minutes: i64,
        seconds: i64,
    },
    SetBack(i64),
    /// To the instant at which a day comes to a zone.
    Until {
        zone: usize,
        ahead: i32,
    },
    Join(usize),
    Move {
        who: usize,
        zone: usize,
    },
    Erase(usize),
}

fn acts() -> impl Strategy<Value = Act> {
    let zone = || 0..ZONES.len();
    prop_oneof![
        3 => (0..600_i64, 0..60_i64).prop_map(|(minutes, seconds)| Act::Wait { minutes, seconds }),
        1 => (600..5_000_i64).prop_map(|minutes| Act::Wait { minutes, seconds: 0 }),
        1 => (1..1_440_i64).prop_map(Act::SetBack),
        4 => (zone(), 0..2).prop_map(|(zone, ahead)| Act::Until { zone, ahead }),
        2 => zone().prop_map(Act::Join),
        3 => (0..20_usize, zone()).prop_map(|(who, zone)| Act::Move { who, zone }),
        1 => (0..20_usize).prop_map(Act::Erase),
    ]
}

/// Does it all, and holds who was told what against the recount after every step.
async fn check(seed: u64, start: &str, (hour, minute): (i8, i8), catch_up: CatchUp, acts: Vec<Act>) {
    let fixture = Fixture::model(seed).await;
    let mut now: Timestamp = start.parse().expect("an instant");
    let mut latest = now;
    set(&fixture, now);
    by_zones(&fixture, &format!("{minute} {hour} * * *"), catch_up).await;
    let deployment = &fixture.services.settings.zone;
    let (time, today) = (jiff::civil::time(hour, minute, 0, 0), day_number(now, deployment));
    let first = today + i32::from(deployment.to_datetime(now).time() >= time);
    let mut oracle = Oracle { people: Vec::new(), time, catch_up, days: first..first + 90, shown: BTreeMap::new() };
    for (zone, name) in ZONES.into_iter().enumerate() {
        oracle.join(join(&fixture, name).await, zone, now);
    }
    // The clock's own loop looks every second: no member comes or moves before it has.
    run(&fixture).await;
    oracle.look(now);
    for act in acts {
        match act {
            Act::Wait { minutes, seconds } => now += SignedDuration::from_secs(60 * minutes + seconds),
            // No further than a day: what was past for the whole world then stays past.
            Act::SetBack(minutes) => {
                now = (now - SignedDuration::from_mins(minutes)).max(latest - SignedDuration::from_hours(24));
            }
            Act::Until { zone, ahead } => {
                now = now.max(oracle.shown(zone, day_number(now, deployment).max(first) + ahead))
            }
            Act::Join(zone) => oracle.join(join(&fixture, ZONES[zone]).await, zone, now),
            Act::Move { who, zone } => {
                let count = oracle.people.len();
                let person = &mut oracle.people[who % count];
                if person.active {
                    move_to(&fixture, person.id, ZONES[zone]).await;
                    (person.zone, person.moved_at) = (zone, now);
                }
            }
            Act::Erase(who) => {
                let count = oracle.people.len();
                let person = &mut oracle.people[who % count];
                fixture.services.erase_member(fixture.shop, fixture.once(), person.id).await.expect("erases");
                person.active = false;
            }
        }
        latest = latest.max(now);
        set(&fixture, now);
        run(&fixture).await;
        oracle.look(now);
        let told = told(&fixture).await;
        for person in &oracle.people {
            let told = told.get(&person.id).cloned().unwrap_or_default();
            assert_eq!(told, person.told, "{act:?}: {:?} at {now}", ZONES[person.zone]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Every member is told once of every day that comes to where they live, whatever clocks, zones and people do.
    #[test]
    fn c4_member_day_comes_to_each_member_where_they_live(
        acts in prop::collection::vec(acts(), 1..24),
        start in 0..STARTS.len(),
        time in prop_oneof![Just((0, 0)), Just((2, 30)), Just((9, 15))],
        catch_up in prop_oneof![Just(CatchUp::All), Just(CatchUp::Once), Just(CatchUp::Skip)],
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(check(seed, STARTS[start], time, catch_up, acts));
    }
}

/// Hundreds of members, a stop and a restart after every step, people who join and move while the walk is between them.
#[tokio::test]
async fn a_round_goes_on_after_every_stop() {
    let mut fixture = Fixture::sled().await;
    by_zones(&fixture, "0 9 15 * *", CatchUp::All).await;
    let zones = [None, Some("Europe/Berlin"), Some("Pacific/Kiritimati")];
    let joins = (0..450).map(|n| join(&fixture, zones[n % 3]));
    let mut members = futures::future::join_all(joins).await;
    let mut stops = 0;
    for at in ["2026-03-14T18:00:00Z", "2026-03-14T19:00:00Z", "2026-03-15T01:00:00Z", "2026-03-15T08:00:00Z"] {
        set(&fixture, at.parse().expect("an instant"));
        for stop in 0.. {
            let steps = std::cell::Cell::new(0);
            let ran = fixture.services.run_due(Pace::Measured, || steps.replace(steps.get() + 1) < 1).await;
            if ran.expect("runs").idle {
                break;
            }
            stops += 1;
            // Whose time comes as they come makes another wave: not for ever.
            for n in (0..6).filter(|_| stop < 3) {
                members.push(join(&fixture, zones[n % 3]).await);
                move_to(&fixture, members[(stops * 61 + n * 37) % 450], zones[(stops + n) % 3]).await;
            }
            fixture = fixture.restart().await;
        }
    }
    assert!(stops >= 6, "it was stopped {stops} times alone");
    let told = told(&fixture).await;
    let (mut late, local) = (0, "2026-03-15T09:00:00Z".parse().expect("an instant"));
    for id in members {
        let row = fixture.services.store.read(move |tx| tx.get(&MEMBERS, &id)).await;
        let member = row.map_err(|error: StoreError| error).expect("reads").expect("is there");
        let came = rounds::reached(local, &zone_of(&member, &fixture.services.settings.zone));
        if member.registered_at <= came {
            assert_eq!(told.get(&id), Some(&vec![20_527]), "{member:?}");
        } else {
            late += 1;
            assert_eq!(told.get(&id), None, "{member:?}");
        }
    }
    assert!(late > 0, "some joined after it had come to them");
    let left = fixture.services.store.read(rounds::first_due).await;
    assert_eq!(left.map_err(|error: StoreError| error).expect("reads"), None);
}

/// From the deployment's zone to the members' and back, at each moment of a day: nobody is told twice of it.
#[tokio::test]
async fn a_change_of_zone_brings_no_day_again() {
    let member_zone = || Some(Some("member".to_owned()));
    for (switched_at, back_at) in [
        // Before the day; in the middle of it, with the first zone past or not; after it; and back in the middle.
        ("2026-03-14T12:00:00Z", "2026-03-16T12:00:00Z"),
        ("2026-03-14T20:00:00Z", "2026-03-16T12:00:00Z"),
        ("2026-03-15T02:00:00Z", "2026-03-16T12:00:00Z"),
        ("2026-03-14T12:00:00Z", "2026-03-15T00:30:00Z"),
        ("2026-03-14T12:00:00Z", "2026-03-15T02:00:00Z"),
    ] {
        let fixture = Fixture::model(61).await;
        by_zones(&fixture, "0 9 15 * *", CatchUp::All).await;
        change(&fixture, ChangeSchedule { zone: Some(None), ..ChangeSchedule::default() }).await;
        let zones = [Some("Pacific/Kiritimati"), None, Some("Etc/GMT+12")];
        let members = futures::future::join_all(zones.map(|zone| join(&fixture, zone))).await;
        for half_hour in 0..24 * 2 * 3 {
            let begin: Timestamp = "2026-03-14T00:00:00Z".parse().expect("an instant");
            let now = begin + SignedDuration::from_mins(30 * half_hour);
            set(&fixture, now);
            run(&fixture).await;
            if now == switched_at.parse().expect("an instant") {
                change(&fixture, ChangeSchedule { zone: member_zone(), ..ChangeSchedule::default() }).await;
            }
            if now == back_at.parse().expect("an instant") {
                change(&fixture, ChangeSchedule { zone: Some(None), ..ChangeSchedule::default() }).await;
            }
        }
        let told = told(&fixture).await;
        for (member, zone) in members.iter().zip(zones) {
            assert_eq!(told.get(member), Some(&vec![20_527]), "{zone:?}, switched at {switched_at}, back at {back_at}");
        }
    }
}

/// Switched off, nobody is told any more; rounds of an hour's distance are no more than those that are kept.
#[tokio::test]
async fn rounds_are_few_and_end_when_they_are_switched_off() {
    let fixture = Fixture::model(62).await;
    by_zones(&fixture, "5 * * * *", CatchUp::Once).await;
    let member = join(&fixture, Some("Etc/GMT+12")).await;
    for _ in 0..100 {
        fixture.wait(SignedDuration::from_hours(1));
        run(&fixture).await;
    }
    let known = fixture
        .services
        .store
        .read(|tx| rounds::open(tx, Timestamp::UNIX_EPOCH))
        .await
        .map_err(|error: StoreError| error)
        .expect("reads");
    assert_eq!(known.len(), 64);
    let before = told(&fixture).await[&member].len();
    assert!((80..=100).contains(&before), "{before}");
    change(&fixture, ChangeSchedule { enabled: Some(false), ..ChangeSchedule::default() }).await;
    for _ in 0..48 {
        fixture.wait(SignedDuration::from_hours(1));
        run(&fixture).await;
    }
    assert_eq!(told(&fixture).await[&member].len(), before);
    let jobs = fixture.services.job_list().await.expect("lists");
    assert!(jobs.iter().all(|job| job.job.state == JobState::Done), "{jobs:?}");
    let often = ChangeSchedule { expression: Some("*/5 * * * *".to_owned()), ..ChangeSchedule::default() };
    let refused = fixture.services.change_schedule("member-day", often).await.expect_err("comes too often");
    assert!(refused.to_string().contains("/expression"), "{refused}");
    let tiers = ChangeSchedule { zone: Some(Some("member".to_owned())), ..ChangeSchedule::default() };
    let refused = fixture.services.change_schedule("tiers", tiers.clone()).await.expect_err("tells nobody");
    assert!(refused.to_string().contains("/zone"), "{refused}");
    let nowhere = ChangeSchedule { zone: Some(Some("Moon/Base".to_owned())), ..tiers };
    let refused = fixture.services.change_schedule("tiers", nowhere).await.expect_err("is no zone");
    assert!(refused.to_string().contains("/zone"), "{refused}");
}
