//! The contract of the shard log. Every store keeps the laws below; one suite, [`crate::conformance`], checks them all.
//!
//! # Laws
//!
//! 1. **Order.** Batches become durable in the order in which `append` was called. A batch is accepted only when its first offset is the one after
//!    the last accepted batch of the shard; so offsets have no gap and no double (G4).
//! 2. **Fence.** A batch made under a term older than the newest `open` of its shard is refused and never appears in a read (G3).
//! 3. **Durable before said.** `append` resolves to `Ok` only when the batch survives a crash of the process and of the machine (G1).
//! 4. **Whole.** A batch is readable whole or not at all, after any crash (G6).
//! 5. **Unknown is sticky.** After an append resolved to an error, no later append under the same term succeeds; the shard must be opened again.
//! 6. **Reads see what was said.** A batch whose append resolved to `Ok` is in every later read, also after reopening.
//! 7. **Nothing silent.** A missing, torn or altered batch is an error that names shard and offset, never an empty answer.
//! 8. **Chains.** `history` follows `Record::previous` from the entity's newest record; it returns records in offset order without a gap.
//! 9. **Snapshots are a cache.** Losing any snapshot changes how long recovery takes, never its result.
//! 10. **Conversations are found.** What `conversation` answers, asked again until there is no more, is every durable record from `known_from` on that
//!     carries the correlation id, once, in offset order. An answer without `known_from` claims nothing: whoever wants to know reads the log. Losing
//!     what is known, or not keeping it, never loses or fails a write, and never takes a record from an answer that claims to hold it.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use holm_core::{
    CorrelationId, EntityAddress, NodeId, Offset, SequenceNumber, ShardId, Term, Timestamp,
};

use crate::batch::{Batch, StoredRecord};

/// A future that a store returns. The work is queued when the method is called, not when the future is first polled, so calls keep their
/// order; dropping the future does not undo it.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The log of every shard that this node holds.
///
/// The reading methods may block on the disk: call them from a thread that may wait.
pub trait ShardLog: Send + Sync + 'static {
    /// Opens a shard for writing at a term, which must be above every earlier one; earlier writers are fenced from then on. Resolves when
    /// everything that was ever acknowledged is readable here.
    fn open(&self, shard: ShardId, term: Term) -> Pending<Result<Opened, OpenError>>;

    /// Queues a batch behind those queued before and resolves when it is durable.
    fn append(&self, batch: Batch) -> Pending<Result<(), AppendError>>;

    /// How many batches of one shard the log works on at the same time, as things are now. A shard closes a further batch early only below this number.
    /// It is asked often.
    fn batches_at_once(&self) -> usize {
        2
    }

    /// Resolves to `Ok` when, at some moment after this call, `term` was still the newest term of the shard: a read executed before the
    /// call saw everything acknowledged by then (G5).
    fn confirm(&self, shard: ShardId, term: Term) -> Pending<Result<(), AppendError>>;

    /// The same from a log that knows it by itself, and so says it at once; none from one that must ask others.
    fn confirm_at_once(&self, shard: ShardId, term: Term) -> Option<Result<(), AppendError>> {
        _ = (shard, term);
        None
    }

    /// The offset of the last durable record of a shard; zero when it is empty.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn last_offset(&self, shard: ShardId) -> Result<Offset, ReadError>;

    /// Durable batches from the one that holds `from`, in order, up to about `max_bytes` (at least one when there is one).
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the batch that cannot be read.
    fn read(&self, shard: ShardId, from: Offset, max_bytes: usize)
    -> Result<Vec<Batch>, ReadError>;

    /// Resolves when the shard's last durable offset is above `seen`, to that offset.
    fn follow(&self, shard: ShardId, seen: Offset) -> Pending<Result<Offset, ReadError>>;

    /// The records of one entity that hold events after the sequence number `after` and all records after those, in offset order, oldest
    /// first, at most `max_records`. The newest record's offset comes along even when no record is returned.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the record that cannot be read.
    fn history(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: SequenceNumber,
        max_records: usize,
    ) -> Result<History, ReadError>;

    /// The records of one entity after the offset `after`, those without events included, in offset order, oldest first, at most
    /// `max_records`. This is what recovery reads behind a snapshot: a rejection recorded after it belongs to the idempotency window.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the record that cannot be read.
    fn records_after(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        after: Offset,
        max_records: usize,
    ) -> Result<History, ReadError>;

    /// The records of one conversation from the offset `from` on, as far as the log knows them without being read, in offset order, up to about
    /// `max_bytes` (at least one when there is one, unless there is more to go through). A log that keeps no such index answers that it knows none.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] names the record that cannot be read.
    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Conversation, ReadError> {
        let _ = (shard, correlation, from, max_bytes);
        Ok(Conversation::default())
    }

    /// Saves a snapshot; one at the same sequence number is overwritten. `keep` newest ones stay. Not durable at once: it is a cache.
    ///
    /// # Errors
    /// When the store cannot take it; the entity goes on without.
    fn save_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: Snapshot,
        keep: usize,
    ) -> Result<(), ReadError>;

    /// The newest readable snapshot that meets the criteria. An unreadable one is skipped with a warning.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    fn load_snapshot(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError>;

    /// Deletes the snapshots that meet the criteria.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn delete_snapshots(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError>;

    /// Makes the events of one entity up to and including `up_to` unreadable through [`ShardLog::history`]; the caller has a snapshot at or after it.
    fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>>;
}

/// A shard that was opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The last durable offset: the next batch starts after it.
    pub last: Offset,
}

/// Records of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In offset order.
    pub records: Vec<StoredRecord>,
    /// The offset of the entity's newest record; zero when it has none.
    pub head: Offset,
    /// The highest sequence number that is stored of the entity, also when it was not asked for.
    pub highest: SequenceNumber,
    /// True when `max_records` or [`crate::HISTORY_BYTES`] cut the answer off.
    pub more: bool,
}

/// Records of one conversation in one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversation {
    /// In offset order.
    pub records: Vec<ConversationRecord>,
    /// The first offset from which on the log knows all; none where it knows nothing.
    pub known_from: Option<Offset>,
    /// The offset from which on the rest is to be asked for; none when there is none.
    pub next: Option<Offset>,
}

/// A record and who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRecord {
    /// The node whose engine ran the command; none where the log does not say.
    pub made_by: Option<NodeId>,
    /// The record.
    pub stored: StoredRecord,
}

/// The state of one entity after some event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The sequence number of the last event in the state.
    pub sequence: SequenceNumber,
    /// The offset of the entity's newest record that the state and window reflect.
    pub offset: Offset,
    /// When it was taken.
    pub at: Timestamp,
    /// What the runtime stored: state and idempotency window. The store adds length and checksum.
    pub payload: Bytes,
}

/// Which snapshots are meant; without bounds: all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotCriteria {
    /// Only those at or above this sequence number.
    pub min_sequence: Option<SequenceNumber>,
    /// Only those at or below this sequence number.
    pub max_sequence: Option<SequenceNumber>,
    /// Only those taken at or before this time.
    pub max_at: Option<Timestamp>,
}

impl SnapshotCriteria {
    /// True when a snapshot at this sequence number, taken at this time, is meant.
    #[must_use]
    pub fn admits(&self, sequence: SequenceNumber, at: Timestamp) -> bool {
        self.min_sequence.is_none_or(|min| sequence >= min)
            && self.max_sequence.is_none_or(|max| sequence <= max)
            && self.max_at.is_none_or(|max| at <= max)
    }
}

/// Why a shard could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A newer term was opened already.
    #[error("shard {shard} cannot be opened at term {term}: term {newest} was opened already")]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The term asked for.
        term: Term,
        /// The newest term.
        newest: Term,
    },
    /// The log cannot be read or written.
    #[error("shard {shard} cannot be opened: {reason}")]
    Log {
        /// The shard.
        shard: ShardId,
        /// What is wrong and what to do.
        reason: String,
    },
}

/// Why a batch was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Another writer holds a newer term. The batch is surely not stored.
    #[error("shard {shard} is fenced: term {term} is over")]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The term under which the batch was made.
        term: Term,
    },
    /// The batch does not follow the last one. It is surely not stored.
    #[error("shard {shard} expects offset {expected}, the batch begins at {found}")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// The offset after the last batch.
        expected: Offset,
        /// The batch's first offset.
        found: Offset,
    },
    /// It may or may not be stored: the write failed, or the majority is gone.
    #[error("shard {shard}: the outcome of a write is unknown: {reason}")]
    Unknown {
        /// The shard.
        shard: ShardId,
        /// What happened.
        reason: String,
    },
}

/// Why something could not be read (or a snapshot not be saved).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Something that must be there is missing or altered.
    #[error("shard {shard}, offset {offset}: {reason}")]
    Corrupt {
        /// The shard.
        shard: ShardId,
        /// Where.
        offset: Offset,
        /// What was found.
        reason: String,
    },
    /// The events asked for were trimmed away.
    #[error("shard {shard}: the events of {address} up to {trimmed} were trimmed")]
    Trimmed {
        /// The shard.
        shard: ShardId,
        /// The entity.
        address: EntityAddress,
        /// The last trimmed sequence number.
        trimmed: SequenceNumber,
    },
    /// The store itself failed.
    #[error("shard {shard}: {reason}")]
    Store {
        /// The shard.
        shard: ShardId,
        /// What the store said.
        reason: String,
    },
}
