//! Making a backup of rooms that are in use.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{BackupError, Manifest, STORE, VAULT, format::Writer};
use crate::{
    members::{erasures, vault::Vault},
    plugin::Decisions,
    store::{Export, Store},
};

/// A backup takes no more than this of the disk and of the processor, so that orders do not wait for it: a gigabyte in
/// sixteen seconds.
const BYTES_PER_SECOND: u64 = 64 << 20;

/// A backup that is about to be made. From [`Backup::begin`] on the store keeps for it what is committed.
pub struct Backup {
    export: Export,
    vault: Arc<Vault>,
    decisions: Arc<Decisions>,
    /// The data directory's `modules`, beside which the journal of erasures lies.
    modules: Arc<Path>,
    made_at: Timestamp,
}

impl Backup {
    /// Begins a backup; one at a time.
    ///
    /// # Errors
    ///
    /// [`BackupError::Store`].
    pub fn begin(
        store: &Store,
        vault: Arc<Vault>,
        decisions: Arc<Decisions>,
        modules: Arc<Path>,
        made_at: Timestamp,
    ) -> Result<Self, BackupError> {
        Ok(Self { export: store.export()?, vault, decisions, modules, made_at })
    }

    /// Writes it, at 64 MiB a second at most; what was committed before this ends with the rows is in it. Blocks.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; what was written until then is no backup.
    pub fn write(mut self, to: impl Write) -> Result<Manifest, BackupError> {
        let mut writer = Writer::begin(Paced { to, begun: Instant::now(), bytes: 0 })?;
        writer.part(STORE)?;
        while let Some(piece) = self.export.piece()? {
            writer.data(&piece)?;
        }
        let seq = self.export.seq().get();
        // What is committed from now on is not waited for.
        drop(self.export);
        writer.end()?;
        writer.part(VAULT)?;
        self.vault.copy(|part| writer.data(part))?;
        writer.end()?;
        if let Some(data) = self.modules.parent() {
            copy_file(&mut writer, erasures::FILE_NAME, &data.join(erasures::FILE_NAME))?;
        }
        self.decisions.copy(|name, segment| {
            writer.part(&format!("decisions/{name}"))?;
            writer.copy(segment)?;
            writer.end()
        })?;
        let mut modules = Vec::new();
        for entry in fs::read_dir(&self.modules).map_err(BackupError::io("list the modules"))? {
            modules.push(entry.map_err(BackupError::io("list the modules"))?.path());
        }
        // One that is being written has another name.
        modules.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        modules.sort();
        for path in modules {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            copy_file(&mut writer, &format!("modules/{name}"), &path)?;
        }
        writer.finish(env!("CARGO_PKG_VERSION"), self.made_at, seq)
    }
}

/// Copies a file as a part; there is none where the file is not there.
fn copy_file(writer: &mut Writer<impl Write>, name: &str, path: &Path) -> Result<(), BackupError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::io("read a file for the backup")(error)),
    };
    writer.part(name)?;
    writer.copy(file)?;
    writer.end()
}

/// Passes bytes on no faster than [`BYTES_PER_SECOND`].
struct Paced<W> {
    to: W,
    begun: Instant,
    bytes: u64,
}

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let due = Duration::from_millis(self.bytes * 1_000 / BYTES_PER_SECOND);
        thread::sleep(due.saturating_sub(self.begun.elapsed()));
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
