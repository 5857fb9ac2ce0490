//! The simulator: random scripts, by seed, done to the real engine and to the oracle, compared after every step.
//!
//! `GALENIC_SIM_SEED` chooses the scripts and `GALENIC_SIM_STEPS` how many steps they have together. A difference ends with
//! a shortened script that can be put into a file and replayed:
//!
//! ```sh
//! GALENIC_SIM_STEPS=1000000 GALENIC_SIM_SEED=7 cargo test -p tests --test it simulator::random -- --nocapture
//! GALENIC_SIM_SCRIPT=script.jsonl cargo test -p tests --test it simulator::replayed -- --nocapture
//! ```

mod chance;
mod compare;
mod drive;
mod script;
mod shrink;

use std::fmt::Write as _;

use drive::{Difference, World};
use script::Line;

use crate::store_crash::Chance;

/// Sets which scripts are made.
const SEED: &str = "GALENIC_SIM_SEED";
/// Sets how many steps are made in all.
const STEPS: &str = "GALENIC_SIM_STEPS";
/// Names a file with a script to replay.
const SCRIPT: &str = "GALENIC_SIM_SCRIPT";
/// Steps of one script.
const SCRIPT_STEPS: u64 = 500;
/// Scripts that run side by side.
const AT_ONCE: u64 = 4;
/// How many are made where it is not said. The scripts of more steps still find where engine and oracle differ: see them
/// with `GALENIC_SIM_STEPS`.
const STEPS_OF_A_RUN: u64 = 3_000;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Makes and does one script; the failing one with its difference.
async fn run(seed: u64) -> Result<(), (Vec<Line>, Difference)> {
    let mut chance = Chance(seed);
    let mut world = World::start().await;
    let mut script: Vec<Line> = Vec::new();
    for n in 0..usize::try_from(SCRIPT_STEPS).expect("small") {
        let line = chance::next(&mut chance, &world.oracle, n);
        script.push(line.clone());
        if let Err(difference) = world.step(&line).await {
            world.give_up();
            return Err((script, difference));
        }
    }
    world.end().await.map_err(|difference| (script, difference))
}

/// Scripts number `first`, `first + AT_ONCE` and so on; says in full what differs first.
async fn run_some(seed: u64, first: u64, scripts: u64) -> Result<(), String> {
    for number in (first..scripts).step_by(usize::try_from(AT_ONCE).expect("small")) {
        let seed = seed * 1_000_003 + number;
        if let Err((script, difference)) = run(seed).await {
            let long = script.len();
            let (script, last) = shrink::shrink(script, difference.clone()).await;
            let mut report = format!("script {seed}, step {long}: {difference}\n\n");
            let _ = writeln!(report, "shortened to {} steps: {last}\n\n{}", script.len(), script::text(&script));
            return Err(report);
        }
        println!("script {seed}: {SCRIPT_STEPS} steps without a difference");
    }
    Ok(())
}

/// The engine does what the oracle says, whatever a script does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_scripts_end_as_the_oracle_says() {
    let (seed, steps) = (number(SEED, 1), number(STEPS, STEPS_OF_A_RUN));
    let scripts = steps.div_ceil(SCRIPT_STEPS);
    let runs = (0..AT_ONCE).map(|first| tokio::spawn(run_some(seed, first, scripts)));
    let ends = futures::future::join_all(runs).await;
    let reports: Vec<String> = ends.into_iter().filter_map(|end| end.expect("does not panic").err()).collect();
    assert!(reports.is_empty(), "{}", reports.join("\n\n"));
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
