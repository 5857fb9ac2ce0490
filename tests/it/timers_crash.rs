//! Kills the server at random times while birthdays, notices, expiries and member days fire over a year and more: each
//! has its effect once, and none is missing.
//!
//! The server is a child process whose clock is moved by HTTP, in strides of hours and days. A kill comes at any time,
//! also while it starts; now and then the next life begins with a clock that was set back. In the end the log of events
//! is held against a recount that walks the days.

use std::{collections::BTreeMap, time::Duration};

use galenic::{
    events::{EVENTS, What},
    store::{SledOptions, Store, StoreError},
};
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, date},
    tz::TimeZone,
};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::{
    app::{share_artefacts, text},
    program::run,
    store_crash::Chance,
    touches_crash::{Client, Seed, Served},
};

const ROUNDS: i64 = 100;
/// A kill comes at most so many microseconds after the server is ready, or after it was started.
const FLOW_MICROS: u64 = 120_000;
const START_MICROS: u64 = 300_000;
const START: &str = "2026-03-01T04:00:00Z";
/// Before the first events are swept, after 400 days: at the end every one is counted.
const END: &str = "2027-03-28T00:00:00Z";
/// A clock goes on in strides of so many seconds at most: some of them fit between a coupon's notice and its end.
const STRIDES: usize = 12;
const STRIDE_SECONDS: u64 = 24 * 3_600;
/// A clock is set back by at most so many hours.
const SET_BACK_HOURS: u64 = 60;
/// Days of the month that tell every member, at nine of their own clock.
const MEMBER_DAYS: [i8; 4] = [1, 8, 15, 22];
const ZONES: [Option<&str>; 6] = [
    None,
    Some("Pacific/Kiritimati"),
    Some("Etc/GMT+12"),
    Some("Europe/Berlin"),
    Some("Pacific/Auckland"),
    Some("America/St_Johns"),
];
const MEMBERS: usize = 24;

/// Born on days that leave a coupon of ten days its life before the end.
fn birthday(member: usize) -> Date {
    let month = 1 + i8::try_from(member % 12).expect("a month");
    match member {
        1 => date(1984, 2, 29),
        _ if month == 4 => date(1990, 4, 2),
        _ => date(1970 + i16::try_from(member).expect("a year"), month, 11),
    }
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

struct World {
    data: TempDir,
    http: reqwest::Client,
    chance: Chance,
    /// The latest time that a clock was told.
    now: Timestamp,
    /// By their place in [`birthday`].
    members: Vec<String>,
}

impl World {
    async fn new(seed: u64) -> Self {
        galenic::plugin::use_ring();
        let data = TempDir::new().expect("a directory");
        share_artefacts(data.path());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let mut world = Self { data, http, chance: Chance(seed), now: instant(START), members: Vec::new() };
        let (mut served, client) = world.serve(world.now).await;
        let days = MEMBER_DAYS.map(|day| day.to_string()).join(",");
        let member_day = json!({"expression": format!("0 9 {days} * *"), "zone": "member", "catch_up": "all"});
        client.done(Method::PUT, "/ops/v1/schedules/member-day", "s", member_day).await;
        let offer = json!({
            "code": "birthday", "name_zh_cn": "生日", "name_en": "birthday", "class": "coupon", "valid_days": 10,
            "terms": {"type": "amount", "amount": 500}, "issued_on": "birthday",
        });
        client.post("/ops/v1/offers", "o", offer).await;
        for number in 0..MEMBERS {
            let zone = ZONES[number % ZONES.len()];
            let member = json!({"profile": {"birthday": birthday(number)}, "zone": zone});
            let member = text(&client.post("/v1/members", &format!("m-{number}"), member).await["id"]);
            let points = json!({"points": 100 + number, "reason": "goodwill"});
            client.post(&format!("/v1/members/{member}/points/adjustments"), &format!("p-{number}"), points).await;
            world.members.push(member);
        }
        served.end(Signal::KILL);
        world
    }

    async fn serve(&self, now: Timestamp) -> (Served, Client) {
        let mut served = Served::start(&self.data, now);
        let url = served.ready().await;
        (served, Client { http: self.http.clone(), url })
    }

    /// One life of the server, whose clock goes on to `until`; whether it was killed while something fired.
    async fn round(&mut self, until: Timestamp) -> bool {
        let mut begins = self.now;
        if self.chance.below(4) == 0 {
            let hours = i64::try_from(self.chance.below(SET_BACK_HOURS)).expect("hours");
            begins = (begins - SignedDuration::from_hours(hours)).max(instant(START));
        }
        if self.chance.below(5) == 0 {
            let mut served = Served::start(&self.data, begins);
            tokio::time::sleep(Duration::from_micros(self.chance.below(START_MICROS))).await;
            served.end(Signal::KILL);
            return false;
        }
        let (mut served, client) = self.serve(begins).await;
        let strides: Vec<u64> = (0..STRIDES).map(|_| self.chance.below(STRIDE_SECONDS)).collect();
        let life = tokio::spawn(async move {
            let mut told = begins;
            for seconds in strides {
                let next = told + SignedDuration::from_secs(seconds.cast_signed());
                told = told.max(next.min(until));
                if client.send(Method::PUT, "/ops/v1/clock", "none", &json!({"now": told})).await.is_err() {
                    return (told, true);
                }
            }
            (told, false)
        });
        tokio::time::sleep(Duration::from_micros(self.chance.below(FLOW_MICROS))).await;
        served.end(Signal::KILL);
        let (told, cut_off) = life.await.expect("no panic");
        self.now = self.now.max(told);
        cut_off
    }

    /// What happened to each member by itself, and how often.
    async fn happened(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let options = SledOptions { cache_bytes: 8 << 20, reserve_bytes: 0, ..SledOptions::standard() };
        let store = Store::open(&self.data.path().join("store"), options, Vec::new()).expect("opens");
        let mut all: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        let mut coupons = BTreeMap::new();
        let each = store.for_each(EVENTS, |_, row| {
            let what = match row.value.what {
                // Which coupon it is says nothing: the same things happen to each.
                What::CouponIssued(id) => named(&mut coupons, id, "issued"),
                What::CouponExpiring(id) => named(&mut coupons, id, "expiring"),
                What::CouponExpired(id) => named(&mut coupons, id, "expired"),
                What::PointsExpiring { points, on } => format!("{} points die on {on}", points.get()),
                other => format!("{other:?}"),
            };
            *all.entry(row.value.member.to_string()).or_default().entry(what).or_default() += 1;
            Ok::<_, StoreError>(())
        });
        each.await.expect("reads");
        store.close().await.expect("closes");
        for (id, what) in coupons {
            assert_eq!(what, ["issued", "expiring", "expired"], "{id:?}");
        }
        all
    }
}

/// Notes what happened to a coupon; it counts for its member without its name.
fn named<I: Ord>(coupons: &mut BTreeMap<I, Vec<&'static str>>, id: I, what: &'static str) -> String {
    coupons.entry(id).or_default().push(what);
    format!("a coupon {what}")
}

/// What must have happened to a member by `end`: every day is asked what it is to them.
fn recount(member: usize, end: Timestamp) -> BTreeMap<String, usize> {
    let shanghai = TimeZone::get("Asia/Shanghai").expect("a zone");
    let home =
        ZONES[member % ZONES.len()].map_or_else(|| shanghai.clone(), |zone| TimeZone::get(zone).expect("a zone"));
    let (epoch, begin) = (date(1970, 1, 1), instant(START));
    let days_since = |day: Date| day.since(epoch).expect("days").get_days();
    let born = birthday(member);
    let mut expected = BTreeMap::from([("Registered".to_owned(), 1)]);
    let mut happens = |what: String| *expected.entry(what).or_default() += 1;
    let mut day = date(2026, 2, 28);
    while day < date(2027, 5, 1) {
        let nine = |zone: &TimeZone| day.at(9, 0, 0, 0).to_zoned(zone.clone()).expect("exists").timestamp();
        let falls = |nine: Timestamp| begin < nine && nine <= end;
        let leap = born.day() == 29 && born.month() == 2 && !day.in_leap_year() && day.day() == 28 && day.month() == 2;
        if falls(nine(&shanghai)) && ((day.month(), day.day()) == (born.month(), born.day()) || leap) {
            happens(format!("Birthday({})", day.year()));
            for what in ["issued", "expiring", "expired"] {
                happens(format!("a coupon {what}"));
            }
        }
        if day == date(2027, 3, 1) {
            happens("Anniversary(1)".to_owned());
            happens("PointsExpired".to_owned());
            happens(format!("{} points die on {}", 100 + member, days_since(day)));
        }
        if MEMBER_DAYS.contains(&day.day()) && day > date(2026, 3, 1) && falls(nine(&home)) {
            happens(format!("MemberDay({})", days_since(day)));
        }
        day = day.tomorrow().expect("comes");
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kills_over_a_year_fire_everything_once() {
    let seed = Seed::or(5);
    let mut world = World::new(seed.number()).await;
    let (start, end) = (instant(START), instant(END));
    let mut cut_off = 0;
    for round in 1..=ROUNDS {
        let until = start + SignedDuration::from_secs(end.duration_since(start).as_secs() * round / ROUNDS);
        cut_off += i64::from(world.round(until).await);
    }
    let (mut served, client) = world.serve(world.now).await;
    while world.now < end {
        world.now = (world.now + SignedDuration::from_hours(48)).min(end);
        client.done(Method::PUT, "/ops/v1/clock", "none", json!({"now": world.now})).await;
    }
    let dead = client.done(Method::GET, "/ops/v1/timers/dead", "none", json!(null)).await;
    assert_eq!(dead["items"], json!([]));
    served.end(Signal::TERM);
    let happened = world.happened().await;
    for (number, member) in world.members.iter().enumerate() {
        assert_eq!(happened[member], recount(number, end), "member {number}, {:?}", ZONES[number % ZONES.len()]);
    }
    let (code, said) = run(&["verify", "--data", world.data.path().to_str().expect("a path")]);
    assert!(code == 0 && said.contains("the books close"), "{code} {said}");
    println!("{cut_off} of {ROUNDS} kills came while something fired");
    assert!(cut_off >= ROUNDS / 5, "kills come too early or too late to prove anything");
}
