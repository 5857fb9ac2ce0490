//! Compiled components on disk, so that a restart or a rollback compiles nothing.
//!
//! A file is named by everything that decides its content — wasmtime's version and settings, the module, the
//! configuration — and begins with the digest of its name and payload. Only a file whose digest is right is loaded: a
//! damaged one is compiled anew and replaced. The directory is the owner's alone, because what is in it is run as
//! native code.

use std::{
    fs::{self, DirBuilder, File},
    hash::{Hash, Hasher},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use tracing::warn;
use wasmtime::component::Component;

const MAGIC: &[u8; 8] = b"galart01";
const HEADER_BYTES: usize = MAGIC.len() + 32;

/// The name of an artefact: a digest of all that decides its content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

/// What is kept under a key.
pub(super) enum Kept {
    /// A component, ready to run.
    Component(Component),
    /// The module cannot be snapshotted: not worth trying again.
    NoSnapshot,
}

/// The cache, or none.
pub(super) struct Artefacts {
    dir: Option<PathBuf>,
    compiler: [u8; 32],
}

/// Feeds a [`Hash`] into SHA-256.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.clone().finalize().first_chunk().copied().map_or(0, u64::from_be_bytes)
    }
}

impl Artefacts {
    pub(super) fn open(dir: Option<PathBuf>, bytes_max: u64, engines: &[&wasmtime::Engine]) -> io::Result<Self> {
        let mut compiler = Sha(Sha256::new());
        for engine in engines {
            engine.precompile_compatibility_hash().hash(&mut compiler);
        }
        if let Some(dir) = &dir {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            prune(dir, bytes_max)?;
        }
        Ok(Self { dir, compiler: compiler.0.finalize().into() })
    }

    pub(super) fn key(&self, parts: &[&[u8]]) -> Key {
        let mut digest = Sha256::new();
        digest.update(self.compiler);
        for part in parts {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Key(digest.finalize().into())
    }

    /// What is kept under a key, if it is there and whole.
    pub(super) fn load(&self, engine: &wasmtime::Engine, key: Key) -> Option<Kept> {
        let path = self.path(key)?;
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(path = %path.display(), %error, "compiled artefact cannot be read, compiling anew");
                return None;
            }
        };
        let payload = bytes.get(HEADER_BYTES..).filter(|payload| bytes[..HEADER_BYTES] == header(key, payload));
        let Some(payload) = payload else {
            warn!(path = %path.display(), "compiled artefact is damaged, compiling anew");
            return None;
        };
        if payload.is_empty() {
            return Some(Kept::NoSnapshot);
        }
        // SAFETY: the digest in front, over exactly these bytes, says that this host wrote them with this compiler;
        // nobody else can write to the directory.
        match unsafe { Component::deserialize(engine, payload) } {
            Ok(component) => Some(Kept::Component(component)),
            Err(error) => {
                warn!(path = %path.display(), error = %format!("{error:#}"), "compiled artefact does not load, compiling anew");
                None
            }
        }
    }

    /// Keeps a component, or the fact that there can be none. A cache that cannot be written is slow, not wrong: it is
    /// logged and the release goes on.
    pub(super) fn keep(&self, key: Key, component: Option<&Component>) {
        let Some(path) = self.path(key) else { return };
        let payload = component.map_or_else(|| Ok(Vec::new()), Component::serialize);
        let written = payload.map_err(|error| error.to_string()).and_then(|payload| {
            write_whole(&path, &header(key, &payload), &payload).map_err(|error| error.to_string())
        });
        if let Err(error) = written {
            warn!(path = %path.display(), error, "compiled artefact cannot be kept");
        }
    }

    fn path(&self, key: Key) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        let name: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(dir.join(name + ".artefact"))
    }
}

fn header(key: Key, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let digest = Sha256::new().chain_update(key.0).chain_update(payload).finalize();
    let mut header = [0; HEADER_BYTES];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()..].copy_from_slice(&digest);
    header
}

/// Writes a file that is either whole or not there.
fn write_whole(path: &Path, header: &[u8], payload: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".artefact-").tempfile_in(dir)?;
    file.write_all(header)?;
    file.write_all(payload)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

/// Removes what a crash left half written, and the oldest artefacts above the limit.
fn prune(dir: &Path, bytes_max: u64) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if entry.file_name().to_string_lossy().starts_with(".artefact-") {
            fs::remove_file(entry.path())?;
        } else if entry.path().extension().is_some_and(|extension| extension == "artefact") {
            kept.push((meta.modified()?, meta.len(), entry.path()));
        }
    }
    kept.sort_by_key(|(written, ..)| std::cmp::Reverse(*written));
    let mut total = 0_u64;
    for (_, bytes, path) in kept {
        total += bytes;
        if total > bytes_max {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
