//! What the writer keeps for an export: in memory first, and when that is full in a file beside the store that has no name,
//! so that a crash leaves nothing behind.
//!
//! The file is for a receiver that is slower than the commits. It is bounded, and it leaves twice the disk's reserve free:
//! a backup never is why an order is refused.

use std::{collections::VecDeque, fs::File, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use crate::store::{error::StoreError, sled::Space, table::Seq};

/// Bytes that are read from the file together, unless one batch is larger.
const PIECE_BYTES: usize = 4 << 20;

/// How much may wait.
#[derive(Clone, Copy)]
pub(in crate::store) struct Limits {
    /// In memory.
    pub(super) memory_bytes: usize,
    /// In the file.
    pub(super) file_bytes: u64,
}

impl Limits {
    /// 64 MiB, then 8 GiB.
    pub(in crate::store) const STANDARD: Self = Self { memory_bytes: 64 << 20, file_bytes: 8 << 30 };
}

/// Keeps batches in their order.
pub(in crate::store) struct Tap {
    seq: Seq,
    memory: Vec<u8>,
    /// Holds what came after that in memory.
    spool: Option<Spool>,
    space: Space,
    limits: Limits,
    overrun: Option<StoreError>,
}

struct Spool {
    file: Arc<File>,
    written: u64,
    taken: u64,
    /// The lengths of the batches that were not taken yet.
    batches: VecDeque<usize>,
}

/// Batches that were taken. Read them without holding the tap: that may wait for the disk.
pub(in crate::store) enum Kept {
    Memory(Vec<u8>),
    File { file: Arc<File>, at: u64, bytes: usize },
}

impl Tap {
    /// For the store in `dir`, whose disk has this reserve.
    pub(in crate::store) fn new(seq: Seq, dir: &Path, reserve_bytes: u64, limits: Limits) -> Self {
        let space = Space::new(dir, reserve_bytes.saturating_mul(2));
        Self { seq, memory: Vec::new(), spool: None, space, limits, overrun: None }
    }

    /// Keeps a batch that was applied.
    pub(in crate::store) fn tell(&mut self, writes: &[u8], seq: Seq) {
        self.seq = seq;
        if self.overrun.is_some() || writes.is_empty() {
            return;
        }
        if self.spool.is_none() && self.memory.len() + writes.len() <= self.limits.memory_bytes {
            self.memory.extend_from_slice(writes);
        } else if let Err(why) = self.spool(writes) {
            let behind = self.spool.take().map_or(0, |spool| spool.written - spool.taken) + self.memory.len() as u64;
            self.memory = Vec::new();
            self.overrun = Some(StoreError::ExportOverrun { bytes_behind: behind, why });
        }
    }

    fn spool(&mut self, writes: &[u8]) -> Result<(), &'static str> {
        const FILE: &str = "the file they wait in cannot be written";
        self.space.check().map_err(|_| "the disk has no room for them above twice the reserve")?;
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => {
                let file = tempfile::tempfile_in(self.space.dir()).map_err(|_| FILE)?;
                none.insert(Spool { file: Arc::new(file), written: 0, taken: 0, batches: VecDeque::new() })
            }
        };
        if spool.written + writes.len() as u64 > self.limits.file_bytes {
            return Err("no more may wait");
        }
        spool.file.write_all_at(writes, spool.written).map_err(|_| FILE)?;
        spool.written += writes.len() as u64;
        spool.batches.push_back(writes.len());
        self.space.used(writes.len());
        Ok(())
    }

    /// Takes the oldest batches; none are left when it gives nothing. With them the last commit that was told.
    pub(in crate::store) fn take(&mut self) -> Result<(Kept, Seq), StoreError> {
        if let Some(overrun) = &self.overrun {
            return Err(overrun.clone());
        }
        let memory = std::mem::take(&mut self.memory);
        let Some(spool) = self.spool.as_mut().filter(|_| memory.is_empty()) else {
            return Ok((Kept::Memory(memory), self.seq));
        };
        let mut bytes = 0;
        while let Some(next) = spool.batches.front().filter(|next| bytes == 0 || bytes + **next <= PIECE_BYTES) {
            bytes += next;
            spool.batches.pop_front();
        }
        if bytes == 0 {
            // Everything was taken: the disk gets its room back, and memory is first again.
            self.spool = None;
            return Ok((Kept::Memory(Vec::new()), self.seq));
        }
        let kept = Kept::File { file: Arc::clone(&spool.file), at: spool.taken, bytes };
        spool.taken += bytes as u64;
        Ok((kept, self.seq))
    }
}

impl Kept {
    pub(super) fn read(self) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Memory(bytes) => Ok(bytes),
            Self::File { file, at, bytes } => {
                let mut read = vec![0; bytes];
                let why = |error: std::io::Error| StoreError::Backend { reason: error.to_string().into() };
                file.read_exact_at(&mut read, at).map_err(why)?;
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn tap(dir: &TempDir, reserve_bytes: u64) -> Tap {
        Tap::new(Seq::new(7), dir.path(), reserve_bytes, Limits { memory_bytes: 10, file_bytes: 20 })
    }

    /// Tells batches of these bytes, numbered on.
    fn tell(tap: &mut Tap, next: &mut u8, batches: &[usize]) {
        for bytes in batches {
            tap.tell(&vec![*next; *bytes], Seq::new(u64::from(*next)));
            *next += 1;
        }
    }

    fn take_all(tap: &mut Tap) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match tap.take().unwrap().0.read().unwrap() {
                none if none.is_empty() => return all,
                more => all.extend(more),
            }
        }
    }

    #[test]
    fn batches_come_out_as_they_went_in_by_whichever_way() {
        let dir = TempDir::new().unwrap();
        let (mut tap, mut next) = (tap(&dir, 0), 1);
        tell(&mut tap, &mut next, &[4, 6, 3, 0, 1]);
        assert!(tap.spool.is_some(), "the third does not fit");
        assert_eq!(take_all(&mut tap), [[1; 4].as_slice(), &[2; 6], &[3; 3], &[5; 1]].concat());
        assert_eq!(tap.take().unwrap().1, Seq::new(5));
        tell(&mut tap, &mut next, &[2]);
        assert!(tap.spool.is_none() && tap.memory == [6; 2], "memory is first again");
        tell(&mut tap, &mut next, &[9, 9]);
        let (first, _) = tap.take().unwrap();
        tell(&mut tap, &mut next, &[2]);
        assert_eq!(first.read().unwrap(), [6; 2]);
        assert_eq!(take_all(&mut tap), [[7; 9].as_slice(), &[8; 9], &[9; 2]].concat(), "behind those that waited");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }

    #[test]
    fn what_is_too_much_ends_the_export_and_says_why() {
        let dir = TempDir::new().unwrap();
        let (mut full, mut next) = (tap(&dir, 0), 1);
        tell(&mut full, &mut next, &[10, 20, 1, 1]);
        let said = full.take().map(drop).unwrap_err();
        assert!(matches!(said, StoreError::ExportOverrun { bytes_behind: 30, why: "no more may wait" }), "{said}");
        let mut reserved = tap(&dir, u64::MAX / 2);
        tell(&mut reserved, &mut next, &[10, 1]);
        let said = reserved.take().map(drop).unwrap_err();
        assert!(said.to_string().contains("no room for them above twice the reserve"), "{said}");
        let nowhere = TempDir::new().unwrap();
        let mut unwritable = tap(&nowhere, 0);
        drop(nowhere);
        tell(&mut unwritable, &mut next, &[10, 1]);
        let said = unwritable.take().map(drop).unwrap_err();
        assert!(said.to_string().contains("cannot be written"), "{said}");
    }
}
