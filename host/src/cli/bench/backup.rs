//! A backup of a large store while orders flow, and what the orders notice of it.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{
    Figure,
    orders::{Shop, paid},
    percentile_ms,
};
use crate::{
    backup,
    store::{StoreError, Table},
};

/// Rows that nothing but this reads.
const FILLER: Table<u64, String> = Table::new(0x7F00, "bench-filler.v1");
/// Bytes of one of them, below what is cut into chunks.
const FILLER_BYTES: usize = 3_500;
/// Rows of one commit.
const FILLER_ROWS: u64 = 256;
/// The store is as large as it is after this time.
const FILL_TIME_MAX: Duration = Duration::from_secs(60);
const MEMBERS: usize = 1_000;
/// Clients, each of which begins an order every [`EVERY`]: two hundred a second together.
const CLIENTS: usize = 4;
const EVERY: Duration = Duration::from_millis(20);
/// How long orders flow without a backup.
const ALONE: Duration = Duration::from_secs(10);

pub(super) async fn measure(megabytes: u32) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir()?;
    let shop = Arc::new(Shop::open(dir.path(), MEMBERS).await?);
    let (filled, fill_time) = fill(&shop, u64::from(megabytes) << 20).await?;
    let next = Arc::new(AtomicUsize::new(1));
    let stop = Arc::new(AtomicBool::new(false));
    let alone = tokio::spawn(flow(Arc::clone(&shop), Arc::clone(&next), Arc::clone(&stop)));
    tokio::time::sleep(ALONE).await;
    stop.store(true, Ordering::Relaxed);
    let mut alone = alone.await.context("a client panicked")??;
    let stop = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(flow(Arc::clone(&shop), next, Arc::clone(&stop)));
    let (bytes, took) = backed_up(&shop, &dir.path().join("bench.backup")).await?;
    stop.store(true, Ordering::Relaxed);
    let mut beside = beside.await.context("a client panicked")??;
    let (mut checked, begun) = (0, Instant::now());
    if let Ok(manifest) = backup::check(File::open(dir.path().join("bench.backup"))?) {
        checked = manifest.bytes();
    }
    anyhow::ensure!(checked == bytes, "the backup does not read back");
    let read = begun.elapsed();
    let shop = Arc::into_inner(shop).context("the clients are done")?;
    shop.server.stop().await?;
    let rate = |bytes: u64, time: Duration| mega(bytes) / time.as_secs_f64().max(f64::EPSILON);
    Ok(vec![
        Figure::new("rows written before the backup", mega(filled), "MB"),
        Figure::new("writing them", rate(filled, fill_time), "MB/s"),
        Figure::new("backup while orders flow", took.as_secs_f64(), "s"),
        Figure::new("backup while orders flow, speed", rate(bytes, took), "MB/s"),
        Figure::new("reading the backup to its last bit", rate(bytes, read), "MB/s"),
        Figure::new("200 orders/s, p50 during a backup", percentile_ms(&mut beside, 50), "ms")
            .against(percentile_ms(&mut alone, 50)),
        Figure::new("200 orders/s, p99 during a backup", percentile_ms(&mut beside, 99), "ms")
            .against(percentile_ms(&mut alone, 99)),
    ])
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Writes rows until there are so many bytes, or time is up; how many there are, and how long it took.
async fn fill(shop: &Shop, bytes: u64) -> anyhow::Result<(u64, Duration)> {
    let (store, begun) = (&shop.server.services().store, Instant::now());
    let (mut row, mut written) = (0_u64, 0);
    while written < bytes && begun.elapsed() < FILL_TIME_MAX {
        let first = row;
        let run = store.run::<_, StoreError, _>(Timestamp::UNIX_EPOCH, move |tx| {
            (first..first + FILLER_ROWS).try_for_each(|row| {
                let text = format!("{row:020}").repeat(FILLER_BYTES / 20);
                tx.put(&FILLER, &row, &text)
            })
        });
        run.await?;
        row += FILLER_ROWS;
        written += FILLER_ROWS * FILLER_BYTES as u64;
    }
    Ok((written, begun.elapsed()))
}

async fn backed_up(shop: &Shop, path: &Path) -> anyhow::Result<(u64, Duration)> {
    let (begun, file) = (Instant::now(), File::create(path)?);
    let backup = shop.server.services().begin_backup()?;
    let written = tokio::task::spawn_blocking(move || {
        let manifest = backup.write(&file)?;
        file.sync_all()?;
        anyhow::Ok(manifest.bytes())
    });
    let bytes = written.await.context("the backup panicked")??;
    Ok((bytes, begun.elapsed()))
}

/// Orders at a steady pace until told to stop; how long each took from when it was due.
async fn flow(shop: Arc<Shop>, next: Arc<AtomicUsize>, stop: Arc<AtomicBool>) -> anyhow::Result<Vec<Duration>> {
    let caller = shop.caller().await?;
    let client = || {
        let (shop, next, stop) = (Arc::clone(&shop), Arc::clone(&next), Arc::clone(&stop));
        tokio::spawn(async move {
            let (mut times, mut due) = (Vec::new(), tokio::time::Instant::now());
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep_until(due).await;
                let n = next.fetch_add(1, Ordering::Relaxed);
                let member = shop.members[n % shop.members.len()].parse()?;
                // Numbers of its own: those of the other benchmarks begin at zero.
                paid(shop.server.services(), caller, member, shop.cart(n)?, 1_000_000 + n).await?;
                times.push(due.elapsed());
                due += EVERY;
            }
            anyhow::Ok(times)
        })
    };
    let clients: Vec<_> = (0..CLIENTS).map(|_| client()).collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.context("a client panicked")??);
    }
    Ok(times)
}
