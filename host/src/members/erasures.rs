//! The journal of erasures: which keys were destroyed, and when.
//!
//! It lies beside the vault, in `erasures.log`, and knows no more of a person than the pseudonym. A backup holds keys that
//! were destroyed after it was made; whoever restores it destroys them again, as this journal says. So the operator keeps
//! a copy of the newest journal apart from the data.
//!
//! One line each: instant, member, key, and the beginning of the SHA-256 of the line up to there. Lines are only appended,
//! and each is on disk before its key is destroyed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::vault::KeyClass;
use crate::ids::MemberId;

/// The journal's name in a data directory.
pub const FILE_NAME: &str = "erasures.log";

/// One key that was destroyed, or was about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// When.
    pub at: Timestamp,
    /// Whose key.
    pub member: MemberId,
    /// Which one.
    pub class: KeyClass,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line is not what was written.
    #[error("line {line} of {} is damaged: take another copy of the journal of erasures", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// The file cannot be read.
    #[error("cannot read the journal of erasures {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Every erasure in a journal, the oldest first. A last line without its end was never acknowledged.
///
/// # Errors
///
/// [`JournalError`].
pub fn read(path: &Path) -> Result<Vec<Erasure>, JournalError> {
    let text = fs::read(path).map_err(|source| JournalError::Io { path: path.into(), source })?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let damaged = |line| JournalError::Damaged { path: path.into(), line };
    let lines = text[..whole].split_inclusive(|byte| *byte == b'\n').zip(1..);
    lines.map(|(line, number)| parse(line).ok_or_else(|| damaged(number))).collect()
}

fn parse(line: &[u8]) -> Option<Erasure> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (fields, check) = line.rsplit_once(' ')?;
    let mut parts = fields.split(' ');
    let (at, member, class) = (parts.next()?, parts.next()?, parts.next()?);
    let erasure = Erasure {
        at: at.parse().ok()?,
        member: member.parse().ok()?,
        class: KeyClass::ALL.into_iter().find(|known| known.name() == class)?,
    };
    (check == check_of(fields) && parts.next().is_none()).then_some(erasure)
}

fn check_of(fields: &str) -> String {
    Sha256::digest(fields.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn line_of(erasure: &Erasure) -> String {
    let fields = format!("{} {} {}", erasure.at, erasure.member, erasure.class.name());
    format!("{fields} {}\n", check_of(&fields))
}

/// Appends to the journal in a data directory; on disk when this returns. What a crash left of a last line goes first.
///
/// # Errors
///
/// What the system says.
pub fn append(dir: &Path, erasures: &[Erasure]) -> io::Result<()> {
    let path = dir.join(FILE_NAME);
    let new = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
    let text = fs::read(&path)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        file.set_len(whole as u64)?;
    }
    let lines: String = erasures.iter().map(line_of).collect();
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    if new { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::ids::Id as _;

    fn erasure(bits: u128, class: KeyClass) -> Erasure {
        Erasure { at: Timestamp::from_second(1_772_337_600).unwrap(), member: MemberId::from_bits(bits), class }
    }

    #[test]
    fn a_journal_reads_back_and_every_flipped_bit_is_noticed() {
        let dir = TempDir::new().unwrap();
        let written = [erasure(1, KeyClass::Profile), erasure(2, KeyClass::Statutory), erasure(3, KeyClass::Profile)];
        append(dir.path(), &written[..2]).unwrap();
        append(dir.path(), &written[2..]).unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(read(&path).unwrap(), written);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            assert!(matches!(read(&path), Err(JournalError::Damaged { .. })), "byte {at}");
        }
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_written_over() {
        let dir = TempDir::new().unwrap();
        append(dir.path(), &[erasure(1, KeyClass::Profile), erasure(2, KeyClass::Profile)]).unwrap();
        let path = dir.path().join(FILE_NAME);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(read(&path).unwrap(), [erasure(1, KeyClass::Profile)]);
        append(dir.path(), &[erasure(3, KeyClass::Profile)]).unwrap();
        assert_eq!(read(&path).unwrap(), [erasure(1, KeyClass::Profile), erasure(3, KeyClass::Profile)]);
    }

    #[test]
    fn one_line_is_pinned() {
        let line = line_of(&erasure(1, KeyClass::Profile));
        assert!(line.starts_with("2026-03-01T04:00:00Z mbr_00000000000000000000000000000001 profile "), "{line}");
    }
}
