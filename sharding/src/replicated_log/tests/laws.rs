//! Every law of the shard log, and every journal and snapshot rule, on the replicated log: over a group of one voter and over one of three.
//!
//! What a law means here, where it is not plain:
//! - *Opening at a new term* follows an election. In a group of one the group is started again for that; in a group of three the leadership
//!   moves to the next node, so that each new leadership also finds out whether the former one's batches are there (laws 1 to 6).
//! - *Reopening* stops all nodes and starts them again. What was acknowledged is readable as soon as somebody leads, because a replica by itself
//!   does not know how far its log is committed (laws 3, 6). The newest term is then that of the new leadership (law 2).
//! - *A write that breaks* is a failed fsync on the only disk, or a leader that is cut off from its majority (law 5).
//! - *Snapshots* are each replica's own cache. The leader of a shard copies them to the others; here the log under test does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term};
use holm_persistence::conformance::{self, Subject, wait};
use holm_persistence::{
    AppendError, Batch, Conversation, DiskPoint, FaultKind, History, OpenError, Opened, Pending,
    ReadError, ShardLog, Snapshot, SnapshotCriteria,
};

use super::nodes::{Nodes, SHARDS};
use crate::replicated_log::ReplicatedLog;

#[test]
fn a_group_of_one_keeps_every_law() {
    conformance::run_all(|| Box::new(Replicated::of(1)));
}

#[test]
fn a_group_of_three_keeps_every_law() {
    conformance::run_all(|| Box::new(Replicated::of(3)));
}

/// The log of some nodes, seen through whichever of them leads.
struct Replicated {
    nodes: Nodes,
    /// The newest term that was opened.
    opened: BTreeMap<ShardId, u64>,
    led: Arc<Led>,
}

/// Each shard's log on the node that leads it.
#[derive(Default)]
struct Led {
    places: Mutex<BTreeMap<ShardId, usize>>,
    logs: Mutex<Vec<Arc<ReplicatedLog>>>,
}

impl Replicated {
    fn of(count: u64) -> Self {
        let mut replicated =
            Self { nodes: Nodes::of(count), opened: BTreeMap::new(), led: Arc::default() };
        replicated.settle();
        replicated
    }

    /// Reads go to whoever leads, once it knows the past.
    fn settle(&mut self) {
        self.led.take_logs((0..self.nodes.count()).map(|place| self.nodes.log(place)).collect());
        for shard in SHARDS {
            self.led.point(shard, self.nodes.settled_leader(shard));
        }
    }
}

impl Subject for Replicated {
    fn log(&self) -> Arc<dyn ShardLog> {
        self.led.clone()
    }

    fn lead(&mut self, shard: ShardId) -> (Term, Opened) {
        let mut last = self.opened.get(&shard).copied().unwrap_or(0);
        for _ in 0..10 {
            let (mut place, mut term) = self.nodes.leader_above(shard, 0);
            if term <= last {
                (place, term) = self.nodes.elect_anew(shard);
            }
            self.opened.insert(shard, term);
            self.led.point(shard, place);
            match wait(self.led.open(shard, Term(term))) {
                Ok(opened) => return (Term(term), opened),
                // The leadership was lost meanwhile; the next one has a term of its own.
                Err(_) => last = term,
            }
        }
        panic!("no leadership lasts long enough to be opened");
    }

    fn reopen(&mut self) -> bool {
        self.led.take_logs(Vec::new());
        self.nodes.restart();
        self.settle();
        true
    }

    fn break_next_append(&mut self, shard: ShardId) -> bool {
        let (leader, _) = self.nodes.leader_above(shard, 0);
        if self.nodes.count() == 1 {
            self.nodes.disk(leader).fail(DiskPoint::Fsync, 1, FaultKind::Io);
        } else {
            self.nodes.cut_off(leader);
        }
        true
    }

    fn heal(&mut self) {
        self.nodes.heal();
        self.settle();
    }
}

impl Led {
    fn point(&self, shard: ShardId, place: usize) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, place);
    }

    fn take_logs(&self, logs: Vec<Arc<ReplicatedLog>>) {
        *self.logs.lock().unwrap_or_else(PoisonError::into_inner) = logs;
    }

    fn all(&self) -> Vec<Arc<ReplicatedLog>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn of(&self, shard: ShardId) -> Arc<ReplicatedLog> {
        let place = self.places.lock().unwrap_or_else(PoisonError::into_inner)[&shard];
        self.all()[place].clone()
    }
}

impl ShardLog for Led {
    fn open(&self, shard: ShardId, term: Term) -> Pending<Result<Opened, OpenError>> {
        self.of(shard).open(shard, term)
    }

    fn append(&self, batch: Batch) -> Pending<Result<(), AppendError>> {
        self.of(batch.shard()).append(batch)
    }

    fn confirm(&self, shard: ShardId, term: Term) -> Pending<Result<(), AppendError>> {
        self.of(shard).confirm(shard, term)
    }

    fn last_offset(&self, shard: ShardId) -> Result<Offset, ReadError> {
        self.of(shard).last_offset(shard)
    }

    fn read(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        self.of(shard).read(shard, from, max_bytes)
    }

    fn follow(&self, shard: ShardId, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        self.of(shard).follow(shard, seen)
    }

    fn history(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: SequenceNumber,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.of(shard).history(shard, address, after, max_records)
    }

    fn records_after(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: Offset,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.of(shard).records_after(shard, address, after, max_records)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        self.of(shard).conversation(shard, correlation, from, max_bytes)
    }

    fn save_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) -> Result<(), ReadError> {
        let copy =
            |log: &Arc<ReplicatedLog>| log.save_snapshot(shard, address, snapshot.clone(), keep);
        self.all().iter().try_for_each(copy)
    }

    fn load_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.of(shard).load_snapshot(shard, address, criteria)
    }

    fn delete_snapshots(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        self.all().iter().try_for_each(|log| log.delete_snapshots(shard, address, criteria))
    }

    fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        self.of(shard).trim(shard, address, up_to)
    }
}
