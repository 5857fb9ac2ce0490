//! `galenic restore`: a data directory from a backup, whole or not at all.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use super::{
    PlaceArgs, backup as command,
    config::{Config, Secrets},
};
use crate::{
    app, backup,
    members::{
        erasures::{self, Erasure},
        vault::Vault,
    },
    service::members::reapply_erasures,
    store::{Store, wait_until_released},
};

/// What to restore, and where to.
#[derive(Args)]
pub(super) struct RestoreArgs {
    /// The backup.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// The newest journal of erasures there is: who is erased in it is erased again.
    #[arg(long, value_name = "FILE")]
    erasures: Option<PathBuf>,
    /// A file with the master key of the deployment; it is copied into the data directory.
    #[arg(long, value_name = "FILE")]
    master_key: Option<PathBuf>,
}

/// Checks everything, makes the directory beside its place, and renames it.
pub(super) async fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let config = args.place.load()?;
    let data = &config.store.data;
    let empty = fs::read_dir(data).map_or(!data.exists(), |mut entries| entries.next().is_none());
    anyhow::ensure!(empty, "{} is not empty: restore into a new directory", data.display());
    let key = match &args.master_key {
        Some(path) => app::read_master_key(path)?,
        None => Secrets::from_env()?
            .master_key
            .context("a backup never holds the master key: set GALENIC_MASTER_KEY, or give --master-key")?,
    };
    let journal = args.erasures.as_deref().map(erasures::read).transpose()?;
    let manifest = command::check(&args.from)?;
    let place = beside(data)?;
    if place.exists() {
        // Left by a restore that was cut short: nobody ever opened it.
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))?;
    }
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let erased = match build(&args, &config, &place, key, journal.as_deref().unwrap_or_default()).await {
        Ok(erased) => erased,
        Err(error) => {
            let _kept = fs::remove_dir_all(&place);
            return Err(error.context("nothing was restored"));
        }
    };
    fs::rename(&place, data).with_context(|| {
        format!("cannot rename {} to {}: is that a mount point? restore below it", place.display(), data.display())
    })?;
    if let Some(parent) = place.parent() {
        File::open(parent).and_then(|dir| dir.sync_all()).context("cannot sync the directory")?;
    }
    say!("{}", command::summary(&manifest));
    say!("members erased again: {erased}");
    if journal.is_none() {
        eprintln!("erasures after {} are not known: give the newest erasures.log with --erasures", manifest.made_at);
    }
    say!("restored to {}; prove it with `galenic verify --data {}`", data.display(), data.display());
    Ok(ExitCode::SUCCESS)
}

/// `DIR.restoring`, beside the directory, so that a rename moves it there in one step.
fn beside(data: &Path) -> anyhow::Result<PathBuf> {
    let mut name =
        data.file_name().with_context(|| format!("{} is no name of a directory", data.display()))?.to_owned();
    name.push(".restoring");
    Ok(data.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).join(name))
}

/// Everything of the data directory, on disk when this returns; how many members were erased again.
async fn build(
    args: &RestoreArgs,
    config: &Config,
    place: &Path,
    key: [u8; 32],
    journal: &[Erasure],
) -> anyhow::Result<u64> {
    let sled = config.sled_options();
    let file = File::open(&args.from).with_context(|| format!("cannot open {}", args.from.display()))?;
    backup::unpack(file, place, &sled).with_context(|| format!("{}", args.from.display()))?;
    let vault = Vault::unlock(place, key).context("the backup is of a deployment with another master key")?;
    let known_path = place.join(erasures::FILE_NAME);
    let mut all = if known_path.exists() { erasures::read(&known_path)? } else { Vec::new() };
    let newer: Vec<Erasure> = journal.iter().filter(|erasure| !all.contains(erasure)).copied().collect();
    erasures::append(place, &newer).context("cannot write the journal of erasures")?;
    all.extend(newer);
    let dir = place.join(backup::STORE);
    let store = Store::open(&dir, sled, Vec::new())?;
    let erased = reapply_erasures(&store, &vault, &all).await?;
    store.clone().close().await?;
    drop((store, vault));
    wait_until_released(&dir).context("the store does not close")?;
    if args.master_key.is_some() {
        app::write_master_key(place, &key)?;
    }
    File::open(place).and_then(|dir| dir.sync_all()).with_context(|| format!("cannot sync {}", place.display()))?;
    Ok(erased)
}
