//! Walking the chain of one entity's records back from the newest: how every log reads a history.

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId};

use crate::batch::Batch;
use crate::shard_log::{History, ReadError};

/// Where a walk back along a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// At the newest record whose events are all at or before this sequence number.
    Sequence(SequenceNumber),
    /// At the newest record at or before this offset.
    Offset(Offset),
}

/// Collects the records of one entity after `after`, oldest first, at most `max_records`: what [`crate::ShardLog::history`] and
/// [`crate::ShardLog::records_after`] answer. `head` is the entity's newest offset (from the index), `trimmed` its last trimmed sequence
/// number, `batch_at` reads the durable batch that holds an offset.
///
/// # Errors
/// [`ReadError::Corrupt`] when the chain is broken, [`ReadError::Trimmed`] when it would return trimmed events, and those of `batch_at`.
pub fn walk_chain(
    _shard: ShardId,
    _address: &EntityAddress,
    _head: Option<Offset>,
    _trimmed: SequenceNumber,
    _after: After,
    _max_records: usize,
    _batch_at: &mut dyn FnMut(Offset) -> Result<Batch, ReadError>,
) -> Result<History, ReadError> {
    unimplemented!("signature only for now")
}
