//! Reading what a replica has followed: the index says which entry holds an offset, the group's log holds the entry.
//!
//! Entries that were refused by the fence stand in the log too, but the index does not know them, so they are never read.

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId};
use holm_persistence::{After, Batch, History, ReadError, StoreError, walk_chain};

use super::replica::Replica;

/// Batches from the one that holds `from`.
pub(super) fn batches(
    replica: &Replica,
    from: Offset,
    max_bytes: usize,
) -> Result<Vec<Batch>, ReadError> {
    let last = replica.last_offset();
    let mut next = from.max(Offset(1));
    let mut bytes = 0;
    let mut batches = Vec::new();
    while next <= last && (batches.is_empty() || bytes < max_bytes) {
        let batch = batch_at(replica, next)?;
        bytes += batch.bytes().len();
        next = batch.last().next();
        batches.push(batch);
    }
    Ok(batches)
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
    let head = replica.index().head(address).map_err(|error| store_error(shard, &error))?;
    walk_chain(shard, address, head, trimmed, after.0, max_records, &mut |offset| {
        batch_at(replica, offset)
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

fn batch_at(replica: &Replica, offset: Offset) -> Result<Batch, ReadError> {
    let shard = replica.shard();
    let corrupt = |reason: &str| ReadError::Corrupt { shard, offset, reason: reason.to_owned() };
    let index = replica
        .index()
        .locate(offset)
        .map_err(|error| store_error(shard, &error))?
        .ok_or_else(|| corrupt("the index does not know it"))?;
    let payload = replica
        .log()
        .payload(index)
        .map_err(|error| corrupt(&error.to_string()))?
        .ok_or_else(|| corrupt("its entry is missing or holds no batch"))?;
    let batch = Batch::parse(payload).map_err(|error| corrupt(&error.to_string()))?;
    if batch.record(offset).is_none() {
        return Err(corrupt("its entry holds other offsets"));
    }
    Ok(batch)
}

fn store_error(shard: ShardId, error: &StoreError) -> ReadError {
    ReadError::Store { shard, reason: error.to_string() }
}
