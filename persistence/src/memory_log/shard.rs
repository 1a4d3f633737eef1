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
    /// By type and id. Both are looked up as they stand in a record, so that a write makes no address.
    heads: HashMap<Box<str>, HashMap<Box<str>, Offset>>,
    /// Of each record, in offset order. A look goes through it; a map would cost each write an allocation, for tests that look now and then.
    conversations: Vec<(Offset, CorrelationId)>,
    trims: HashMap<EntityAddress, SequenceNumber>,
    snapshots: HashMap<EntityAddress, BTreeMap<SequenceNumber, Snapshot>>,
}

impl MemoryShard {
    pub(super) fn new(id: ShardId) -> Self {
        Self {
            id,
            gate: Gate::new(id, Term::ZERO),
            followers: Followers::default(),
            next_fate: None,
            batches: BTreeMap::new(),
            heads: HashMap::new(),
            conversations: Vec::new(),
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
            self.conversations.push((record.offset, head.correlation));
            let of_type = self.heads.get_mut(head.entity_type);
            match of_type.and_then(|heads| heads.get_mut(head.entity_id)) {
                Some(known) => *known = record.offset,
                None => {
                    let of_type = self.heads.entry(head.entity_type.into()).or_default();
                    of_type.insert(head.entity_id.into(), record.offset);
                }
            }
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
        let of_type = self.heads.get(address.entity_type());
        let head = of_type.and_then(|heads| heads.get(address.id())).copied();
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
        let begin = self.conversations.partition_point(|(offset, _)| *offset < from);
        let of_it = self.conversations[begin..].iter().filter(|(_, of)| *of == correlation);
        let offsets = of_it.take(CONVERSATION_PLACES + 1).map(|(offset, _)| *offset).collect();
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

    fn batch_at(&self, offset: Offset) -> Option<&Batch> {
        let (_, batch) = self.batches.range(..=offset).next_back()?;
        (batch.last() >= offset).then_some(batch)
    }
}
