//! The bytes of a backup.
//!
//! ```text
//! magic     "galenic backup 1"
//! frame     kind u8 | bytes u32 | payload
//! 1 part      the part's name
//! 2 data      some of its bytes, at most 1 MiB
//! 3 end       SHA-256 of the part's bytes
//! 4 manifest  JSON, see `Manifest`
//! 5 seal      SHA-256 of everything before this frame
//! ```
//!
//! Numbers are big-endian. Parts follow each other; the manifest and the seal come last and nothing follows them. So it can
//! be written and read as a stream, a copy that ends early is noticed, and so is every flipped bit: in a part by the part's
//! own digest, which names it, anywhere else by the seal.

use std::io::{self, ErrorKind, Read, Write};

use sha2::{Digest as _, Sha256};

use super::{BackupError, Manifest, Part, STORE, VAULT};

/// What every backup begins with; the last byte is the version.
const MAGIC: &[u8; 16] = b"galenic backup 1";
/// The version, which is the last byte of what every backup begins with.
pub const FORMAT: u32 = 1;
/// Bytes of one frame of data.
const DATA_BYTES_MAX: usize = 1 << 20;
/// Bytes of a manifest: a deployment has some thousands of parts at most.
const MANIFEST_BYTES_MAX: usize = 16 << 20;
const NAME_BYTES_MAX: usize = 200;
const DIGEST_BYTES: usize = 32;

const PART: u8 = 1;
const DATA: u8 = 2;
const END: u8 = 3;
const MANIFEST: u8 = 4;
const SEAL: u8 = 5;

/// Writes a backup, part by part.
pub struct Writer<W> {
    to: W,
    whole: Sha256,
    part: Option<(Part, Sha256)>,
    parts: Vec<Part>,
}

impl<W: Write> Writer<W> {
    /// Begins a backup.
    ///
    /// # Errors
    ///
    /// Those of the receiver, as for all methods.
    pub fn begin(to: W) -> Result<Self, BackupError> {
        let mut writer = Self { to, whole: Sha256::new(), part: None, parts: Vec::new() };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Begins a part.
    ///
    /// # Errors
    ///
    /// Those of the receiver.
    pub fn part(&mut self, name: &str) -> Result<(), BackupError> {
        self.frame(PART, name.as_bytes())?;
        self.part = Some((Part { name: name.to_owned(), bytes: 0, sha256: String::new() }, Sha256::new()));
        Ok(())
    }

    /// Appends bytes to the part.
    ///
    /// # Errors
    ///
    /// Those of the receiver.
    pub fn data(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        for bytes in bytes.chunks(DATA_BYTES_MAX) {
            if let Some((part, digest)) = &mut self.part {
                part.bytes += bytes.len() as u64;
                digest.update(bytes);
            }
            self.frame(DATA, bytes)?;
        }
        Ok(())
    }

    /// Appends everything that `from` holds.
    ///
    /// # Errors
    ///
    /// Those of the receiver, and of `from`.
    pub fn copy(&mut self, mut from: impl Read) -> Result<(), BackupError> {
        let mut buffer = vec![0; DATA_BYTES_MAX];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(bytes) => self.data(&buffer[..bytes])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(BackupError::io("read a file for the backup")(error)),
            }
        }
    }

    /// Ends the part.
    ///
    /// # Errors
    ///
    /// Those of the receiver.
    pub fn end(&mut self) -> Result<(), BackupError> {
        let Some((mut part, digest)) = self.part.take() else { return Ok(()) };
        let digest = digest.finalize();
        part.sha256 = hex(&digest);
        self.parts.push(part);
        self.frame(END, &digest)
    }

    /// Ends the backup.
    ///
    /// # Errors
    ///
    /// Those of the receiver.
    pub fn finish(mut self, program: &str, made_at: jiff::Timestamp, seq: u64) -> Result<Manifest, BackupError> {
        let parts = std::mem::take(&mut self.parts);
        let manifest = Manifest { format: FORMAT, program: program.to_owned(), made_at, seq, parts };
        let json =
            serde_json::to_vec(&manifest).map_err(|error| BackupError::io("write the manifest")(error.into()))?;
        self.frame(MANIFEST, &json)?;
        let seal = self.whole.clone().finalize();
        self.frame(SEAL, &seal)?;
        self.to.flush().map_err(BackupError::io("write the backup"))?;
        Ok(manifest)
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), BackupError> {
        let bytes = u32::try_from(payload.len()).expect("frames are bounded").to_be_bytes();
        self.put(&[kind, bytes[0], bytes[1], bytes[2], bytes[3]])?;
        self.put(payload)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.whole.update(bytes);
        self.to.write_all(bytes).map_err(BackupError::io("write the backup"))
    }
}

/// What a reader comes across.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A part begins. Its name is a path of a data directory, and safe to use as one.
    Part(String),
    /// Bytes of it. They are not checked before its end.
    Data(Vec<u8>),
    /// The part ends, and its bytes are those that were written.
    End,
    /// The backup ends, and all of it is as it was written.
    Done(Manifest),
}

/// Reads a backup, and believes nothing in it.
pub struct Reader<R> {
    from: R,
    whole: Sha256,
    part: Option<(Part, Sha256)>,
    parts: Vec<Part>,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// [`BackupError::NotABackup`], [`BackupError::UnknownVersion`], and those of `from`.
    pub fn begin(mut from: R) -> Result<Self, BackupError> {
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(BackupError::NotABackup),
            read => read.map_err(BackupError::io("read the backup"))?,
        }
        let name = MAGIC.len() - 1;
        if magic[..name] != MAGIC[..name] {
            return Err(BackupError::NotABackup);
        }
        if magic != *MAGIC {
            return Err(BackupError::UnknownVersion { found: magic[name..].escape_ascii().to_string() });
        }
        let whole = Sha256::new().chain_update(magic);
        Ok(Self { from, whole, part: None, parts: Vec::new() })
    }

    /// The next piece; after [`Piece::Done`] there is none.
    ///
    /// # Errors
    ///
    /// Names the part that is damaged or missing.
    pub fn piece(&mut self) -> Result<Piece, BackupError> {
        let mut head = [0; 5];
        self.read(&mut head)?;
        let bytes = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let most = match head[0] {
            PART => NAME_BYTES_MAX,
            DATA => DATA_BYTES_MAX,
            END => DIGEST_BYTES,
            MANIFEST => MANIFEST_BYTES_MAX,
            _ => return Err(self.damaged("there is no such piece")),
        };
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= most);
        let bytes = bytes.ok_or_else(|| self.damaged("a piece is too long"))?;
        let mut payload = vec![0; bytes];
        self.read(&mut payload)?;
        self.whole.update(head);
        self.whole.update(&payload);
        match (head[0], self.part.take()) {
            (PART, None) => self.begin_part(&payload),
            (DATA, Some((mut part, mut digest))) => {
                part.bytes += payload.len() as u64;
                digest.update(&payload);
                self.part = Some((part, digest));
                Ok(Piece::Data(payload))
            }
            (END, Some((mut part, digest))) => {
                let digest = digest.finalize();
                if payload != digest.as_slice() {
                    return Err(BackupError::Damaged { part: part.name, why: "its digest differs" });
                }
                part.sha256 = hex(&digest);
                self.parts.push(part);
                Ok(Piece::End)
            }
            (MANIFEST, None) => self.finish(&payload),
            (_, part) => {
                self.part = part;
                Err(self.damaged("its pieces are not in order"))
            }
        }
    }

    fn begin_part(&mut self, name: &[u8]) -> Result<Piece, BackupError> {
        let name = std::str::from_utf8(name).ok().filter(|name| is_known(name));
        let name = name.ok_or_else(|| self.damaged("a part has a name that no backup has"))?.to_owned();
        if self.parts.iter().any(|part| part.name == name) {
            return Err(self.damaged("a part comes twice"));
        }
        self.part = Some((Part { name: name.clone(), bytes: 0, sha256: String::new() }, Sha256::new()));
        Ok(Piece::Part(name))
    }

    fn finish(&mut self, json: &[u8]) -> Result<Piece, BackupError> {
        let wrong = |why| BackupError::Damaged { part: "the manifest".to_owned(), why };
        let sealed = self.whole.clone().finalize();
        let mut seal = [0; 5 + DIGEST_BYTES];
        self.from.read_exact(&mut seal).map_err(|error| cut_short(error, "the seal".to_owned()))?;
        let head = [SEAL, 0, 0, 0, 32];
        if seal[..5] != head || seal[5..] != *sealed.as_slice() {
            return Err(BackupError::Damaged { part: "the seal".to_owned(), why: "the whole's digest differs" });
        }
        if self.from.read(&mut [0]).map_err(BackupError::io("read the backup"))? > 0 {
            return Err(BackupError::Damaged { part: "the end".to_owned(), why: "bytes follow the seal" });
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(|_| wrong("it cannot be read"))?;
        if manifest.parts != self.parts || manifest.format != FORMAT {
            return Err(wrong("it does not name the parts that are there"));
        }
        for part in [STORE, VAULT] {
            if !self.parts.iter().any(|there| there.name == part) {
                return Err(BackupError::MissingPart { part });
            }
        }
        Ok(Piece::Done(manifest))
    }

    fn read(&mut self, to: &mut [u8]) -> Result<(), BackupError> {
        let read = self.from.read_exact(to);
        read.map_err(|error| cut_short(error, self.place()))
    }

    /// Where the reader is, for people.
    fn place(&self) -> String {
        match (&self.part, self.parts.last()) {
            (Some((part, _)), _) => part.name.clone(),
            (None, Some(part)) => format!("what follows {}", part.name),
            (None, None) => "its beginning".to_owned(),
        }
    }

    fn damaged(&self, why: &'static str) -> BackupError {
        BackupError::Damaged { part: self.place(), why }
    }
}

fn cut_short(error: io::Error, part: String) -> BackupError {
    if error.kind() == ErrorKind::UnexpectedEof {
        return BackupError::Truncated { part };
    }
    BackupError::Io { what: "read the backup", source: error }
}

/// Whether a part may have this name, which becomes a path: two fixed levels at most, no dots that lead elsewhere.
fn is_known(name: &str) -> bool {
    let file = |name: &str, extension: &str| {
        name.strip_suffix(extension).is_some_and(|stem| {
            !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    match name.split_once('/') {
        None => name == STORE || name == crate::members::erasures::FILE_NAME,
        Some(("decisions", name)) => file(name, ".decisions"),
        Some(("modules", name)) => file(name, ".wasm"),
        Some(_) => name == VAULT,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
