//! Reading what a replica has followed: the index says which entry holds an offset, the group's log holds the entry.
//!
//! Entries that were refused by the fence stand in the log too, but the index does not know them, so they are never read.

use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId};
use holm_persistence::{
    After, Batch, CONVERSATION_PLACES, Conversation, EntityIndex, History, ReadError, StoreError,
    read_conversation, walk_chain,
};

use super::replica::Replica;

/// Batches from the one that holds `from`.
pub(super) fn batches(
    replica: &Replica,
    from: Offset,
    max_bytes: usize,
) -> Result<Vec<Batch>, ReadError> {
    replica.index().with(|index| {
        let last = replica.last_offset();
        let mut next = from.max(Offset(1));
        let mut bytes = 0;
        let mut batches = Vec::new();
        while next <= last && (batches.is_empty() || bytes < max_bytes) {
            let batch = batch_at(replica, index, next)?;
            bytes += batch.bytes().len();
            next = batch.last().next();
            batches.push(batch);
        }
        Ok(batches)
    })
}

/// One entity's records.
pub(super) fn history(
    replica: &Replica,
    address: &EntityAddress,
    trimmed: SequenceNumber,
    after: Start,
    max_records: usize,
) -> Result<History, ReadError> {
    let shard = replica.shard();
    replica.index().with(|index| {
        let head = index.head(address).map_err(|error| store_error(shard, &error))?;
        walk_chain(shard, address, head, trimmed, after.0, max_records, &mut |offset| {
            batch_at(replica, index, offset)
        })
    })
}

/// Records of one conversation.
pub(super) fn conversation(
    replica: &Replica,
    correlation: CorrelationId,
    from: Offset,
    max_bytes: usize,
) -> Result<Conversation, ReadError> {
    let shard = replica.shard();
    replica.index().with(|index| {
        let places = index.conversation(correlation, from, CONVERSATION_PLACES);
        let places = places.map_err(|error| store_error(shard, &error))?;
        let mut batch_at = |offset| batch_at(replica, index, offset);
        read_conversation(shard, correlation, places, max_bytes, &mut batch_at)
    })
}

/// Where a history begins.
pub(super) struct Start(After);

impl From<SequenceNumber> for Start {
    fn from(after: SequenceNumber) -> Self {
        Self(After::Sequence(after))
    }
}

impl From<Offset> for Start {
    fn from(after: Offset) -> Self {
        Self(After::Offset(after))
    }
}

fn batch_at(replica: &Replica, index: &EntityIndex, offset: Offset) -> Result<Batch, ReadError> {
    let shard = replica.shard();
    let corrupt = |reason: &str| ReadError::Corrupt { shard, offset, reason: reason.to_owned() };
    let entry = index
        .locate(offset)
        .map_err(|error| store_error(shard, &error))?
        .ok_or_else(|| corrupt("it is beyond the last offset"))?;
    // An entry that the log does not have is the index's invention; one that it has and cannot read is damaged itself.
    let written = match replica.log().has(entry) {
        true => replica.log().write_at(entry).map_err(|error| corrupt(&error.to_string()))?,
        false => None,
    };
    let batch = written.and_then(|(_, payload)| Batch::parse(payload).ok());
    // A damaged entry is found by its checksum when it is read; what is whole and something else was not the index's to name.
    batch.filter(|batch| batch.record(offset).is_some()).ok_or_else(|| {
        let reason = "it does not lead to the batch that holds an offset";
        store_error(shard, &index.report_damage(reason))
    })
}

fn store_error(shard: ShardId, error: &StoreError) -> ReadError {
    ReadError::Store { shard, reason: error.to_string() }
}
