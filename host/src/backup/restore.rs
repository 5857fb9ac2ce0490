//! Reading a backup: checked as a whole first, then unpacked.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Write as _},
    path::Path,
};

use super::{
    BackupError, Manifest, STORE,
    format::{Piece, Reader},
};
use crate::store::{Import, Seq, SledOptions};

/// Where an unpacked backup writes.
enum Place {
    Rows(Box<Import>),
    File(File, std::path::PathBuf),
}

/// Reads a backup to its end and says what is in it; nothing is written.
///
/// # Errors
///
/// Names the part that is damaged or missing.
pub fn check(from: impl Read) -> Result<Manifest, BackupError> {
    let mut reader = Reader::begin(BufReader::with_capacity(1 << 20, from))?;
    loop {
        if let Piece::Done(manifest) = reader.piece()? {
            return Ok(manifest);
        }
    }
}

/// Makes the files of a data directory in `dir`, which is new; on disk when this returns. If it fails, `dir` is to be
/// thrown away.
///
/// # Errors
///
/// Names the part that is damaged or missing, or the file that cannot be written.
pub fn unpack(from: impl Read, dir: &Path, options: &SledOptions) -> Result<Manifest, BackupError> {
    let mut reader = Reader::begin(BufReader::with_capacity(1 << 20, from))?;
    let write_error = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Write { path, source }
    };
    let (store, mut rows, mut place) = (dir.join(STORE), None, None);
    loop {
        match reader.piece()? {
            Piece::Part(name) if name == STORE => {
                place = Some(Place::Rows(Box::new(Import::begin(&store, options)?)));
            }
            Piece::Part(name) => {
                let path = dir.join(name);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(write_error(folder))?;
                }
                place = Some(Place::File(File::create_new(&path).map_err(write_error(&path))?, path));
            }
            Piece::Data(bytes) => match &mut place {
                Some(Place::Rows(import)) => import.write(&bytes)?,
                Some(Place::File(file, path)) => file.write_all(&bytes).map_err(write_error(path))?,
                None => {}
            },
            Piece::End => match place.take() {
                Some(Place::Rows(import)) => rows = Some(import),
                Some(Place::File(file, path)) => file.sync_all().map_err(write_error(&path))?,
                None => {}
            },
            Piece::Done(manifest) => {
                if let Some(rows) = rows {
                    rows.finish(&store, Seq::new(manifest.seq))?;
                }
                for folder in ["modules", "decisions", "vault", ""] {
                    let folder = dir.join(folder);
                    fs::create_dir_all(&folder).map_err(write_error(&folder))?;
                    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(write_error(&folder))?;
                }
                return Ok(manifest);
            }
        }
    }
}
