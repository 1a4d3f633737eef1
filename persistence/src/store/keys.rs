//! Keys and values of the log tree: how an entry becomes parts of at most 32 KiB, and how parts are verified.
//!
//! Key of a part: log (u32), entry index (u64), part (u16), all big endian, so that a log is one contiguous, ordered range. Key of a named
//! record: log (u32), 2^64-1 where an entry has its index, then the name. Value: a header of 12 bytes (format version, zero, number of
//! parts, length of the whole entry, CRC32C of key, these eight bytes and the payload; little endian), then the payload.

use std::ops::Range;

use bytes::Bytes;
use sled::IVec;

use super::LogId;

/// Most bytes of one value, header included. At 30 KB a value survived every power cut; from 120 KB on sled moves values to files that it
/// does not sync, and the database would not open afterwards.
pub(super) const MAX_VALUE_BYTES: usize = 32 * 1024;

/// Bytes before the payload of a part.
pub(super) const HEADER_BYTES: usize = 12;

/// Most bytes of a payload.
pub(super) const MAX_PAYLOAD_BYTES: usize = MAX_VALUE_BYTES - HEADER_BYTES;

/// Most bytes of one entry: eight times the frame between nodes, far below the 65,535 parts that a key can number.
pub(super) const MAX_ENTRY_BYTES: usize = 64 * 1024 * 1024;

/// Longest name of a record.
pub(super) const MAX_NAME_BYTES: usize = 64;

const FORMAT_VERSION: u8 = 1;
const CHECKSUM_AT: usize = 8;
const RECORD_INDEX: u64 = u64::MAX;

/// The largest index that an entry can have: the one above it marks named records.
pub(super) const MAX_INDEX: u64 = RECORD_INDEX - 1;

/// The key of one part of an entry.
pub(super) type PartKey = [u8; 14];

pub(super) fn part_key(log: LogId, index: u64, part: u16) -> PartKey {
    let mut key = [0; 14];
    key[..4].copy_from_slice(&log.0.to_be_bytes());
    key[4..12].copy_from_slice(&index.to_be_bytes());
    key[12..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The keys of the entries `indices` of a log.
pub(super) fn entry_range(log: LogId, indices: Range<u64>) -> Range<PartKey> {
    part_key(log, indices.start, 0)..part_key(log, indices.end, 0)
}

/// The keys of all entries of a log, records left out.
pub(super) fn log_range(log: LogId) -> Range<PartKey> {
    entry_range(log, 0..RECORD_INDEX)
}

pub(super) fn record_key(log: LogId, name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(12 + name.len());
    key.extend_from_slice(&log.0.to_be_bytes());
    key.extend_from_slice(&RECORD_INDEX.to_be_bytes());
    key.extend_from_slice(name.as_bytes());
    key
}

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Part { log: LogId, index: u64, part: u16 },
    Record { log: LogId },
}

/// Reads a key; none when it is no key of this format.
pub(super) fn parse_key(key: &[u8]) -> Option<Named> {
    let log = LogId(u32::from_be_bytes(key.get(..4)?.try_into().ok()?));
    let index = u64::from_be_bytes(key.get(4..12)?.try_into().ok()?);
    if index == RECORD_INDEX {
        return Some(Named::Record { log });
    }
    let part = u16::from_be_bytes(key[12..].try_into().ok()?);
    Some(Named::Part { log, index, part })
}

/// The number of parts of an entry of `length` bytes; an empty entry has one part too.
pub(super) fn part_count(length: usize) -> u16 {
    u16::try_from(length.div_ceil(MAX_PAYLOAD_BYTES).max(1))
        .expect("MAX_ENTRY_BYTES bounds the parts")
}

/// Cuts an entry into parts and hands each to `take`. `scratch` is reused between calls.
pub(super) fn cut(
    log: LogId,
    index: u64,
    value: &[u8],
    scratch: &mut Vec<u8>,
    mut take: impl FnMut(PartKey, IVec),
) {
    let parts = part_count(value.len());
    for part in 0..parts {
        let start = usize::from(part) * MAX_PAYLOAD_BYTES;
        let end = (start + MAX_PAYLOAD_BYTES).min(value.len());
        let key = part_key(log, index, part);
        take(key, seal(&key, parts, value.len(), &value[start..end], scratch));
    }
}

/// A value: header and payload.
pub(super) fn seal(
    key: &[u8],
    parts: u16,
    length: usize,
    payload: &[u8],
    scratch: &mut Vec<u8>,
) -> IVec {
    scratch.clear();
    scratch.extend_from_slice(&[FORMAT_VERSION, 0]);
    scratch.extend_from_slice(&parts.to_le_bytes());
    let length = u32::try_from(length).expect("MAX_ENTRY_BYTES is below 4 GiB");
    scratch.extend_from_slice(&length.to_le_bytes());
    let checksum = checksum(key, scratch, payload);
    scratch.extend_from_slice(&checksum.to_le_bytes());
    scratch.extend_from_slice(payload);
    IVec::from(&scratch[..])
}

/// A verified part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) parts: u16,
    pub(super) length: usize,
    pub(super) payload: Bytes,
}

/// Verifies a value; the payload shares its memory.
pub(super) fn unseal(key: &[u8], value: IVec) -> Result<Part, String> {
    if value.len() < HEADER_BYTES {
        return Err(format!("a part of {} bytes is shorter than its header", value.len()));
    }
    if value[0] != FORMAT_VERSION {
        return Err(format!("format {} is unknown; this version reads format 1", value[0]));
    }
    let stored = u32::from_le_bytes(four(&value[CHECKSUM_AT..HEADER_BYTES]));
    if checksum(key, &value[..CHECKSUM_AT], &value[HEADER_BYTES..]) != stored {
        return Err("the checksum of a part does not match".to_owned());
    }
    let parts = u16::from_le_bytes([value[2], value[3]]);
    let length = u32::from_le_bytes(four(&value[4..8])) as usize;
    Ok(Part { parts, length, payload: Bytes::from_owner(value).slice(HEADER_BYTES..) })
}

fn checksum(key: &[u8], header: &[u8], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(key);
    let crc = crc32c::crc32c_append(crc, header);
    crc32c::crc32c_append(crc, payload)
}

fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("four bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_log_then_index_then_part_and_records_come_last() {
        let keys = [
            part_key(LogId(1), 0, 0).to_vec(),
            part_key(LogId(1), 0, 1).to_vec(),
            part_key(LogId(1), 256, 0).to_vec(),
            part_key(LogId(1), MAX_INDEX, u16::MAX).to_vec(),
            record_key(LogId(1), "a"),
            record_key(LogId(1), "b"),
            part_key(LogId(256), 0, 0).to_vec(),
        ];
        assert!(keys.is_sorted());
        assert_eq!(parse_key(&keys[2]), Some(Named::Part { log: LogId(1), index: 256, part: 0 }));
        assert_eq!(parse_key(&keys[4]), Some(Named::Record { log: LogId(1) }));
        assert_eq!(parse_key(&[1, 2, 3]), None);
    }

    #[test]
    fn no_value_is_longer_than_the_limit_and_every_flipped_bit_is_seen() {
        let entry = vec![7; MAX_PAYLOAD_BYTES + 1];
        let mut values = Vec::new();
        cut(LogId(3), 9, &entry, &mut Vec::new(), |key, value| values.push((key, value)));
        assert_eq!(values.len(), 2);
        assert_eq!(values[0].1.len(), MAX_VALUE_BYTES);
        let (key, value) = &values[1];
        for bit in 0..value.len() * 8 {
            let mut bytes = value.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(key, IVec::from(bytes)).is_err(), "bit {bit}");
        }
        assert!(unseal(&values[0].0, value.clone()).is_err(), "a part under another key");
    }
}
