//! One set of tests for every backend, and a random one that compares them with a plain map.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures::future::join_all;
use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

type Cell = (u8, u8);

const LEFT: Table<Cell, String> = Table::new(21, "left.v1");
const RIGHT: Table<Cell, String> = Table::new(22, "right.v1");
const NAMES: Table<String, u64> = Table::new(23, "names.v1");
const COUNTS: Table<u64, i64> = Table::new(24, "counts.v1");

/// A store and the directory it may live in, which goes when the test ends.
struct Fixture {
    store: Store,
    _dir: Option<TempDir>,
}

fn on_model() -> Fixture {
    Fixture { store: Store::model(7), _dir: None }
}

fn on_sled() -> Fixture {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), test_options(), Vec::new()).unwrap();
    Fixture { store, _dir: Some(dir) }
}

pub(super) fn test_options() -> SledOptions {
    SledOptions { cache_bytes: 16 << 20, reserve_bytes: 0, rerun: 0.5, ..SledOptions::standard() }
}

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// Makes each function a test of each backend.
macro_rules! on_every_backend {
    ($($(#[$doc:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {
        $($(#[$doc])* async fn $name($store: Store) $body)*

        mod model {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::on_model().store).await;
            })*
        }
        mod sled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = super::on_sled();
                super::$name(fixture.store.clone()).await;
            })*
        }
    };
}

on_every_backend! {
    async fn rows_carry_their_commit(store: Store) {
        for number in 1..=3u64 {
            let seq = store.run(at(1_000), move |tx| {
                tx.put(&COUNTS, &number, &7)?;
                Ok::<_, StoreError>(tx.seq())
            });
            assert_eq!(seq.await.unwrap(), Seq::new(number));
        }
        let nothing = store.run(at(2_000), |tx| tx.get(&COUNTS, &9)).await;
        assert_eq!(nothing.unwrap(), None);
        store.run(at(3_000), |tx| tx.put(&COUNTS, &2, &8)).await.unwrap();
        let rows = store.read(|tx| tx.scan_rows(&COUNTS, &Scan::all())).await.unwrap();
        let row = |value, seq, millis| Row { value, seq: Seq::new(seq), at: at(millis) };
        assert_eq!(rows, vec![(1, row(7, 1, 1_000)), (2, row(8, 4, 3_000)), (3, row(7, 3, 1_000))]);
        assert_eq!(store.read(|tx| Ok::<_, StoreError>(tx.seq())).await.unwrap(), Seq::new(4));
        assert_eq!(store.stats().commits, 4);
    }

    async fn a_failed_transaction_leaves_nothing(store: Store) {
        store.run(at(0), |tx| tx.put(&COUNTS, &1, &1)).await.unwrap();
        let failed = store.run(at(0), |tx| {
            tx.put(&COUNTS, &1, &2)?;
            tx.put(&COUNTS, &2, &2)?;
            tx.delete(&COUNTS, &1)?;
            Err::<(), _>(StoreError::Closed)
        });
        assert!(matches!(failed.await, Err(StoreError::Closed)));
        let rows = store.read(|tx| tx.scan(&COUNTS, &Scan::all())).await.unwrap();
        assert_eq!(rows, vec![(1, 1)]);
    }

    async fn a_panic_is_an_error_and_the_store_goes_on(store: Store) {
        let panicked = store.run(at(0), |tx| -> Result<(), StoreError> {
            tx.put(&COUNTS, &1, &1)?;
            panic!("a bug of the caller");
        });
        let error = panicked.await.unwrap_err();
        assert!(error.to_string().contains("a bug of the caller"), "{error}");
        assert!(store.read(|tx| -> Result<(), StoreError> { tx.get(&COUNTS, &1)?; panic!("again") }).await.is_err());
        assert_eq!(store.run(at(0), |tx| tx.get(&COUNTS, &1)).await.unwrap(), None);
    }

    /// A broken limit fails the transaction even if its closure overlooks the error.
    async fn limits_have_errors_that_name_the_table(store: Store) {
        let long = store.run(at(0), |tx| tx.put(&NAMES, &"k".repeat(KEY_BYTES_MAX), &1)).await;
        assert!(matches!(long, Err(StoreError::KeyTooLong { table: "names.v1", .. })));
        let fits = store.run(at(0), |tx| tx.put(&NAMES, &"k".repeat(KEY_BYTES_MAX - 2), &1)).await;
        fits.unwrap();
        let large = store.run(at(0), |tx| {
            tx.put(&LEFT, &(0, 0), &"small".into())?;
            let _ = tx.put(&LEFT, &(1, 1), &"v".repeat(VALUE_BYTES_MAX));
            Ok::<_, StoreError>(())
        });
        assert!(matches!(large.await, Err(StoreError::ValueTooLarge { table: "left.v1", .. })));
        let many = |count: u64| store.run(at(0), move |tx| (0..count).try_for_each(|key| tx.put(&COUNTS, &key, &1)));
        assert!(matches!(many(WRITES_MAX as u64 + 1).await, Err(StoreError::TooManyWrites { table: "counts.v1", .. })));
        many(WRITES_MAX as u64).await.unwrap();
        let scan = store.read(|tx| tx.scan(&COUNTS, &Scan::all().limit(SCAN_ROWS_MAX + 1))).await;
        assert!(matches!(scan, Err(StoreError::ScanTooLong { table: "counts.v1", limit: 1_001, max: 1_000 })));
        assert_eq!(store.read(|tx| tx.get(&LEFT, &(0, 0))).await.unwrap(), None);
    }

    async fn a_read_cannot_write(store: Store) {
        let put = |tx: &mut Tx<'_>| tx.put(&COUNTS, &1, &1);
        for refused in [store.read(put).await, store.peek(put).await] {
            assert!(matches!(refused, Err(StoreError::ReadOnly { table: "counts.v1" })));
        }
        let overlooked = store.read(|tx| {
            let _ = tx.delete(&COUNTS, &1);
            Ok::<_, StoreError>(())
        });
        assert!(matches!(overlooked.await, Err(StoreError::ReadOnly { .. })));
    }

    async fn large_values_shrink_and_go(store: Store) {
        for length in [0, 4_000, 4_096, 4_200, 200_000, VALUE_BYTES_MAX - 8, 9_000, 10, 50_000] {
            let value = "x".repeat(length);
            let written = value.clone();
            store.run(at(0), move |tx| {
                tx.put(&LEFT, &(1, 1), &written)?;
                assert_eq!(tx.get(&LEFT, &(1, 1))?.as_ref(), Some(&written), "own writes are seen");
                Ok::<_, StoreError>(())
            }).await.unwrap();
            assert_eq!(store.read(|tx| tx.get(&LEFT, &(1, 1))).await.unwrap(), Some(value.clone()));
            assert_eq!(store.read(|tx| tx.scan(&LEFT, &Scan::all())).await.unwrap(), vec![((1, 1), value)]);
        }
        store.run(at(0), |tx| tx.delete(&LEFT, &(1, 1))).await.unwrap();
        assert_eq!(store.read(|tx| tx.get(&LEFT, &(1, 1))).await.unwrap(), None);
    }

    async fn for_each_sees_every_row_once(store: Store) {
        for page in 0..5 {
            let rows = page * 500..(page + 1) * 500;
            store.run(at(0), move |tx| rows.clone().try_for_each(|key| tx.put(&COUNTS, &key, &1))).await.unwrap();
        }
        let mut seen = Vec::new();
        let each = |key, row: Row<i64>| {
            seen.push(key);
            assert_eq!(row.value, 1);
            Ok::<_, StoreError>(())
        };
        assert_eq!(store.for_each(COUNTS, each).await.unwrap(), 2_500);
        assert_eq!(seen, (0..2_500).collect::<Vec<u64>>());
        assert_eq!(store.for_each(NAMES, |_, _| Ok::<_, StoreError>(())).await.unwrap(), 0);
    }

    /// Transfers between ten accounts, many at once: no reader ever sees a sum but zero.
    async fn readers_never_see_half_a_commit(store: Store) {
        let writers = (0..8u64).map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..40u64 {
                    let (from, to) = ((task + round) % 10, (task * 3 + round * 7 + 1) % 10);
                    store.run(at(0), move |tx| {
                        for (account, change) in [(from, -5), (to, 5)] {
                            let balance = tx.get(&COUNTS, &account)?.unwrap_or(0);
                            tx.put(&COUNTS, &account, &(balance + change))?;
                        }
                        Ok::<_, StoreError>(())
                    }).await.unwrap();
                }
            })
        });
        let readers = (0..2).map(|reader| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let all = |tx: &mut Tx<'_>| tx.scan(&COUNTS, &Scan::all());
                    let rows = if reader == 0 { store.read(all).await } else { store.peek(all).await }.unwrap();
                    store.settle().await.unwrap();
                    assert_eq!(rows.iter().map(|(_, balance)| balance).sum::<i64>(), 0);
                }
            })
        });
        for task in join_all(writers.chain(readers).collect::<Vec<_>>()).await {
            task.unwrap();
        }
        assert_eq!(store.stats().seq, 320);
    }

    async fn a_closed_store_refuses(store: Store) {
        store.run(at(0), |tx| tx.put(&COUNTS, &1, &1)).await.unwrap();
        store.clone().close().await.unwrap();
        assert!(matches!(store.run(at(0), |tx| tx.put(&COUNTS, &1, &1)).await, Err(StoreError::Closed)));
        assert!(matches!(store.read(|tx| tx.get(&COUNTS, &1)).await, Err(StoreError::Closed)));
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_model_runs_every_closure_again_and_fetches_misses_together() {
    let store = Store::model(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let mut most = 0;
    for key in 0..20 {
        let counted = Arc::clone(&runs);
        let found = store.run(at(0), move |tx| {
            counted.fetch_add(1, Relaxed);
            let keys: Vec<u64> = (0..50).collect();
            // A closure that overlooks a miss is run again all the same.
            let many = tx.get_many(&COUNTS, &keys).unwrap_or_default();
            tx.put(&COUNTS, &key, &1)?;
            Ok::<_, StoreError>(many.into_iter().flatten().count())
        });
        assert_eq!(found.await.unwrap() as u64, key);
        let runs = runs.swap(0, Relaxed);
        assert!(runs >= 2);
        most = most.max(runs);
    }
    assert!(most > 2, "misses and conflicts do happen");
    assert!(most < 20, "fifty missing rows are fetched together");
}

#[derive(Debug, Clone)]
enum Op {
    Put(bool, Cell, usize),
    Delete(bool, Cell),
    Get(bool, Cell),
    Scan(bool, Bounds),
}

#[derive(Debug, Clone)]
struct Bounds {
    prefix: Option<u8>,
    from: Option<Cell>,
    until: Option<Cell>,
    after: Option<Cell>,
    reverse: bool,
    limit: usize,
}

#[derive(Debug, Clone)]
struct Plan {
    ops: Vec<Op>,
    fails: bool,
}

fn cell() -> impl Strategy<Value = Cell> {
    (prop_oneof![0..4u8, Just(255)], prop_oneof![0..6u8, Just(255)])
}

fn op() -> impl Strategy<Value = Op> {
    let length = prop_oneof![8 => 0..40usize, 1 => 4_000..4_200usize, 1 => 8_000..20_000usize];
    let prefix = proptest::option::of(prop_oneof![0..4u8, Just(255)]);
    let bound = || proptest::option::weighted(0.3, cell());
    let bounds = (prefix, bound(), bound(), bound(), any::<bool>(), 0..12usize)
        .prop_map(|(prefix, from, until, after, reverse, limit)| Bounds { prefix, from, until, after, reverse, limit });
    prop_oneof![
        4 => (any::<bool>(), cell(), length).prop_map(|(table, key, length)| Op::Put(table, key, length)),
        2 => (any::<bool>(), cell()).prop_map(|(table, key)| Op::Delete(table, key)),
        2 => (any::<bool>(), cell()).prop_map(|(table, key)| Op::Get(table, key)),
        3 => (any::<bool>(), bounds).prop_map(|(table, bounds)| Op::Scan(table, bounds)),
    ]
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan = (prop::collection::vec(op(), 1..8), prop::bool::weighted(0.25));
    prop::collection::vec(plan.prop_map(|(ops, fails)| Plan { ops, fails }), 1..24)
}

/// What one operation saw: the rows it read, if it reads.
type Seen = Vec<(Cell, String)>;

/// The failure that a plan asks for, with what it saw before.
#[derive(Debug)]
enum Failed {
    AsPlanned(Vec<Seen>),
    Store(StoreError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn value(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + u8::try_from((at + length) % 26).unwrap())).collect()
}

fn run_plan(plan: &Plan, tx: &mut Tx<'_>) -> Result<Vec<Seen>, Failed> {
    let mut all = Vec::new();
    for op in &plan.ops {
        let table = |left: bool| if left { LEFT } else { RIGHT };
        match op {
            Op::Put(left, key, length) => tx.put(&table(*left), key, &value(*length))?,
            Op::Delete(left, key) => tx.delete(&table(*left), key)?,
            Op::Get(left, key) => {
                all.push(tx.get(&table(*left), key)?.map(|value| (*key, value)).into_iter().collect())
            }
            Op::Scan(left, bounds) => {
                let mut scan = bounds.prefix.map_or_else(Scan::all, |prefix| Scan::prefix(&prefix)).limit(bounds.limit);
                scan = bounds.from.iter().fold(scan, Scan::from);
                scan = bounds.until.iter().fold(scan, Scan::until);
                scan = bounds.after.iter().fold(scan, Scan::after);
                scan = if bounds.reverse { scan.reverse() } else { scan };
                all.push(tx.scan(&table(*left), &scan)?);
            }
        }
    }
    if plan.fails { Err(Failed::AsPlanned(all)) } else { Ok(all) }
}

type Tables = [BTreeMap<Cell, String>; 2];

fn run_on_maps(plan: &Plan, tables: &mut Tables) -> Vec<Seen> {
    let mut changed = tables.clone();
    let mut all = Vec::new();
    for op in &plan.ops {
        match op {
            Op::Put(left, key, length) => drop(changed[usize::from(*left)].insert(*key, value(*length))),
            Op::Delete(left, key) => drop(changed[usize::from(*left)].remove(key)),
            Op::Get(left, key) => {
                all.push(changed[usize::from(*left)].get_key_value(key).map(owned).into_iter().collect())
            }
            Op::Scan(left, bounds) => {
                let inside = |(key, _): &(&Cell, &String)| {
                    let behind = |after: Cell| if bounds.reverse { **key < after } else { **key > after };
                    bounds.prefix.is_none_or(|prefix| key.0 == prefix)
                        && bounds.from.is_none_or(|from| **key >= from)
                        && bounds.until.is_none_or(|until| **key < until)
                        && bounds.after.is_none_or(behind)
                };
                let mut rows: Seen = changed[usize::from(*left)].iter().filter(inside).map(owned).collect();
                if bounds.reverse {
                    rows.reverse();
                }
                rows.truncate(bounds.limit);
                all.push(rows);
            }
        }
    }
    if !plan.fails {
        *tables = changed;
    }
    all
}

fn owned((key, value): (&Cell, &String)) -> (Cell, String) {
    (*key, value.clone())
}

/// Runs all plans, several of them waiting at once, and compares what each saw with plain maps.
async fn follow(store: &Store, plans: &[Plan]) -> Result<Tables, TestCaseError> {
    let mut tables = Tables::default();
    for together in plans.chunks(6) {
        let runs = together.iter().map(|plan| {
            let plan = plan.clone();
            store.run(at(5), move |tx| run_plan(&plan, tx))
        });
        for (plan, answer) in together.iter().zip(join_all(runs).await) {
            let expected = run_on_maps(plan, &mut tables);
            match answer {
                Ok(seen) => prop_assert!(!plan.fails && seen == expected),
                Err(Failed::AsPlanned(seen)) => prop_assert!(plan.fails && seen == expected),
                Err(Failed::Store(error)) => prop_assert!(false, "{error}"),
            }
        }
    }
    check_tables(store, &tables).await?;
    Ok(tables)
}

async fn check_tables(store: &Store, tables: &Tables) -> Result<(), TestCaseError> {
    for (table, expected) in [RIGHT, LEFT].into_iter().zip(tables) {
        let rows = store.read(move |tx| tx.scan(&table, &Scan::all())).await;
        let expected: Seen = expected.iter().map(owned).collect();
        prop_assert_eq!(rows.map_err(|error| TestCaseError::fail(error.to_string()))?, expected);
    }
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn the_model_is_a_map(plans in plans(), seed in any::<u64>()) {
        block_on(follow(&Store::model(seed), &plans))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Also after it was opened again.
    #[test]
    fn sled_is_a_map(plans in plans()) {
        let dir = TempDir::new().unwrap();
        let open = || Store::open(dir.path(), test_options(), Vec::new()).unwrap();
        let tables = block_on(follow(&open(), &plans))?;
        block_on(check_tables(&open(), &tables))?;
    }
}
