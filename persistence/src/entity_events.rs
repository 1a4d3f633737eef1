//! The journal of one entity, event by event: a view over its records, for pages, exports and the journal laws.

use bytes::Bytes;
use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId, Timestamp};

use crate::shard_log::{ReadError, ShardLog};

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
    _log: &dyn ShardLog,
    _shard: ShardId,
    _address: &EntityAddress,
    _from: SequenceNumber,
    _to: SequenceNumber,
    _max: usize,
) -> Result<EntityEvents, ReadError> {
    unimplemented!("signature only for now")
}
