//! Backups: everything that a deployment must not lose, of one moment, in one stream whose every bit is checked.
//!
//! [`Backup`] makes one of rooms that are in use; [`check`] reads one and believes nothing; [`unpack`] makes the files of a
//! data directory of one. The bytes are those of [`mod@format`].
//!
//! The parts stand in this order, and the order matters: `store` first; then `vault/keys`, which so has every key that a
//! row needs; then `erasures.log`, which so names every key that the copy of the vault lacks; then the recorded decisions
//! and the modules that rows refer to. The master key is in no backup: keys stand there as the vault wraps them.
//!
//! Nothing here knows what rows mean, and nothing here knows HTTP.

pub mod format;
mod make;
mod restore;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    make::Backup,
    restore::{check, unpack},
};
use crate::{
    plugin::DecisionsError,
    store::{OpenError, StoreError},
};

/// The part that holds the rows.
pub const STORE: &str = "store";
/// The part that holds the wrapped keys.
pub const VAULT: &str = "vault/keys";

/// What a backup says of itself, at its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was begun.
    pub made_at: jiff::Timestamp,
    /// The last commit that is in it.
    pub seq: u64,
    /// The parts, in their order.
    pub parts: Vec<Part>,
}

/// One part of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name: a path in the data directory.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// Its SHA-256, as hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Why a backup cannot be made, or is not one that can be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The bytes are something else.
    #[error("this is no backup of Galenic")]
    NotABackup,
    /// Another version made it.
    #[error("the backup has format `{found}`, this program knows format `1`: restore it with the version that made it")]
    UnknownVersion {
        /// The version found.
        found: String,
    },
    /// It ends too early.
    #[error("the backup is cut short in {part}: take another copy of it")]
    Truncated {
        /// The part it ends in.
        part: String,
    },
    /// Bytes are not what was written.
    #[error("the backup is damaged in {part}: {why}; take another copy of it")]
    Damaged {
        /// The part that is damaged.
        part: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A part that every backup has is not there.
    #[error("the backup has no {part}: take another copy of it")]
    MissingPart {
        /// The part.
        part: &'static str,
    },
    /// A file, or the receiver of the backup, fails.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A file of a data directory cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The store does not give or take its rows.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store of the restored directory does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The recorded decisions cannot be read.
    #[error(transparent)]
    Decisions(#[from] DecisionsError),
}

impl BackupError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

impl From<io::Error> for BackupError {
    fn from(source: io::Error) -> Self {
        Self::Io { what: "read the vault", source }
    }
}

#[cfg(test)]
mod tests;
