//! The keys of the log tree.
//!
//! Key of a part: log (u32), entry index (u64), part (u16), all big endian, so that a log is one contiguous, ordered range. The
//! named records of a log have one key: log (u32), 2^64-1 where an entry has its index.

use std::ops::Range;

use super::LogId;

/// Longest name of a record.
pub(super) const MAX_NAME_BYTES: usize = 64;

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
    // The last part number is never used, and the key of the records comes right behind.
    part_key(log, 0, 0)..part_key(log, MAX_INDEX, u16::MAX)
}

pub(super) fn record_key(log: LogId) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&log.0.to_be_bytes());
    key[4..].copy_from_slice(&RECORD_INDEX.to_be_bytes());
    key
}

/// What a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Part { log: LogId, index: u64, part: u16 },
    Records { log: LogId },
}

/// Reads a key; none when it is no key of this format.
pub(super) fn parse_key(key: &[u8]) -> Option<Named> {
    let log = LogId(u32::from_be_bytes(key.get(..4)?.try_into().ok()?));
    let index = u64::from_be_bytes(key.get(4..12)?.try_into().ok()?);
    if index == RECORD_INDEX {
        return Some(Named::Records { log });
    }
    let part = u16::from_be_bytes(key[12..].try_into().ok()?);
    Some(Named::Part { log, index, part })
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
            record_key(LogId(1)).to_vec(),
            part_key(LogId(256), 0, 0).to_vec(),
        ];
        assert!(keys.is_sorted());
        assert_eq!(parse_key(&keys[2]), Some(Named::Part { log: LogId(1), index: 256, part: 0 }));
        assert_eq!(parse_key(&keys[4]), Some(Named::Records { log: LogId(1) }));
        assert_eq!(parse_key(&[1, 2, 3]), None);
    }
}
