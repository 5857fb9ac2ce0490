//! `galenic verify`.

use std::process::ExitCode;

use anyhow::Context as _;

use super::PlaceArgs;
use crate::{ledger::verify::verify, store::Store};

/// Re-adds every posting of a data directory and says whether the books close.
pub(super) async fn run(place: PlaceArgs) -> anyhow::Result<ExitCode> {
    let config = place.load()?;
    let dir = config.store.data.join("store");
    anyhow::ensure!(dir.is_dir(), "{} holds no store", config.store.data.display());
    let store = Store::open(&dir, config.sled_options(), Vec::new())
        .with_context(|| format!("cannot open {}: if a server runs, ask it with GET /ops/v1/ledger", dir.display()))?;
    let report = verify(&store).await.context("the books cannot be read")?;
    store.close().await.context("cannot close the store")?;
    say!(
        "accounts {}, entries {}, lots {}, sum {}, problems {}",
        report.accounts,
        report.entries,
        report.lots,
        report.sum,
        report.problem_count
    );
    for problem in &report.problems {
        say!("problem: {problem}");
    }
    if report.is_sound() {
        say!("the books close");
        return Ok(ExitCode::SUCCESS);
    }
    say!("the books do not close");
    Ok(ExitCode::FAILURE)
}
