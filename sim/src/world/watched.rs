//! The log as the entities of a simulated node have it: the real one, watched for situations that show nowhere else.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term};
use holm_persistence::{
    AppendError, Batch, Conversation, History, OpenError, Opened, Pending, ReadError, ShardLog,
    Snapshot, SnapshotCriteria,
};

use super::gauges::Flights;
use super::met::Met;
use crate::sometimes::Situation;

/// A log that is watched.
pub(super) struct Watched {
    log: Arc<dyn ShardLog>,
    met: Met,
    /// Until the process ends: what is let go then was not deposed.
    alive: Arc<AtomicBool>,
    flights: Flights,
    loads: Mutex<Loads>,
    confirms_at_once: bool,
}

/// One batch on its way, until it is answered, or let go because its shard is led here no longer.
struct OnItsWay {
    met: Met,
    alive: Arc<AtomicBool>,
    flights: Flights,
    of: (ShardId, Term),
    answered: bool,
}

#[derive(Default)]
struct Loads {
    /// Entities that came into memory since their shard was opened.
    loaded: BTreeSet<(ShardId, EntityAddress)>,
    /// Those of which a snapshot was found and the records behind it were not read yet.
    from_snapshot: BTreeSet<(ShardId, EntityAddress)>,
}

impl Watched {
    pub(super) fn new(
        log: Arc<dyn ShardLog>,
        met: Met,
        alive: Arc<AtomicBool>,
        flights: Flights,
    ) -> Self {
        Self { log, met, alive, flights, loads: Mutex::default(), confirms_at_once: false }
    }

    /// Whether what the log knows of its term by itself is said.
    pub(super) fn confirming_at_once(self, confirms_at_once: bool) -> Self {
        Self { confirms_at_once, ..self }
    }

    /// An entity comes into memory: the first that is asked for is its snapshot.
    fn note_load(&self, shard: ShardId, address: &EntityAddress, found: bool) {
        let entity = (shard, address.clone());
        let mut loads = self.loads();
        if found {
            loads.from_snapshot.insert(entity.clone());
        } else {
            loads.from_snapshot.remove(&entity);
        }
        if !loads.loaded.insert(entity) {
            self.met.met(Situation::WokenFromRest);
        }
    }

    fn loads(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OnItsWay {
    fn arrive(mut self) {
        self.answered = true;
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.flights.arrives(self.of.0, self.of.1);
        let deposed = !self.answered && self.alive.load(Ordering::Relaxed);
        self.met.met_times(Situation::DeposedInFlight, deposed.into());
    }
}

impl ShardLog for Watched {
    fn open(&self, shard: ShardId, term: Term) -> Pending<Result<Opened, OpenError>> {
        self.loads().loaded.retain(|(of, _)| *of != shard);
        self.log.open(shard, term)
    }

    fn append(&self, batch: Batch) -> Pending<Result<(), AppendError>> {
        let (met, alive) = (self.met.clone(), self.alive.clone());
        let (flights, of) = (self.flights.clone(), (batch.shard(), batch.term()));
        flights.leaves(of.0, of.1);
        let on_its_way = OnItsWay { met, alive, flights, of, answered: false };
        // Queued here and not when it is first polled, as the contract wants it.
        let appended = self.log.append(batch);
        Box::pin(async move {
            let appended = appended.await;
            on_its_way.arrive();
            appended
        })
    }

    fn batches_at_once(&self) -> usize {
        self.log.batches_at_once()
    }

    fn confirm(&self, shard: ShardId, term: Term) -> Pending<Result<(), AppendError>> {
        self.log.confirm(shard, term)
    }

    fn confirm_at_once(&self, shard: ShardId, term: Term) -> Option<Result<(), AppendError>> {
        if !self.confirms_at_once {
            return None;
        }
        let said = self.log.confirm_at_once(shard, term);
        self.met.met_times(Situation::ConfirmedByLease, u64::from(said == Some(Ok(()))));
        said
    }

    fn last_offset(&self, shard: ShardId) -> Result<Offset, ReadError> {
        self.log.last_offset(shard)
    }

    fn read(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        self.log.read(shard, from, max_bytes)
    }

    fn follow(&self, shard: ShardId, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        self.log.follow(shard, seen)
    }

    fn history(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: SequenceNumber,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.log.history(shard, address, after, max_records)
    }

    fn records_after(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: Offset,
        max_records: usize,
    ) -> Result<History, ReadError> {
        let read = self.log.records_after(shard, address, after, max_records)?;
        let behind_snapshot = self.loads().from_snapshot.remove(&(shard, address.clone()));
        if behind_snapshot && !read.records.is_empty() {
            self.met.met(Situation::RecoveredFromSnapshot);
        }
        Ok(read)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        self.log.conversation(shard, correlation, from, max_bytes)
    }

    fn save_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) -> Result<(), ReadError> {
        self.log.save_snapshot(shard, address, snapshot, keep)
    }

    fn load_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        let snapshot = self.log.load_snapshot(shard, address, criteria)?;
        self.note_load(shard, address, snapshot.is_some());
        Ok(snapshot)
    }

    fn delete_snapshots(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        self.log.delete_snapshots(shard, address, criteria)
    }

    fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        self.log.trim(shard, address, up_to)
    }
}
