//! The shard log of a single node, over one [`Store`]: the entry index of a batch is its number in the log.
//!
//! A shard has two halves with a lock each. The gate admits batches on the caller's thread and queues them with the store; the tail takes in
//! on the committer's thread what became durable: index, last offset, followers. So a shard that appends never waits for one that indexes.

mod openers;
mod tail;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::channel::oneshot;
use holm_core::{CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId, Term};

use crate::batch::Batch;
use crate::chain::{After, walk_chain};
use crate::conversation::{CONVERSATION_PLACES, read_conversation};
use crate::entity_index::EntityIndex;
use crate::gate::Gate;
use crate::shard_log::{
    AppendError, Conversation, History, OpenError, Opened, Pending, ReadError, ShardLog, Snapshot,
    SnapshotCriteria,
};
use crate::snapshot_store::SnapshotStore;
use crate::store::{LogId, Op, Store, StoreError};
use crate::trims::Trims;
use openers::{Openers, Opening};
use tail::Tail;

/// Commits in a group from which on it is one of several shards: a shard by itself may have two batches in it.
const SHARED_GROUP: usize = 4;

/// The record that holds the newest term of a shard.
const TERM_RECORD: &str = "shard.term";

/// The logs of all shards of a single node.
pub struct SledLog {
    shared: Arc<Shared>,
    openers: Openers,
}

struct Shared {
    store: Arc<Store>,
    shards: Vec<Shard>,
    snapshots: SnapshotStore,
    trims: Trims,
}

struct Shard {
    id: ShardId,
    writing: Mutex<Writing>,
    tail: Mutex<Tail>,
}

struct Writing {
    gate: Gate,
    /// The log entry that the next admitted batch becomes.
    next_entry: u64,
}

impl SledLog {
    /// The logs of the shards `0..shards` in a store. Opening a shard at a term reads what its index missed; only terms are read here.
    ///
    /// # Errors
    /// When the threads cannot be started or the store cannot be read.
    pub fn start(store: Arc<Store>, shards: u32) -> Result<Self, StoreError> {
        let shard = |id| {
            let id = ShardId(id);
            let gate = Gate::new(id, read_term(&store, id)?);
            let writing = Mutex::new(Writing { gate, next_entry: 1 });
            Ok(Shard { id, writing, tail: Mutex::new(Tail::new(id)) })
        };
        let shards = (0..shards).map(shard).collect::<Result<Vec<_>, StoreError>>()?;
        let (snapshots, trims) = (SnapshotStore::new(&store), Trims::new(&store));
        let shared = Arc::new(Shared { store, shards, snapshots, trims });
        let openers = Openers::start(&shared)?;
        Ok(Self { shared, openers })
    }

    /// The newest term at which a shard was opened, in this or an earlier process; zero when never. The next open needs one above it.
    ///
    /// # Errors
    /// When there is no such shard.
    pub fn newest_term(&self, shard: ShardId) -> Result<Term, ReadError> {
        Ok(self.shared.shard(shard)?.writing().gate.term())
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Flushes the indexes and closes the store.
    ///
    /// # Errors
    /// When something could not be made durable.
    pub fn close(&self) -> Result<(), StoreError> {
        self.flush_indexes();
        self.shared.store.close()
    }

    /// Writes the indexes, so that a start after a crash has less of the log to read. They flush themselves as they grow.
    pub fn flush_indexes(&self) {
        for shard in &self.shared.shards {
            let index = shard.tail().index();
            if let Some(Err(error)) = index.map(|index| index.flush()) {
                // It is rebuilt from the log at the next start.
                tracing::warn!(shard = %shard.id, %error, "the index was not flushed");
            }
        }
    }
}

impl Shared {
    fn shard(&self, id: ShardId) -> Result<&Shard, ReadError> {
        self.shards.get(id.0 as usize).ok_or_else(|| ReadError::Store {
            shard: id,
            reason: format!("there is no such shard; there are {}", self.shards.len()),
        })
    }

    /// A single node leads whatever it opened last, so it knows this by itself.
    fn confirm(&self, shard: ShardId, term: Term) -> Result<(), AppendError> {
        match self.shard(shard) {
            Ok(confirmed) => confirmed.writing().gate.confirm(term),
            Err(error) => Err(AppendError::Unknown { shard, reason: error.to_string() }),
        }
    }

    /// Reads by way of the index. When that is found damaged meanwhile, it is built anew and asked again, once.
    fn with_index<T>(
        &self,
        shard: ShardId,
        read: impl Fn(&EntityIndex) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let load = || self.shard(shard)?.tail().load(&self.store);
        let index = load()?;
        match read(&index) {
            Err(_) if !index.is_current() => read(&*load()?),
            other => other,
        }
    }

    fn walk(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: After,
        max_records: usize,
    ) -> Result<History, ReadError> {
        let trimmed = self.trims.trimmed(shard, address)?;
        self.with_index(shard, |index| {
            let failed = |error: StoreError| ReadError::Store { shard, reason: error.to_string() };
            let head = index.head(address).map_err(failed)?;
            let mut batch_at = |offset| tail::batch_at(&self.store, shard, index, offset);
            walk_chain(shard, address, head, trimmed, after, max_records, &mut batch_at)
        })
    }
}

impl Shard {
    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the committer's thread: a batch is durable, or it failed.
    fn settle(
        &self,
        batch: &Batch,
        entry: u64,
        result: Result<(), StoreError>,
    ) -> Result<(), AppendError> {
        match result {
            Ok(()) => {
                self.tail().advance(entry, batch);
                Ok(())
            }
            Err(error) => Err(self.fail(batch.term(), &error)),
        }
    }

    fn fail(&self, term: Term, error: &StoreError) -> AppendError {
        let reason = error.to_string();
        self.writing().gate.fail(term, &reason);
        AppendError::Unknown { shard: self.id, reason }
    }
}

impl ShardLog for SledLog {
    fn open(&self, shard: ShardId, term: Term) -> Pending<Result<Opened, OpenError>> {
        let (answer, receiver) = oneshot::channel();
        let begun = match self.shared.shard(shard) {
            Ok(opened) => opened.writing().gate.begin_open(term),
            Err(error) => Err(OpenError::Log { shard, reason: error.to_string() }),
        };
        match begun {
            Ok(()) => self.openers.open(Opening { shard, term, answer }),
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        }
        let closed = move |_| OpenError::Log { shard, reason: "the log was closed".to_owned() };
        Box::pin(async move { receiver.await.unwrap_or_else(|gone| Err(closed(gone))) })
    }

    fn append(&self, batch: Batch) -> Pending<Result<(), AppendError>> {
        let shard = batch.shard();
        let (answer, receiver) = oneshot::channel();
        if let Err(refused) = self.queue(batch, answer) {
            return Box::pin(async move { Err(refused) });
        }
        let reason = "the store was dropped".to_owned();
        Box::pin(
            async move { receiver.await.unwrap_or(Err(AppendError::Unknown { shard, reason })) },
        )
    }

    /// Two where several shards share the groups: one whose callers come back while the next group is under way has its batch in the group behind that, and not one
    /// later. A shard by itself would only halve its batches.
    fn batches_at_once(&self) -> usize {
        if self.shared.store.commits_at_once() >= SHARED_GROUP { 2 } else { 1 }
    }

    fn confirm(&self, shard: ShardId, term: Term) -> Pending<Result<(), AppendError>> {
        let confirmed = self.shared.confirm(shard, term);
        Box::pin(async move { confirmed })
    }

    fn confirm_at_once(&self, shard: ShardId, term: Term) -> Option<Result<(), AppendError>> {
        Some(self.shared.confirm(shard, term))
    }

    fn last_offset(&self, shard: ShardId) -> Result<Offset, ReadError> {
        let mut tail = self.shared.shard(shard)?.tail();
        tail.load(&self.shared.store)?;
        Ok(tail.durable())
    }

    fn read(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        self.shared.with_index(shard, |index| {
            tail::read(&self.shared.store, shard, index, from, max_bytes)
        })
    }

    fn follow(&self, shard: ShardId, seen: Offset) -> Pending<Result<Offset, ReadError>> {
        let followed = self.shared.shard(shard).and_then(|followed| {
            let mut tail = followed.tail();
            tail.load(&self.shared.store)?;
            Ok(tail.follow(seen))
        });
        followed.unwrap_or_else(|error| Box::pin(async move { Err(error) }))
    }

    fn history(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: SequenceNumber,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.shared.walk(shard, address, After::Sequence(after), max_records)
    }

    fn records_after(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: Offset,
        max_records: usize,
    ) -> Result<History, ReadError> {
        self.shared.walk(shard, address, After::Offset(after), max_records)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        self.shared.with_index(shard, |index| {
            let failed = |error: StoreError| ReadError::Store { shard, reason: error.to_string() };
            let places = index.conversation(correlation, from, CONVERSATION_PLACES);
            let mut batch_at = |offset| tail::batch_at(&self.shared.store, shard, index, offset);
            let places = places.map_err(failed)?;
            read_conversation(shard, correlation, places, max_bytes, &mut batch_at)
        })
    }

    fn save_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) -> Result<(), ReadError> {
        self.shared.snapshots.save(shard, address, &snapshot, keep)
    }

    fn load_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        self.shared.snapshots.load(shard, address, criteria)
    }

    fn delete_snapshots(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        self.shared.snapshots.delete(shard, address, criteria)
    }

    fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        self.shared.trims.trim(shard, address, up_to)
    }
}

type Answer = oneshot::Sender<Result<(), AppendError>>;

impl SledLog {
    /// Admits a batch and queues it with the store, both under the lock of the gate, so that the order of the calls is the order of the log.
    fn queue(&self, batch: Batch, answer: Answer) -> Result<(), AppendError> {
        let id = batch.shard();
        let shard = self.shared.shard(id);
        let unknown =
            |error: ReadError| AppendError::Unknown { shard: id, reason: error.to_string() };
        let mut writing = shard.map_err(unknown)?.writing();
        writing.gate.admit(&batch)?;
        let (term, entry) = (batch.term(), writing.next_entry);
        let append =
            Op::Append { log: LogId::from(id), index: entry, value: batch.bytes().clone() };
        let shared = Arc::clone(&self.shared);
        let done = Box::new(move |result| {
            let settled = match shared.shard(id) {
                Ok(shard) => shard.settle(&batch, entry, result),
                Err(error) => Err(AppendError::Unknown { shard: id, reason: error.to_string() }),
            };
            // A caller that went away needs no answer.
            let _ = answer.send(settled);
        });
        match self.shared.store.try_commit(vec![append], done) {
            Ok(()) => {
                writing.next_entry += 1;
                Ok(())
            }
            Err((_, error)) => {
                let reason = error.to_string();
                writing.gate.fail(term, &reason);
                Err(AppendError::Unknown { shard: id, reason })
            }
        }
    }
}

/// The newest term of a shard as it is stored.
fn read_term(store: &Store, shard: ShardId) -> Result<Term, StoreError> {
    let Some(record) = store.record(LogId::from(shard), TERM_RECORD)? else {
        return Ok(Term::ZERO);
    };
    let bytes = record[..].try_into().map_err(|_| StoreError::Damaged {
        dir: store.dir().to_owned(),
        during: "reading the term of a shard",
        reason: format!("it has {} bytes instead of 8", record.len()),
    })?;
    Ok(Term(u64::from_be_bytes(bytes)))
}

fn term_record(term: Term) -> Bytes {
    Bytes::copy_from_slice(&term.0.to_be_bytes())
}

impl Drop for SledLog {
    /// Waits for what is under way, so that the directory can be opened again at once by whoever drops the store too.
    fn drop(&mut self) {
        self.shared.store.settle();
    }
}

impl fmt::Debug for SledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledLog").field("store", &self.shared.store).finish_non_exhaustive()
    }
}
