//! Kills the store at random times, pulls the plug, fills the disk: nothing acknowledged is lost, nothing is torn.
//!
//! A child process — this same test binary — commits transfers between accounts and writes an acknowledgement to a pipe
//! for each one that was answered. The parent kills it with SIGKILL at any time, opening included, opens the directory
//! itself and compares it with what was acknowledged. For power loss the child runs on a disk that keeps only what was
//! synced (`power_loss.c`), and the parent opens what that disk kept.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use galenic::{
    clock::Clock,
    store::{SledOptions, Store, StoreError, Table, Tx},
};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Set for the child: the directory to work in.
const CHILD_DIR: &str = "GALENIC_CRASH_DIR";
const CLIENTS: u64 = 4;
const ACCOUNTS: u64 = 12;
/// Rows of one client that always hold the same number.
const MIRRORS: u64 = 5;

/// Sum to zero.
const BALANCES: Table<u64, i64> = Table::new(0x7E01, "crash-balances.v1");
/// Every transfer of a client by number: from, to, amount.
const TRANSFERS: Table<(u64, u64), (u64, u64, i64)> = Table::new(0x7E02, "crash-transfers.v1");
/// The number of a client's last transfer, in several rows.
const LAST: Table<(u64, u64), u64> = Table::new(0x7E03, "crash-last.v1");
/// The same in one value that takes several chunks.
const LARGE: Table<u64, Vec<u64>> = Table::new(0x7E04, "crash-large.v1");

/// The only source of chance here: a round repeats as far as the kernel's scheduling does.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn options() -> SledOptions {
    SledOptions { cache_bytes: 8 << 20, reserve_bytes: 0, ..SledOptions::standard() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, options(), Vec::new()).unwrap_or_else(|error| panic!("it always opens, but: {error}"))
}

/// One transfer of `client`; answers its number.
fn transfer(client: u64, tx: &mut Tx<'_>) -> Result<u64, StoreError> {
    let number = tx.get(&LAST, &(client, 0))?.unwrap_or(0) + 1;
    let mut chance = Chance(client << 32 | number);
    let (from, to) = (chance.below(ACCOUNTS), chance.below(ACCOUNTS));
    let amount = 1 + chance.below(500).cast_signed();
    for (account, change) in [(from, -amount), (to, amount)] {
        let balance = tx.get(&BALANCES, &account)?.unwrap_or(0);
        tx.put(&BALANCES, &account, &(balance + change))?;
    }
    tx.put(&TRANSFERS, &(client, number), &(from, to, amount))?;
    for mirror in 0..MIRRORS {
        tx.put(&LAST, &(client, mirror), &number)?;
    }
    if number % 4 == 0 {
        let length = 1_000 + chance.below(3_000);
        tx.put(&LARGE, &client, &vec![u64::MAX - number; usize::try_from(length).unwrap_or(0)])?;
    }
    Ok(number)
}

/// The child: transfers until it is killed. Does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&dir));
        say("\nopen");
        let mut tasks = JoinSet::new();
        tasks.spawn(read_for_ever(store.clone()));
        for client in 0..CLIENTS {
            tasks.spawn(transfer_for_ever(store.clone(), client));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}

async fn transfer_for_ever(store: Store, client: u64) {
    loop {
        let number = store.run(Clock::System.now(), move |tx| transfer(client, tx)).await.unwrap();
        say(&format!("done {client} {number}"));
    }
}

/// What a read saw is acknowledged as well, whoever wrote it.
async fn read_for_ever(store: Store) {
    for client in (0..CLIENTS).cycle() {
        if let Some(number) = store.read(move |tx| tx.get(&LAST, &(client, 0))).await.unwrap() {
            say(&format!("done {client} {number}"));
        }
        tokio::task::yield_now().await;
    }
}

/// One write per line: a kill never leaves half of one in the pipe.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A running child, killed when dropped.
struct Running {
    process: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn start(dir: &Path, disk: Option<&Disk>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "store_crash::child", "--nocapture", "--test-threads=1"]).env(CHILD_DIR, dir);
        if let Some(disk) = disk {
            command.env("LD_PRELOAD", &disk.library).env("POWER_LOSS_DIR", dir).env("POWER_LOSS_IMAGE", &disk.image);
            if disk.deaf {
                command.env("POWER_LOSS_DEAF", "1");
            }
        }
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = process.stdout.take().map(BufReader::new);
        Self { process, output }
    }

    /// Kills the child `delay` after it was started, or after it opened the store; returns the last acknowledged
    /// transfer of each client.
    fn kill(mut self, after_open: bool, delay: Duration) -> Acknowledged {
        let mut output = self.output.take().unwrap();
        let mut line = String::new();
        while after_open && line.trim() != "open" {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "the child opens the store");
        }
        let reader = thread::spawn(move || {
            let mut acknowledged = Acknowledged::new();
            for line in output.lines().map_while(Result::ok) {
                if let Some((client, number)) = line.strip_prefix("done ").and_then(|done| done.split_once(' ')) {
                    let last = acknowledged.entry(client.parse().unwrap()).or_default();
                    *last = number.parse::<u64>().unwrap().max(*last);
                }
            }
            acknowledged
        });
        thread::sleep(delay);
        drop(self);
        reader.join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let still_running = self.process.try_wait().unwrap().is_none();
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        assert!(still_running || thread::panicking(), "the child ended by itself");
    }
}

/// The last acknowledged transfer by client.
type Acknowledged = BTreeMap<u64, u64>;

/// Opens `dir`, holds it against itself, and returns the last transfer by client.
fn check(dir: &Path) -> Acknowledged {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = open(dir);
        let mut kept = Acknowledged::new();
        let mut expected = BTreeMap::<u64, i64>::new();
        let each = |(client, number), row: galenic::store::Row<(u64, u64, i64)>| {
            let last = kept.entry(client).or_default();
            assert_eq!(number, *last + 1, "no transfer of client {client} is missing");
            *last = number;
            let (from, to, amount) = row.value;
            *expected.entry(from).or_default() -= amount;
            *expected.entry(to).or_default() += amount;
            Ok::<_, StoreError>(())
        };
        store.for_each(TRANSFERS, each).await.unwrap();
        let mut balances = BTreeMap::new();
        let each = |account, row: galenic::store::Row<i64>| {
            balances.insert(account, row.value);
            Ok::<_, StoreError>(())
        };
        store.for_each(BALANCES, each).await.unwrap();
        assert_eq!(balances.values().sum::<i64>(), 0, "money is neither made nor lost");
        assert_eq!(balances, expected, "balances are the sum of the transfers");
        assert_eq!(store.stats().seq, kept.values().sum::<u64>(), "every commit has its number");
        for (&client, &last) in &kept {
            for mirror in 0..MIRRORS {
                let mirrored = store.read(move |tx| tx.get(&LAST, &(client, mirror))).await;
                assert_eq!(mirrored.unwrap(), Some(last), "the rows of a commit stay together");
            }
            let large = store.read(move |tx| tx.get(&LARGE, &client)).await.unwrap().unwrap_or_default();
            let expected = u64::MAX - (last - last % 4);
            assert!(large.iter().all(|&number| number == expected), "a large value is of one commit");
            assert_eq!(large.is_empty(), last < 4);
        }
        kept
    })
}

/// Panics if something acknowledged is gone.
fn nothing_is_lost(acknowledged: &Acknowledged, kept: &Acknowledged, round: u64) {
    for (client, number) in acknowledged {
        let kept = kept.get(client).copied().unwrap_or(0);
        assert!(kept >= *number, "round {round}: client {client} was told {number}, the store holds {kept}");
    }
}

/// Half of the kills come at any time since the start, the others while transfers run.
fn when_to_kill(chance: &mut Chance) -> (bool, Duration) {
    let after_open = chance.below(2) == 0;
    let span = if after_open { 90_000 } else { 60_000 };
    (after_open, Duration::from_micros(chance.below(span)))
}

#[test]
fn two_hundred_kills_lose_and_tear_nothing() {
    let mut chance = Chance(1);
    let mut dir = TempDir::new().unwrap();
    let mut told = Acknowledged::new();
    let (mut transfers, mut rounds_with_transfers) = (0, 0);
    for round in 0..200 {
        if chance.below(40) == 0 {
            dir = TempDir::new().unwrap();
            told.clear();
        }
        let (after_open, delay) = when_to_kill(&mut chance);
        let acknowledged = Running::start(dir.path(), None).kill(after_open, delay);
        rounds_with_transfers += u64::from(!acknowledged.is_empty());
        told.extend(acknowledged);
        let kept = check(dir.path());
        nothing_is_lost(&told, &kept, round);
        transfers = transfers.max(kept.values().sum());
    }
    println!("transfers ran in {rounds_with_transfers} of 200 rounds, at most {transfers} in one directory");
    assert!(rounds_with_transfers >= 40, "kills come too early to prove anything");
}

/// A disk that keeps only what was synced.
struct Disk {
    library: PathBuf,
    /// What it kept.
    image: PathBuf,
    /// Whether it ignores `fdatasync`.
    deaf: bool,
    _dir: TempDir,
}

impl Disk {
    fn new(deaf: bool) -> Self {
        let dir = TempDir::new().unwrap();
        let (library, image) = (dir.path().join("power_loss.so"), dir.path().join("image"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/power_loss.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        let compiled = compiler.args(["-ldl", "-lpthread"]).status().expect("a C compiler, as for linking Rust");
        assert!(compiled.success());
        fs::create_dir_all(image.join("blobs")).unwrap();
        Self { library, image, deaf, _dir: dir }
    }

    /// Adds pages that the disk wrote without being asked: some of those in which `dir` is ahead of what was synced.
    fn write_back_some(&self, dir: &Path, chance: &mut Chance) {
        const PAGE: usize = 4096;
        let (live, image) = (fs::read(dir.join("db")), fs::read(self.image.join("db")));
        let (Ok(live), Ok(mut image)) = (live, image) else { return };
        image.resize(image.len().max(live.len()), 0);
        for (kept, written) in image.chunks_mut(PAGE).zip(live.chunks(PAGE)) {
            if chance.below(2) == 0 {
                kept[..written.len()].copy_from_slice(written);
            }
        }
        fs::write(self.image.join("db"), image).unwrap();
    }

    /// Makes `dir` what the disk kept.
    fn restore(&self, dir: &Path) {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
        for entry in fs::read_dir(&self.image).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            if entry.file_type().unwrap().is_file() && !name.to_string_lossy().ends_with(".aside") {
                fs::copy(entry.path(), dir.join(&name)).unwrap();
            }
        }
        assert_eq!(fs::read_dir(self.image.join("blobs")).unwrap().count(), 0, "all values are in the log");
    }
}

/// Power losses in one directory; how many of them lost something acknowledged.
fn power_losses(disk: &Disk, rounds: u64, seed: u64, stop_at_a_loss: bool) -> u64 {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().canonicalize().unwrap().join("store");
    fs::create_dir(&dir).unwrap();
    let mut chance = Chance(seed);
    let mut told = Acknowledged::new();
    let (mut losses, mut rounds_with_transfers) = (0, 0);
    for round in 0..rounds {
        let (after_open, delay) = when_to_kill(&mut chance);
        let acknowledged = Running::start(&dir, Some(disk)).kill(after_open, delay);
        rounds_with_transfers += u64::from(!acknowledged.is_empty());
        told.extend(acknowledged);
        if round % 2 == 1 {
            disk.write_back_some(&dir, &mut chance);
        }
        disk.restore(&dir);
        let kept = check(&dir);
        losses += u64::from(told.iter().any(|(client, number)| kept.get(client).copied().unwrap_or(0) < *number));
        if !stop_at_a_loss {
            nothing_is_lost(&told, &kept, round);
        } else if losses > 0 {
            break;
        }
        // The check wrote nothing that counts: the disk is as the power loss left it.
        disk.restore(&dir);
    }
    println!("transfers ran in {rounds_with_transfers} of {rounds} rounds, {losses} of them lost some");
    losses
}

#[test]
fn thirty_power_losses_lose_nothing() {
    assert_eq!(power_losses(&Disk::new(false), 30, 2, false), 0);
}

/// The same rounds on a disk that does not hear the store's own data sync: sled's flushes alone do not hold.
#[test]
fn the_power_loss_rounds_notice_a_missing_sync() {
    assert_eq!(power_losses(&Disk::new(true), 30, 2, true), 1);
}

/// A small file system, unmounted when dropped; `None` where mounting is not permitted.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=20m", "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Failing here would hide the failure of the test; the mount goes with the machine's next start.
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_reads_on_and_recovers() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: this user may not mount a file system of 20 MB");
        return;
    };
    let (dir, ballast) = (disk.0.path().join("store"), disk.0.path().join("ballast"));
    fs::write(&ballast, vec![0; 6 << 20]).unwrap();
    let open = || Store::open(&dir, SledOptions { reserve_bytes: 5 << 20, ..options() }, Vec::new()).unwrap();
    let put = |store: &Store, number: u64| {
        let store = store.clone();
        async move { store.run(Clock::System.now(), move |tx| tx.put(&LARGE, &number, &vec![number; 500])).await }
    };
    let store = open();
    let begun = Instant::now();
    let mut written = 0;
    let refused = loop {
        match put(&store, written).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "20 MB are soon full");
    };
    assert!(matches!(refused, StoreError::DiskFull { reserve: 5_242_880, .. }), "{refused}");
    assert!(store.read(|tx| tx.get(&LARGE, &0)).await.unwrap().is_some(), "reads go on");
    drop(store);

    let store = open();
    assert_eq!(store.for_each(LARGE, |_, _| Ok::<_, StoreError>(())).await.unwrap(), written);
    assert!(matches!(put(&store, written).await, Err(StoreError::DiskFull { .. })));
    fs::remove_file(&ballast).unwrap();
    // The disk is looked at once a second.
    let freed = Instant::now();
    while let Err(error) = put(&store, written).await {
        assert!(matches!(error, StoreError::DiskFull { .. }) && freed.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
