//! `galenic verify` and `galenic compact`: a data directory at rest.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;

use super::{
    PlaceArgs, backup,
    config::{Config, Secrets},
};
use crate::{
    app,
    backup::unpack,
    ledger::verify::{verify, verify_until},
    members::vault::Vault,
    plugin::Decisions,
    service::verify as rows,
    store::{Seq, Store, compact as compact_store},
};

/// What to prove.
#[derive(Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Read a backup to its last bit instead, and everything in it, unpacked below TMPDIR for as long as that takes.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    backup: Option<PathBuf>,
    /// Print the chain root of this past commit, too: it is the one that was printed then, or history was rewritten.
    #[arg(long, value_name = "COMMIT")]
    root_at: Option<u64>,
}

/// Says whether everything is as it should be.
pub(super) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.backup {
        return of_backup(path, args.root_at).await;
    }
    let config = args.place.load()?;
    let vault = vault(&config)?;
    everything(&config, vault.as_ref(), args.root_at).await
}

/// Reads a backup to its last bit, then unpacks it into a directory that goes away again, and looks at what came out.
async fn of_backup(path: &Path, root_at: Option<u64>) -> anyhow::Result<ExitCode> {
    let manifest = backup::check(path)?;
    for part in &manifest.parts {
        say!("{} {:>12} {}", part.sha256, part.bytes, part.name);
    }
    say!("{}", backup::summary(&manifest));
    say!("the backup is whole");
    let dir = tempfile::tempdir().context("cannot make a directory to unpack in: set TMPDIR")?;
    let mut config = Config::standard();
    config.store.data = dir.path().to_owned();
    let (file, data) = (std::fs::File::open(path)?, dir.path().to_owned());
    let options = config.sled_options();
    let unpacked = tokio::task::spawn_blocking(move || unpack(file, &data, &options)).await;
    unpacked.context("unpacking panicked")?.with_context(|| format!("cannot unpack into {}", dir.path().display()))?;
    everything(&config, None, root_at).await
}

/// Looks at everything in a data directory.
async fn everything(config: &Config, vault: Option<&Arc<Vault>>, root_at: Option<u64>) -> anyhow::Result<ExitCode> {
    let (dir, store) = open(config)?;
    let mut problems = Vec::new();
    let mut problem_count = books(&store, &mut problems).await?;
    if let Some(commit) = root_at {
        let then = verify_until(&store, Seq::new(commit)).await.context("the books cannot be read")?;
        let root = then.root.map_or_else(String::new, |root| root.to_string());
        say!("commit {commit} then, chain root {root}, {} entries", then.entries);
    }
    problem_count += look_at_rows(&store, &mut problems)?;
    let references = rows::references(&store, vault).await.context("the rows cannot be read")?;
    say!("tables {}, rows {}, problems {}", references.tables, references.rows, references.problem_count);
    problem_count += references.problem_count;
    problems.extend(references.problems);
    let modules = rows::modules(&store, &config.store.data.join("modules")).await?;
    problem_count += modules.len() as u64;
    problems.extend(modules);
    store.close().await.with_context(|| format!("cannot close {}", dir.display()))?;
    problem_count += decisions(config, &mut problems)?;
    for problem in &problems {
        say!("problem: {problem}");
    }
    if problem_count == 0 {
        say!("the books close, and every row refers to what is there");
        return Ok(ExitCode::SUCCESS);
    }
    say!("the books do not close, or rows are damaged: restore a backup into a new directory and verify that");
    Ok(ExitCode::FAILURE)
}

/// Copies the store into a fresh one that takes its place.
pub(super) fn compact(place: &PlaceArgs) -> anyhow::Result<ExitCode> {
    let config = place.load()?;
    let dir = config.store.data.join("store");
    anyhow::ensure!(dir.is_dir(), "{} holds no store", config.store.data.display());
    let compacted = compact_store(&dir, &config.sled_options()).context("the store was not compacted")?;
    say!("commit {}: {} bytes on disk before, {} now", compacted.seq, compacted.bytes_before, compacted.bytes_after);
    Ok(ExitCode::SUCCESS)
}

fn open(config: &Config) -> anyhow::Result<(PathBuf, Store)> {
    let dir = config.store.data.join("store");
    anyhow::ensure!(dir.is_dir(), "{} holds no store", config.store.data.display());
    let opened = Store::open(&dir, config.sled_options(), Vec::new());
    let store = opened
        .with_context(|| format!("cannot open {}: if a server runs, ask it with POST /ops/v1/verify", dir.display()))?;
    Ok((dir, store))
}

async fn books(store: &Store, problems: &mut Vec<String>) -> anyhow::Result<u64> {
    let report = verify(store).await.context("the books cannot be read")?;
    let (count, sound) = (report.problem_count, report.is_sound());
    say!(
        "accounts {}, entries {}, lots {}, sum {}, problems {count}",
        report.accounts,
        report.entries,
        report.lots,
        report.sum
    );
    if let Some(root) = report.root {
        say!("commit {}, chain root {root}, {} entries from before the chain", report.seq, report.unchained);
    }
    problems.extend(report.problems);
    Ok(if sound { 0 } else { count.max(1) })
}

/// Every row of every table, also of those that nothing else looks at.
fn look_at_rows(store: &Store, problems: &mut Vec<String>) -> anyhow::Result<u64> {
    let report = store.check_rows().context("the rows cannot be read")?;
    let mut count = 0;
    for (what, found) in [("rows are not whole", &report.torn), ("chunks belong to no row", &report.loose_chunks)] {
        for (tag, rows) in found {
            count += rows;
            problems.push(format!("table {tag}: {rows} {what}"));
        }
    }
    Ok(count)
}

/// The vault, where its key is known. It is not needed for anything else here.
fn vault(config: &Config) -> anyhow::Result<Option<Arc<Vault>>> {
    let data: &Path = &config.store.data;
    let Some(key) = app::known_master_key(data, &Secrets::from_env()?)? else {
        eprintln!("the master key is not known here: keys of members are not looked for");
        return Ok(None);
    };
    Ok(Some(Arc::new(Vault::unlock(data, key).context("cannot open the keys of personal data")?)))
}

/// Reads every recorded decision: each is chained to all before it.
fn decisions(config: &Config, problems: &mut Vec<String>) -> anyhow::Result<u64> {
    let dir = config.store.data.join("decisions");
    let log = match Decisions::open(&dir, config.plugins.decisions_segment_mb << 20) {
        Ok(log) => log,
        Err(error) => {
            problems.push(error.to_string());
            return Ok(1);
        }
    };
    let (mut read, mut wrong) = (0_u64, 0);
    for decision in log.iter(None) {
        match decision {
            Ok(_) => read += 1,
            Err(error) => {
                problems.push(error.to_string());
                wrong += 1;
            }
        }
    }
    say!("decisions {read}, problems {wrong}");
    Ok(wrong)
}
