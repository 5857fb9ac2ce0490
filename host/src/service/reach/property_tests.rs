//! Whatever happens in whatever order: nothing goes that an oracle of its own forbids, nothing goes twice, the day's cap
//! holds, and the totals are the candidates.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp, civil::time, tz::TimeZone};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::fixture::{Call, Reached, failure};
use crate::{
    domain::{
        channel::Attempt,
        touch::{Channel, Class, ConsentPurpose},
    },
    ids::{MemberId, TouchId},
    reach::{
        gate::QuietHours,
        touch::{self, Column},
    },
    service::{Settings, settings::ReachSettings},
};

const CODES: [(&str, Class); 4] =
    [("paid", Class::Transactional), ("dose", Class::Care), ("read", Class::Content), ("sale", Class::Marketing)];
const CHANNELS: [Channel; 2] = [Channel::Sms, Channel::Email];
/// The deployment's, two that change their clocks, one of half an hour, and one a day ahead.
const ZONES: [Option<&str>; 5] =
    [None, Some("America/New_York"), Some("Europe/Berlin"), Some("Australia/Lord_Howe"), Some("Pacific/Apia")];

#[derive(Clone, Debug)]
enum Step {
    Ask { member: usize, code: usize },
    Consent { member: usize, health: bool, channel: usize, granted: bool },
    Suppress { member: usize, channel: usize },
    Lift { member: usize, channel: usize },
    Unsubscribe { member: usize, channel: usize },
    Guard { down: bool },
    Say { channel: usize, attempt: u8 },
    Move { minutes: i64 },
    Crash,
    Deliver,
}

#[derive(Clone, Debug)]
struct Run {
    zones: [usize; 2],
    quiet: (i8, i8),
    cap: usize,
    deduplicates: bool,
    steps: Vec<Step>,
}

fn step() -> impl Strategy<Value = Step> {
    let (member, channel) = (0..2_usize, 0..2_usize);
    prop_oneof![
        6 => (member.clone(), 0..4_usize).prop_map(|(member, code)| Step::Ask { member, code }),
        4 => (member.clone(), any::<bool>(), channel.clone(), prop::bool::weighted(0.8)).prop_map(
            |(member, health, channel, granted)| Step::Consent { member, health, channel, granted }
        ),
        1 => (member.clone(), channel.clone()).prop_map(|(member, channel)| Step::Suppress { member, channel }),
        1 => (member.clone(), channel.clone()).prop_map(|(member, channel)| Step::Lift { member, channel }),
        1 => (member, channel.clone()).prop_map(|(member, channel)| Step::Unsubscribe { member, channel }),
        1 => any::<bool>().prop_map(|down| Step::Guard { down }),
        2 => (channel, 0..3_u8).prop_map(|(channel, attempt)| Step::Say { channel, attempt }),
        3 => (0..180_i64).prop_map(|minutes| Step::Move { minutes }),
        2 => (600..2_000_i64).prop_map(|minutes| Step::Move { minutes }),
        1 => (-300..0_i64).prop_map(|minutes| Step::Move { minutes }),
        1 => Just(Step::Crash),
        6 => Just(Step::Deliver),
    ]
}

fn runs() -> impl Strategy<Value = Run> {
    let zones = [0..ZONES.len(), 0..ZONES.len()];
    let quiet = prop_oneof![Just((21, 9)), Just((0, 0)), (0..24_i8, 0..24_i8)];
    (zones, quiet, 1..3_usize, any::<bool>(), prop::collection::vec(step(), 5..50))
        .prop_map(|(zones, quiet, cap, deduplicates, steps)| Run { zones, quiet, cap, deduplicates, steps })
}

/// What the oracle knows, by its own book-keeping.
#[derive(Default)]
struct Oracle {
    consents: BTreeSet<(MemberId, ConsentPurpose, Channel)>,
    suppressed: BTreeMap<(MemberId, Channel), bool>,
    guard_down: bool,
    asked: HashMap<TouchId, (MemberId, Class, Timestamp)>,
    seen: usize,
    /// Touches that may have been taken, by member and local date.
    days: BTreeMap<(MemberId, jiff::civil::Date), BTreeSet<TouchId>>,
    /// How the last attempt of each touch ended.
    ends: HashMap<TouchId, Attempt>,
}

impl Oracle {
    /// Judges one call of a carrier.
    fn judge(&mut self, run: &Run, zones: &HashMap<MemberId, TimeZone>, call: &Call) -> Result<(), TestCaseError> {
        let id = touch::of_key(&call.key).expect("a key");
        let (member, class, asked) = self.asked[&id];
        let channel = if call.slot.contains("sms") { Channel::Sms } else { Channel::Email };
        let wants = match class {
            Class::Transactional => None,
            Class::Care => Some(ConsentPurpose::HealthData),
            Class::Content | Class::Marketing => Some(ConsentPurpose::Marketing),
        };
        let consented = wants.is_none_or(|purpose| self.consents.contains(&(member, purpose, channel)));
        prop_assert!(consented, "{class:?} went without consent");
        let by_operator = self.suppressed.get(&(member, channel));
        prop_assert!(
            by_operator.is_none_or(|operator| !operator && class == Class::Transactional),
            "{class:?} went to a suppressed member"
        );
        prop_assert!(!self.guard_down, "it went past a guard that is down");
        prop_assert!(call.at < asked.checked_add(SignedDuration::from_hours(72)).expect("a time"), "it had expired");
        let local = call.at.to_zoned(zones[&member].clone());
        let (from, to, hour) = (run.quiet.0, run.quiet.1, local.hour());
        let asleep = if from <= to { from <= hour && hour < to } else { hour >= from || hour < to };
        prop_assert!(class == Class::Transactional || !asleep, "{class:?} went at {local}");
        match self.ends.get(&id) {
            None | Some(Attempt::Retry(_)) => {}
            Some(Attempt::Unknown(_)) => prop_assert!(run.deduplicates, "what may have been taken was repeated"),
            Some(end) => prop_assert!(false, "it went again after {end:?}"),
        }
        if matches!(class, Class::Content | Class::Marketing) {
            let day = self.days.entry((member, local.date())).or_default();
            if matches!(call.attempt, Attempt::Accepted(_) | Attempt::Unknown(_)) {
                day.insert(id);
            }
            prop_assert!(day.len() <= run.cap, "{} on one day", day.len());
        }
        // An attempt that may have been taken stays so, whatever the next one says.
        if !matches!((self.ends.get(&id), &call.attempt), (Some(Attempt::Unknown(_)), Attempt::Retry(_))) {
            self.ends.insert(id, call.attempt.clone());
        }
        Ok(())
    }

    fn judge_new(
        &mut self,
        run: &Run,
        zones: &HashMap<MemberId, TimeZone>,
        reached: &Reached,
    ) -> Result<(), TestCaseError> {
        let calls = reached.world.calls();
        for call in &calls[self.seen..] {
            self.judge(run, zones, call)?;
        }
        self.seen = calls.len();
        Ok(())
    }
}

async fn act(reached: &mut Reached, oracle: &mut Oracle, members: [MemberId; 2], step: &Step) {
    let services = reached.fixture.services.clone();
    let operator = reached.fixture.operator;
    match *step {
        Step::Ask { member, code } => {
            let (code, class) = CODES[code];
            let id = reached.ask(members[member], code).await;
            oracle.asked.insert(id, (members[member], class, services.clock.now()));
        }
        Step::Consent { member, health, channel, granted } => {
            let purpose = if health { ConsentPurpose::HealthData } else { ConsentPurpose::Marketing };
            let key = (members[member], purpose, CHANNELS[channel]);
            reached.consent(key.0, key.1, key.2, granted).await;
            if granted {
                oracle.consents.insert(key)
            } else {
                oracle.consents.remove(&key)
            };
        }
        Step::Suppress { member, channel } => {
            let key = (members[member], CHANNELS[channel]);
            services.suppress_member(operator, key.0, key.1).await.expect("is there");
            oracle.suppressed.insert(key, true);
        }
        Step::Lift { member, channel } => {
            let key = (members[member], CHANNELS[channel]);
            // The address stays suppressed where the member asked to stop.
            if oracle.suppressed.get(&key) == Some(&true) {
                services.lift_member(key.0, key.1).await.expect("is there");
                oracle.suppressed.remove(&key);
            }
        }
        Step::Unsubscribe { member, channel } => {
            let key = (members[member], CHANNELS[channel]);
            let token = services.reach.secrets.token(key.0, key.1);
            services.unsubscribe(&token).await.expect("is ours");
            oracle.suppressed.entry(key).or_insert(false);
            oracle.consents.remove(&(key.0, ConsentPurpose::Marketing, key.1));
        }
        Step::Guard { down } => {
            reached.world.guard_down(down);
            oracle.guard_down = down;
        }
        Step::Say { channel, attempt } => {
            let slot = if channel == 0 { "channel.sms" } else { "channel.email" };
            let attempt = match attempt {
                0 => Attempt::Retry(failure("busy")),
                1 => Attempt::Unknown(failure("timeout")),
                _ => Attempt::Rejected(failure("no")),
            };
            reached.world.say(slot, [attempt]);
        }
        Step::Move { minutes } => reached.fixture.wait(SignedDuration::from_mins(minutes)),
        Step::Crash => reached.crash(),
        Step::Deliver => reached.deliver().await,
    }
}

async fn counted(reached: &Reached) -> (u64, u64, u64) {
    let totals = reached.fixture.services.touch_totals().await.expect("totals");
    let sum = |of: &dyn Fn(Column) -> bool| totals.iter().filter(|t| of(t.column)).map(|t| t.count).sum();
    let waiting = |column| matches!(column, Column::Pending | Column::Sending | Column::Deferred);
    (sum(&|column| column == Column::Candidates), sum(&|column| column != Column::Candidates), sum(&waiting))
}

async fn check(reached: &mut Reached, number: u32, run: &Run) -> Result<usize, TestCaseError> {
    let (from, to) = (time(run.quiet.0, 0, 0, 0), time(run.quiet.1, 0, 0, 0));
    let settings = ReachSettings { quiet: QuietHours { from, to }, cap_per_day: run.cap, ..ReachSettings::standard() };
    let services = &mut reached.fixture.services;
    services.settings = Arc::new(Settings { reach: settings, ..(*services.settings).clone() });
    reached.world.calm();
    reached.world.provide(Channel::Sms, &[("channel.sms", run.deduplicates)]);
    reached.world.provide(Channel::Email, &[("channel.email", run.deduplicates)]);
    let mut members = Vec::new();
    let mut zones = HashMap::new();
    for (at, zone) in run.zones.iter().enumerate() {
        let name = format!("m-{number}-{at}");
        let (phone, email) = (format!("+86138{:08}", number * 2 + at as u32), format!("{name}@example.com"));
        let member = reached.member_at(&name, ZONES[*zone], &phone, &email).await;
        zones.insert(member, TimeZone::get(ZONES[*zone].unwrap_or("Asia/Shanghai")).expect("a zone"));
        members.push(member);
    }
    let members = [members[0], members[1]];
    let (before, ..) = counted(reached).await;
    let mut oracle = Oracle { seen: reached.world.calls().len(), ..Oracle::default() };
    let first = oracle.seen;
    for step in &run.steps {
        act(reached, &mut oracle, members, step).await;
        oracle.judge_new(run, &zones, reached)?;
        let (candidates, others, _) = counted(reached).await;
        prop_assert_eq!(candidates, others);
        prop_assert_eq!(candidates, before + oracle.asked.len() as u64);
    }
    // In the end everything has ended.
    act(reached, &mut oracle, members, &Step::Guard { down: false }).await;
    for _ in 0..10 {
        act(reached, &mut oracle, members, &Step::Move { minutes: 600 }).await;
        act(reached, &mut oracle, members, &Step::Deliver).await;
        oracle.judge_new(run, &zones, reached)?;
    }
    let (candidates, others, waiting) = counted(reached).await;
    prop_assert_eq!((candidates, waiting), (others, 0));
    Ok(oracle.seen - first)
}

#[test]
fn nothing_goes_that_may_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let reached = runtime.block_on(async {
        let reached = Reached::start(99).await;
        for (code, class) in CODES {
            reached.template(code, class, &CHANNELS).await;
        }
        reached
    });
    let state = std::cell::RefCell::new((reached, 0_u32, 0_usize));
    let mut runner = TestRunner::new(Config { cases: 96, max_shrink_iters: 200, ..Config::default() });
    let tested = runner.run(&runs(), |run| {
        let (reached, number, sent) = &mut *state.borrow_mut();
        *number += 1;
        *sent += runtime.block_on(check(reached, *number, &run))?;
        Ok(())
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
    assert!(state.borrow().2 > 96, "the runs must send something, or they prove nothing");
}
