//! `galenic backup`: from a running server over HTTP, or from a data directory at rest.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use super::{
    PlaceArgs,
    config::Secrets,
    remote::{Remote, ServerArgs},
};
use crate::{
    app,
    backup::{self, Manifest},
    clock::Clock,
    ids::Ids,
};

/// What to back up, and where to.
#[derive(Args)]
pub(super) struct BackupArgs {
    /// A directory, in which the file gets a name with its time, or the file itself, which must not be there yet.
    #[arg(long, value_name = "DIR|FILE")]
    to: PathBuf,
    /// Back up this data directory, which no server has open, instead of asking a server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A configuration file, TOML, for --data.
    #[arg(long, value_name = "FILE", requires = "data")]
    config: Option<PathBuf>,
    /// The server's address.
    #[arg(long, value_name = "URL", env = "GALENIC_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// An API key with the scope `operate`.
    #[arg(long, value_name = "KEY", env = "GALENIC_KEY", hide_env_values = true, required_unless_present = "data")]
    key: Option<String>,
}

/// Makes the backup, checks it, and only then gives it its name.
pub(super) async fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let BackupArgs { to, data, config, server, key } = args;
    let (dir, name) = target(&to)?;
    if let Some(name) = &name {
        anyhow::ensure!(!dir.join(name).exists(), "{} is there already: choose another name", to.display());
    }
    let mut file =
        tempfile::NamedTempFile::new_in(&dir).with_context(|| format!("cannot write in {}", dir.display()))?;
    match data {
        Some(data) => at_rest(PlaceArgs { data: Some(data), config }, file.as_file_mut()).await?,
        None => {
            let remote: Remote = ServerArgs::new(server, key.unwrap_or_default()).connect()?;
            remote.download("/ops/v1/backups", file.as_file_mut()).await.context("no backup was made")?;
        }
    }
    let manifest = check(file.path())?;
    file.as_file().sync_all().context("cannot sync the backup")?;
    let name = name.unwrap_or_else(|| {
        format!("galenic-{}-{}.backup", manifest.made_at.strftime("%Y%m%dT%H%M%SZ"), manifest.seq).into()
    });
    let path = dir.join(name);
    file.persist_noclobber(&path).with_context(|| format!("cannot write {}", path.display()))?;
    File::open(&dir).and_then(|dir| dir.sync_all()).with_context(|| format!("cannot sync {}", dir.display()))?;
    say!("{}", path.display());
    eprintln!("{}", summary(&manifest));
    eprintln!("the master key is not in it: keep a copy of it apart, and of erasures.log, the newest there is");
    Ok(ExitCode::SUCCESS)
}

/// Reads a backup to its end.
pub(super) fn check(path: &Path) -> anyhow::Result<Manifest> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    backup::check(file).with_context(|| format!("{}", path.display()))
}

/// What is in a backup, in one line.
pub(super) fn summary(manifest: &Manifest) -> String {
    let Manifest { format, program, made_at, seq, parts } = manifest;
    let bytes = manifest.bytes();
    format!("format {format}, program {program}, begun {made_at}, commit {seq}, {} parts, {bytes} bytes", parts.len())
}

/// The directory to write in, and the name if one was given.
fn target(to: &Path) -> anyhow::Result<(PathBuf, Option<std::ffi::OsString>)> {
    if to.is_dir() {
        return Ok((to.to_owned(), None));
    }
    let name = to.file_name().with_context(|| format!("{} is no name of a file", to.display()))?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(dir.is_dir(), "{} is no directory", dir.display());
    Ok((dir.to_owned(), Some(name.to_owned())))
}

async fn at_rest(place: PlaceArgs, to: &mut File) -> anyhow::Result<()> {
    let config = place.load()?;
    let data = &config.store.data;
    anyhow::ensure!(data.join("store").is_dir(), "{} holds no store", data.display());
    let secrets = Secrets::from_env()?;
    let key = app::known_master_key(data, &secrets)?;
    let key = key.context("the vault opens with the master key alone: set GALENIC_MASTER_KEY")?;
    let opened = app::open_services(&config, &secrets, key, Clock::System, Ids::random()).await;
    let services = opened.context("if a server runs, back it up with --server")?;
    let backup = services.begin_backup()?;
    let mut to = to.try_clone()?;
    tokio::task::spawn_blocking(move || backup.write(&mut to)).await.context("the backup panicked")??;
    services.store.close().await.context("cannot close the store")
}
