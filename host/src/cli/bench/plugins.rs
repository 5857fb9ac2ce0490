//! Calls of `tier-spend`: through the engine, bare, and as a native function. A thousand candidates through
//! `scorer-rebuy`, a long message through `guard-ad-law`.

use std::{hint::black_box, sync::Arc, time::Instant};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use super::{Figure, percentile_ms};
use crate::{
    domain::{
        fact::{self, Facts, Scope, Value},
        guard::Draft,
        order::ReleaseRef,
        rule::{Kind, TierSubject},
        score::{Candidate, ScoreRequest},
    },
    ids::{DecisionId, Id as _, MemberId},
    plugin::{
        Budgets, CallInput, CallOutput, CallRecord, DecisionRecord, Decisions, Engine, EngineConfig, Fallback, Grants,
        Release, ReleaseSpec, bare::Bare, embedded::Embedded,
    },
};

/// Rounds of which the median counts.
const ROUNDS: usize = 7;
/// Subjects of a batch.
const BATCH: u32 = 256;

/// The median of several rounds of `$n` runs, in microseconds for one of `$per` items.
macro_rules! micros {
    ($n:expr, $per:expr, $run:expr) => {{
        for _ in 0..$n / 10 {
            $run;
        }
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            for _ in 0..$n {
                $run;
            }
            rounds.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from($n) / f64::from($per));
        }
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    }};
}

pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let engine = Engine::new(EngineConfig::standard(Some(dir.path().join("cache"))))?;
    let spec = spec(&engine, "tier", "tier-spend").await?;
    let begun = Instant::now();
    let cold = engine.prepare(spec.clone()).await?;
    let prepared_ms = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    let release = engine.prepare(spec).await?;
    let cached_ms = begun.elapsed().as_secs_f64() * 1e3;
    let mut figures =
        vec![Figure::new("release prepared from the artefact cache", cached_ms, "ms").against(prepared_ms)];
    figures.extend(swaps(&engine, &cold, &release)?);
    figures.extend(calls(&release).await?);
    figures.push(scores(&engine).await?);
    figures.push(messages(&engine).await?);
    figures.extend(recording(dir.path())?);
    Ok(figures)
}

/// A release of a reference plugin as it comes.
async fn spec(engine: &Engine, slot: &str, plugin: &str) -> anyhow::Result<ReleaseSpec> {
    let plugin = Embedded::find(plugin).with_context(|| format!("{plugin} is not built in"))?;
    Ok(ReleaseSpec {
        slot: slot.into(),
        number: 1,
        module: engine.admit(plugin.component).await?,
        config: serde_json::from_str(plugin.config)?,
        grants: Grants::default(),
        budgets: Budgets::of(plugin.kind),
        fallback: Fallback::Skip,
        previous: None,
    })
}

/// A thousand candidates, half of them bought eight times, in a fresh sandbox each time.
async fn scores(engine: &Engine) -> anyhow::Result<Figure> {
    let release = engine.prepare(spec(engine, "score.home", "scorer-rebuy").await?).await?;
    let as_of = Timestamp::from_second(1_750_000_000)?;
    let candidate = |number: i64| {
        let facts = Facts::of(Scope::Candidate)
            .with(&fact::CANDIDATE_PRODUCT, Value::Text(format!("product-{number}")))
            .with(&fact::CANDIDATE_CATEGORY, Value::Text(format!("CATEGORY-{}", number % 40)))
            .with(&fact::CANDIDATE_CLASS, "food".into())
            .with(&fact::CANDIDATE_PRICE, Value::Integer(9_900))
            .with(&fact::CANDIDATE_DAYS_OF_SUPPLY, Value::Integer(30 + number % 60))
            .with(&fact::CANDIDATE_BASKETS, Value::Integer(50 + number))
            .with(&fact::CANDIDATE_BOUGHT_TOGETHER, Value::Integer(20))
            .with(&fact::CANDIDATE_CATEGORY_BOUGHT, Value::Integer(number % 5));
        let day = |days: i64| Timestamp::from_second(1_750_000_000 - days * 86_400);
        let times = if number % 2 == 0 { 8 } else { 0 };
        let purchased_at = (0..times).map(|time| day(number % 30 + 30 * time)).collect::<Result<_, _>>()?;
        Ok(Candidate { facts, purchased_at })
    };
    let candidates = (0..1_000).map(candidate).collect::<anyhow::Result<_>>()?;
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_BOUGHT_BASKETS, Value::Integer(500));
    let request = [ScoreRequest { as_of, facts, candidates }];
    let mut times = Vec::with_capacity(1_000);
    for _ in 0..1_000 {
        let begun = Instant::now();
        let answered = black_box(release.score(&request).await);
        times.push(begun.elapsed());
        let scored = answered.answers.first().and_then(|answer| answer.value()).map_or(0, Vec::len);
        anyhow::ensure!(scored == 1_000, "{scored} of 1,000 candidates scored: {:?}", answered.fault());
    }
    Ok(Figure::new("1,000 candidates scored, p99", percentile_ms(&mut times, 99), "ms"))
}

/// A message of 2 KiB that may be sent, in a fresh sandbox each time.
async fn messages(engine: &Engine) -> anyhow::Result<Figure> {
    let release = engine.prepare(spec(engine, "guard", "guard-ad-law").await?).await?;
    let text = "【康宁药房】您好，您的订单已发货，预计明天送达，请注意查收。".repeat(24);
    let draft = [Draft { facts: Facts::of(Scope::Subject), parts: vec![text] }];
    let passed = release.guard(&draft).await;
    let clean = passed.answers.first().and_then(|answer| answer.value()).is_some_and(Vec::is_empty);
    anyhow::ensure!(clean, "the message does not pass: {:?}", passed.fault());
    let one = micros!(2_000_u32, 1_u32, black_box(release.guard(&draft).await));
    Ok(Figure::new("message of 2 KiB looked at", one, "µs"))
}

/// Putting a prepared release to work and taking it back, in memory; the durable way is measured with the orders.
fn swaps(engine: &Engine, one: &Arc<Release>, other: &Arc<Release>) -> anyhow::Result<Vec<Figure>> {
    let slot = engine.slot("tier", Kind::TierRule).context("the slot exists")?;
    let activate = micros!(1_000_u32, 2_u32, {
        slot.activate(Arc::clone(one))?;
        slot.activate(Arc::clone(other))?;
    });
    slot.activate(Arc::clone(one))?;
    slot.activate(Arc::clone(other))?;
    let begun = Instant::now();
    slot.rollback().context("there is a release to go back to")?;
    let rollback = begun.elapsed().as_secs_f64() * 1e6;
    Ok(vec![Figure::new("activate in memory", activate, "µs"), Figure::new("rollback in memory", rollback, "µs")])
}

async fn calls(release: &Arc<Release>) -> anyhow::Result<Vec<Figure>> {
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_LIFETIME_NET_SPEND, Value::Integer(123_400));
    let one = [TierSubject { as_of: Timestamp::UNIX_EPOCH, facts: facts.clone() }];
    let batch: Vec<TierSubject> = (0..BATCH).map(|_| one[0].clone()).collect();
    let members: Vec<Facts> = (0..BATCH).map(|_| facts.clone()).collect();
    let bare = Bare::tier(release, &one[0]).map_err(|error| anyhow!("the bare call: {error}"))?;
    let (from, at) = ([0_i64, 19_900, 99_900, 299_900], Timestamp::UNIX_EPOCH);
    let native = micros!(1_000_000_u32, 1_u32, {
        let spend = black_box(123_400_i64);
        black_box(from.iter().rposition(|from| spend >= *from))
    });
    let bare_fresh = micros!(20_000_u32, 1_u32, drop(black_box(bare.fresh())));
    let fresh = micros!(20_000_u32, 1_u32, black_box(release.tier(&one).await));
    let batched = micros!(500_u32, BATCH, black_box(release.tier(&batch).await));
    let columns = micros!(2_000_u32, BATCH, drop(black_box(release.tier_columns(at, &members).await)));
    let mut warm = release.warm();
    let warm_one = micros!(50_000_u32, 1_u32, drop(black_box(warm.tier(&one).await)));
    let warm_columns = micros!(2_000_u32, BATCH, drop(black_box(warm.tier_columns(at, &members).await)));
    Ok(vec![
        Figure::new("call, fresh sandbox (baseline: bare wasmtime)", fresh, "µs").against(bare_fresh),
        Figure::new("call, fresh sandbox (baseline: native)", fresh, "µs").against(native),
        Figure::new("call, warm", warm_one, "µs").against(native),
        Figure::new("batch of 256, fresh, per item", batched, "µs").against(native),
        Figure::new("columns of 256, fresh, per item", columns, "µs").against(native),
        Figure::new("columns of 256, warm, per item", warm_columns, "µs").against(native),
    ])
}

/// Appending a decision, which is apart from the call.
fn recording(dir: &std::path::Path) -> anyhow::Result<Vec<Figure>> {
    let decisions = Decisions::open(&dir.join("decisions"), 64 << 20)?;
    let facts = Facts::of(Scope::Subject).with(&fact::MEMBER_LIFETIME_NET_SPEND, Value::Integer(123_400));
    let call = CallRecord {
        release: ReleaseRef { slot: "tier".to_owned(), number: 1 },
        module: crate::plugin::ModuleDigest::of(b"a module"),
        input: CallInput::Tier(vec![TierSubject { as_of: Timestamp::UNIX_EPOCH, facts }]),
        output: CallOutput::Tier(vec![None]),
        fuel: 4_780,
        elapsed_ns: 5_000,
        fault: None,
    };
    let (id, member) = (DecisionId::from_bits(1), MemberId::from_bits(1));
    let record = DecisionRecord { id, at: Timestamp::UNIX_EPOCH, member, calls: vec![call] };
    let append = micros!(20_000_u32, 1_u32, black_box(decisions.append(&record)?));
    decisions.sync()?;
    Ok(vec![Figure::new("record a decision of one call", append, "µs")])
}
