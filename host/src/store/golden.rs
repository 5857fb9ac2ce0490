//! A directory written by the first format, which every later version must open.
//!
//! `golden/v1` was written by [`write_the_golden_directory`]; it is never written again. A change of format adds a
//! directory, a migration, and keeps this test.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tempfile::TempDir;

use super::{
    conformance::{at, test_options},
    *,
};

const PEOPLE: Table<(String, u32), (i64, bool)> = Table::new(1, "people.v1");
const NOTES: Table<u64, String> = Table::new(2, "notes.v1");
const FILES: [(&str, &[u8]); 3] = [
    ("conf", include_bytes!("golden/v1/conf.gz")),
    ("db", include_bytes!("golden/v1/db.gz")),
    ("galenic.lock", include_bytes!("golden/v1/galenic.lock.gz")),
];

/// 300 people, one deleted, one changed; a note in one piece, one in chunks, one that shrank.
fn write(tx: &mut Tx<'_>, part: u32) -> Result<(), StoreError> {
    for number in part * 100..(part + 1) * 100 {
        tx.put(&PEOPLE, &person(number), &(i64::from(number) - 150, number % 2 == 0))?;
    }
    let length = [10, 10_000, 50_000][usize::try_from(part).expect("three parts")];
    tx.put(&NOTES, &u64::from(part), &"n".repeat(length))
}

fn change(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    tx.delete(&PEOPLE, &person(7))?;
    tx.put(&PEOPLE, &person(8), &(i64::MIN, false))?;
    tx.put(&NOTES, &2, &"short".into())
}

fn person(number: u32) -> (String, u32) {
    (format!("name {}", number % 10), number)
}

async fn write_all(store: &Store) {
    for part in 0..3 {
        store.run(at(1_000 + i64::from(part)), move |tx| write(tx, part)).await.unwrap();
    }
    store.run(at(2_000), change).await.unwrap();
}

async fn check(store: &Store) {
    let row = |value, seq, millis| Some(Row { value, seq: Seq::new(seq), at: at(millis) });
    let found = store.read(|tx| [7, 8, 299].map(|number| tx.get_row(&PEOPLE, &person(number))).into_iter().collect());
    let found: Vec<Option<Row<(i64, bool)>>> = found.await.unwrap_or_else(|error: StoreError| panic!("{error}"));
    assert_eq!(found, [None, row((i64::MIN, false), 4, 2_000), row((149, false), 3, 1_002)]);
    assert_eq!(store.for_each(PEOPLE, |_, _| Ok::<_, StoreError>(())).await.unwrap(), 299);
    let notes = store.read(|tx| tx.scan(&NOTES, &Scan::all())).await.unwrap();
    let notes: Vec<(u64, usize)> = notes.into_iter().map(|(key, note)| (key, note.len())).collect();
    assert_eq!(notes, [(0, 10), (1, 10_000), (2, 5)]);
    let next = store.run(at(3_000), |tx| {
        tx.put(&NOTES, &9, &"new".into())?;
        Ok::<_, StoreError>(tx.seq())
    });
    assert_eq!(next.await.unwrap(), Seq::new(5));
}

#[tokio::test]
async fn the_first_format_still_opens() {
    let dir = TempDir::new().unwrap();
    for (name, packed) in FILES {
        let mut content = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut content).unwrap();
        fs::write(dir.path().join(name), content).unwrap();
    }
    let store = Store::open(dir.path(), test_options(), Vec::new()).unwrap();
    check(&store).await;
}

/// Also writes the golden directory where `GALENIC_WRITE_GOLDEN` is set: done once for each format.
#[tokio::test]
async fn a_new_directory_holds_the_same() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path(), test_options(), Vec::new()).unwrap();
    write_all(&store).await;
    check(&store).await;
    if std::env::var_os("GALENIC_WRITE_GOLDEN").is_some() {
        store.close().await.unwrap();
        pack(dir.path());
    }
}

fn pack(dir: &Path) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/golden/v1");
    fs::create_dir_all(&golden).unwrap();
    for (name, _) in FILES {
        let mut packed = GzEncoder::new(File::create(golden.join(format!("{name}.gz"))).unwrap(), Compression::best());
        packed.write_all(&fs::read(dir.join(name)).unwrap()).unwrap();
        packed.finish().unwrap();
    }
}
