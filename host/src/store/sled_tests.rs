//! What only a directory can show: opening, groups, barriers, failures.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
};

use futures::future::join_all;
use tempfile::TempDir;

use super::{
    conformance::{at, test_options},
    *,
};

const COUNTS: Table<u64, i64> = Table::new(24, "counts.v1");
const TEXTS: Table<(String, u64), String> = Table::new(25, "texts.v1");

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, test_options(), Vec::new())
}

async fn put(store: &Store, key: u64) -> Result<(), StoreError> {
    store.run(at(0), move |tx| tx.put(&COUNTS, &key, &1)).await
}

/// A barrier that waits for permission, can fail, and counts.
#[derive(Default)]
struct Gate {
    permits: Option<Mutex<mpsc::Receiver<()>>>,
    fails: AtomicBool,
    syncs: AtomicUsize,
}

impl Barrier for Gate {
    fn sync(&self) -> io::Result<()> {
        if let Some(permits) = &self.permits {
            permits.lock().unwrap().recv().unwrap();
        }
        self.syncs.fetch_add(1, SeqCst);
        if self.fails.load(SeqCst) { Err(io::Error::other("the journal is gone")) } else { Ok(()) }
    }
}

fn gated() -> (Arc<Gate>, mpsc::Sender<()>) {
    let (permit, permits) = mpsc::channel();
    (Arc::new(Gate { permits: Some(Mutex::new(permits)), ..Gate::default() }), permit)
}

#[tokio::test]
async fn a_store_opens_where_it_was_closed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, 1).await.unwrap();
    put(&store, 2).await.unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Locked { .. })), "one store at a time");
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.stats().seq, 2);
    put(&store, 3).await.unwrap();
    let rows = store.read(|tx| tx.scan_rows(&COUNTS, &Scan::all())).await.unwrap();
    assert_eq!(rows.iter().map(|(key, row)| (*key, row.seq.get())).collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 3)]);
}

#[tokio::test]
async fn half_written_snapshots_are_no_obstacle() {
    let dir = TempDir::new().unwrap();
    put(&open(dir.path()).unwrap(), 1).await.unwrap();
    let torn = dir.path().join("snap.00000000000003E8.generating");
    fs::write(&torn, [7; 11]).unwrap();
    let store = open(dir.path()).unwrap();
    assert!(!torn.exists());
    assert_eq!(store.read(|tx| tx.get(&COUNTS, &1)).await.unwrap(), Some(1));
}

/// Setting up a directory is not one atomic step: a power loss in between can leave files cut short.
#[test]
fn a_set_up_that_was_cut_short_is_done_again() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("galenic.lock"), "galenic store, being set up\n").unwrap();
    fs::write(dir.path().join("conf"), "segment_s").unwrap();
    fs::write(dir.path().join("db"), [7; 1_000]).unwrap();
    drop(open(dir.path()).unwrap());
    assert_eq!(fs::read_to_string(dir.path().join("galenic.lock")).unwrap(), "galenic store, ready\n");
    drop(open(dir.path()).unwrap());
}

/// A backup holds the data, and perhaps not the lock file.
#[tokio::test]
async fn a_directory_without_its_lock_file_is_opened() {
    let dir = TempDir::new().unwrap();
    put(&open(dir.path()).unwrap(), 1).await.unwrap();
    fs::remove_file(dir.path().join("galenic.lock")).unwrap();
    for _ in 0..2 {
        let store = open(dir.path()).unwrap();
        assert_eq!(store.read(|tx| tx.get(&COUNTS, &1)).await.unwrap(), Some(1));
    }
}

#[test]
fn another_format_is_refused_with_a_way_out() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()).unwrap());
    let write = |key: &[u8], value: &[u8]| {
        let db = ::sled::open(dir.path()).unwrap();
        db.insert(key, value).unwrap();
        db.flush().unwrap();
    };
    write(&table::own_key("format"), &9u32.to_be_bytes());
    let error = open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("format 9") && error.contains("restore a backup"), "{error}");
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let dir = TempDir::new().unwrap();
    let db = ::sled::open(dir.path()).unwrap();
    db.insert("their", "data").unwrap();
    drop(db);
    assert!(matches!(open(dir.path()), Err(OpenError::NotAStore { .. })));
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&file), Err(OpenError::Io { .. })));
}

/// What waits while the writer is busy shares one batch and one data sync, and is answered together.
#[tokio::test]
async fn a_group_has_one_data_sync() {
    let dir = TempDir::new().unwrap();
    let (gate, permit) = gated();
    let store = Store::open(dir.path(), test_options(), vec![gate.clone()]).unwrap();
    let first = tokio::spawn({
        let store = store.clone();
        async move { put(&store, 0).await }
    });
    while store.stats().groups == 0 {
        tokio::task::yield_now().await;
    }
    let mut rest = Box::pin(join_all((1..=20).map(|key| put(&store, key))));
    assert!(futures::poll!(&mut rest).is_pending());
    assert_eq!(store.stats().waiting, 20);
    (0..2).for_each(|_| permit.send(()).unwrap());
    first.await.unwrap().unwrap();
    assert!(rest.await.iter().all(Result::is_ok));
    let stats = store.stats();
    assert_eq!((stats.groups, stats.batches, stats.data_syncs, stats.commits), (2, 2, 2, 21));
    assert_eq!(stats.group_sizes[5], 1, "one group of 20");
    assert_eq!(gate.syncs.load(SeqCst), 2);

    store.read(|tx| tx.get(&COUNTS, &1)).await.unwrap();
    permit.send(()).unwrap();
    store.run(at(0), |tx| tx.get(&COUNTS, &1)).await.unwrap();
    assert_eq!(store.stats().data_syncs, 2, "what writes nothing needs no sync");
    permit.send(()).unwrap();
}

/// A transaction is whole in one batch, whatever the size of its group.
#[tokio::test]
async fn large_groups_are_several_batches_and_still_one_sync() {
    let dir = TempDir::new().unwrap();
    let (gate, permit) = gated();
    let store = Store::open(dir.path(), test_options(), vec![gate]).unwrap();
    let first = put(&store, 0);
    let many = (1..=5u64).map(|part| {
        store.run(at(0), move |tx| {
            let seen = tx.scan(&COUNTS, &Scan::all().limit(SCAN_ROWS_MAX))?.len() as u64;
            (0..200).try_for_each(|row| tx.put(&COUNTS, &(part * 1_000 + row), &1))?;
            Ok::<_, StoreError>(seen)
        })
    });
    let mut all = Box::pin(async { tokio::join!(first, join_all(many)) });
    assert!(futures::poll!(&mut all).is_pending());
    (0..6).for_each(|_| permit.send(()).unwrap());
    let (first, many) = all.await;
    first.unwrap();
    let seen: Vec<u64> = many.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, [1, 201, 401, 601, 801], "each sees those before it, applied or not");
    let stats = store.stats();
    assert!(stats.batches > stats.data_syncs && stats.data_syncs <= 2, "{stats:?}");
}

#[tokio::test]
async fn a_barrier_that_fails_poisons_the_store() {
    let dir = TempDir::new().unwrap();
    let gate = Arc::new(Gate::default());
    let store = Store::open(dir.path(), test_options(), vec![gate.clone()]).unwrap();
    put(&store, 1).await.unwrap();
    gate.fails.store(true, SeqCst);
    let error = put(&store, 2).await.unwrap_err();
    assert!(matches!(&error, StoreError::Poisoned { reason } if reason.contains("the journal is gone")), "{error}");
    gate.fails.store(false, SeqCst);
    assert!(matches!(put(&store, 3).await, Err(StoreError::Poisoned { .. })), "it is never tried again");
    assert!(matches!(store.read(|tx| tx.get(&COUNTS, &1)).await, Err(StoreError::Poisoned { .. })));
    assert!(matches!(store.failed().await, StoreError::Poisoned { .. }));
    assert!(matches!(store.close().await, Err(StoreError::Poisoned { .. })));

    let store = open(dir.path()).unwrap();
    let rows = store.read(|tx| tx.scan(&COUNTS, &Scan::all())).await.unwrap();
    assert_eq!(rows, [(1, 1)], "nothing is applied before its barriers");
}

#[tokio::test]
async fn too_many_waiting_commands_are_refused() {
    let dir = TempDir::new().unwrap();
    let (gate, permit) = gated();
    let options = SledOptions { waiting_max: 4, ..test_options() };
    let store = Store::open(dir.path(), options, vec![gate]).unwrap();
    let mut first = Box::pin(put(&store, 0));
    assert!(futures::poll!(&mut first).is_pending());
    while store.stats().groups == 0 {
        tokio::task::yield_now().await;
    }
    let mut rest = Box::pin(join_all((1..=4).map(|key| put(&store, key))));
    assert!(futures::poll!(&mut rest).is_pending());
    assert!(matches!(put(&store, 9).await, Err(StoreError::Overloaded { waiting: 4 })));
    (0..2).for_each(|_| permit.send(()).unwrap());
    first.await.unwrap();
    assert!(rest.await.iter().all(Result::is_ok));
    assert_eq!(store.stats().refused, 1);
}

#[tokio::test]
async fn below_the_reserve_only_reads_go_on() {
    let dir = TempDir::new().unwrap();
    put(&open(dir.path()).unwrap(), 1).await.unwrap();
    let options = SledOptions { reserve_bytes: u64::MAX, ..test_options() };
    let store = Store::open(dir.path(), options, Vec::new()).unwrap();
    let error = put(&store, 2).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull { reserve: u64::MAX, .. }), "{error}");
    assert_eq!(store.read(|tx| tx.get(&COUNTS, &1)).await.unwrap(), Some(1));
    assert_eq!(store.run(at(0), |tx| tx.get(&COUNTS, &2)).await.unwrap(), None);
}

/// Files that sled never syncs hold nothing, even with the largest rows that it is given.
#[tokio::test]
async fn no_value_leaves_the_log() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).unwrap();
    let unsynced_files = || fs::read_dir(dir.path().join("blobs")).unwrap().count();
    for round in 0..12u64 {
        // Long keys that differ from their first byte on, each with a hundred full chunks.
        let key = (format!("{}{}", round % 8, "k".repeat(KEY_BYTES_MAX - 12)), round % 8);
        store.run(at(0), move |tx| tx.put(&TEXTS, &key, &"v".repeat(400_000))).await.unwrap();
        assert_eq!(unsynced_files(), 0);
    }
    store.close().await.unwrap();
    assert_eq!(unsynced_files(), 0);
}

#[tokio::test]
async fn closing_finishes_what_waits() {
    let dir = TempDir::new().unwrap();
    let (gate, permit) = gated();
    let store = Store::open(dir.path(), test_options(), vec![gate]).unwrap();
    let mut waiting = Box::pin(join_all((0..10).map(|key| put(&store, key))));
    assert!(futures::poll!(&mut waiting).is_pending());
    (0..10).for_each(|_| permit.send(()).unwrap());
    let (closed, answers) = tokio::join!(store.clone().close(), waiting);
    closed.unwrap();
    assert!(answers.iter().all(Result::is_ok));
}
