//! Releases as an operator sees them: admitted, prepared, swapped under load, rolled back, freed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use galenic::{
    domain::{
        fact::{self, Facts, Scope, Value},
        rule::{Kind, TierSubject},
    },
    plugin::{
        Answer, Budgets, Engine, EngineConfig, Fallback, FellBackTo, Grants, Module, Release, ReleaseError,
        ReleaseSpec, embedded::EMBEDDED, run_cases,
    },
};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use crate::guest::{FLAG, Guest, TEXT};

pub(crate) fn engine(cache: Option<&Path>) -> Engine {
    let config = EngineConfig { sandboxes: 16, ..EngineConfig::standard(cache.map(Path::to_owned)) };
    Engine::new(config).expect("the engine starts")
}

pub(crate) async fn admit(engine: &Engine, guest: &Guest) -> Arc<Module> {
    engine.admit(guest.component()).await.expect("the module is admitted")
}

pub(crate) fn spec(module: &Arc<Module>, number: u64) -> ReleaseSpec {
    ReleaseSpec {
        slot: module.kind().name().into(),
        number,
        module: Arc::clone(module),
        config: json!({}),
        grants: Grants::default(),
        budgets: Budgets::standard(),
        fallback: Fallback::Skip,
        previous: None,
    }
}

pub(crate) async fn release(engine: &Engine, guest: &Guest) -> Arc<Release> {
    let module = admit(engine, guest).await;
    engine.prepare(spec(&module, 1)).await.expect("the release is prepared")
}

pub(crate) fn spender(yuan: i64) -> TierSubject {
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_LIFETIME_NET_SPEND, Value::Integer(yuan * 100));
    TierSubject { as_of: Timestamp::UNIX_EPOCH, facts }
}

fn tiers(answers: &[Answer<galenic::domain::rule::Verdict>]) -> Vec<String> {
    answers.iter().map(|answer| answer.value().map_or("-".to_owned(), |verdict| verdict.tier.to_string())).collect()
}

#[tokio::test]
async fn a_rule_answers_rows_columns_and_warm_alike() {
    let engine = engine(None);
    let release = release(&engine, &Guest::tier()).await;
    assert!(release.snapshotted());
    assert_eq!(release.tiers()[1].discount.get(), 500);
    let members = [198, 199, 0, 5_000].map(spender);
    let expect = ["bronze", "silver", "bronze", "silver"];
    let answered = release.tier(&members).await;
    assert_eq!(tiers(&answered.answers), expect);
    assert_eq!(answered.release.to_string(), "tier-rule#1");
    assert!(answered.fuel > 0);
    let one = release.tier(&members[..1]).await;
    assert_eq!(one.fuel, release.tier(&members[..1]).await.fuel, "fuel repeats exactly in fresh sandboxes");
    let facts: Vec<Facts> = members.iter().map(|member| member.facts.clone()).collect();
    let columns = release.tier_columns(Timestamp::UNIX_EPOCH, &facts).await.expect("answers");
    assert_eq!(columns.tiers, [0, 1, 0, 1]);
    let mut warm = release.warm();
    for _ in 0..3 {
        let verdicts = warm.tier(&members).await.expect("answers");
        assert_eq!(verdicts.iter().map(|verdict| &*verdict.tier).collect::<Vec<_>>(), expect);
        assert_eq!(warm.tier_columns(Timestamp::UNIX_EPOCH, &facts).await.expect("answers"), [0, 1, 0, 1]);
    }
    let stats = release.stats();
    assert_eq!((stats.calls, stats.items, stats.fallbacks, stats.in_flight), (4, 10, 0, 0));
    assert!(stats.p50 > Duration::ZERO && stats.p50 <= stats.p99);
}

#[tokio::test]
async fn a_configuration_is_refused_field_by_field() {
    let engine = engine(None);
    let module = admit(&engine, &Guest::tier()).await;
    let refused = |config: Json| {
        let (engine, spec) = (engine.clone(), ReleaseSpec { config, ..spec(&module, 1) });
        async move {
            match engine.prepare(spec).await {
                Err(ReleaseError::Config(fields)) => fields.into_iter().map(|field| field.pointer).collect::<Vec<_>>(),
                other => panic!("not refused: {other:?}"),
            }
        }
    };
    assert_eq!(refused(json!({"from": -1})).await, ["/from"]);
    assert_eq!(refused(json!({"from": "x", "to": 1})).await.len(), 2);
    // A module whose own check refuses: one field error at 112, its texts in scratch memory.
    let picky = Guest {
        configure: "(i32.store (i32.const 112) (i32.const 160)) (i32.store (i32.const 116) (i32.const 5))
                    (i32.store (i32.const 120) (i32.const 168)) (i32.store (i32.const 124) (i32.const 3))
                    (i64.store (i32.const 160) (i64.const 0x006d6f72662f)) (i64.store (i32.const 168) (i64.const 0x6f6f74))
                    (i32.store8 (i32.const 96) (i32.const 1))
                    (i32.store (i32.const 100) (i32.const 112)) (i32.store (i32.const 104) (i32.const 1))
                    (i32.const 96)"
            .to_owned(),
        ..Guest::tier()
    };
    let picky = admit(&engine, &picky).await;
    match engine.prepare(spec(&picky, 1)).await {
        Err(ReleaseError::Config(fields)) => {
            assert_eq!((&*fields[0].pointer, &*fields[0].message), ("/from", "too"));
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_fact_that_is_not_granted_is_absent() {
    let engine = engine(None);
    // Tier 1 where the flag is passed as a flag (tag 1), else 0.
    let guest = Guest {
        facts: vec![("member.birthday-month".to_owned(), FLAG)],
        evaluate: "(i32.store16 (i32.const 32) (i32.load8_u (i32.load offset=8 (local.get $ptr))))
                   (i32.store (i32.const 36) (i32.const 0)) (i32.store (i32.const 40) (i32.const 0))
                   (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)"
            .to_owned(),
        ..Guest::tier()
    };
    let module = admit(&engine, &guest).await;
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_BIRTHDAY_MONTH, Value::Flag(true));
    let member = [TierSubject { as_of: Timestamp::UNIX_EPOCH, facts }];
    for (personal, expect) in [(false, "bronze"), (true, "silver")] {
        let grants = Grants { personal, ..Grants::default() };
        let release = engine.prepare(ReleaseSpec { grants, ..spec(&module, 1) }).await.expect("prepared");
        assert_eq!(tiers(&release.tier(&member).await.answers), [expect]);
    }
}

#[tokio::test]
async fn texts_travel() {
    let engine = engine(None);
    // The tier is the text's first byte less `0`.
    let guest = Guest {
        facts: vec![("member.tier".to_owned(), TEXT)],
        evaluate: "(i32.store16 (i32.const 32)
                       (i32.sub (i32.load8_u (i32.load offset=8 (i32.load offset=8 (local.get $ptr)))) (i32.const 48)))
                   (i32.store (i32.const 36) (i32.const 0)) (i32.store (i32.const 40) (i32.const 0))
                   (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1)) (i32.const 16)"
            .to_owned(),
        ..Guest::tier()
    };
    let release = release(&engine, &guest).await;
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_TIER, Value::Text("1".to_owned()));
    let member = TierSubject { as_of: Timestamp::UNIX_EPOCH, facts };
    assert_eq!(tiers(&release.tier(&[member]).await.answers), ["silver"]);
}

#[tokio::test]
async fn fallbacks_answer_as_declared() {
    let engine = engine(None);
    let good = release(&engine, &Guest::tier()).await;
    let broken = admit(&engine, &Guest { evaluate: "(unreachable)".to_owned(), ..Guest::tier() }).await;
    let try_with = |fallback: Fallback, previous: Option<Arc<Release>>| {
        let (engine, spec) = (engine.clone(), ReleaseSpec { fallback, previous, ..spec(&broken, 2) });
        async move {
            let release = engine.prepare(spec).await?;
            let mut answered = release.tier(&[spender(500)]).await;
            assert_eq!(answered.release.number, 2);
            match answered.answers.remove(0) {
                Answer::FellBack { value, by, fault } => {
                    assert_eq!(fault.code(), "trap");
                    Ok::<_, ReleaseError>((value.map(|verdict| verdict.tier.to_string()), by))
                }
                Answer::Decided(verdict) => panic!("decided {verdict:?}"),
            }
        }
    };
    assert_eq!(try_with(Fallback::FailClosed, None).await.expect("prepares"), (None, FellBackTo::Refusal));
    assert_eq!(try_with(Fallback::Skip, None).await.expect("prepares"), (None, FellBackTo::Nothing));
    let default = Fallback::Default(json!({"tier": "bronze"}));
    assert_eq!(try_with(default, None).await.expect("prepares"), (Some("bronze".to_owned()), FellBackTo::Default));
    let previous = FellBackTo::Previous(good.reference().clone());
    let answer = try_with(Fallback::PreviousRelease, Some(good)).await.expect("prepares");
    assert_eq!(answer, (Some("silver".to_owned()), previous));
    let unknown = try_with(Fallback::Default(json!({"tier": "gold"})), None).await;
    assert!(matches!(unknown, Err(ReleaseError::Fallback(why)) if why.contains("/tier")));
    assert!(matches!(try_with(Fallback::PreviousRelease, None).await, Err(ReleaseError::Fallback(_))));
}

#[tokio::test]
async fn a_faulty_item_costs_the_others_nothing() {
    let engine = engine(None);
    // Traps at a spend of exactly 13.00, else as ever.
    let trap = "(local $k i32) (block $fine (loop $each
            (br_if $fine (i32.ge_u (local.get $k) (local.get $len)))
            (if (i64.eq (i64.load offset=8 (i32.load offset=8 (i32.add (local.get $ptr) (i32.mul (local.get $k) (i32.const 16)))))
                        (i64.const 1300)) (then (unreachable)))
            (local.set $k (i32.add (local.get $k) (i32.const 1))) (br $each)))";
    let mut guest = Guest::tier();
    let (locals, body) = guest.evaluate.split_once("(local.set $out").expect("the usual body");
    guest.evaluate = format!("{locals} {trap} (local.set $out {body}").replacen("(local $k i32)", "", 1);
    guest.evaluate = format!("(local $k i32) {}", guest.evaluate);
    let release = release(&engine, &guest).await;
    let members = [500, 13, 100].map(spender);
    assert_eq!(tiers(&release.tier(&members).await.answers), ["silver", "-", "bronze"]);
    assert_eq!(release.stats().faults, [("trap", 1)]);
}

#[tokio::test]
async fn the_breaker_gives_a_failing_release_a_rest() {
    let engine = engine(None);
    let release = release(&engine, &Guest { evaluate: "(unreachable)".to_owned(), ..Guest::tier() }).await;
    for _ in 0..5 {
        assert_eq!(release.tier(&[spender(1)]).await.fault().map(|fault| fault.code()), Some("trap"));
    }
    assert_eq!(release.tier(&[spender(1)]).await.fault().map(|fault| fault.code()), Some("breaker-open"));
    assert_eq!(release.stats().breaker.name(), "open");
    let batch: Vec<_> = (0..64).map(spender).collect();
    let answered = release.tier(&batch).await;
    assert!(answered.answers.iter().all(|answer| answer.fault().map(|fault| fault.code()) == Some("breaker-open")));
}

#[tokio::test]
async fn artefacts_are_kept_and_damaged_ones_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = dir.path().join("artefacts");
    let guest = Guest::tier();
    let first = engine(Some(&cache));
    release(&first, &guest).await;
    drop(first);
    let files =
        || -> Vec<_> { std::fs::read_dir(&cache).expect("reads").map(|entry| entry.expect("reads").path()).collect() };
    assert_eq!(files().len(), 2, "the module and its snapshot");
    let second = engine(Some(&cache));
    let module = admit(&second, &guest).await;
    let began = Instant::now();
    let warm = second.prepare(spec(&module, 1)).await.expect("prepares");
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}: nothing is compiled", began.elapsed());
    assert_eq!(tiers(&warm.tier(&[spender(500)]).await.answers), ["silver"]);
    for file in files() {
        let mut bytes = std::fs::read(&file).expect("reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&file, bytes).expect("writes");
    }
    let third = engine(Some(&cache));
    let again = release(&third, &guest).await;
    assert_eq!(tiers(&again.tier(&[spender(500)]).await.answers), ["silver"]);
    std::fs::write(&files()[0], b"").expect("truncates");
    let fourth = engine(Some(&cache));
    assert_eq!(tiers(&release(&fourth, &guest).await.tier(&[spender(500)]).await.answers), ["silver"]);
}

/// A thousand swaps while eight tasks call: no call fails, each names one release, and what was swapped out is freed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_swaps_under_load() {
    let engine = engine(None);
    let slot = engine.slot("tier-rule", Kind::TierRule).expect("the slot is free");
    assert!(engine.slot("tier-rule", Kind::CouponPolicy).is_none(), "a slot keeps its kind");
    let module = admit(&engine, &Guest::tier()).await;
    let other = Guest { tiers: vec![("low", vec![]), ("high", vec![])], ..Guest::tier() };
    let other = admit(&engine, &other).await;
    let prepare = |number: u64| {
        let module = if number.is_multiple_of(2) { &module } else { &other };
        let spec = ReleaseSpec { slot: "tier-rule".into(), ..spec(module, number) };
        let engine = engine.clone();
        async move { engine.prepare(spec).await.expect("prepares") }
    };
    slot.activate(prepare(0).await).expect("activates");
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (slot, stop) = (Arc::clone(&slot), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut calls = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let answered = slot.tier(&[spender(100), spender(500)]).await;
                    let expect = if answered.release.number % 2 == 0 { ["bronze", "silver"] } else { ["low", "high"] };
                    assert_eq!(tiers(&answered.answers), expect, "of {}", answered.release);
                    assert!(answered.fault().is_none());
                    calls += 1;
                    tokio::task::yield_now().await;
                }
                calls
            })
        })
        .collect();
    let mut old = Vec::new();
    for number in 1..=20 {
        let release = prepare(number).await;
        old.push(Arc::downgrade(&release));
        let rival = prepare(number + 1_000).await;
        for turn in 0..50 {
            let next = if turn % 2 == 0 { &release } else { &rival };
            slot.activate(Arc::clone(next)).expect("activates");
            tokio::task::yield_now().await;
        }
    }
    let began = Instant::now();
    slot.rollback().expect("there is one to go back to");
    assert!(began.elapsed() < Duration::from_millis(10));
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.expect("no call failed") > 0);
    }
    let alive = old.iter().filter(|release| release.strong_count() > 0).count();
    assert!(alive <= 1 + galenic::plugin::HISTORY_MAX, "{alive} old releases are still held");
    assert_eq!(engine.sandboxes_free(), 16);
    assert!(slot.stats().iter().all(|stats| stats.fallbacks == 0 && stats.in_flight == 0));
}

/// The reference plugins answer their cases through WASM as they do natively, from a snapshot.
#[tokio::test]
async fn the_reference_plugins_answer_their_cases() {
    let engine = engine(None);
    for plugin in EMBEDDED {
        let module = engine.admit(plugin.component).await.expect("the plugin is admitted");
        assert_eq!((&*module.description().name, module.kind()), (plugin.name, plugin.kind));
        let config: Json = serde_json::from_str(plugin.config).expect("the configuration is JSON");
        if plugin.kind != Kind::Channel {
            let spec = ReleaseSpec { config: config.clone(), ..spec(&module, 1) };
            let release = engine.prepare(spec).await.expect("prepares");
            assert!(release.snapshotted(), "{} starts from a snapshot", plugin.name);
        }
        match run_cases(&engine, &module, &config, plugin.cases).await {
            Ok(report) => assert!(report.cases > 5 && report.failures.is_empty(), "{}: {report:#?}", plugin.name),
            Err(error) => panic!("{}: {error}", plugin.name),
        }
    }
}

#[tokio::test]
async fn a_full_pool_makes_calls_wait_and_then_says_so() {
    let config = EngineConfig { sandboxes: 1, pool_wait: Duration::from_millis(20), ..EngineConfig::standard(None) };
    let engine = Engine::new(config).expect("the engine starts");
    let release = release(&engine, &Guest::tier()).await;
    let mut warm = release.warm();
    warm.tier(&[spender(1)]).await.expect("answers");
    assert_eq!(engine.sandboxes_free(), 0);
    let answered = release.tier(&[spender(1)]).await;
    assert_eq!(answered.fault().map(|fault| fault.code()), Some("pool-busy"));
    assert_eq!(release.stats().breaker.name(), "closed", "the plugin is not to blame");
    drop(warm);
    assert!(release.tier(&[spender(1)]).await.fault().is_none());
}

#[tokio::test]
async fn a_slot_takes_only_its_own() {
    let engine = engine(None);
    let slot = engine.slot("tier", Kind::TierRule).expect("the slot is free");
    let answered = slot.tier(&[spender(1)]).await;
    assert_eq!((answered.fault().map(|fault| fault.code()), answered.release.number), (Some("no-release"), 0));
    let elsewhere = release(&engine, &Guest::tier()).await;
    let refused = slot.activate(elsewhere).expect_err("prepared for another slot");
    assert_eq!(refused.to_string(), "release tier-rule#1 was not prepared for slot `tier`");
    let earning = admit(&engine, &Guest::earning(1, 7, 12)).await;
    let earning = engine.prepare(ReleaseSpec { slot: "tier".into(), ..spec(&earning, 1) }).await.expect("prepares");
    let refused = slot.activate(earning).expect_err("another kind");
    assert_eq!(refused.to_string(), "slot `tier` takes a tier-rule, the release is a earning-rule");
    assert!(slot.live().is_none());
    assert!(slot.rollback().is_none());
}
