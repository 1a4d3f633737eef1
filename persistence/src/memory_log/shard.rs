//! One shard of the log in memory.

use std::collections::{BTreeMap, HashMap};

use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term};

use super::Fate;
use crate::batch::Batch;
use crate::chain::{After, walk_chain};
use crate::conversation::{CONVERSATION_PLACES, read_conversation};
use crate::entity_index::Places;
use crate::followers::Followers;
use crate::gate::Gate;
use crate::record::RecordHead;
use crate::shard_log::{Conversation, History, ReadError, Snapshot, SnapshotCriteria};

#[derive(Debug)]
pub(super) struct MemoryShard {
    id: ShardId,
    pub(super) gate: Gate,
    pub(super) followers: Followers,
    pub(super) next_fate: Option<Fate>,
    batches: BTreeMap<Offset, Batch>,
    entities: Vec<Entity>,
    /// The places of entities, by type and id. A record names the one before it, so this is asked for the first of each entity only.
    by_name: HashMap<Box<str>, HashMap<Box<str>, usize>>,
    /// In offset order. Who looks for a conversation goes through it; a map would cost each write an allocation, for tests that look now and then.
    known: Vec<Known>,
    trims: HashMap<EntityAddress, SequenceNumber>,
    snapshots: HashMap<EntityAddress, BTreeMap<SequenceNumber, Snapshot>>,
}

/// An entity that has records.
#[derive(Debug)]
struct Entity {
    entity_type: Box<str>,
    id: Box<str>,
    /// The newest of them.
    head: Offset,
}

/// What is known of one record.
#[derive(Debug)]
struct Known {
    offset: Offset,
    correlation: CorrelationId,
    /// The place of its entity.
    entity: usize,
}

impl MemoryShard {
    pub(super) fn new(id: ShardId) -> Self {
        Self {
            id,
            gate: Gate::new(id, Term::ZERO),
            followers: Followers::default(),
            next_fate: None,
            batches: BTreeMap::new(),
            entities: Vec::new(),
            by_name: HashMap::new(),
            known: Vec::new(),
            trims: HashMap::new(),
            snapshots: HashMap::new(),
        }
    }

    pub(super) fn last(&self) -> Offset {
        self.batches.last_key_value().map_or(Offset::ZERO, |(_, batch)| batch.last())
    }

    pub(super) fn store(&mut self, batch: Batch) {
        for record in batch.records() {
            // A record that cannot be read is stored all the same; reading it will say so.
            let Ok(head) = RecordHead::read(&record.bytes) else { continue };
            let entity = self.entity_of(&head);
            self.entities[entity].head = record.offset;
            let (offset, correlation) = (record.offset, head.correlation);
            self.known.push(Known { offset, correlation, entity });
        }
        let last = batch.last();
        self.batches.insert(batch.first(), batch);
        self.followers.advance(last);
    }

    pub(super) fn read(&self, from: Offset, max_bytes: usize) -> Vec<Batch> {
        let begin = self.batch_at(from).map_or(from, Batch::first);
        let mut bytes = 0;
        let batches = self.batches.range(begin..).map(|(_, batch)| batch);
        batches
            .take_while(|batch| {
                let wanted = bytes == 0 || bytes < max_bytes;
                bytes += batch.bytes().len();
                wanted
            })
            .cloned()
            .collect()
    }

    pub(super) fn walk(
        &self,
        address: &EntityAddress,
        after: After,
        max_records: usize,
    ) -> Result<History, ReadError> {
        let of_type = self.by_name.get(address.entity_type());
        let place = of_type.and_then(|places| places.get(address.id()));
        let head = place.map(|place| self.entities[*place].head);
        let trimmed = self.trims.get(address).copied().unwrap_or_default();
        let mut batch_at = |offset| self.whole_batch_at(offset);
        walk_chain(self.id, address, head, trimmed, after, max_records, &mut batch_at)
    }

    pub(super) fn conversation(
        &self,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        let begin = self.known.partition_point(|known| known.offset < from);
        let of_it = self.known[begin..].iter().filter(|known| known.correlation == correlation);
        let offsets = of_it.take(CONVERSATION_PLACES + 1).map(|known| known.offset).collect();
        let places = Places { known_from: Some(Offset(1)), offsets, next: None };
        let mut batch_at = |offset| self.whole_batch_at(offset);
        read_conversation(self.id, correlation, places, max_bytes, &mut batch_at)
    }

    fn whole_batch_at(&self, offset: Offset) -> Result<Batch, ReadError> {
        let reason = "no batch holds it".to_owned();
        let missing = ReadError::Corrupt { shard: self.id, offset, reason };
        self.batch_at(offset).cloned().ok_or(missing)
    }

    pub(super) fn save_snapshot(
        &mut self,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) {
        let snapshots = self.snapshots.entry(address.clone()).or_default();
        snapshots.insert(snapshot.sequence, snapshot);
        while snapshots.len() > keep.max(1) {
            snapshots.pop_first();
        }
    }

    pub(super) fn load_snapshot(
        &self,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Option<Snapshot> {
        let mut newest_first = self.snapshots.get(address)?.values().rev();
        newest_first.find(|snapshot| criteria.admits(snapshot.sequence, snapshot.at)).cloned()
    }

    pub(super) fn delete_snapshots(&mut self, address: &EntityAddress, criteria: SnapshotCriteria) {
        if let Some(snapshots) = self.snapshots.get_mut(address) {
            snapshots.retain(|_, snapshot| !criteria.admits(snapshot.sequence, snapshot.at));
        }
    }

    pub(super) fn trim(&mut self, address: &EntityAddress, up_to: SequenceNumber) {
        let trimmed = self.trims.entry(address.clone()).or_default();
        *trimmed = up_to.max(*trimmed);
    }

    /// The place of a record's entity, which gets one when this is its first record.
    fn entity_of(&mut self, head: &RecordHead<'_>) -> usize {
        let is_it = |entity: &Entity| {
            *entity.id == *head.entity_id && *entity.entity_type == *head.entity_type
        };
        // Where nothing unreadable stands before it, a record's number is its place.
        let place = head.previous.0.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let before = place.and_then(|place| self.known.get(place));
        if let Some(Known { entity, .. }) = before.filter(|it| it.offset == head.previous)
            && is_it(&self.entities[*entity])
        {
            return *entity;
        }
        let of_type = self.by_name.entry(head.entity_type.into()).or_default();
        *of_type.entry(head.entity_id.into()).or_insert_with(|| {
            let (entity_type, id) = (head.entity_type.into(), head.entity_id.into());
            self.entities.push(Entity { entity_type, id, head: Offset::ZERO });
            self.entities.len() - 1
        })
    }

    fn batch_at(&self, offset: Offset) -> Option<&Batch> {
        let (_, batch) = self.batches.range(..=offset).next_back()?;
        (batch.last() >= offset).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use holm_core::{CausationId, CommandId, IdempotencyKey, SeededEntropy, Timestamp};

    use super::*;
    use crate::{BatchBuilder, Record, StoredVerdict};

    fn record<'a>(entity_type: &'a str, entity_id: &'a str, previous: u64) -> Record<'a> {
        Record {
            entity_type,
            entity_id,
            previous: Offset(previous),
            base: SequenceNumber(0),
            at: Timestamp::EPOCH,
            command: "open",
            id: CommandId(1),
            correlation: CorrelationId(1),
            causation: CausationId(1),
            key: IdempotencyKey::generate(&mut SeededEntropy::new(1)),
            fingerprint: 0,
            events: Vec::new(),
            verdict: StoredVerdict::Accepted(b""),
            reactions: Vec::new(),
        }
    }

    /// Whatever a record says stands before it.
    #[test]
    fn the_newest_record_is_that_of_the_same_entity() {
        let mut shard = MemoryShard::new(ShardId(0));
        let written = [
            ("a", "1", 0),
            ("a", "2", 0),
            ("b", "1", 1),
            ("a", "1", 1),
            ("a", "2", 1),
            ("b", "1", 9),
        ];
        let mut batch = BatchBuilder::new(ShardId(0), Term(1), Offset(1));
        for (entity_type, id, previous) in written {
            batch.push(&record(entity_type, id, previous)).unwrap();
        }
        shard.store(batch.finish());
        for (entity_type, id, newest) in [("a", "1", 4), ("a", "2", 5), ("b", "1", 6)] {
            let place = shard.by_name[entity_type][id];
            assert_eq!(shard.entities[place].head, Offset(newest), "{entity_type}/{id}");
        }
        assert_eq!(shard.entities.len(), 3);
    }
}
