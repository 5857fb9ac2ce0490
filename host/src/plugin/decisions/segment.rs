//! The bytes of a segment: a header, then frames, each bound to all before it.
//!
//! ```text
//! header  "galdec01"  segment u64  link [32]                   link: the chain at the end of the segment before
//! frame   length u32  check [8]    chain [16]  payload         check: of this payload; chain: of all up to here
//! ```
//!
//! Numbers are big-endian. `check` is the beginning of `SHA-256(length, payload)`, which reads a frame on its own;
//! `chain` is the beginning of `SHA-256(chain before, SHA-256(length, payload))`, which a frame that was left out,
//! added or moved breaks. The first chain of a segment is the digest of its header.

use sha2::{Digest as _, Sha256};

use super::{DecisionRef, DecisionsError};

const MAGIC: &[u8; 8] = b"galdec01";
pub(super) const HEADER_BYTES: usize = 8 + 8 + 32;
pub(super) const FRAME_HEADER_BYTES: usize = 4 + 8 + 16;

/// A digest over everything up to a point.
pub(super) type Chain = [u8; 32];

/// The header of a segment that follows on `link`.
pub(super) fn header(segment: u64, link: &Chain) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&segment.to_be_bytes());
    header[16..].copy_from_slice(link);
    header
}

/// The chain that a segment with this header begins with.
pub(super) fn begin(header: &[u8]) -> Chain {
    Sha256::digest(header).into()
}

/// The link in a segment's header, if the header is one.
pub(super) fn read_header(segment: u64, bytes: &[u8]) -> Option<Chain> {
    let link = bytes.get(16..HEADER_BYTES)?.try_into().ok()?;
    (bytes[..8] == *MAGIC && bytes[8..16] == segment.to_be_bytes()).then_some(link)
}

/// Appends a frame and moves the chain on.
pub(super) fn write_frame(to: &mut Vec<u8>, chain: &mut Chain, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("payloads are limited").to_be_bytes();
    let digest = digest(length, payload);
    *chain = advance(chain, &digest);
    to.extend_from_slice(&length);
    to.extend_from_slice(&digest[..8]);
    to.extend_from_slice(&chain[..16]);
    to.extend_from_slice(payload);
}

fn digest(length: [u8; 4], payload: &[u8]) -> Chain {
    Sha256::new().chain_update(length).chain_update(payload).finalize().into()
}

fn advance(chain: &Chain, digest: &Chain) -> Chain {
    Sha256::new().chain_update(chain).chain_update(digest).finalize().into()
}

/// The length of the payload behind a frame's header, if the header is whole.
pub(super) fn payload_bytes(bytes: &[u8]) -> Option<usize> {
    let length = bytes.first_chunk::<4>()?;
    usize::try_from(u32::from_be_bytes(*length)).ok()
}

/// The payload of the frame at the beginning of `bytes`, if it is whole and right; `chain` moves on, where there is one.
pub(super) fn read_frame<'a>(bytes: &'a [u8], chain: Option<&mut Chain>) -> Option<&'a [u8]> {
    let end = FRAME_HEADER_BYTES.checked_add(payload_bytes(bytes)?)?;
    let frame = bytes.get(..end)?;
    let (head, payload) = frame.split_at(FRAME_HEADER_BYTES);
    let digest = digest(*head.first_chunk()?, payload);
    if head[4..12] != digest[..8] {
        return None;
    }
    if let Some(chain) = chain {
        let next = advance(chain, &digest);
        if head[12..] != next[..16] {
            return None;
        }
        *chain = next;
    }
    Some(payload)
}

/// How far a segment is right: the end of its last good frame, and the chain there.
pub(super) fn scan(segment: u64, bytes: &[u8]) -> Result<(usize, Chain), DecisionsError> {
    let corrupt =
        |offset: usize, why| DecisionsError::Corrupt { at: DecisionRef { segment, offset: offset as u64 }, why };
    read_header(segment, bytes).ok_or_else(|| corrupt(0, "the header is damaged"))?;
    let mut chain = begin(&bytes[..HEADER_BYTES]);
    let mut at = HEADER_BYTES;
    while let Some(payload) = read_frame(&bytes[at..], Some(&mut chain)) {
        at += FRAME_HEADER_BYTES + payload.len();
    }
    Ok((at, chain))
}
