//! The logs of a history, put in order: each shard as one sequence of records, each entity as its own. Pure.
//!
//! The nodes' copies are laid over each other. Where they disagree, the first one stands here and the checker of one writer reports the other; so
//! every other checker can speak of *the* record at an offset.

use std::collections::{BTreeMap, HashMap};

use holm_core::{EntityAddress, IdempotencyKey, NodeId, Offset, ShardId, Term};

use crate::history::{History, SeenBatch, SeenRecord};

/// A record and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) shard: ShardId,
    pub(crate) offset: Offset,
    pub(crate) term: Term,
    pub(crate) record: &'a SeenRecord,
}

/// The key of one intention: the same key on two entities is two intentions.
pub(crate) type KeyOfEntity<'a> = (&'a EntityAddress, &'a IdempotencyKey);

/// Every log that was read back.
#[derive(Debug, Default)]
pub(crate) struct Logs<'a> {
    /// Each node's copy of each shard, its batches by first offset.
    pub(crate) copies: BTreeMap<(ShardId, NodeId), Vec<&'a SeenBatch>>,
    shards: BTreeMap<ShardId, BTreeMap<Offset, Entry<'a>>>,
    entities: BTreeMap<&'a EntityAddress, Vec<Entry<'a>>>,
    keys: HashMap<KeyOfEntity<'a>, Vec<Entry<'a>>>,
}

impl<'a> Logs<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let mut logs = Self::default();
        for batch in history.batches() {
            logs.copies.entry((batch.shard, batch.node)).or_default().push(batch);
            let shard = logs.shards.entry(batch.shard).or_default();
            for (offset, record) in batch.placed() {
                let (shard_id, term) = (batch.shard, batch.term);
                shard.entry(offset).or_insert(Entry { shard: shard_id, offset, term, record });
            }
        }
        for copy in logs.copies.values_mut() {
            copy.sort_by_key(|batch| batch.first);
        }
        for entry in logs.shards.values().flat_map(BTreeMap::values) {
            logs.entities.entry(&entry.record.entity).or_default().push(*entry);
            let key = (&entry.record.entity, &entry.record.key);
            logs.keys.entry(key).or_default().push(*entry);
        }
        logs
    }

    /// The record at a place.
    pub(crate) fn at(&self, shard: ShardId, offset: Offset) -> Option<&Entry<'a>> {
        self.shards.get(&shard)?.get(&offset)
    }

    /// The records made under a key, in offset order.
    pub(crate) fn under<'s>(&'s self, key: KeyOfEntity<'s>) -> &'s [Entry<'s>] {
        self.keys.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Every key with its records, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&KeyOfEntity<'a>, &[Entry<'a>])> {
        self.keys.iter().map(|(key, entries)| (key, entries.as_slice()))
    }

    /// The history of one entity, in offset order.
    pub(crate) fn history_of(&self, entity: &EntityAddress) -> &[Entry<'a>] {
        self.entities.get(entity).map_or(&[], Vec::as_slice)
    }

    /// Every entity with its history.
    pub(crate) fn entities(&self) -> impl Iterator<Item = (&'a EntityAddress, &[Entry<'a>])> {
        self.entities.iter().map(|(entity, entries)| (*entity, entries.as_slice()))
    }

    /// Every shard with its records.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (ShardId, &BTreeMap<Offset, Entry<'a>>)> {
        self.shards.iter().map(|(shard, entries)| (*shard, entries))
    }

    /// How many records there are, each counted once.
    pub(crate) fn record_count(&self) -> usize {
        self.shards.values().map(BTreeMap::len).sum()
    }
}
