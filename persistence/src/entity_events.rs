//! The journal of one entity, event by event: a view over its records, for pages, exports and the journal laws.

use bytes::Bytes;
use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId, Timestamp};

use crate::batch::StoredRecord;
use crate::shard_log::{ReadError, ShardLog};

/// Records read at a time: 256 of 4 KiB are a megabyte.
const RECORDS_AT_A_TIME: usize = 256;

/// One event of one entity with its place in history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityEvent {
    /// Its number in the entity's history.
    pub sequence: SequenceNumber,
    /// The offset of the record that holds it.
    pub offset: Offset,
    /// When its command was handled.
    pub at: Timestamp,
    /// The event's name.
    pub name: Box<str>,
    /// The version of its schema.
    pub schema_version: u16,
    /// The event, encoded.
    pub payload: Bytes,
}

/// Events of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityEvents {
    /// In sequence order without a gap.
    pub events: Vec<EntityEvent>,
    /// The highest sequence number that is stored, also when it was not asked for; zero for an entity that never wrote.
    pub highest: SequenceNumber,
}

/// The events `from..=to` of one entity, at most `max`. What was trimmed is left out.
///
/// # Errors
/// As [`ShardLog::history`].
pub fn entity_events(
    log: &dyn ShardLog,
    shard: ShardId,
    address: &EntityAddress,
    from: SequenceNumber,
    to: SequenceNumber,
    max: usize,
) -> Result<EntityEvents, ReadError> {
    let mut answer = EntityEvents::default();
    let mut after = SequenceNumber(from.0.saturating_sub(1));
    loop {
        let history = match log.history(shard, address, after, RECORDS_AT_A_TIME) {
            Err(ReadError::Trimmed { trimmed, .. }) if trimmed > after => {
                after = trimmed;
                continue;
            }
            other => other?,
        };
        answer.highest = history.highest;
        let before = after;
        for record in &history.records {
            after = after.max(take(&mut answer.events, shard, record, after.next()..=to, max)?);
        }
        let enough = answer.events.len() >= max || after >= to;
        if enough || !history.more || after == before {
            return Ok(answer);
        }
    }
}

/// Takes the wanted events of one record; returns the last sequence number of the record.
fn take(
    events: &mut Vec<EntityEvent>,
    shard: ShardId,
    stored: &StoredRecord,
    wanted: std::ops::RangeInclusive<SequenceNumber>,
    max: usize,
) -> Result<SequenceNumber, ReadError> {
    let offset = stored.offset;
    let corrupt = |reason| ReadError::Corrupt { shard, offset, reason };
    let record = stored.decode().map_err(|error| corrupt(error.to_string()))?;
    for (event, sequence) in record.events.iter().zip(record.base.0 + 1..) {
        let sequence = SequenceNumber(sequence);
        if events.len() < max && wanted.contains(&sequence) {
            events.push(EntityEvent {
                sequence,
                offset,
                at: record.at,
                name: event.name.into(),
                schema_version: event.schema_version,
                payload: stored.bytes.slice_ref(event.payload),
            });
        }
    }
    Ok(record.last_sequence())
}
