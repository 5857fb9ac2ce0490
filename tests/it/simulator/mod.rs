//! The simulator: random scripts, by seed, done to the real engine and to the oracle, compared after every step.
//!
//! Members join, buy, pay, cancel, are refunded, take gifts and wait, while offers are paused, prescriptions reviewed and
//! rules swapped; requests come twice at once and again later. `GALENIC_SIM_SEED` chooses the scripts and
//! `GALENIC_SIM_STEPS` how many steps they have together; `GALENIC_SIM_KILLED_STEPS` how many are made with the real program,
//! which is killed again and again. A difference ends with a shortened script that can be put into a file and replayed:
//!
//! ```sh
//! GALENIC_SIM_STEPS=1000000 GALENIC_SIM_SEED=7 cargo test -p tests --test it simulator::random -- --nocapture
//! GALENIC_SIM_SCRIPT=script.jsonl cargo test -p tests --test it simulator::replayed -- --nocapture
//! ```

mod chance;
mod compare;
mod drive;
mod look;
mod offers;
mod requests;
mod script;
mod server;
mod shrink;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use drive::{Difference, World};
use script::Line;
use server::Kind;

use crate::store_crash::Chance;

/// Sets which scripts are made.
const SEED: &str = "GALENIC_SIM_SEED";
/// Sets how many steps are made in all.
const STEPS: &str = "GALENIC_SIM_STEPS";
/// Sets how many steps are made with a program that is killed.
const KILLED_STEPS: &str = "GALENIC_SIM_KILLED_STEPS";
/// Names a file with a script to replay.
const SCRIPT: &str = "GALENIC_SIM_SCRIPT";
/// Steps of one script.
const SCRIPT_STEPS: u64 = 500;
/// Scripts that run side by side.
const AT_ONCE: u64 = 4;
/// How many are made where it is not said; more are made with `GALENIC_SIM_STEPS`.
const STEPS_OF_A_RUN: u64 = 10_000;
/// How many are made with kills where it is not said, and how many of these scripts run side by side.
const KILLED_STEPS_OF_A_RUN: u64 = 1_000;
const KILLED_AT_ONCE: u64 = 2;
/// Seconds between two words on how far a run is.
const TOLD_EVERY: u64 = 30;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Makes and does one script; the failing one with its difference.
async fn run(kind: Kind, seed: u64) -> Result<(), (Vec<Line>, Difference)> {
    let mut chance = Chance(seed);
    let mut world = World::start(kind).await;
    let mut script: Vec<Line> = Vec::new();
    for n in 0..usize::try_from(SCRIPT_STEPS).expect("small") {
        let line = chance::next(&mut chance, &world.oracle, kind, n);
        script.push(line.clone());
        if let Err(difference) = world.step(&line).await {
            return Err((script, difference));
        }
    }
    world.end().await.map_err(|difference| (script, difference))
}

/// What all scripts of a run have done together.
struct Progress {
    begun: Instant,
    /// Steps without a difference.
    steps: AtomicU64,
    /// Seconds after the beginning at which it was last told.
    told: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { begun: Instant::now(), steps: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    /// Counts a script, and says how far it is every now and then.
    fn done(&self) {
        let steps = self.steps.fetch_add(SCRIPT_STEPS, Ordering::Relaxed) + SCRIPT_STEPS;
        let (now, told) = (self.begun.elapsed().as_secs(), self.told.load(Ordering::Relaxed));
        if now >= told + TOLD_EVERY
            && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            println!("{steps} steps without a difference after {now} s");
        }
    }
}

/// Does scripts `first`, `first + AT_ONCE` and so on; says in full what differs first.
async fn run_some(
    kind: Kind,
    seed: u64,
    first: u64,
    at_once: u64,
    scripts: u64,
    progress: Arc<Progress>,
) -> Result<(), String> {
    for number in (first..scripts).step_by(usize::try_from(at_once).expect("small")) {
        let seed = seed * 1_000_003 + number;
        if let Err((script, difference)) = run(kind, seed).await {
            let mut report =
                format!("script {seed}, step {}: {difference}\n\n{}\n", script.len(), script::text(&script));
            // Said before it is shortened: that may take long, or never end.
            println!("{report}");
            let (script, last) = shrink::shrink(script, difference).await;
            report = format!("script {seed}, shortened to {} steps: {last}\n\n{}", script.len(), script::text(&script));
            println!("{report}");
            return Err(report);
        }
        progress.done();
    }
    Ok(())
}

/// Makes and does scripts, some at a time.
async fn run_all(kind: Kind, steps: u64, at_once: u64) {
    let (seed, scripts) = (number(SEED, 1), steps.div_ceil(SCRIPT_STEPS));
    let progress = Arc::new(Progress::new());
    let runs =
        (0..at_once).map(|first| tokio::spawn(run_some(kind, seed, first, at_once, scripts, Arc::clone(&progress))));
    let ends = futures::future::join_all(runs).await;
    let reports: Vec<String> =
        ends.into_iter().filter_map(|end| end.unwrap_or_else(|panic| Err(panic.to_string())).err()).collect();
    let done = progress.steps.load(Ordering::Relaxed);
    assert!(reports.is_empty(), "{done} steps agreed, but:\n\n{}", reports.join("\n\n"));
    println!("{done} steps without a difference after {} s", progress.begun.elapsed().as_secs());
}

/// The engine does what the oracle says, whatever a script does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_scripts_end_as_the_oracle_says() {
    run_all(Kind::Here, number(STEPS, STEPS_OF_A_RUN), AT_ONCE).await;
}

/// The same for the real program, which is killed between steps and within them, and asked again with the same keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_scripts_end_as_the_oracle_says() {
    run_all(Kind::Killed, number(KILLED_STEPS, KILLED_STEPS_OF_A_RUN), KILLED_AT_ONCE).await;
}

/// Replays the script of a file. Does nothing in an ordinary run of the tests.
#[tokio::test]
async fn replayed() {
    let Ok(file) = std::env::var(SCRIPT) else { return };
    let script = script::parse(&std::fs::read_to_string(file).expect("a script"));
    if let Some((at, difference)) = shrink::replay(&script).await {
        panic!("after {at} lines: {difference}");
    }
}
