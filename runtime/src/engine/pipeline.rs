//! The pipeline of batches: one open, some on their way to the log, each with the answers that wait for it.
//!
//! A batch goes to the log when the log is free (fewer batches on their way than it works on, the mailbox drained, and nobody to wait for), or when
//! it is full by bytes. So load makes batches larger, not latency longer. Answers leave in order, and only when their batch is durable (promise G1).

use std::collections::VecDeque;

use holm_core::{Answer, EntityAddress, Limits, NodeId, Offset, ShardId, Term, Timestamp};
use holm_persistence::{Batch, BatchBuilder, CodecError, Record, Snapshot};

use super::again::Doubted;
use super::anticipation::Anticipation;
use super::repeats::Repeat;
use super::slots::SlotId;
use super::tally::CommandIndex;
use crate::failure::FailureFact;

/// An answer that waits.
#[derive(Debug)]
pub(super) struct Parked<T> {
    /// None once the caller was told that its deadline passed.
    pub(super) reply: Option<T>,
    pub(super) deadline: Timestamp,
    /// When the command was executed.
    pub(super) begun: Timestamp,
    pub(super) command: CommandIndex,
    pub(super) answer: Answer,
    /// A read that the batch alone does not answer: it was executed when the batch had left, and another may lead since.
    pub(super) unconfirmed: bool,
}

/// What waits for one batch to be durable.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) parked: Vec<Parked<T>>,
    pub(super) repeats: Vec<Repeat<T>>,
    /// Commands of which an earlier try is looked for in the log afterwards.
    pub(super) doubted: Vec<Doubted<T>>,
    pub(super) snapshots: Vec<(EntityAddress, Snapshot)>,
    /// Entities that asked to be put to rest.
    pub(super) resting: Vec<SlotId>,
    /// The batch itself, when it has reactions.
    pub(super) reacting: Option<Batch>,
    /// Facts about quarantines that this batch begins.
    pub(super) facts: Vec<FailureFact>,
}

#[derive(Debug)]
struct Closed<T> {
    last: Offset,
    waiting: Waiting<T>,
    /// None once it was handed to the log.
    unsent: Option<Batch>,
}

/// The batches of one shard that are not durable yet.
#[derive(Debug)]
pub(super) struct Pipeline<T> {
    shard: ShardId,
    term: Term,
    node: NodeId,
    durable: Offset,
    open: BatchBuilder,
    open_waiting: Waiting<T>,
    closed: VecDeque<Closed<T>>,
    sent: usize,
    batch_bytes: usize,
    batches_in_flight: usize,
    anticipation: Anticipation,
}

impl<T> Waiting<T> {
    fn with_capacity(parked: usize) -> Self {
        Self {
            parked: Vec::with_capacity(parked),
            repeats: Vec::new(),
            doubted: Vec::new(),
            snapshots: Vec::new(),
            resting: Vec::new(),
            reacting: None,
            facts: Vec::new(),
        }
    }
}

impl<T> Pipeline<T> {
    pub(super) fn new(
        (shard, term, node): (ShardId, Term, NodeId),
        last: Offset,
        limits: &Limits,
        anticipated_turns: u32,
    ) -> Self {
        Self {
            shard,
            term,
            node,
            durable: last,
            open: BatchBuilder::new(shard, term, last.next()).made_by(node),
            open_waiting: Waiting::with_capacity(0),
            closed: VecDeque::new(),
            sent: 0,
            batch_bytes: limits.batch_bytes,
            batches_in_flight: limits.batches_in_flight.max(1),
            anticipation: Anticipation::new(anticipated_turns),
        }
    }

    /// The last durable offset.
    pub(super) fn durable(&self) -> Offset {
        self.durable
    }

    /// Adds a record to the open batch.
    pub(super) fn push(&mut self, record: &Record<'_>) -> Result<Offset, CodecError> {
        self.open.push(record)
    }

    /// What waits for the batch that holds `offset`, which must not be durable yet.
    pub(super) fn waiting_at(&mut self, offset: Offset) -> &mut Waiting<T> {
        debug_assert!(offset > self.durable, "nothing waits for what is durable");
        let index = self.closed.partition_point(|closed| closed.last < offset);
        match self.closed.get_mut(index) {
            Some(closed) => &mut closed.waiting,
            None => &mut self.open_waiting,
        }
    }

    /// What waits for everything that was executed until now; none when all of it is durable.
    pub(super) fn last_waiting(&mut self) -> Option<&mut Waiting<T>> {
        if self.open.is_empty() {
            return self.closed.back_mut().map(|closed| &mut closed.waiting);
        }
        Some(&mut self.open_waiting)
    }

    /// True when the batch that holds `offset` was handed to the log. That it becomes durable proves the term up to that moment and not beyond: a majority may
    /// have had it for long, or a later leader may have committed it.
    pub(super) fn has_left(&self, offset: Offset) -> bool {
        let index = self.closed.partition_point(|closed| closed.last < offset);
        self.closed.get(index).is_some_and(|closed| closed.unsent.is_none())
    }

    /// A command came, perhaps from somebody who is waited for.
    pub(super) fn command_came(&mut self) {
        self.anticipation.came();
    }

    /// The open batch has waited long enough.
    pub(super) fn stop_waiting(&mut self) {
        self.anticipation.ran_out();
    }

    /// Nobody is waited for any more.
    pub(super) fn stop_anticipating(&mut self) {
        self.anticipation = Anticipation::new(0);
    }

    /// Closes the open batch when it is full, or when fewer than `free_below` are on their way, and gives what may go to the log now to `send`. True when it could
    /// go and is held back.
    pub(super) fn advance(&mut self, free_below: usize, send: &mut impl FnMut(Batch)) -> bool {
        let full = !self.open.is_empty() && self.open.len() >= self.batch_bytes;
        let free_below = free_below.min(self.batches_in_flight);
        let free = self.closed.len() < free_below && !self.open.is_empty();
        let held_back = free && !full && self.anticipation.holds_back();
        if full || (free && !held_back) {
            self.close();
        }
        while self.sent < self.closed.len().min(self.batches_in_flight) {
            if let Some(batch) = self.closed[self.sent].unsent.take() {
                send(batch);
            }
            self.sent += 1;
        }
        held_back
    }

    /// True when a batch is full, or closed and not with the log: looked at behind each command, and nearly always false.
    #[inline]
    pub(super) fn has_something_to_send(&self) -> bool {
        self.open.len() >= self.batch_bytes || self.sent < self.closed.len()
    }

    /// True when nothing more should be begun until the log has caught up.
    pub(super) fn is_saturated(&self) -> bool {
        self.closed.len() > self.sent
    }

    /// The oldest batch on its way is durable; gives what waited for it.
    pub(super) fn complete(&mut self) -> Option<Waiting<T>> {
        if self.sent == 0 {
            return None;
        }
        let closed = self.closed.pop_front()?;
        self.sent -= 1;
        self.durable = closed.last;
        self.anticipation.answered(closed.waiting.parked.len());
        Some(closed.waiting)
    }

    /// Everything that waits, in order; the pipeline is of no use afterwards.
    pub(super) fn abandon(&mut self) -> Vec<Waiting<T>> {
        let mut all: Vec<_> = self.closed.drain(..).map(|closed| closed.waiting).collect();
        all.push(std::mem::replace(&mut self.open_waiting, Waiting::with_capacity(0)));
        self.sent = 0;
        // What was in the open batch must never reach the log.
        self.open = self.batch_from(self.durable.next());
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.is_empty()
    }

    /// Everything that waits, in order, for looking at deadlines.
    pub(super) fn all_waiting(&mut self) -> impl Iterator<Item = &mut Waiting<T>> {
        self.closed
            .iter_mut()
            .map(|closed| &mut closed.waiting)
            .chain(std::iter::once(&mut self.open_waiting))
    }

    pub(super) fn parked_count(&self) -> usize {
        self.closed.iter().map(|closed| closed.waiting.parked.len()).sum::<usize>()
            + self.open_waiting.parked.len()
    }

    fn close(&mut self) {
        let next = self.open.next_offset();
        let fresh = self.batch_from(next);
        let batch = std::mem::replace(&mut self.open, fresh).finish();
        // The next batch will hold about as many as this one.
        let room = self.open_waiting.parked.len();
        let mut waiting = std::mem::replace(&mut self.open_waiting, Waiting::with_capacity(room));
        waiting.reacting = batch.has_reactions().then(|| batch.clone());
        self.closed.push_back(Closed { last: batch.last(), waiting, unsent: Some(batch) });
    }

    /// An empty batch of this leadership.
    fn batch_from(&self, first: Offset) -> BatchBuilder {
        BatchBuilder::new(self.shard, self.term, first).made_by(self.node)
    }
}
