//! What a shard tells of itself: its failures to the log, the metrics and the reporter; slow steps, a full mailbox, a log that fails.

use std::time::Duration;

use holm_core::Timestamp;
use holm_persistence::AppendError;

use super::actor::ShardActor;
use crate::engine::ShardEngine;
use crate::failure::{Causes, FailureFact, FailureKind, Severity, Subject};
use crate::outbox::Undelivered;

/// Time between two facts of one shard about what is gathered: commands that found its mailbox full, snapshots that were left out.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Watches how long the steps of a shard take.
///
/// The clock is read once for each command anyway. While the mailbox is being drained, the next reading is the end of the step before; only the last
/// step before the shard looks at anything else needs a reading of its own.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When the step before began.
    step: Option<Timestamp>,
    /// The present time, as far as this turn has read it since a handler ran.
    read: Option<Timestamp>,
    overflow_told: Option<Timestamp>,
    /// Snapshots that were left out since that was last told.
    left_out: u64,
    left_out_told: Option<Timestamp>,
}

impl Watch {
    /// A step begins; the one before has ended.
    pub(super) fn step<T>(&mut self, now: Timestamp, limit: Duration, engine: &mut ShardEngine<T>) {
        self.read = Some(now);
        if let Some(began) = self.step.replace(now)
            && now.since(began) >= limit
        {
            engine.took(now, now.since(began));
        }
    }

    /// A snapshot found too many waiting to be saved.
    pub(super) fn snapshot_left_out(&mut self) {
        self.left_out += 1;
    }
}

/// Whether something is told again.
fn is_due(told: Option<Timestamp>, now: Timestamp) -> bool {
    told.is_none_or(|told| now.since(told) >= TOLD_EVERY)
}

impl ShardActor {
    /// The mailbox is drained, or shut: the last step has ended.
    pub(super) fn end_step(&mut self) {
        self.watch.read = None;
        let Some(began) = self.watch.step.take() else { return };
        self.took_since(began);
    }

    /// The turn ends; nobody knows when the next begins.
    pub(super) fn end_turn(&mut self) {
        self.watch.read = None;
    }

    /// The present time: a turn reads the clock once, where no handler ran in between.
    pub(super) fn now(&mut self) -> Timestamp {
        *self.watch.read.get_or_insert_with(|| self.options.clock.now())
    }

    /// Steps that began then have ended.
    pub(super) fn took_since(&mut self, began: Timestamp) {
        self.watch.read = None;
        let now = self.now();
        if now.since(began) >= self.options.limits.slow_handler
            && let Some(engine) = &mut self.leadership.engine
        {
            engine.took(now, now.since(began));
            self.carry_out();
        }
    }

    /// Tells everybody of a failure.
    pub(super) fn tell(&mut self, fact: FailureFact) {
        let (shard, id, subject) = (self.shard, fact.id, &fact.subject);
        let (kind, reason) = (fact.kind.name(), fact.reason());
        let command = fact.command.as_ref().map_or("", |command| &command.name);
        if fact.severity >= Severity::Error {
            tracing::error!(%shard, %subject, command, reason, kind, %id, standing = ?fact.standing, "contained");
        } else {
            tracing::warn!(%shard, %subject, command, reason, kind, %id, "noticed");
        }
        self.meter.failed(fact.kind);
        self.failures.offer(fact);
    }

    /// Tells of a reaction that cannot be delivered.
    pub(super) fn tell_undelivered(&mut self, told: Undelivered) {
        let Undelivered { to, command, reason } = told;
        let kind = FailureKind::ReactionUndelivered;
        let fact = self.failures.fact(kind, Subject::Entity(to), &*reason);
        self.tell(FailureFact { command: Some(command), shard: Some(self.shard), ..fact });
    }

    fn tell_of_shard(&mut self, kind: FailureKind, causes: impl Into<Causes>, count: u64) {
        let fact = self.failures.fact(kind, Subject::Shard(self.shard), causes);
        self.tell(FailureFact { count, ..fact });
    }

    /// Tells of commands that found the mailbox full, when it was not just done.
    pub(super) fn tell_overflow(&mut self, now: Timestamp) {
        if !is_due(self.watch.overflow_told, now) {
            return;
        }
        let count = self.board.take_overflowed();
        if count > 0 {
            self.watch.overflow_told = Some(now);
            let reason = "commands were refused: the mailbox is full (limit mailbox_capacity)";
            self.tell_of_shard(FailureKind::QueueOverflow, reason, count);
        }
    }

    /// Tells of snapshots that were left out, when it was not just done (law T11).
    pub(super) fn tell_left_out(&mut self, now: Timestamp) {
        if self.watch.left_out > 0 && is_due(self.watch.left_out_told, now) {
            self.watch.left_out_told = Some(now);
            let count = std::mem::take(&mut self.watch.left_out);
            let reason = "snapshots were left out: too many wait for the disk";
            self.tell_of_shard(FailureKind::SnapshotFailed, reason, count);
        }
    }

    /// Tells of a write that failed. That another leads meanwhile is no failure, and a log that goes on failing was told of.
    pub(super) fn tell_write_failed(&mut self, error: &AppendError, in_a_row: u32) {
        if in_a_row == 0 && !matches!(error, AppendError::Fenced { .. }) {
            self.tell_of_shard(FailureKind::WriteFailed, Causes::of(error), 1);
        }
    }

    /// Tells that the shard is led again here after its log failed.
    pub(super) fn tell_reopened(&mut self) {
        self.tell_of_shard(FailureKind::ShardReopened, "its log takes writes again", 1);
    }
}
