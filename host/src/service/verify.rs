//! Whether every row can be read and refers to what is there: indexes to their rows, rows to their indexes, timers and
//! events to members and orders, active members to their keys.
//!
//! Every row is looked at together with what it refers to, in one read, so orders may flow meanwhile. What is wrong is a
//! finding, not an error. The ledger has a verifier of its own.

mod machine;
mod people;
mod points;
mod trade;

use std::sync::Arc;

use super::tables::MODULES;
use crate::{
    members::vault::Vault,
    plugin::ModuleDigest,
    store::{Key, Record, Scan, Store, StoreError, Table, Tx},
};

/// Rows looked at in one read.
const PAGE: usize = 100;
/// Problems listed before the rest is only counted.
const PROBLEMS_LISTED: usize = 100;

/// What the rows say of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReferencesReport {
    /// Tables read.
    pub tables: u64,
    /// Rows read.
    pub rows: u64,
    /// How many things are wrong.
    pub problem_count: u64,
    /// The first hundred of them, in words.
    pub problems: Vec<String>,
}

impl ReferencesReport {
    /// Whether everything refers to what is there.
    pub fn is_sound(&self) -> bool {
        self.problem_count == 0
    }

    fn problem(&mut self, what: String) {
        self.problem_count += 1;
        if self.problems.len() < PROBLEMS_LISTED {
            self.problems.push(what);
        }
    }
}

/// What is wrong with a row, in words without personal data.
type Problems = Vec<String>;

/// Looks at every row. Without a vault, keys of members are not looked for.
///
/// # Errors
///
/// Those of the store; a row that cannot be read is a finding.
pub async fn references(store: &Store, vault: Option<&Arc<Vault>>) -> Result<ReferencesReport, StoreError> {
    let mut report = ReferencesReport::default();
    people::members(store, vault.cloned(), &mut report).await?;
    trade::catalogue(store, &mut report).await?;
    trade::coupons(store, &mut report).await?;
    people::tiers(store, &mut report).await?;
    trade::orders(store, &mut report).await?;
    trade::prescriptions(store, &mut report).await?;
    machine::deployment(store, &mut report).await?;
    points::books(store, &mut report).await?;
    points::activities(store, &mut report).await?;
    points::gifts(store, &mut report).await?;
    machine::time(store, &mut report).await?;
    people::touches(store, &mut report).await?;
    people::consents(store, &mut report).await?;
    Ok(report)
}

/// Looks whether the bytes of every admitted module lie in `dir`; what is wrong, in words.
///
/// # Errors
///
/// Those of the store.
pub async fn modules(store: &Store, dir: &std::path::Path) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    let read = store.for_each::<_, _, StoreError>(MODULES, |_, row| {
        let digest = row.value.digest;
        let path = dir.join(format!("{digest}.wasm"));
        if !std::fs::read(&path).is_ok_and(|bytes| ModuleDigest::of(&bytes) == digest) {
            problems.push(format!("{} is missing or damaged: push the module again", path.display()));
        }
        Ok(())
    });
    read.await?;
    Ok(problems)
}

/// Reads a table page by page and hands each row to `check`, together with the transaction that read it.
async fn each<K, V, F>(
    store: &Store,
    report: &mut ReferencesReport,
    table: Table<K, V>,
    check: F,
) -> Result<(), StoreError>
where
    K: Key + Clone + Sync,
    V: Record + Send,
    F: Fn(&mut Tx<'_>, &K, &V, &mut Problems) -> Result<(), StoreError> + Clone + Send + 'static,
{
    report.tables += 1;
    let mut last: Option<K> = None;
    loop {
        let (cursor, check) = (last.clone(), check.clone());
        let page = store.read(move |tx| {
            let scan = Scan::all().limit(PAGE);
            let scan = if let Some(last) = &cursor { scan.after(last) } else { scan };
            let rows = tx.scan(&table, &scan)?;
            let mut problems = Problems::new();
            for (key, value) in &rows {
                check(tx, key, value, &mut problems)?;
            }
            Ok((rows.len(), rows.last().map(|(key, _)| key.clone()), problems))
        });
        let (rows, next, problems) = match page.await {
            Ok(page) => page,
            // Where to go on behind such a row is not known.
            Err(error @ StoreError::Corrupt { .. }) => {
                report.problem(format!("{}: {error}; rows behind it were not read", table.name()));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        report.rows += rows as u64;
        problems.into_iter().for_each(|problem| report.problem(format!("{}: {problem}", table.name())));
        if rows < PAGE {
            return Ok(());
        }
        last = next;
    }
}

/// For tables whose rows refer to nothing: that they can be read.
async fn readable<K, V>(store: &Store, report: &mut ReferencesReport, table: Table<K, V>) -> Result<(), StoreError>
where
    K: Key + Clone + Sync,
    V: Record + Send,
{
    each(store, report, table, |_, _, _, _| Ok(())).await
}

/// Notes it if nothing is at `key`.
fn must_have<K: Key, V: Record>(
    tx: &mut Tx<'_>,
    table: &Table<K, V>,
    key: &K,
    who: impl std::fmt::Display,
    problems: &mut Problems,
) -> Result<(), StoreError> {
    if tx.get(table, key)?.is_none() {
        problems.push(format!("{who} has nothing in {}", table.name()));
    }
    Ok(())
}

/// Notes it if what is at `key` is not `value`.
fn must_be<K: Key, V: Record + PartialEq>(
    tx: &mut Tx<'_>,
    table: &Table<K, V>,
    key: &K,
    value: &V,
    who: impl std::fmt::Display,
    problems: &mut Problems,
) -> Result<(), StoreError> {
    if tx.get(table, key)?.as_ref() != Some(value) {
        problems.push(format!("{who} is not what {} says", table.name()));
    }
    Ok(())
}
