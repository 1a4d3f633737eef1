//! The record of a run: what every client asked and was told, and what stood on the disks afterwards. Plain data.
//!
//! A history takes no side: it holds what was seen, in the order in which it was seen, and the checkers judge it. It is bounded, and when it is
//! full it says so instead of forgetting, because a history with a hole in it would accuse the innocent. As NDJSON it outlives its run, so a
//! cluster of real processes is judged by the same checkers.

mod ndjson;
mod operation;
mod sample;
mod seen;
mod text;

use holm_core::NodeId;
use holm_persistence::{Batch, CodecError};
use serde::{Deserialize, Serialize};

pub use self::ndjson::HistoryFileError;
pub use self::operation::{Call, Content, KEPT_BYTES, Moment, Operation, Place, Told};
pub use self::sample::{Measure, Sample};
pub use self::seen::{SeenBatch, SeenEvent, SeenFact, SeenRecord, SeenSnapshot};

/// Everything that was seen of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    limits: HistoryLimits,
    operations: Vec<Operation>,
    batches: Vec<SeenBatch>,
    snapshots: Vec<SeenSnapshot>,
    facts: Vec<SeenFact>,
    samples: Vec<Sample>,
}

/// How much a history holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLimits {
    /// Tries of clients. One takes about 250 bytes, so a million is a quarter of a gigabyte.
    pub operations: usize,
    /// Batches read back, of all nodes together.
    pub batches: usize,
    /// Snapshots read back, of all nodes together.
    pub snapshots: usize,
    /// Facts that subscribers were given, of all of them together.
    pub facts: usize,
    /// Samples of what nodes held, of all of them together.
    pub samples: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            operations: 1_000_000,
            batches: 1_000_000,
            snapshots: 100_000,
            facts: 1_000_000,
            samples: 1_000_000,
        }
    }
}

/// One operation of a history: its place in [`History::operations`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId(pub usize);

impl Default for History {
    fn default() -> Self {
        Self::new(HistoryLimits::default())
    }
}

impl History {
    /// A history in which nothing happened yet.
    #[must_use]
    pub const fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            operations: Vec::new(),
            batches: Vec::new(),
            snapshots: Vec::new(),
            facts: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// A client sends a command. It stays open until [`History::complete`] says what the client was told.
    ///
    /// # Errors
    /// [`HistoryFull`]: the client must stop, since what is not recorded cannot be judged.
    pub fn begin(&mut self, call: Call) -> Result<OperationId, HistoryFull> {
        let id = OperationId(self.operations.len());
        self.add_operation(Operation { call, completed: None, told: Told::Open })?;
        Ok(id)
    }

    /// The client was told something.
    ///
    /// # Panics
    /// When the operation is not of this history or was completed before: a client hears one thing about one try.
    pub fn complete(&mut self, id: OperationId, at: Moment, told: Told) {
        let operation = &mut self.operations[id.0];
        assert!(operation.completed.is_none(), "operation {} is completed twice", id.0);
        operation.completed = Some(at);
        operation.told = told;
    }

    /// A batch was read from a node's disk.
    ///
    /// # Errors
    /// [`ObserveError`] when a record cannot be decoded or the history is full.
    pub fn observe(&mut self, node: NodeId, batch: &Batch) -> Result<(), ObserveError> {
        let seen = SeenBatch::of(node, batch)?;
        Ok(self.observe_batch(seen)?)
    }

    /// The same for a batch that came by another way, for example over HTTP.
    ///
    /// # Errors
    /// [`HistoryFull`].
    pub fn observe_batch(&mut self, batch: SeenBatch) -> Result<(), HistoryFull> {
        admit(&mut self.batches, batch, "batches", self.limits.batches)
    }

    /// A snapshot was read from a node's disk.
    ///
    /// # Errors
    /// [`HistoryFull`].
    pub fn observe_snapshot(&mut self, snapshot: SeenSnapshot) -> Result<(), HistoryFull> {
        admit(&mut self.snapshots, snapshot, "snapshots", self.limits.snapshots)
    }

    /// A subscriber was given a fact.
    ///
    /// # Errors
    /// [`HistoryFull`].
    pub fn observe_fact(&mut self, fact: SeenFact) -> Result<(), HistoryFull> {
        admit(&mut self.facts, fact, "facts", self.limits.facts)
    }

    /// A node held so much of something.
    ///
    /// # Errors
    /// [`HistoryFull`].
    pub fn observe_sample(&mut self, sample: Sample) -> Result<(), HistoryFull> {
        admit(&mut self.samples, sample, "samples", self.limits.samples)
    }

    /// A whole operation at once, as a file holds it.
    ///
    /// # Errors
    /// [`HistoryFull`].
    pub fn add_operation(&mut self, operation: Operation) -> Result<(), HistoryFull> {
        admit(&mut self.operations, operation, "operations", self.limits.operations)
    }

    /// What clients asked and were told, in the order of asking.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// What stood in the logs, in the order of reading.
    #[must_use]
    pub fn batches(&self) -> &[SeenBatch] {
        &self.batches
    }

    /// What subscribers were given, in the order in which it was given to any of them.
    #[must_use]
    pub fn facts(&self) -> &[SeenFact] {
        &self.facts
    }

    /// What nodes held of what is bounded, in the order of looking.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// What stood in the snapshot stores, in the order of reading.
    #[must_use]
    pub fn snapshots(&self) -> &[SeenSnapshot] {
        &self.snapshots
    }
}

fn admit<T>(
    items: &mut Vec<T>,
    item: T,
    what: &'static str,
    allowed: usize,
) -> Result<(), HistoryFull> {
    if items.len() >= allowed {
        return Err(HistoryFull { what, allowed });
    }
    items.push(item);
    Ok(())
}

/// The history holds no more; the run must end here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the history is full: {allowed} {what}; end the run, or give it wider limits")]
pub struct HistoryFull {
    /// What there is too much of.
    pub what: &'static str,
    /// How many are allowed.
    pub allowed: usize,
}

/// Why a batch could not be taken into the history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// The history is full.
    #[error(transparent)]
    Full(#[from] HistoryFull),
    /// The checksum of the batch held, and yet a record in it is none.
    #[error("a record of the log cannot be decoded")]
    Record(#[from] CodecError),
}

#[cfg(test)]
#[path = "history/tests.rs"]
mod tests;
