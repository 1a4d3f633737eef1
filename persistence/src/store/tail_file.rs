//! The tail file: how far each log reaches, written with every group commit, but never fsynced.
//!
//! The side file lags by some thousands of entries, because it costs three fsyncs. Between two of its writings this file holds the
//! exact state in the page cache, which survives a kill of the process: a database that is damaged after a crash is found out to the last
//! entry. After a power cut it may be old, which is harmless, because within one epoch a log only grows; another epoch makes it void.
//!
//! Two slots of 64 KiB are written in turn, so that a torn write leaves the other one. A slot, little endian: magic (u32), CRC32C of the
//! rest (u32), epoch (u64), number of this writing (u64), number of logs (u32), then for each log its id (u32), its first
//! and last entry (u64 each; 1 and 0 when it is empty) and the version of its records (u64).

use std::collections::BTreeMap;
use std::io;

use super::LogId;
use super::medium::{FixedFile, Medium};
use super::side_file::{Extent, Reach};

const TAIL_FILE_NAME: &str = "holm.tail";
const MAGIC: u32 = u32::from_le_bytes(*b"HTL1");
const SLOT_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 28;
const LOG_BYTES: usize = 28;

/// Logs that fit a slot: 2,339. What does not fit is covered by the side file alone.
const MAX_LOGS: usize = (SLOT_BYTES - HEADER_BYTES) / LOG_BYTES;

/// How an empty log is written.
const EMPTY: Extent = Extent { first: 1, last: 0 };

#[derive(Debug)]
pub(super) struct TailFile {
    file: Box<dyn FixedFile>,
    writings: u64,
    slot: Vec<u8>,
}

impl TailFile {
    /// Opens or creates the file; returns also what it says, when that belongs to `epoch`.
    pub(super) fn open(
        medium: &dyn Medium,
        epoch: u64,
    ) -> io::Result<(Self, BTreeMap<LogId, Reach>)> {
        let file = medium.open_fixed(TAIL_FILE_NAME, 2 * SLOT_BYTES)?;
        let slots = [read_slot(&*file, 0)?, read_slot(&*file, 1)?];
        let newest = slots.into_iter().flatten().max_by_key(|slot| slot.writing);
        let writings = newest.as_ref().map_or(0, |slot| slot.writing);
        let logs = newest.filter(|slot| slot.epoch == epoch).map(|slot| slot.logs);
        Ok((Self { file, writings, slot: Vec::new() }, logs.unwrap_or_default()))
    }

    pub(super) fn write(
        &mut self,
        epoch: u64,
        logs: impl Iterator<Item = (LogId, Reach)>,
    ) -> io::Result<()> {
        write_slot(&mut self.slot, epoch, self.writings + 1, logs);
        self.writings += 1;
        self.file.write_at(&self.slot, (self.writings % 2) * SLOT_BYTES as u64)
    }
}

/// Lays out a slot in place of what was in the buffer.
pub(super) fn write_slot(
    slot: &mut Vec<u8>,
    epoch: u64,
    writing: u64,
    logs: impl Iterator<Item = (LogId, Reach)>,
) {
    slot.clear();
    slot.extend_from_slice(&MAGIC.to_le_bytes());
    slot.extend_from_slice(&[0; 4]);
    slot.extend_from_slice(&epoch.to_le_bytes());
    slot.extend_from_slice(&writing.to_le_bytes());
    slot.extend_from_slice(&[0; 4]);
    let mut count = 0u32;
    for (log, reach) in logs.take(MAX_LOGS) {
        let extent = reach.extent.unwrap_or(EMPTY);
        slot.extend_from_slice(&log.0.to_le_bytes());
        slot.extend_from_slice(&extent.first.to_le_bytes());
        slot.extend_from_slice(&extent.last.to_le_bytes());
        slot.extend_from_slice(&reach.records.to_le_bytes());
        count += 1;
    }
    slot[24..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
    let checksum = crc32c::crc32c(&slot[8..]);
    slot[4..8].copy_from_slice(&checksum.to_le_bytes());
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) epoch: u64,
    writing: u64,
    pub(super) logs: BTreeMap<LogId, Reach>,
}

fn read_slot(file: &dyn FixedFile, number: u64) -> io::Result<Option<Slot>> {
    let mut bytes = vec![0; SLOT_BYTES];
    file.read_at(&mut bytes, number * SLOT_BYTES as u64)?;
    Ok(parse_slot(&bytes))
}

/// What a slot says; none when it was never written, or only in part.
pub(super) fn parse_slot(bytes: &[u8]) -> Option<Slot> {
    let count = u32::from_le_bytes(*bytes.get(24..HEADER_BYTES)?.first_chunk()?) as usize;
    if u32_at(bytes, 0) != MAGIC || count > MAX_LOGS {
        return None;
    }
    let end = HEADER_BYTES + count * LOG_BYTES;
    if crc32c::crc32c(bytes.get(8..end)?) != u32_at(bytes, 4) {
        return None;
    }
    let logs = (HEADER_BYTES..end).step_by(LOG_BYTES).map(|at| {
        let extent = Extent { first: u64_at(bytes, at + 4), last: u64_at(bytes, at + 12) };
        let reach =
            Reach { extent: Some(extent).filter(|&e| e != EMPTY), records: u64_at(bytes, at + 20) };
        (LogId(u32_at(bytes, at)), reach)
    });
    Some(Slot { epoch: u64_at(bytes, 8), writing: u64_at(bytes, 16), logs: logs.collect() })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::medium::Directory;

    #[test]
    fn the_newest_whole_slot_of_the_epoch_counts() {
        let dir = tempfile::tempdir().unwrap();
        let medium = Directory::new(dir.path());
        let extent = |last| {
            let extent = (last > 5).then_some(Extent { first: 1, last });
            (LogId(4), Reach { extent, records: 8 })
        };
        let (mut tail, logs) = TailFile::open(&medium, 1).unwrap();
        assert!(logs.is_empty());
        tail.write(1, [extent(5)].into_iter()).unwrap();
        tail.write(1, [extent(6)].into_iter()).unwrap();
        let read = |epoch| TailFile::open(&medium, epoch).unwrap().1;
        assert_eq!(read(1), BTreeMap::from([extent(6)]));
        assert!(read(2).is_empty());
        // The second writing is torn: the first one counts again.
        tail.file.write_at(&[0xFF; 4], 30).unwrap();
        assert_eq!(read(1), BTreeMap::from([extent(5)]));
    }
}
