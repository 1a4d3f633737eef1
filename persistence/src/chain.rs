//! Walking the chain of one entity's records back from the newest: how every log reads a history.

use std::collections::VecDeque;

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId};

use crate::batch::{Batch, RecordPlaces, StoredRecord};
use crate::record::Record;
use crate::shard_log::{History, ReadError};

/// Bytes of records in one answer, the first record always. An entity's history may be as long as its log.
pub const HISTORY_BYTES: usize = 1024 * 1024;

/// Where a walk back along a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// At the newest record whose events are all at or before this sequence number.
    Sequence(SequenceNumber),
    /// At the newest record at or before this offset.
    Offset(Offset),
}

/// Collects the records of one entity after `after`, oldest first, at most `max_records` and about [`HISTORY_BYTES`]: what [`crate::ShardLog::history`] and
/// [`crate::ShardLog::records_after`] answer. `head` is the entity's newest offset (from the index), `trimmed` its last trimmed sequence
/// number, `batch_at` reads the durable batch that holds an offset.
///
/// Memory is bounded by that and one batch; the time is that of reading the chain from the newest record down.
///
/// # Errors
/// [`ReadError::Corrupt`] when the chain is broken, [`ReadError::Trimmed`] when it would return trimmed events, and those of `batch_at`.
pub fn walk_chain(
    shard: ShardId,
    address: &EntityAddress,
    head: Option<Offset>,
    trimmed: SequenceNumber,
    after: After,
    max_records: usize,
    batch_at: &mut dyn FnMut(Offset) -> Result<Batch, ReadError>,
) -> Result<History, ReadError> {
    let Some(head) = head else { return Ok(History::default()) };
    let mut history = History { head, ..History::default() };
    let (mut records, mut bytes) = (VecDeque::<StoredRecord>::new(), 0);
    let mut at = head;
    let mut newer: Option<Link> = None;
    let mut batch: Option<RecordPlaces> = None;
    while at > Offset::ZERO {
        let stored = record_at(shard, at, &mut batch, batch_at)?;
        let link = Link::read(shard, address, &stored, newer.as_ref())?;
        if newer.is_none() {
            history.highest = link.last;
        }
        if link.is_before(after) {
            break;
        }
        if link.base < trimmed && link.last > link.base {
            return Err(ReadError::Trimmed { shard, address: address.clone(), trimmed });
        }
        at = link.previous;
        newer = Some(link);
        bytes += stored.bytes.len();
        records.push_back(stored.detach());
        // The walk goes from new to old and the answer holds the oldest: the newest of those found go when there are too many.
        while records.len() > max_records || records.len() > 1 && bytes > HISTORY_BYTES {
            history.more = true;
            bytes -= records.pop_front().map_or(0, |newest| newest.bytes.len());
        }
    }
    history.records = records.into_iter().rev().collect();
    Ok(history)
}

fn record_at(
    shard: ShardId,
    offset: Offset,
    batch: &mut Option<RecordPlaces>,
    batch_at: &mut dyn FnMut(Offset) -> Result<Batch, ReadError>,
) -> Result<StoredRecord, ReadError> {
    if let Some(record) = batch.as_ref().and_then(|batch| batch.record(offset)) {
        return Ok(record);
    }
    // An entity that is busy has many records in a batch, and each would be looked for from the first one on.
    let read = batch.insert(RecordPlaces::of(batch_at(offset)?));
    read.record(offset).ok_or_else(|| {
        let read = read.batch();
        let reason = format!("it is not in its batch {}..={}", read.first(), read.last());
        ReadError::Corrupt { shard, offset, reason }
    })
}

/// What a record says about its place in the chain.
struct Link {
    offset: Offset,
    previous: Offset,
    base: SequenceNumber,
    last: SequenceNumber,
}

impl Link {
    fn read(
        shard: ShardId,
        address: &EntityAddress,
        stored: &StoredRecord,
        newer: Option<&Self>,
    ) -> Result<Self, ReadError> {
        let offset = stored.offset;
        let corrupt = |reason: String| ReadError::Corrupt { shard, offset, reason };
        let record: Record<'_> = stored.decode().map_err(|error| corrupt(error.to_string()))?;
        if (record.entity_type, record.entity_id) != (address.entity_type(), address.id()) {
            return Err(corrupt(format!(
                "the chain of {address} leads to a record of {}/{}",
                record.entity_type, record.entity_id
            )));
        }
        let (previous, base, last) = (record.previous, record.base, record.last_sequence());
        if previous >= offset {
            return Err(corrupt(format!("its previous record is at {previous}, not before it")));
        }
        if previous == Offset::ZERO && base != SequenceNumber::ZERO {
            return Err(corrupt(format!(
                "the first record of {address} begins after event {base}"
            )));
        }
        if let Some(newer) = newer.filter(|newer| newer.base != last) {
            return Err(corrupt(format!(
                "it ends at event {last}, but the record at {} begins after {}",
                newer.offset, newer.base
            )));
        }
        Ok(Self { offset, previous, base, last })
    }

    fn is_before(&self, after: After) -> bool {
        match after {
            After::Sequence(after) => self.last <= after,
            After::Offset(after) => self.offset <= after,
        }
    }
}
