use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use tempfile::TempDir;

use super::*;
use crate::store::{
    Scan, Store, Table, compact,
    conformance::{at, test_options},
};

/// Keys and values.
type Rows = Vec<(Vec<u8>, Vec<u8>)>;

const ACCOUNTS: Table<u64, i64> = Table::new(24, "accounts.v1");
const TEXTS: Table<u64, String> = Table::new(25, "texts.v1");
const ACCOUNTS_COUNT: u64 = 4_000;

fn open(dir: &Path) -> Store {
    Store::open(dir, test_options(), Vec::new()).unwrap()
}

fn import(dir: &Path, export: &mut Export) {
    let mut import = Import::begin(dir, &test_options()).unwrap();
    while let Some(piece) = export.piece().unwrap() {
        import.write(&piece).unwrap();
    }
    import.finish(dir, export.seq()).unwrap();
}

async fn sum(store: &Store) -> (u64, i64) {
    let (mut rows, mut sum) = (0, 0);
    let read = store.for_each::<_, _, StoreError>(ACCOUNTS, |_, row| {
        (rows, sum) = (rows + 1, sum + row.value);
        Ok(())
    });
    read.await.unwrap();
    (rows, sum)
}

async fn fill(store: &Store) {
    for first in (0..ACCOUNTS_COUNT).step_by(400) {
        let fill = move |tx: &mut crate::store::Tx<'_>| {
            (first..first + 400).try_for_each(|account| tx.put(&ACCOUNTS, &account, &100))
        };
        store.run::<_, StoreError, _>(at(0), fill).await.unwrap();
    }
}

/// Two accounts change together, far apart in the order of keys; now and then a row goes and comes, or is chunked.
async fn transfer(store: &Store, n: u64) {
    let (from, to) = (n * 7_919 % ACCOUNTS_COUNT, (n * 104_729 + 1) % ACCOUNTS_COUNT);
    let run = store.run::<_, StoreError, _>(at(1), move |tx| {
        let taken = tx.get(&ACCOUNTS, &from)?.unwrap_or(0);
        tx.put(&ACCOUNTS, &from, &(taken - 1))?;
        let given = tx.get(&ACCOUNTS, &to)?.unwrap_or(0);
        tx.put(&ACCOUNTS, &to, &(given + 1))?;
        if n.is_multiple_of(3) { tx.delete(&TEXTS, &(n % 10)) } else { tx.put(&TEXTS, &(n % 10), &"x".repeat(9_000)) }
    });
    run.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_one_moment_while_transfers_go_on() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("store"));
    fill(&store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move {
            let mut n = 0;
            while !stop.load(SeqCst) {
                transfer(&store, n).await;
                n += 1;
            }
            n
        }
    });
    for round in 0..5 {
        let before = store.stats().seq;
        let copy = dir.path().join(format!("copy-{round}"));
        let seq = tokio::task::spawn_blocking({
            let (store, copy) = (store.clone(), copy.clone());
            move || {
                let mut export = store.export().unwrap();
                assert!(matches!(store.export(), Err(StoreError::Exporting)), "one at a time");
                import(&copy, &mut export);
                export.seq().get()
            }
        });
        let seq = seq.await.unwrap();
        assert!(before <= seq && seq <= store.stats().seq, "what was committed before is in it");
        let copy = open(&copy);
        assert_eq!(copy.stats().seq, seq);
        assert_eq!(sum(&copy).await, (ACCOUNTS_COUNT, 100 * i64::try_from(ACCOUNTS_COUNT).unwrap()));
        let newest = copy.read(|tx| tx.scan_rows(&ACCOUNTS, &Scan::all().limit(1_000))).await.unwrap();
        assert!(newest.iter().all(|(_, row)| row.seq.get() <= seq), "nothing is newer than the moment");
        let rows = copy.check_rows().unwrap();
        assert!(rows.torn.is_empty() && rows.loose_chunks.is_empty(), "{rows:?}");
    }
    stop.store(true, SeqCst);
    assert!(writer.await.unwrap() > 0, "transfers did go on");
}

#[tokio::test]
async fn an_export_that_is_given_up_frees_the_store_and_a_closed_one_has_none() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    fill(&store).await;
    let mut export = store.export().unwrap();
    assert!(export.piece().unwrap().is_some());
    drop(export);
    drop(store.export().unwrap());
    store.clone().close().await.unwrap();
    assert!(matches!(store.export(), Err(StoreError::Closed)));
}

/// More is committed than waits in memory before the second piece is taken, and more while the rest is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_slower_than_the_commits_still_gets_all() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("store"));
    fill(&store).await;
    let mut export = store.export().unwrap();
    let mut pieces = vec![export.piece().unwrap().unwrap()];
    let text = "x".repeat(900_000);
    for n in 0..90 {
        let text = text.clone();
        let run = store.run::<_, StoreError, _>(at(1), move |tx| tx.put(&TEXTS, &n, &text));
        run.await.unwrap();
        transfer(&store, 3 * n).await;
    }
    let before = store.stats().seq;
    while let Some(piece) = export.piece().unwrap() {
        pieces.push(piece);
        if pieces.len() < 20 {
            transfer(&store, 7 * pieces.len() as u64).await;
        }
    }
    let mut import = Import::begin(&dir.path().join("copy"), &test_options()).unwrap();
    pieces.iter().for_each(|piece| import.write(piece).unwrap());
    import.finish(&dir.path().join("copy"), export.seq()).unwrap();
    drop(export);
    assert!(pieces.iter().map(Vec::len).sum::<usize>() > Limits::STANDARD.memory_bytes);
    let copy = open(&dir.path().join("copy"));
    assert_eq!(sum(&copy).await, (ACCOUNTS_COUNT, 100 * i64::try_from(ACCOUNTS_COUNT).unwrap()));
    let seq = copy.stats().seq;
    assert!(before <= seq && seq <= store.stats().seq, "{before}, {seq}: it is of one moment, after all that");
    for n in [10, 50, 89] {
        assert_eq!(copy.read(move |tx| tx.get(&TEXTS, &n)).await.unwrap().map(|text| text.len()), Some(900_000));
    }
    let rows = copy.check_rows().unwrap();
    assert!(rows.torn.is_empty() && rows.loose_chunks.is_empty(), "{rows:?}");
}

/// Backups cut pieces at a mebibyte, wherever that is within a write.
#[tokio::test]
async fn pieces_may_be_cut_and_joined_anywhere() {
    let dir = TempDir::new().unwrap();
    let mut bytes = Vec::new();
    put_write(&mut bytes, &[0, 0, 0, 24, 9], Some(&[1, 2, 3]));
    put_write(&mut bytes, &[0, 0, 0, 24, 8], None);
    put_write(&mut bytes, &[0, 0, 0, 24, 7], Some(&[4]));
    for size in 1..bytes.len() {
        let place = dir.path().join(size.to_string());
        let mut import = Import::begin(&place, &test_options()).unwrap();
        bytes.chunks(size).for_each(|piece| import.write(piece).unwrap());
        import.finish(&place, Seq::new(1)).unwrap();
        let mut again = Vec::new();
        let mut export = open(&place).export().unwrap();
        while let Some(piece) = export.piece().unwrap() {
            again.extend(piece);
        }
        let mut expected = Vec::new();
        put_write(&mut expected, &[0, 0, 0, 24, 7], Some(&[4]));
        put_write(&mut expected, &[0, 0, 0, 24, 9], Some(&[1, 2, 3]));
        assert_eq!(again, expected, "cut into {size}");
    }
}

#[tokio::test]
async fn the_model_exports_what_it_holds() {
    let dir = TempDir::new().unwrap();
    let model = Store::model(5);
    fill(&model).await;
    transfer(&model, 4).await;
    import(dir.path(), &mut model.export().unwrap());
    let copy = open(dir.path());
    assert_eq!(sum(&copy).await, sum(&model).await);
    assert_eq!(copy.read(|tx| tx.get(&TEXTS, &4)).await.unwrap().map(|text| text.len()), Some(9_000));
}

#[test]
fn golden_bytes() {
    let mut piece = Vec::new();
    put_write(&mut piece, &[0, 0, 0, 24, 9], Some(&[1, 2]));
    put_write(&mut piece, &[0, 0, 0, 24, 8], None);
    let hex: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, concat!("0005", "00000002", "0000001809", "0102", "0005", "ffffffff", "0000001808"));
}

#[test]
fn a_piece_that_is_none_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut piece = Vec::new();
    put_write(&mut piece, &[0, 0, 0, 24, 9], Some(&[1, 2]));
    let mut import = Import::begin(&dir.path().join("a"), &test_options()).unwrap();
    let own_row = [0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 9, 7];
    let other_programme = [0, 5, 0, 0, 0, 1, 0, 1, 0, 24, 9, 7];
    let too_long = [0, 5, 0x7F, 0, 0, 1, 0, 0, 0, 24, 9, 7];
    for wrong in [&own_row, &other_programme, &too_long] {
        let refused = import.write(wrong);
        assert!(matches!(refused, Err(StoreError::NotAnExport { .. })), "{wrong:?}: {refused:?}");
    }
    for bytes in [1, 3, piece.len() - 1] {
        let place = dir.path().join(format!("cut-{bytes}"));
        let mut import = Import::begin(&place, &test_options()).unwrap();
        import.write(&piece[..bytes]).unwrap();
        let refused = import.finish(&place, Seq::new(1));
        assert!(matches!(refused, Err(StoreError::NotAnExport { .. })), "{bytes}: {refused:?}");
    }
    std::fs::write(dir.path().join("something"), "else").unwrap();
    assert!(matches!(Import::begin(dir.path(), &test_options()), Err(OpenError::NotAStore { .. })));
}

#[tokio::test]
async fn torn_rows_and_loose_chunks_are_found() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("a"));
    store.run::<_, StoreError, _>(at(0), |tx| tx.put(&TEXTS, &1, &"x".repeat(9_000))).await.unwrap();
    store.run::<_, StoreError, _>(at(0), |tx| tx.put(&ACCOUNTS, &1, &5)).await.unwrap();
    let mut export = store.export().unwrap();
    let piece = export.piece().unwrap().unwrap();
    let (mut rest, mut writes) = (piece.as_slice(), Vec::new());
    while let Some(write) = take_write(&mut rest).unwrap() {
        writes.push(write);
    }
    assert_eq!(writes.len(), 4, "a row, a row in three parts");
    let damaged = |n: usize, damage: &dyn Fn(&mut Rows)| {
        let mut rows: Vec<_> = writes.iter().map(|(key, value)| (key.to_vec(), value.unwrap().to_vec())).collect();
        damage(&mut rows);
        let place = dir.path().join(n.to_string());
        let mut import = Import::begin(&place, &test_options()).unwrap();
        let mut piece = Vec::new();
        rows.iter().for_each(|(key, value)| put_write(&mut piece, key, Some(value)));
        import.write(&piece).unwrap();
        import.finish(&place, Seq::new(2)).unwrap();
        open(&place).check_rows().unwrap()
    };
    let whole = damaged(0, &|_| {});
    assert_eq!((whole.rows.values().sum::<u64>(), whole.torn.len(), whole.loose_chunks.len()), (2, 0, 0));
    assert_eq!(damaged(1, &|rows| drop(rows.remove(3))).torn[&25], 1, "its last chunk is gone");
    assert_eq!(damaged(2, &|rows| drop(rows.remove(1))).loose_chunks[&25], 2, "the row of the chunks is gone");
    assert_eq!(damaged(3, &|rows| rows[0].1.push(0)).torn[&24], 1, "a byte follows its value");
    assert_eq!(damaged(4, &|rows| rows[0].1[0] = 9).torn[&24], 1, "no such envelope");
}

#[tokio::test]
async fn compaction_keeps_every_row_and_refuses_a_store_in_use() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("store");
    let store = open(&place);
    fill(&store).await;
    for n in 0..50 {
        transfer(&store, n).await;
    }
    let (rows, seq) = (sum(&store).await, store.stats().seq);
    let refused = compact(&place, &test_options());
    assert!(matches!(refused, Err(crate::store::CompactError::Open(OpenError::Locked { .. }))), "{refused:?}");
    drop(store);
    std::fs::create_dir_all(dir.path().join("store.new/left")).unwrap();
    let compacted = compact(&place, &test_options()).unwrap();
    assert_eq!(compacted.seq.get(), seq);
    assert!(compacted.bytes_after <= compacted.bytes_before, "{compacted:?}");
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store"], "nothing is left beside it");
    let store = open(&place);
    assert_eq!((sum(&store).await, store.stats().seq), (rows, seq));
    transfer(&store, 51).await;
}
