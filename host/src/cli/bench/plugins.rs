//! Calls of `tier-spend`: through the engine, bare, and as a native function.

use std::{hint::black_box, sync::Arc, time::Instant};

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use super::Figure;
use crate::{
    domain::{
        fact::{self, Facts, Scope, Value},
        order::ReleaseRef,
        rule::{Kind, TierSubject},
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
    let plugin = Embedded::find("tier-spend").context("tier-spend is not built in")?;
    let module = engine.admit(plugin.component).await?;
    let spec = ReleaseSpec {
        slot: "tier".into(),
        number: 1,
        module,
        config: serde_json::from_str(plugin.config)?,
        grants: Grants::default(),
        budgets: Budgets::standard(),
        fallback: Fallback::Skip,
        previous: None,
    };
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
    figures.extend(recording(dir.path())?);
    Ok(figures)
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
