//! The bytes of modules, each in a file named by its digest.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use crate::{plugin::ModuleDigest, service::Error};

/// Keeps a module's bytes: when this returns they are on disk, whole, under their name.
pub(super) async fn write(dir: Arc<Path>, digest: ModuleDigest, bytes: Arc<[u8]>) -> Result<(), Error> {
    blocking("keep the module", move || write_now(&dir, digest, &bytes)).await
}

/// A module's bytes.
///
/// # Errors
///
/// [`Error::Io`] if the file is gone, or holds other bytes than those of its name.
pub(super) async fn read(dir: Arc<Path>, digest: ModuleDigest) -> Result<Arc<[u8]>, Error> {
    let read = move || {
        let path = dir.join(file_name(digest));
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}; push the module again or restore it", path.display()))
        };
        let bytes = fs::read(&path).map_err(explain)?;
        if ModuleDigest::of(&bytes) != digest {
            return Err(explain(io::Error::new(io::ErrorKind::InvalidData, "its bytes are not those of its name")));
        }
        Ok(bytes.into())
    };
    blocking("read the module", read).await
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| Error::Io { what, source })
}

fn file_name(digest: ModuleDigest) -> String {
    format!("{digest}.wasm")
}

fn write_now(dir: &Path, digest: ModuleDigest, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(file_name(digest));
    if fs::read(&path).is_ok_and(|kept| kept == bytes) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_and_damage_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, bytes): (Arc<Path>, Arc<[u8]>) = (dir.path().join("modules").into(), b"bytes".as_slice().into());
        let digest = ModuleDigest::of(&bytes);
        for _ in 0..2 {
            write(Arc::clone(&path), digest, Arc::clone(&bytes)).await.expect("is kept");
        }
        assert_eq!(read(Arc::clone(&path), digest).await.expect("reads"), bytes);
        fs::write(path.join(file_name(digest)), b"other").expect("writes");
        let told = read(Arc::clone(&path), digest).await.expect_err("is damaged").to_string();
        assert!(told.contains("not those of its name") && told.contains("push the module again"), "{told}");
        write(Arc::clone(&path), digest, Arc::clone(&bytes)).await.expect("is mended");
        assert_eq!(read(Arc::clone(&path), digest).await.expect("reads"), bytes);
        fs::remove_file(path.join(file_name(digest))).expect("goes");
        assert!(matches!(read(path, digest).await, Err(Error::Io { .. })));
    }
}
