//! Rows as bytes: an envelope with the commit that wrote the row, then the value in CBOR.
//!
//! ```text
//! whole:    1 | seq u64 | at i64 ms | CBOR
//! chunked:  2 | seq u64 | at i64 ms | bytes u32 | chunks u16 | first part of the CBOR
//! chunk:    a further part of the CBOR
//! ```
//!
//! Numbers are big-endian. The first byte is the version of the envelope; the bytes are pinned by golden tests.

use std::convert::Infallible;

use jiff::Timestamp;
use minicbor::{Decode, Encode};

use super::{
    error::StoreError,
    table::{Row, Seq, Table},
};

/// Most bytes stored under one key; larger values are cut into chunks.
///
/// The backend keeps a leaf of up to twenty rows in one piece of at most 128 KiB: with the largest keys, this keeps it
/// below that, where its syncs are known to hold.
pub(super) const STORED_BYTES_MAX: usize = 4 * 1024;
/// Most bytes of an encoded value, chunks together.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;

const WHOLE: u8 = 1;
const CHUNKED: u8 = 2;
const HEAD_BYTES: usize = 1 + 8 + 8;
const CHUNKED_HEAD_BYTES: usize = HEAD_BYTES + 4 + 2;

/// A value that can be stored: numbered fields in CBOR, so that a later version can add some.
///
/// Implemented for everything that derives `minicbor::Encode` and `minicbor::Decode`.
pub trait Record: Encode<()> + for<'bytes> Decode<'bytes, ()> + 'static {}

impl<T: Encode<()> + for<'bytes> Decode<'bytes, ()> + 'static> Record for T {}

/// Replaces `to` with the envelope and the value, in one piece however long it is.
pub(super) fn encode<K, V: Record>(
    table: &Table<K, V>,
    value: &V,
    seq: Seq,
    at: Timestamp,
    to: &mut Vec<u8>,
) -> Result<(), StoreError> {
    to.clear();
    put_head(WHOLE, seq, at, to);
    minicbor::encode(value, &mut *to).map_err(|error: minicbor::encode::Error<Infallible>| StoreError::Encode {
        table: table.name(),
        reason: error.to_string().into(),
    })?;
    let bytes = to.len() - HEAD_BYTES;
    if bytes > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLarge { table: table.name(), bytes, max: VALUE_BYTES_MAX });
    }
    Ok(())
}

fn put_head(version: u8, seq: Seq, at: Timestamp, to: &mut Vec<u8>) {
    to.push(version);
    to.extend_from_slice(&seq.get().to_be_bytes());
    to.extend_from_slice(&at.as_millisecond().to_be_bytes());
}

/// Cuts an encoded row that is too long for one key: the row to store, and its chunks in order.
pub(super) fn cut(encoded: &[u8]) -> (Vec<u8>, impl Iterator<Item = &[u8]>) {
    let (head, value) = encoded.split_at(HEAD_BYTES);
    let (first, rest) = value.split_at(STORED_BYTES_MAX - CHUNKED_HEAD_BYTES);
    let chunks = rest.chunks(STORED_BYTES_MAX);
    let mut row = Vec::with_capacity(STORED_BYTES_MAX);
    row.extend_from_slice(head);
    row[0] = CHUNKED;
    let fits = "a value is at most VALUE_BYTES_MAX long";
    row.extend_from_slice(&u32::try_from(value.len()).expect(fits).to_be_bytes());
    row.extend_from_slice(&u16::try_from(chunks.len()).expect(fits).to_be_bytes());
    row.extend_from_slice(first);
    (row, chunks)
}

/// How many chunks belong to a stored row.
pub(super) fn chunks_of(stored: &[u8]) -> u16 {
    match stored {
        [CHUNKED, ..] => stored
            .get(HEAD_BYTES + 4..)
            .and_then(|count| count.first_chunk())
            .map_or(0, |count| u16::from_be_bytes(*count)),
        _ => 0,
    }
}

/// Whether a stored row and the bytes of its chunks are whole: envelope, length, one CBOR item and nothing after it.
pub(super) fn is_whole(stored: &[u8], chunks: &[u8]) -> bool {
    let one_item = |bytes: &[u8]| {
        let mut decoder = minicbor::Decoder::new(bytes);
        decoder.skip().is_ok() && decoder.position() == bytes.len()
    };
    let Some((head, rest)) = stored.split_first_chunk::<HEAD_BYTES>() else { return false };
    match (head[0], rest.split_first_chunk::<6>()) {
        (WHOLE, _) => chunks.is_empty() && one_item(rest),
        (CHUNKED, Some((numbers, first))) => {
            let bytes = u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]);
            let whole = [first, chunks].concat();
            usize::try_from(bytes).is_ok_and(|bytes| bytes == whole.len()) && one_item(&whole)
        }
        _ => false,
    }
}

/// Reads a stored row; `chunk` fetches one of its chunks.
pub(super) fn decode<K, V: Record>(
    table: &Table<K, V>,
    stored: &[u8],
    mut chunk: impl FnMut(u16, &mut Vec<u8>) -> Result<(), StoreError>,
) -> Result<Row<V>, StoreError> {
    let corrupt = |reason: &str| StoreError::Corrupt { table: table.name(), reason: reason.into() };
    let (head, rest) = stored.split_first_chunk::<HEAD_BYTES>().ok_or_else(|| corrupt("it is cut short"))?;
    let (version, numbers) = (head[0], &head[1..]);
    let number = |at: usize| numbers[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let seq = Seq::new(number(0));
    let at = Timestamp::from_millisecond(number(8).cast_signed()).map_err(|_| corrupt("its time is out of range"))?;
    let value = match version {
        WHOLE => decode_value(table, rest)?,
        CHUNKED => {
            let (bytes, first) = rest.split_first_chunk().ok_or_else(|| corrupt("it is cut short"))?;
            let first = first.get(2..).ok_or_else(|| corrupt("it is cut short"))?;
            let bytes = usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
            let mut joined = Vec::with_capacity(bytes.min(VALUE_BYTES_MAX));
            joined.extend_from_slice(first);
            for index in 0..chunks_of(stored) {
                chunk(index, &mut joined)?;
            }
            if joined.len() != bytes {
                return Err(corrupt("its chunks do not add up"));
            }
            decode_value(table, &joined)?
        }
        _ => return Err(corrupt("it was written by a newer version of this program")),
    };
    Ok(Row { value, seq, at })
}

fn decode_value<K, V: Record>(table: &Table<K, V>, bytes: &[u8]) -> Result<V, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt { table: table.name(), reason: reason.into() };
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|error| corrupt(error.to_string()))?;
    if decoder.position() != bytes.len() {
        return Err(corrupt("bytes follow its value".to_owned()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Sample {
        #[n(0)]
        name: String,
        #[n(1)]
        points: i64,
        #[n(3)]
        note: Option<String>,
    }

    const SAMPLES: Table<u64, Sample> = Table::new(9, "samples.v1");

    fn sample() -> Sample {
        Sample { name: "ada".into(), points: -5, note: None }
    }

    fn encoded(value: &Sample) -> Vec<u8> {
        let mut bytes = Vec::new();
        let at = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        encode(&SAMPLES, value, Seq::new(7), at, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn golden_bytes() {
        let hex: String = encoded(&sample()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, concat!("01", "0000000000000007", "0000018bcfe56800", "82", "63616461", "24"));
    }

    #[test]
    fn a_row_with_a_later_field_still_reads() {
        #[derive(Encode, Decode)]
        struct Later {
            #[n(0)]
            name: String,
            #[n(1)]
            points: i64,
            #[n(4)]
            tags: Vec<String>,
        }
        let mut bytes = Vec::new();
        let later = Later { name: "ada".into(), points: -5, tags: vec!["x".into()] };
        encode(&Table::<u64, Later>::new(9, "samples.v1"), &later, Seq::new(7), Timestamp::UNIX_EPOCH, &mut bytes)
            .unwrap();
        let row = decode(&SAMPLES, &bytes, |_, _| unreachable!()).unwrap();
        assert_eq!((row.value, row.seq, row.at), (sample(), Seq::new(7), Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn large_values_are_cut_and_joined() {
        let large = Sample { note: Some("n".repeat(3 * STORED_BYTES_MAX)), ..sample() };
        let bytes = encoded(&large);
        let (row, chunks) = cut(&bytes);
        let chunks: Vec<&[u8]> = chunks.collect();
        assert_eq!(row.len(), STORED_BYTES_MAX);
        assert_eq!((usize::from(chunks_of(&row)), chunks.len()), (3, 3));
        let join = |index: u16, to: &mut Vec<u8>| {
            to.extend_from_slice(chunks[usize::from(index)]);
            Ok(())
        };
        assert_eq!(decode(&SAMPLES, &row, join).unwrap().value, large);
        let lost = decode(&SAMPLES, &row, |_, _| Ok(()));
        assert!(matches!(lost, Err(StoreError::Corrupt { table: "samples.v1", .. })));
    }

    #[test]
    fn damage_is_an_error_that_names_the_table() {
        let bytes = encoded(&sample());
        for cut in 0..bytes.len() {
            let damaged = decode(&SAMPLES, &bytes[..cut], |_, _| unreachable!());
            assert!(matches!(damaged, Err(StoreError::Corrupt { table: "samples.v1", .. })), "cut at {cut}");
        }
        let mut newer = bytes.clone();
        newer[0] = 3;
        let error = decode(&SAMPLES, &newer, |_, _| unreachable!()).unwrap_err();
        assert!(error.to_string().contains("newer version"), "{error}");
        let longer = [bytes, vec![0]].concat();
        assert!(decode(&SAMPLES, &longer, |_, _| unreachable!()).is_err());
    }
}
