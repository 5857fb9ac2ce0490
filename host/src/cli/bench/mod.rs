//! `galenic bench`: what a call, a swap, a paid order, a touch, a timer and a night of tiers cost, each beside a baseline
//! of the same minute.
//!
//! Writes a list of figures for each part, `touches.json`, `plugins.json` and so on: `name`, `value`, `unit`, `baseline`,
//! `ratio`. The baseline stands in the same unit; the ratio is value by baseline. Beside `growth.json` lies a plot.

mod backup;
mod books;
mod commits;
mod flash;
mod growth;
mod orders;
mod plugins;
mod postgres;
mod quotes;
mod tiers;
mod timers;
mod touches;
mod wire;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

/// What to measure and where to write it.
#[derive(Args)]
pub(super) struct BenchArgs {
    /// Where the figures go.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Members, each of whom places one order.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(16..=100_000))]
    orders: u32,
    /// Megabytes of rows in the store that is backed up; fewer, if it takes longer than a minute to write them.
    #[arg(long, value_name = "MB", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    backup_mb: u32,
    /// Timers that wait while ten thousand fire.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    timers: u32,
    /// Touches that are due at once.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    touches: u32,
    /// Members whose tiers a night judges again, that a deployment grows to, and whose books are opened: a million takes
    /// half an hour.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    members: u32,
    /// Measures one of them alone.
    #[arg(long, value_name = "WHAT", value_parser = ["touches", "plugins", "orders", "quotes", "flash", "postgres", "growth", "backup", "timers", "tiers", "books"])]
    only: Option<String>,
}

/// One figure.
#[derive(Serialize)]
struct Figure {
    name: Cow<'static, str>,
    value: f64,
    unit: &'static str,
    baseline: Option<f64>,
    ratio: Option<f64>,
}

impl Figure {
    fn new(name: impl Into<Cow<'static, str>>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, baseline: None, ratio: None }
    }

    fn against(self, baseline: f64) -> Self {
        Self { baseline: Some(baseline), ratio: Some(self.value / baseline), ..self }
    }
}

/// Measures everything.
pub(super) async fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| only == name);
    // First, while the process is as small as a server that just started.
    if wanted("touches") {
        write(&args.out, "touches", &touches::measure(args.touches).await?)?;
    }
    if wanted("plugins") {
        write(&args.out, "plugins", &plugins::measure().await?)?;
    }
    if wanted("orders") {
        write(&args.out, "orders", &orders::measure(args.orders).await?)?;
    }
    if wanted("quotes") {
        write(&args.out, "quotes", &quotes::measure().await?)?;
    }
    if wanted("flash") {
        write(&args.out, "flash", &flash::measure().await?)?;
    }
    if wanted("postgres") {
        write(&args.out, "postgres", &postgres::measure().await?)?;
    }
    if wanted("growth") {
        write(&args.out, "growth", &growth::measure(args.members, &args.out).await?)?;
    }
    if wanted("backup") {
        write(&args.out, "backup", &backup::measure(args.backup_mb).await?)?;
    }
    if wanted("timers") {
        write(&args.out, "timers", &timers::measure(args.timers).await?)?;
    }
    if wanted("tiers") {
        write(&args.out, "tiers", &tiers::measure(args.members).await?)?;
    }
    if wanted("books") {
        write(&args.out, "books", &books::measure(args.members).await?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(dir: &Path, name: &str, figures: &[Figure]) -> anyhow::Result<()> {
    for figure in figures {
        let baseline = figure.baseline.map(|baseline| format!("baseline {baseline:.3}")).unwrap_or_default();
        let ratio = figure.ratio.map(|ratio| format!("ratio {ratio:.2}")).unwrap_or_default();
        println!("{:<44} {:>12.3} {:<10} {baseline:<22} {ratio}", figure.name, figure.value, figure.unit);
    }
    let path = dir.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The time that so many of a hundred stay within, in milliseconds.
fn percentile_ms(times: &mut [Duration], share: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * share / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// How much memory the process has, in megabytes: `VmRSS:` now, `VmHWM:` at most.
fn memory_mb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}
