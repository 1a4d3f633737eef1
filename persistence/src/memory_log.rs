//! The shard log in memory: the same laws without a disk, with hooks that delay and break it, for tests.

mod shard;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term};

use crate::batch::Batch;
use crate::chain::After;
use crate::shard_log::{
    AppendError, Conversation, History, OpenError, Opened, Pending, ReadError, ShardLog, Snapshot,
    SnapshotCriteria,
};
use shard::MemoryShard;

/// What errors say that were asked for.
const FAULT: &str = "a fault was injected";

/// A shard log that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryLog {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shards: BTreeMap<ShardId, MemoryShard>,
    holding: bool,
    /// Shards that do not answer.
    held: BTreeSet<ShardId>,
    queue: VecDeque<Queued>,
    /// Conversations are looked for by whoever wants to know.
    without_conversations: bool,
    /// Nothing of an entity can be read.
    unreadable: bool,
    /// No snapshot can be saved.
    snapshots_fail: bool,
}

/// A batch that passed the gate and is not durable yet.
#[derive(Debug)]
struct Queued {
    batch: Batch,
    fate: Fate,
    done: oneshot::Sender<Result<(), AppendError>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    Lost,
    StoredUnsaid,
}

impl MemoryLog {
    /// An empty log of every shard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty log that does not know which records belong to a conversation.
    #[must_use]
    pub fn without_correlation_index() -> Self {
        let log = Self::default();
        log.lock().without_conversations = true;
        log
    }

    /// The newest term at which a shard was opened; zero when never. The next open needs one above it.
    #[must_use]
    pub fn newest_term(&self, shard: ShardId) -> Term {
        self.lock().shard(shard).gate.term()
    }

    /// Makes the next append of a shard resolve to `Unknown` without storing its batch.
    pub fn fail_next_append(&self, shard: ShardId) {
        self.lock().shard(shard).next_fate = Some(Fate::Lost);
    }

    /// Makes the next append of a shard resolve to `Unknown` although its batch was stored.
    pub fn lose_next_acknowledgement(&self, shard: ShardId) {
        self.lock().shard(shard).next_fate = Some(Fate::StoredUnsaid);
    }

    /// From now on no entity can be read, or each can again.
    pub fn fail_reads(&self, fail: bool) {
        self.lock().unreadable = fail;
    }

    /// From now on no snapshot can be saved, or each can again.
    pub fn fail_snapshots(&self, fail: bool) {
        self.lock().snapshots_fail = fail;
    }

    /// From now on no append becomes durable until it is released.
    pub fn hold(&self) {
        self.lock().holding = true;
    }

    /// From now on no append of this shard becomes durable until all are released; those of others do.
    pub fn hold_shard(&self, shard: ShardId) {
        self.lock().held.insert(shard);
    }

    /// How many appends are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().queue.len()
    }

    /// Lets the oldest `count` held appends become durable; holding goes on.
    pub fn release(&self, count: usize) {
        let mut state = self.lock();
        for _ in 0..count {
            state.store_next();
        }
    }

    /// Lets everything held become durable and stops holding.
    pub fn release_all(&self) {
        let mut state = self.lock();
        state.holding = false;
        state.held.clear();
        while state.store_next() {}
    }

    fn readable(&self, shard: ShardId) -> Result<MutexGuard<'_, State>, ReadError> {
        let state = self.lock();
        match state.unreadable {
            true => Err(ReadError::Store { shard, reason: FAULT.to_owned() }),
            false => Ok(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shard(&mut self, shard: ShardId) -> &mut MemoryShard {
        self.shards.entry(shard).or_insert_with(|| MemoryShard::new(shard))
    }

    /// Decides the oldest queued append of a shard that answers; false when there is none.
    fn store_next(&mut self) -> bool {
        let next = self.queue.iter().position(|it| !self.held.contains(&it.batch.shard()));
        let next = next.and_then(|at| self.queue.remove(at));
        let Some(Queued { batch, fate, done }) = next else { return false };
        let (id, term) = (batch.shard(), batch.term());
        let shard = self.shard(id);
        if fate != Fate::Lost {
            shard.store(batch);
        }
        let outcome = if fate == Fate::Stored {
            Ok(())
        } else {
            shard.gate.fail(term, FAULT);
            self.forget_queued(id, |batch| AppendError::Unknown {
                shard: batch.shard(),
                reason: "the write before it failed".to_owned(),
            });
            Err(AppendError::Unknown { shard: id, reason: FAULT.to_owned() })
        };
        // A caller that went away needs no answer.
        let _ = done.send(outcome);
        true
    }

    /// Resolves the queued appends of a shard to an error; their batches are never stored.
    fn forget_queued(&mut self, shard: ShardId, error: impl Fn(&Batch) -> AppendError) {
        let (forgotten, kept): (VecDeque<_>, VecDeque<_>) =
            self.queue.drain(..).partition(|queued| queued.batch.shard() == shard);
        self.queue = kept;
        for queued in forgotten {
            let _ = queued.done.send(Err(error(&queued.batch)));
        }
    }
}

impl ShardLog for MemoryLog {
    fn open(&self, shard: ShardId, term: Term) -> Pending<Result<Opened, OpenError>> {
        let mut state = self.lock();
        let opened = state.shard(shard).gate.begin_open(term).and_then(|()| {
            // What is still held was made under an older term: it is fenced, surely not stored.
            state.forget_queued(shard, |batch| AppendError::Fenced { shard, term: batch.term() });
            let opening = state.shard(shard);
            let last = opening.last();
            opening.gate.complete_open(term, last)?;
            Ok(Opened { last })
        });
        Box::pin(async move { opened })
    }

    fn append(&self, batch: Batch) -> Pending<Result<(), AppendError>> {
        let id = batch.shard();
        let mut state = self.lock();
        let shard = state.shard(id);
        if let Err(refused) = shard.gate.admit(&batch) {
            return Box::pin(async move { Err(refused) });
        }
        let fate = shard.next_fate.take().unwrap_or(Fate::Stored);
        let (done, receiver) = oneshot::channel();
        state.queue.push_back(Queued { batch, fate, done });
        if !state.holding {
            while state.store_next() {}
        }
        Box::pin(async move {
            let reason = "the log was dropped".to_owned();
            receiver.await.unwrap_or(Err(AppendError::Unknown { shard: id, reason }))
        })
    }

    fn confirm(&self, shard: ShardId, term: Term) -> Pending<Result<(), AppendError>> {
        let confirmed = self.lock().shard(shard).gate.confirm(term);
        Box::pin(async move { confirmed })
    }

    fn confirm_at_once(&self, shard: ShardId, term: Term) -> Option<Result<(), AppendError>> {
        Some(self.lock().shard(shard).gate.confirm(term))
    }

    fn last_offset(&self, shard: ShardId) -> Result<Offset, ReadError> {
        Ok(self.lock().shard(shard).last())
    }

    fn read(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        Ok(self.lock().shard(shard).read(from, max_bytes))
    }

    fn follow(&self, shard: ShardId, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        let mut state = self.lock();
        let followed = state.shard(shard);
        let durable = followed.last();
        followed.followers.follow(shard, seen, durable)
    }

    fn history(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: SequenceNumber,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.readable(shard)?.shard(shard).walk(address, After::Sequence(after), max_records)
    }

    fn records_after(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: Offset,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.readable(shard)?.shard(shard).walk(address, After::Offset(after), max_records)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        let mut state = self.lock();
        if state.without_conversations {
            return Ok(Conversation::default());
        }
        state.shard(shard).conversation(correlation, from, max_bytes)
    }

    fn save_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) -> Result<(), ReadError> {
        let mut state = self.lock();
        if state.snapshots_fail {
            return Err(ReadError::Store { shard, reason: FAULT.to_owned() });
        }
        state.shard(shard).save_snapshot(address, snapshot, keep);
        Ok(())
    }

    fn load_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        Ok(self.lock().shard(shard).load_snapshot(address, criteria))
    }

    fn delete_snapshots(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        self.lock().shard(shard).delete_snapshots(address, criteria);
        Ok(())
    }

    fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        self.lock().shard(shard).trim(address, up_to);
        Box::pin(async { Ok(()) })
    }
}
