//! `galenic demo`: a year of real purchases through the engine, over HTTP, as a partner would drive it.
//!
//! The demo starts the server in this process on a free port, on a clock that it moves by eighteen hours: now it is
//! morning, now night. Everything of one tick happens concurrently, except that each member does one thing after the
//! other. Half-way the tier rule and the coupon policy are swapped while that tick's orders flow. Timers fire as the clock moves, and members are written
//! to through a loopback SMS gateway and a real SMTP server. At the end the year is counted again from its orders, and
//! the first members go on for three weeks with what it did not show (`showcase/`).

pub(super) mod client;
mod gateway;
mod history;
mod messages;
pub(super) mod operator;
mod recount;
mod report;
mod shop;
mod showcase;

use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

use self::{
    history::History,
    messages::Vendors,
    operator::Operator,
    report::Report,
    shop::{Shop, Task},
};
use super::config::{Config, Secrets};
use crate::{
    app::{App, Running},
    clock::Clock,
    ids::Ids,
};

/// How far the clock moves at once.
const TICK_HOURS: i64 = 18;
/// What happens at once, at most.
const CONCURRENT_MAX: usize = 64;
/// When a parcel leaves, arrives, and some of it comes back, in ticks after the order.
const SHIPPED_AFTER: u64 = 1;
const DELIVERED_AFTER: u64 = 3;
const REFUNDED_AFTER: u64 = 10;
/// How long the clock goes on after the last order, in ticks.
const SETTLING_TICKS: u64 = 10;

/// What to replay.
#[derive(Args)]
pub(super) struct DemoArgs {
    /// Where the data lie: a directory that is empty or does not exist. A temporary one where it is not said.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only the first so many members; all 1,471 where it is not said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    members: Option<u64>,
    /// End with one line of JSON that holds the same as the table.
    #[arg(long)]
    json: bool,
    /// Leave the data in place.
    #[arg(long)]
    keep: bool,
}

/// Runs the demo: exit code 0 if no call failed and the books close.
pub(super) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let history = History::load(args.members.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))?;
    ensure!(!history.orders.is_empty(), "these members bought nothing");
    let temporary = tempfile::Builder::new().prefix("galenic-demo-").tempdir()?;
    let data = args.data.clone().unwrap_or_else(|| temporary.path().join("data"));
    let taken = data.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    ensure!(!taken, "{} is not empty: the demo needs a directory of its own", data.display());
    let begun = Instant::now();
    let vendors = Vendors::start().await?;
    let (server, secret) = start(data.clone(), history.orders[0].at, &vendors).await?;
    let report = replay(&server, history, &secret, &vendors).await;
    server.stop().await.context("the server did not stop in order")?;
    let report = report?;
    report.print(begun.elapsed(), args.json);
    if args.keep {
        println!("data kept in {}", data.display());
        let _kept = temporary.keep();
    } else if args.data.is_some() {
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot remove {}", data.display()))?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The server, and the operator's key.
async fn start(data: PathBuf, at: Timestamp, vendors: &Vendors) -> anyhow::Result<(Running, String)> {
    let mut config = Config::standard();
    config.store.data = data;
    config.store.cache_mb = 32;
    config.log.level = "warn".to_owned();
    config.limits.requests_per_second = 0;
    super::start_log(&config.log)?;
    let secret: String = Ids::random().bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut secrets = Secrets { operator_key: Some(secret.clone()), ..Secrets::default() };
    vendors.configure(&mut config, &mut secrets);
    let app = App::open(config, &secrets, Clock::manual(at), Ids::seeded(history::SEED)).await?;
    Ok((app.start(SocketAddr::from(([127, 0, 0, 1], 0))).await?, secret))
}

/// What is to be done at each tick: the member's index and the task, in order for each member.
type Agenda = BTreeMap<u64, Vec<(usize, Task)>>;

async fn replay(server: &Running, history: History, secret: &str, vendors: &Vendors) -> anyhow::Result<Report> {
    let operator = Operator::new(format!("http://{}", server.address()), secret)?;
    let partner = operator.partner("shop").await?;
    operator.apply(include_str!("../../../deploy/tiers-c1.json")).await?;
    let welcome = operator.offers().await?;
    operator.short_lived_points().await?;
    vendors.open(&operator).await?;
    let start = history.orders[0].at;
    let mut agenda = agenda(&history, start);
    let (orders, half) = (history.orders.len() as u64, agenda.keys().nth(agenda.len() / 2).copied().unwrap_or(0));
    let shop = Arc::new(Shop::new(partner, operator.pharmacist(secret)?, history, welcome)?);
    let mut prices: Vec<i64> = shop.history.products.iter().map(|item| item.list_price).collect();
    let whole: Vec<(usize, i64)> = prices.iter().copied().enumerate().collect();
    shop.import(&whole).await?;
    let bar = report::progress(orders);
    let (begun, mut swapped, mut now) = (Instant::now(), None, start);
    while let Some((tick, tasks)) = agenda.pop_first() {
        now = instant(start, tick)?;
        operator.clock(now).await?;
        reprice(&shop, &tasks, &mut prices).await?;
        let follow_up = if swapped.is_none() && tick >= half {
            let before = shop.members_by_tier().await?;
            shop.keep_tiers(now, before.clone());
            let (done, swap) = tokio::join!(do_all(&shop, tasks, tick, now), operator.swap());
            swapped = Some((before, swap?));
            done
        } else {
            do_all(&shop, tasks, tick, now).await
        };
        for (tick, member, task) in follow_up {
            agenda.entry(tick).or_default().push((member, task));
        }
        bar.set_position(shop.tally().orders);
    }
    // What waits for the morning or for the next day goes, too.
    for _ in 0..SETTLING_TICKS {
        now = now.checked_add(SignedDuration::from_hours(TICK_HOURS))?;
        operator.clock(now).await?;
    }
    bar.finish_and_clear();
    let (tiers_before, swaps) = swapped.context("the history is too short for a swap")?;
    let elapsed = begun.elapsed();
    let tiers_after = shop.members_by_tier().await?;
    let tiers = (tiers_before, tiers_after);
    let mut report = Report::collect(&shop, &operator, vendors, tiers, swaps, (elapsed, now)).await?;
    let begun = Instant::now();
    let rest = showcase::play(&shop, &operator, now).await?;
    report.close(&shop, &operator, rest, begun.elapsed()).await?;
    Ok(report)
}

/// When a tick begins.
fn instant(start: Timestamp, tick: u64) -> anyhow::Result<Timestamp> {
    let hours = i64::try_from(tick)? * TICK_HOURS;
    Ok(start.checked_add(SignedDuration::from_hours(hours))?)
}

/// Members join on the day of their first order; orders come at their time.
fn agenda(history: &History, start: Timestamp) -> Agenda {
    let (mut agenda, mut joined) = (Agenda::new(), HashSet::new());
    for (index, order) in history.orders.iter().enumerate() {
        let hours = order.at.duration_since(start).as_hours();
        let tasks = agenda.entry(u64::try_from(hours / TICK_HOURS).unwrap_or(0)).or_default();
        if joined.insert(order.member) {
            tasks.push((order.member, Task::Join));
        }
        tasks.push((order.member, Task::Buy(index)));
    }
    agenda
}

/// The catalogue follows the prices of the history.
async fn reprice(shop: &Shop, tasks: &[(usize, Task)], prices: &mut [i64]) -> anyhow::Result<()> {
    let mut changed = BTreeMap::new();
    for (_, task) in tasks {
        let Task::Buy(order) = task else { continue };
        for (product, _, price) in &shop.history.orders[*order].lines {
            if prices[*product] != *price {
                changed.insert(*product, *price);
            }
        }
    }
    for (product, price) in &changed {
        prices[*product] = *price;
    }
    shop.import(&changed.into_iter().collect::<Vec<_>>()).await
}

/// Does everything of a tick; what follows from it, with its tick. A call that fails is counted by the client, and what
/// the member would have done after it in this tick is left out.
async fn do_all(shop: &Arc<Shop>, tasks: Vec<(usize, Task)>, tick: u64, now: Timestamp) -> Vec<(u64, usize, Task)> {
    let mut by_member: BTreeMap<usize, Vec<Task>> = BTreeMap::new();
    for (member, task) in tasks {
        by_member.entry(member).or_default().push(task);
    }
    let (mut running, mut follow_up) = (JoinSet::new(), Vec::new());
    for (member, tasks) in by_member {
        if running.len() >= CONCURRENT_MAX
            && let Some(done) = running.join_next().await
        {
            follow_up.extend(done.unwrap_or_default());
        }
        running.spawn(do_member(Arc::clone(shop), member, tasks, (tick, now)));
    }
    follow_up.extend(running.join_all().await.into_iter().flatten());
    follow_up
}

async fn do_member(
    shop: Arc<Shop>,
    member: usize,
    tasks: Vec<Task>,
    when: (u64, Timestamp),
) -> Vec<(u64, usize, Task)> {
    let mut follow_up = Vec::new();
    for task in tasks {
        match do_one(&shop, member, &task, when).await {
            Ok(more) => follow_up.extend(more),
            Err(_counted) => break,
        }
    }
    follow_up
}

async fn do_one(
    shop: &Shop,
    member: usize,
    task: &Task,
    (tick, now): (u64, Timestamp),
) -> anyhow::Result<Vec<(u64, usize, Task)>> {
    match task {
        Task::Join => shop.join(member, now).await.map(|()| Vec::new()),
        Task::Buy(index) => {
            let bought = shop.buy(*index, now).await?;
            let mut more = vec![
                (tick + SHIPPED_AFTER, member, Task::Ship(bought.clone())),
                (tick + DELIVERED_AFTER, member, Task::Deliver(bought.clone())),
            ];
            if shop.history.orders[*index].comes_back {
                more.push((tick + REFUNDED_AFTER, member, Task::Refund(bought)));
            }
            Ok(more)
        }
        step => shop.step(step, member, now).await.map(|()| Vec::new()),
    }
}
