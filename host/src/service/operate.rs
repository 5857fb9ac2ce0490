//! What operators ask of a deployment that runs: a backup, and whether everything refers to what it should.

use std::sync::Arc;

use super::{Error, Services, verify};
use crate::{
    backup::{Backup, BackupError},
    store::StoreError,
};

impl Services {
    /// Begins a backup of everything; what was committed before it ends is in it. One at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exporting`] and others of the store.
    pub fn begin_backup(&self) -> Result<Backup, Error> {
        let (vault, decisions, modules) =
            (Arc::clone(&self.vault), Arc::clone(&self.decisions), Arc::clone(&self.modules));
        Backup::begin(&self.store, vault, decisions, modules, self.clock.now()).map_err(|error| match error {
            BackupError::Store(error) => Error::Store(error),
            other => Error::Store(StoreError::Backend { reason: other.to_string().into() }),
        })
    }

    /// Checks that rows refer to what is there, while orders flow; see [`verify::references`].
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn verify_references(&self) -> Result<verify::ReferencesReport, Error> {
        Ok(verify::references(&self.store, Some(&self.vault)).await?)
    }
}
