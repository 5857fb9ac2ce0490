use std::{io::Cursor, path::Path, sync::Arc};

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    format::{Piece, Reader, Writer},
    *,
};
use crate::{
    ids::{Id as _, MemberId},
    members::vault::{KeyClass, Vault},
    plugin::Decisions,
    store::{SledOptions, Store, Table},
};

const TEXTS: Table<u64, String> = Table::new(25, "texts.v1");

fn made_at() -> Timestamp {
    Timestamp::from_second(1_772_337_600).unwrap()
}

/// Small enough to be written out, large enough to have every sort of piece.
fn small() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes).unwrap();
    for (name, data) in [(STORE, "rows"), (VAULT, "keys"), ("modules/0a.wasm", "")] {
        writer.part(name).unwrap();
        writer.data(data.as_bytes()).unwrap();
        writer.end().unwrap();
    }
    writer.finish("0.0.0", made_at(), 7).unwrap();
    bytes
}

#[test]
fn a_backup_reads_back_as_it_was_written() {
    let bytes = small();
    let mut reader = Reader::begin(bytes.as_slice()).unwrap();
    let mut pieces = Vec::new();
    let manifest = loop {
        match reader.piece().unwrap() {
            Piece::Done(manifest) => break manifest,
            piece => pieces.push(piece),
        }
    };
    let part = |name: &str| Piece::Part(name.to_owned());
    let data = |text: &str| Piece::Data(text.as_bytes().to_vec());
    let expected = vec![
        part(STORE),
        data("rows"),
        Piece::End,
        part(VAULT),
        data("keys"),
        Piece::End,
        part("modules/0a.wasm"),
        Piece::End,
    ];
    assert_eq!(pieces, expected);
    assert_eq!((manifest.seq, manifest.bytes(), manifest.made_at), (7, 8, made_at()));
}

/// A backup of today must be readable for ever: if this changes, the version in the magic must, too.
#[test]
fn the_format_is_pinned() {
    let text = small().escape_ascii().to_string();
    insta::assert_snapshot!(text);
}

#[test]
fn every_flipped_bit_and_every_cut_is_a_typed_error() {
    let good = small();
    assert!(check(good.as_slice()).is_ok());
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(check(bad.as_slice()).is_err(), "byte {at}, bit {bit}");
        }
        assert!(check(&good[..at]).is_err(), "cut at {at}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(check(longer.as_slice()), Err(BackupError::Damaged { part, .. }) if part == "the end"));
}

#[test]
fn errors_name_the_part() {
    let good = small();
    let place = |text: &str| good.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    let flipped = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        check(bad.as_slice()).unwrap_err().to_string()
    };
    assert!(flipped(place("rows")).contains("damaged in store: its digest differs"), "{}", flipped(place("rows")));
    assert!(flipped(place("keys\x03")).contains("damaged in vault/keys"));
    assert!(flipped(place("\"seq\":7") + 6).contains("the seal"));
    assert!(flipped(0).contains("no backup of Galenic"));
    assert!(flipped(15).contains("format `0`"));
    let cut = check(&good[..place("rows") + 2]).unwrap_err().to_string();
    assert!(cut.contains("cut short in store"), "{cut}");
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes).unwrap();
    writer.part(STORE).unwrap();
    writer.end().unwrap();
    writer.finish("0.0.0", made_at(), 7).unwrap();
    assert!(matches!(check(bytes.as_slice()), Err(BackupError::MissingPart { part: VAULT })));
}

#[test]
fn a_part_cannot_lead_out_of_the_directory() {
    for name in ["../x", "/etc/passwd", "modules/../x.wasm", "modules/.wasm", "vault/other", "store/db", "master.key"] {
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(&mut bytes).unwrap();
        writer.part(name).unwrap();
        writer.end().unwrap();
        writer.finish("0.0.0", made_at(), 7).unwrap();
        let refused = check(bytes.as_slice());
        assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{name}: {refused:?}");
    }
}

/// Rooms with something in each.
async fn rooms(dir: &Path) -> (Store, Arc<Vault>, Arc<Decisions>) {
    let vault = Arc::new(Vault::unlock(dir, [9; 32]).unwrap());
    vault.create(MemberId::from_bits(1), [[1; 32]; 2], [[1; 24], [2; 24]]).unwrap();
    let decisions = Arc::new(Decisions::open(&dir.join("decisions"), 1 << 20).unwrap());
    let store = Store::open(&dir.join("store"), options(), vec![vault.clone()]).unwrap();
    let put = |tx: &mut crate::store::Tx<'_>| tx.put(&TEXTS, &1, &"x".repeat(9_000));
    store.run::<_, StoreError, _>(made_at(), put).await.unwrap();
    std::fs::create_dir_all(dir.join("modules")).unwrap();
    std::fs::write(dir.join("modules/00ff.wasm"), "a module").unwrap();
    (store, vault, decisions)
}

fn options() -> SledOptions {
    SledOptions { cache_bytes: 16 << 20, reserve_bytes: 0, ..SledOptions::standard() }
}

#[tokio::test]
async fn what_is_unpacked_is_what_was_backed_up_and_destroyed_keys_stay_destroyed() {
    let (dir, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (store, vault, decisions) = rooms(dir.path()).await;
    let member = MemberId::from_bits(1);
    let sealed = vault.seal(member, KeyClass::Statutory, b"there", b"a bill", [5; 24]).unwrap();
    vault.destroy(member, KeyClass::Profile, made_at()).unwrap();
    let backup = Backup::begin(&store, vault, decisions, dir.path().join("modules").into(), made_at()).unwrap();
    let mut bytes = Vec::new();
    let manifest = backup.write(&mut bytes).unwrap();
    let names: Vec<&str> = manifest.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, [STORE, VAULT, "erasures.log", "modules/00ff.wasm"]);
    assert_eq!(check(bytes.as_slice()).unwrap(), manifest);
    let again = unpack(bytes.as_slice(), place.path(), &options()).unwrap();
    assert_eq!(again, manifest);
    let vault = Vault::unlock(place.path(), [9; 32]).unwrap();
    let sealed_again = vault.seal(member, KeyClass::Profile, b"there", b"a name", [6; 24]);
    assert!(matches!(sealed_again, Err(crate::members::vault::VaultError::Erased)));
    assert_eq!(vault.open(member, KeyClass::Statutory, b"there", &sealed).unwrap(), b"a bill");
    let copy = Store::open(&place.path().join("store"), options(), Vec::new()).unwrap();
    let text: Result<_, StoreError> = copy.read(|tx| tx.get(&TEXTS, &1)).await;
    assert_eq!(text.unwrap(), Some("x".repeat(9_000)));
    assert_eq!(std::fs::read(place.path().join("modules/00ff.wasm")).unwrap(), b"a module");
    drop(vault);
    let other_key = Vault::unlock(place.path(), [8; 32]);
    assert!(matches!(other_key, Err(crate::members::vault::VaultError::WrongKey { .. })));
}

/// A receiver so slow that much is committed between any two of its bytes.
struct Slow {
    bytes: Vec<u8>,
    store: Store,
    runtime: tokio::runtime::Handle,
    commits: u64,
}

impl std::io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(left) = self.commits.checked_sub(1) {
            self.commits = left;
            let put = move |tx: &mut crate::store::Tx<'_>| tx.put(&TEXTS, &(100 + left), &"y".repeat(900_000));
            self.runtime.block_on(self.store.run::<_, StoreError, _>(made_at(), put)).unwrap();
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_gets_a_backup_that_can_be_restored() {
    let (dir, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (store, vault, decisions) = rooms(dir.path()).await;
    let commits = 90;
    let runtime = tokio::runtime::Handle::current();
    let mut to = Slow { bytes: Vec::new(), store: store.clone(), runtime, commits };
    let backup = Backup::begin(&store, vault, decisions, dir.path().join("modules").into(), made_at()).unwrap();
    let made = tokio::task::spawn_blocking(move || backup.write(&mut to).map(|manifest| (manifest, to.bytes)));
    let (manifest, bytes) = made.await.unwrap().unwrap();
    let manifest_again = unpack(bytes.as_slice(), place.path(), &options()).unwrap();
    assert_eq!(manifest_again, manifest);
    let copy = Store::open(&place.path().join("store"), options(), Vec::new()).unwrap();
    assert_eq!(copy.stats().seq, manifest.seq);
    let kept: Result<Vec<u64>, StoreError> = copy
        .read(move |tx| {
            let mut kept = Vec::new();
            for n in 100..100 + commits {
                kept.extend(tx.get(&TEXTS, &n)?.map(|text| (n, text.len() == 900_000)).filter(|(_, whole)| *whole));
            }
            Ok(kept.into_iter().map(|(n, _)| n).collect())
        })
        .await;
    let kept = kept.unwrap();
    assert!(kept.len() > 10, "much was committed while it was taken: {}", kept.len());
    // Written from the last number down, and the backup is of one moment.
    assert_eq!(kept, (100 + commits - kept.len() as u64..100 + commits).collect::<Vec<_>>());
    let rows = copy.check_rows().unwrap();
    assert!(rows.torn.is_empty() && rows.loose_chunks.is_empty(), "{rows:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever bytes come, reading them ends, with an error.
    #[test]
    fn noise_is_refused(noise in prop::collection::vec(any::<u8>(), 0..300), keep in 0_usize..120) {
        let mut bytes = small();
        bytes.truncate(keep);
        bytes.extend(noise);
        prop_assume!(bytes != small());
        prop_assert!(check(Cursor::new(bytes)).is_err());
    }
}
