//! Shortens a failing script: leaves out ever smaller parts as long as what is left still fails.

use super::{
    drive::{Difference, World},
    script::{Line, Step},
    server::Kind,
};

/// Runs that a shrink may take: the last shortest script is good enough after that.
const RUNS_MAX: usize = 250;

/// Replays a script on a new world; the number of lines done when it failed, and the difference.
pub(crate) async fn replay(script: &[Line]) -> Option<(usize, Difference)> {
    let kills = script.iter().any(|line| line.kill.is_some() || matches!(line.step, Step::Crash));
    let mut world = World::start(if kills { Kind::Killed } else { Kind::Here }).await;
    for (at, line) in script.iter().enumerate() {
        if let Err(difference) = world.step(line).await {
            return Some((at + 1, difference));
        }
    }
    world.end().await.err().map(|difference| (script.len(), difference))
}

/// What a difference is about, without names and numbers: a shorter script must fail in the same way.
fn kind(difference: &str) -> String {
    difference.chars().filter(|letter| letter.is_ascii_alphabetic()).take(40).collect()
}

/// The shortest failing script it finds, and its difference.
pub(crate) async fn shrink(script: Vec<Line>, difference: Difference) -> (Vec<Line>, Difference) {
    let (mut script, mut difference) = (script, difference);
    let mut size = script.len().div_ceil(2);
    let mut runs = 0;
    while size > 0 && runs < RUNS_MAX {
        let mut from = 0;
        let mut shorter = false;
        while from < script.len() && runs < RUNS_MAX {
            let to = (from + size).min(script.len());
            let without: Vec<Line> = [&script[..from], &script[to..]].concat();
            runs += 1;
            match replay(&without).await.filter(|(_, found)| kind(found) == kind(&difference)) {
                Some((done, found)) => {
                    script = without[..done].to_vec();
                    difference = found;
                    shorter = true;
                }
                None => from = to,
            }
        }
        if size == 1 && !shorter {
            break;
        }
        size = if size == 1 { 1 } else { size / 2 };
    }
    (script, difference)
}
