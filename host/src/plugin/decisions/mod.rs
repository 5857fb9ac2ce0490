//! Recorded decisions: append-only segment files, chained by digests, beside the store and not in it.
//!
//! [`Decisions::append`] is the only way in; it buffers. [`Decisions::sync`] puts on disk what was appended before it,
//! and is called before the transaction that the decision explains is acknowledged. A year of decisions is read back in
//! order by [`Decisions::iter`], and old ones go a segment at a time ([`Decisions::retain`]).
//!
//! - What was synced is never rewritten, and damage to it is an error, not a loss: the file `synced` remembers how far
//!   that is. What was not yet synced may be torn by a crash; opening cuts it off.
//! - A failed write or sync poisons the log: nothing later can be trusted to be on disk.

mod record;
mod segment;

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use minicbor::{Decode, Encode};
use segment::{Chain, FRAME_HEADER_BYTES, HEADER_BYTES};

pub use record::{CallInput, CallOutput, CallRecord, DecisionRecord};

/// The largest payload.
const PAYLOAD_BYTES_MAX: usize = 4 << 20;
/// The file that remembers how far everything is on disk.
const MARK: &str = "synced";

/// Where a decision is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DecisionRef {
    /// The segment, from 1.
    #[n(0)]
    pub segment: u64,
    /// The frame's offset in it.
    #[n(1)]
    pub offset: u64,
}

/// Why decisions cannot be recorded or read.
#[derive(Debug, thiserror::Error)]
pub enum DecisionsError {
    /// The system refuses.
    #[error("the decisions at {path} cannot be used: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Recorded bytes are not what was written.
    #[error("the decision at segment {} offset {} is damaged: {why}; restore the segment from a backup", .at.segment, .at.offset)]
    Corrupt {
        /// Where.
        at: DecisionRef,
        /// What is wrong.
        why: &'static str,
    },
    /// A record that is too large.
    #[error("a decision of {bytes} bytes, at most {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Nothing is recorded there, or no longer.
    #[error("no decision is recorded at segment {} offset {}", .0.segment, .0.offset)]
    Unknown(DecisionRef),
    /// A write or sync has failed before.
    #[error("the decisions are closed after a failed write or sync")]
    Poisoned,
}

/// The log of decisions in one directory.
pub struct Decisions {
    dir: PathBuf,
    segment_bytes: u64,
    /// What is appended and not yet written. Held for the time of a copy.
    tail: Mutex<Tail>,
    /// What is written. Held while writing and syncing; taken before `tail` where both are needed.
    files: Mutex<Files>,
}

struct Tail {
    /// Bytes to write, segment by segment; the last is the one being appended to.
    pending: Vec<Pending>,
    segment: u64,
    /// Where the next frame goes.
    end: u64,
    chain: Chain,
    poisoned: bool,
}

struct Pending {
    segment: u64,
    offset: u64,
    bytes: Vec<u8>,
}

struct Files {
    /// Segments on disk.
    segments: BTreeSet<u64>,
    /// The last segment written to.
    open: Option<(u64, File)>,
    mark: File,
    /// Everything before this is on disk.
    synced: DecisionRef,
}

impl Decisions {
    /// Opens the log, or begins one. Cuts off what a crash left half written. A segment that would grow beyond
    /// `segment_bytes` ends, and the next begins.
    ///
    /// # Errors
    ///
    /// [`DecisionsError::Corrupt`] if the last segment is damaged where it had been synced, [`DecisionsError::Io`] if
    /// the directory cannot be used.
    pub fn open(dir: &Path, segment_bytes: u64) -> Result<Self, DecisionsError> {
        let io = at(dir);
        fs::create_dir_all(dir).map_err(&io)?;
        let mut segments = BTreeSet::new();
        for entry in fs::read_dir(dir).map_err(&io)? {
            let name = entry.map_err(&io)?.file_name();
            segments.extend(name.to_str().and_then(|name| name.strip_suffix(".decisions")?.parse::<u64>().ok()));
        }
        let mark_path = dir.join(MARK);
        let mark = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&mark_path);
        let mark = mark.map_err(at(&mark_path))?;
        let mut files = Files { segments, open: None, synced: read_mark(&mark), mark };
        let tail = open_tail(dir, &mut files)?;
        Ok(Self { dir: dir.to_owned(), segment_bytes, tail: Mutex::new(tail), files: Mutex::new(files) })
    }

    /// Records a decision; it is on disk after the next [`Decisions::sync`].
    ///
    /// # Errors
    ///
    /// [`DecisionsError::TooLarge`], or [`DecisionsError::Poisoned`] after a failed write.
    pub fn append(&self, record: &DecisionRecord) -> Result<DecisionRef, DecisionsError> {
        let payload = minicbor::to_vec(record).expect("a vector takes any record");
        self.append_bytes(&payload)
    }

    fn append_bytes(&self, payload: &[u8]) -> Result<DecisionRef, DecisionsError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(DecisionsError::TooLarge { bytes: payload.len() });
        }
        let mut tail = self.tail();
        if tail.poisoned {
            return Err(DecisionsError::Poisoned);
        }
        let frame = (FRAME_HEADER_BYTES + payload.len()) as u64;
        if tail.end > HEADER_BYTES as u64 && tail.end + frame > self.segment_bytes {
            let (next, link) = (tail.segment + 1, tail.chain);
            tail.begin(next, &link);
        }
        let Tail { pending, segment, end, chain, .. } = &mut *tail;
        let place = DecisionRef { segment: *segment, offset: *end };
        if pending.last().is_none_or(|last| last.segment != place.segment) {
            pending.push(Pending { segment: place.segment, offset: place.offset, bytes: Vec::new() });
        }
        if let Some(last) = pending.last_mut() {
            segment::write_frame(&mut last.bytes, chain, payload);
        }
        *end += frame;
        Ok(place)
    }

    /// Writes what was appended before and syncs it; costs nothing where nothing was. Appending goes on meanwhile.
    ///
    /// # Errors
    ///
    /// What the system says; the log is poisoned then.
    pub fn sync(&self) -> io::Result<()> {
        let mut files = self.files();
        let pending = {
            let mut tail = self.tail();
            if tail.poisoned {
                return Err(io::Error::other(DecisionsError::Poisoned));
            }
            std::mem::take(&mut tail.pending)
        };
        if pending.is_empty() {
            return Ok(());
        }
        let written = self.write(&mut files, &pending);
        if written.is_err() {
            self.tail().poisoned = true;
        }
        written
    }

    fn write(&self, files: &mut Files, pending: &[Pending]) -> io::Result<()> {
        for part in pending {
            let file = match &mut files.open {
                Some((segment, file)) if *segment == part.segment => file,
                open => {
                    let path = path_of(&self.dir, part.segment);
                    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
                    File::open(&self.dir)?.sync_all()?;
                    files.segments.insert(part.segment);
                    &mut open.insert((part.segment, file)).1
                }
            };
            file.write_all_at(&part.bytes, part.offset)?;
            file.sync_data()?;
            files.synced = DecisionRef { segment: part.segment, offset: part.offset + part.bytes.len() as u64 };
        }
        write_mark(&files.mark, files.synced)
    }

    /// Reads one decision.
    ///
    /// # Errors
    ///
    /// [`DecisionsError::Unknown`] where none is, [`DecisionsError::Corrupt`] where it is damaged.
    pub fn read(&self, place: DecisionRef) -> Result<DecisionRecord, DecisionsError> {
        decode(place, &self.read_bytes(place)?)
    }

    fn read_bytes(&self, place: DecisionRef) -> Result<Vec<u8>, DecisionsError> {
        let files = self.files();
        if let Some(payload) = self.tail().read(place)? {
            return Ok(payload);
        }
        if place >= files.synced || place.offset < HEADER_BYTES as u64 || !files.segments.contains(&place.segment) {
            return Err(DecisionsError::Unknown(place));
        }
        let path = path_of(&self.dir, place.segment);
        let file = File::open(&path).map_err(at(&path))?;
        let mut frame = vec![0; FRAME_HEADER_BYTES];
        file.read_exact_at(&mut frame, place.offset).map_err(at(&path))?;
        let corrupt = || DecisionsError::Corrupt { at: place, why: "its check differs" };
        let length =
            segment::payload_bytes(&frame).filter(|length| *length <= PAYLOAD_BYTES_MAX).ok_or_else(corrupt)?;
        frame.resize(FRAME_HEADER_BYTES + length, 0);
        let rest = file.read_exact_at(&mut frame[FRAME_HEADER_BYTES..], place.offset + FRAME_HEADER_BYTES as u64);
        rest.map_err(|error| if error.kind() == io::ErrorKind::UnexpectedEof { corrupt() } else { at(&path)(error) })?;
        segment::read_frame(&frame, None).map(<[u8]>::to_vec).ok_or_else(corrupt)
    }

    /// Reads synced decisions in order, from this place on or from the first, up to what was synced when it began.
    /// Every digest is checked; one segment at a time is held in memory.
    pub fn iter(&self, from: Option<DecisionRef>) -> Iter<'_> {
        let files = self.files();
        let mut segments: Vec<u64> = files.segments.iter().copied().collect();
        if let Some(from) = from {
            segments.retain(|segment| *segment >= from.segment);
        }
        segments.reverse();
        let from = from.unwrap_or(DecisionRef { segment: 0, offset: 0 });
        Iter { log: self, until: files.synced, from, segments, open: None, link: None }
    }

    /// Deletes the segments before this one, whole; the one being written always stays. Returns how many went.
    ///
    /// # Errors
    ///
    /// [`DecisionsError::Io`]; what was deleted until then is gone.
    pub fn retain(&self, before: u64) -> Result<usize, DecisionsError> {
        let mut files = self.files();
        let last = files.segments.last().copied().unwrap_or(0);
        let old: Vec<u64> = files.segments.range(..before.min(last)).copied().collect();
        for segment in &old {
            let path = path_of(&self.dir, *segment);
            fs::remove_file(&path).map_err(at(&path))?;
            files.segments.remove(segment);
        }
        if !old.is_empty() {
            File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(at(&self.dir))?;
        }
        Ok(old.len())
    }

    /// Hands every segment to `each`, the oldest first, as far as it is synced. One that is deleted meanwhile is left out.
    ///
    /// # Errors
    ///
    /// Those of `each`, and [`DecisionsError::Io`].
    pub fn copy<E: From<DecisionsError>>(
        &self,
        mut each: impl FnMut(&str, &mut dyn io::Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let (segments, synced) = {
            let files = self.files();
            (files.segments.clone(), files.synced)
        };
        for segment in segments.range(..=synced.segment) {
            let path = path_of(&self.dir, *segment);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&path)(error).into()),
            };
            let bytes = if *segment == synced.segment { synced.offset } else { u64::MAX };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            each(name, &mut file.take(bytes))?;
        }
        Ok(())
    }

    /// Deletes the oldest segments, at most so many, that hold no decision from `before` on; the one being written always
    /// stays. Each is read through first, because clocks go back: the last decision need not be the youngest. Blocks.
    ///
    /// # Errors
    ///
    /// [`DecisionsError::Io`], and [`DecisionsError::Corrupt`] for a segment that cannot be read, which stays.
    pub fn forget_before(&self, before: jiff::Timestamp, most: usize) -> Result<usize, DecisionsError> {
        let (segments, until) = {
            let files = self.files();
            (files.segments.iter().copied().collect::<Vec<_>>(), files.synced)
        };
        let mut first_kept = None;
        for segment in segments.into_iter().take(most) {
            let from = DecisionRef { segment: 0, offset: 0 };
            let mut records = Iter { log: self, from, until, segments: vec![segment], open: None, link: None };
            let young = records.find_map(|record| match record {
                Ok((_, record)) => (record.at >= before).then_some(Ok(())),
                Err(error) => Some(Err(error)),
            });
            match young {
                Some(Ok(())) => break,
                Some(Err(error)) => return Err(error),
                None => first_kept = Some(segment + 1),
            }
        }
        first_kept.map_or(Ok(0), |first| self.retain(first))
    }

    /// The segments on disk, the oldest first.
    pub fn segments(&self) -> Vec<u64> {
        self.files().segments.iter().copied().collect()
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Begins a segment that follows on `link`.
    fn begin(&mut self, segment: u64, link: &Chain) {
        let header = segment::header(segment, link);
        self.segment = segment;
        self.end = HEADER_BYTES as u64;
        self.chain = segment::begin(&header);
        self.pending.push(Pending { segment, offset: 0, bytes: header.to_vec() });
    }

    /// A decision that is not yet written.
    fn read(&self, place: DecisionRef) -> Result<Option<Vec<u8>>, DecisionsError> {
        let part = self.pending.iter().find(|part| part.segment == place.segment && part.offset <= place.offset);
        let Some(part) = part else { return Ok(None) };
        let start = usize::try_from(place.offset - part.offset).unwrap_or(usize::MAX);
        let frame = part.bytes.get(start..).and_then(|bytes| segment::read_frame(bytes, None));
        frame.map(|payload| Some(payload.to_vec())).ok_or(DecisionsError::Unknown(place))
    }
}

/// Decisions in order; see [`Decisions::iter`].
pub struct Iter<'a> {
    log: &'a Decisions,
    from: DecisionRef,
    until: DecisionRef,
    /// Segments still to read, the next one last.
    segments: Vec<u64>,
    open: Option<Open>,
    /// The chain at the end of the segment before, and which that was.
    link: Option<(u64, Chain)>,
}

/// A segment being read, a frame at a time.
struct Open {
    segment: u64,
    path: PathBuf,
    file: BufReader<File>,
    at: u64,
    /// Where what was synced ends.
    end: u64,
    chain: Chain,
    frame: Vec<u8>,
}

impl Open {
    /// Reads the next frame into `frame`; `false` if it ends behind the segment.
    fn fill(&mut self) -> Result<bool, DecisionsError> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        if left < FRAME_HEADER_BYTES {
            return Ok(false);
        }
        self.frame.resize(FRAME_HEADER_BYTES, 0);
        self.file.read_exact(&mut self.frame).map_err(at(&self.path))?;
        let payload = segment::payload_bytes(&self.frame).filter(|bytes| *bytes <= left - FRAME_HEADER_BYTES);
        let Some(payload) = payload else { return Ok(false) };
        self.frame.resize(FRAME_HEADER_BYTES + payload, 0);
        self.file.read_exact(&mut self.frame[FRAME_HEADER_BYTES..]).map_err(at(&self.path))?;
        Ok(true)
    }
}

impl Iter<'_> {
    fn next_segment(&mut self, segment: u64) -> Result<Open, DecisionsError> {
        let path = path_of(&self.log.dir, segment);
        let file = File::open(&path).map_err(at(&path))?;
        let mut end = file.metadata().map_err(at(&path))?.len();
        let corrupt = |why| DecisionsError::Corrupt { at: DecisionRef { segment, offset: 0 }, why };
        if segment == self.until.segment {
            if end < self.until.offset {
                return Err(corrupt("the segment is shorter than what was synced"));
            }
            end = self.until.offset;
        }
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER_BYTES];
        // One that is too short leaves zeros, which are no header.
        if end >= HEADER_BYTES as u64 {
            file.read_exact(&mut header).map_err(at(&path))?;
        }
        let link = segment::read_header(segment, &header).ok_or_else(|| corrupt("the header is damaged"))?;
        if let Some((before, chain)) = &self.link {
            if before + 1 != segment {
                return Err(corrupt("the segment before it is missing"));
            }
            if *chain != link {
                return Err(corrupt("it does not follow on the segment before"));
            }
        }
        let (at, chain) = (HEADER_BYTES as u64, segment::begin(&header));
        Ok(Open { segment, path, file, at, end, chain, frame: Vec::new() })
    }

    fn advance(&mut self) -> Result<Option<(DecisionRef, DecisionRecord)>, DecisionsError> {
        loop {
            if self.open.is_none() {
                let Some(segment) = self.segments.pop() else { return Ok(None) };
                if segment > self.until.segment {
                    return Ok(None);
                }
                self.open = Some(self.next_segment(segment)?);
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            let place = DecisionRef { segment: open.segment, offset: open.at };
            if open.at == open.end {
                self.link = Some((open.segment, open.chain));
                self.open = None;
                continue;
            }
            let corrupt = DecisionsError::Corrupt { at: place, why: "its digest differs" };
            if !open.fill()? {
                return Err(corrupt);
            }
            let payload = segment::read_frame(&open.frame, Some(&mut open.chain)).ok_or(corrupt)?;
            open.at += open.frame.len() as u64;
            if place >= self.from {
                return decode(place, payload).map(|record| Some((place, record)));
            }
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Result<(DecisionRef, DecisionRecord), DecisionsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance();
        if next.is_err() {
            self.segments.clear();
            self.open = None;
        }
        next.transpose()
    }
}

fn decode(place: DecisionRef, payload: &[u8]) -> Result<DecisionRecord, DecisionsError> {
    let unreadable = |_| DecisionsError::Corrupt { at: place, why: "the record cannot be decoded" };
    minicbor::decode(payload).map_err(unreadable)
}

fn at(path: &Path) -> impl Fn(io::Error) -> DecisionsError {
    let path = path.to_owned();
    move |error| DecisionsError::Io { path: path.clone(), error }
}

fn path_of(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:010}.decisions"))
}

/// Finds the end of the log: the last segment up to its last good frame, the rest cut off.
fn open_tail(dir: &Path, files: &mut Files) -> Result<Tail, DecisionsError> {
    let mut tail = Tail { pending: Vec::new(), segment: 0, end: 0, chain: [0; 32], poisoned: false };
    let synced = files.synced;
    let last = files.segments.last().copied();
    if last.unwrap_or(0) < synced.segment {
        let missing = DecisionRef { segment: synced.segment, offset: 0 };
        return Err(DecisionsError::Corrupt { at: missing, why: "the segment is missing" });
    }
    let Some(last) = last else {
        tail.begin(1, &[0; 32]);
        return Ok(tail);
    };
    let path = path_of(dir, last);
    let bytes = fs::read(&path).map_err(at(&path))?;
    let known = if last == synced.segment { usize::try_from(synced.offset).unwrap_or(usize::MAX) } else { 0 };
    if known == 0 && segment::read_header(last, &bytes).is_none() {
        return restart(dir, files, tail, last);
    }
    let (end, chain) = segment::scan(last, &bytes)?;
    if end < known {
        let place = DecisionRef { segment: last, offset: end as u64 };
        return Err(DecisionsError::Corrupt { at: place, why: "it had been synced" });
    }
    let file = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
    if end < bytes.len() {
        tracing::warn!(segment = last, cut = bytes.len() - end, "decisions: the unsynced tail was torn");
        file.set_len(end as u64).map_err(at(&path))?;
    }
    file.sync_data().map_err(at(&path))?;
    files.synced = DecisionRef { segment: last, offset: end as u64 };
    write_mark(&files.mark, files.synced).map_err(at(&path))?;
    files.open = Some((last, file));
    (tail.segment, tail.end, tail.chain) = (last, end as u64, chain);
    Ok(tail)
}

/// The last segment was begun and its header never synced: begins it again, after the one before.
fn restart(dir: &Path, files: &mut Files, mut tail: Tail, last: u64) -> Result<Tail, DecisionsError> {
    let path = path_of(dir, last);
    fs::remove_file(&path).map_err(at(&path))?;
    files.segments.remove(&last);
    let link = match files.segments.last().copied() {
        None => [0; 32],
        Some(before) => {
            let path = path_of(dir, before);
            let bytes = fs::read(&path).map_err(at(&path))?;
            let (end, chain) = segment::scan(before, &bytes)?;
            if end < bytes.len() {
                let place = DecisionRef { segment: before, offset: end as u64 };
                return Err(DecisionsError::Corrupt { at: place, why: "its digest differs" });
            }
            files.synced = DecisionRef { segment: before, offset: end as u64 };
            chain
        }
    };
    tail.begin(last, &link);
    Ok(tail)
}

/// The mark: segment and offset, and a check of both. One that cannot be read stands for the very beginning.
fn read_mark(file: &File) -> DecisionRef {
    let mut bytes = [0; 24];
    let nothing = DecisionRef { segment: 0, offset: 0 };
    if file.read_exact_at(&mut bytes, 0).is_err() {
        return nothing;
    }
    let number = |range: std::ops::Range<usize>| bytes[range].try_into().map_or(0, u64::from_be_bytes);
    let place = DecisionRef { segment: number(0..8), offset: number(8..16) };
    if bytes == mark_bytes(place) { place } else { nothing }
}

fn mark_bytes(place: DecisionRef) -> [u8; 24] {
    use sha2::{Digest as _, Sha256};
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&place.segment.to_be_bytes());
    bytes[8..16].copy_from_slice(&place.offset.to_be_bytes());
    let check = Sha256::digest(&bytes[..16]);
    bytes[16..].copy_from_slice(&check[..8]);
    bytes
}

/// Not synced itself: a mark that is behind makes opening more lenient, and it is never ahead.
fn write_mark(mut file: &File, place: DecisionRef) -> io::Result<()> {
    file.write_all_at(&mark_bytes(place), 0)?;
    file.flush()
}

#[cfg(test)]
mod tests;
