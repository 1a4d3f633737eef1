//! What goes into the engine and what comes out of it: plain values, carried by the shell.

use holm_core::{
    Answer, AskError, CorrelationId, EntityAddress, Limits, NodeId, Offset, SequenceNumber,
    ShardId, Term, Timestamp,
};
use holm_persistence::{Batch, History, Snapshot, StoredRecord};

use crate::failure::FailureFact;
use crate::registry::Registry;

/// How an engine is set up. One engine lives for one leadership of one shard.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The shard.
    pub shard: ShardId,
    /// The term under which it is led.
    pub term: Term,
    /// The last durable offset when it was opened.
    pub last: Offset,
    /// This node, as it appears in answers.
    pub node: NodeId,
    /// The entity types.
    pub registry: Registry,
    /// The limits.
    pub limits: Limits,
    /// Turns that an open batch may wait for callers who were just answered; zero: none. A turn takes the shell less than a microsecond.
    pub anticipated_turns: u32,
    /// Seeds the randomness that handlers see.
    pub entropy_seed: u64,
}

/// What the engine wants done. The shell carries it out in this order.
#[derive(Debug)]
pub enum Output<T> {
    /// Hand this batch to the log, behind those before. Answer with `durable` or `failed`, in order.
    Append(Batch),
    /// Read this. Answer with `loaded`.
    Load(LoadRequest),
    /// Ask the log whether the term still holds. Answer with `confirmed`.
    Confirm(ConfirmToken),
    /// Tell the caller.
    Answer(T, Result<Answer, AskError>),
    /// Save a snapshot, whenever there is time.
    SaveSnapshot(EntityAddress, Snapshot),
    /// This batch is durable, and there are reactions in it.
    React(Batch),
    /// Something failed and was contained; observers want to know.
    Failure(Box<FailureFact>),
    /// Nothing is left of what was begun before `drain`.
    Drained,
}

impl<T> Output<T> {
    /// In a box, because facts are long and rare, and outputs are moved often.
    pub(super) fn failure(fact: FailureFact) -> Self {
        Self::Failure(Box::new(fact))
    }
}

/// Names one confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConfirmToken(pub u64);

/// Names one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoadTicket(pub u64);

/// Something to be read from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadRequest {
    /// To be given back with the answer.
    pub ticket: LoadTicket,
    /// The entity.
    pub address: EntityAddress,
    /// What of it.
    pub wanted: Wanted,
}

/// What of an entity is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The newest snapshot at or below a sequence number, and the first page of records after it.
    Start {
        /// Which snapshots may be used.
        snapshots: UsableSnapshots,
        /// Most records of the page.
        page: usize,
    },
    /// The next page of records.
    More {
        /// The last record seen.
        after: Offset,
        /// Most records of the page.
        page: usize,
    },
    /// One record.
    Record {
        /// Where it stands.
        offset: Offset,
    },
    /// The record with a key, as far as the index of conversations knows.
    EarlierTry {
        /// The conversation of the command.
        correlation: CorrelationId,
        /// The digest of its key.
        key: u128,
        /// It does not stand before this offset.
        since: Offset,
        /// When nobody waits for it any more.
        deadline: Timestamp,
    },
}

/// Which snapshots a recovery may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsableSnapshots {
    /// Any.
    All,
    /// Only those at or below this sequence number: the newer ones could not be read.
    UpTo(SequenceNumber),
    /// None: replay everything.
    None,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// The answer to [`Wanted::Start`].
    Start {
        /// The snapshot, when there is a usable one.
        snapshot: Option<Snapshot>,
        /// The records after it.
        history: History,
        /// The entity's newest record, where it is not among those.
        newest: Option<StoredRecord>,
    },
    /// The answer to [`Wanted::More`].
    More(History),
    /// The answer to [`Wanted::Record`] and [`Wanted::EarlierTry`].
    Record(Option<StoredRecord>),
}

/// Counts kept on the hot path and published by the shell. They only rise, but for the four gauges at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Write commands handled.
    pub commands: u64,
    /// Read-only commands handled.
    pub reads: u64,
    /// Events persisted.
    pub events: u64,
    /// Refusals by entities.
    pub rejections: u64,
    /// Commands that failed because their entity did.
    pub failures: u64,
    /// Answers from the record of an earlier try.
    pub replayed: u64,
    /// Entities brought into memory.
    pub activations: u64,
    /// Entities put to rest because they were idle.
    pub passivations_idle: u64,
    /// Entities put to rest to make room.
    pub passivations_limit: u64,
    /// Entities put to rest by their own wish.
    pub passivations_wish: u64,
    /// Events replayed in recoveries.
    pub events_replayed: u64,
    /// Batches handed to the log.
    pub batches: u64,
    /// Bytes handed to the log.
    pub batch_bytes: u64,
    /// Entities in memory now, those being recovered included.
    pub live: u64,
    /// Entities being recovered now.
    pub recovering: u64,
    /// Commands that wait for entities being recovered now.
    pub held: u64,
    /// Answers that wait for the log now.
    pub in_flight: u64,
    /// Entities known to be in quarantine.
    pub quarantined: u64,
}
