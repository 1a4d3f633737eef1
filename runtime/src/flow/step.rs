//! One step of a flow: a command that an entity answered, or that failed. Pure.

use holm_core::{
    CausationId, CommandId, CorrelationId, EntityAddress, NodeId, Offset, SequenceNumber, ShardId,
    Timestamp,
};
use holm_persistence::{Record, StoredRecord, StoredVerdict};

use crate::engine::QUARANTINED;
use crate::failure::{FailureFact, Subject};
use crate::failures::{FailureEvent, FailureLog};
use crate::registry::read_event;
use crate::{Entity as _, FailureKind};

/// A command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStep {
    /// The shard whose log tells of it.
    pub shard: ShardId,
    /// Where in that log.
    pub offset: Offset,
    /// The node that handled it; none where the log does not say.
    pub node: Option<NodeId>,
    /// When it was handled, by the clock of the node that did.
    pub at: Timestamp,
    /// The entity that was asked.
    pub entity: EntityAddress,
    /// The command's name.
    pub command: Box<str>,
    /// The command's id.
    pub id: CommandId,
    /// What caused it.
    pub causation: CausationId,
    /// The entity's sequence number before it.
    pub base: SequenceNumber,
    /// The names of the events that it caused.
    pub events: Vec<Box<str>>,
    /// What became of it.
    pub outcome: StepOutcome,
    /// The record itself; none for a failure, which left none in its entity.
    pub stored: Option<StoredRecord>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepOutcome {
    /// The entity accepted it.
    Accepted,
    /// The entity said no.
    Rejected,
    /// It failed and had no effect; told by a failure fact.
    Failed {
        /// In which way.
        kind: FailureKind,
        /// What was said, the outermost cause first.
        causes: Vec<Box<str>>,
    },
}

/// The order of time; where two happened at the same time, of the logs.
pub(super) type StepOrder = (Timestamp, ShardId, Offset, CommandId);

impl FlowStep {
    pub(super) fn order(&self) -> StepOrder {
        (self.at, self.shard, self.offset, self.id)
    }

    /// About so many bytes of memory.
    pub(super) fn weight(&self) -> usize {
        let stored = self.stored.as_ref().map_or(0, |stored| stored.bytes.len());
        let causes = match &self.outcome {
            StepOutcome::Failed { causes, .. } => causes.iter().map(|cause| cause.len()).sum(),
            _ => 0,
        };
        // Names stand in the record too, so twice its length covers them and the vectors that hold them.
        size_of::<Self>() + 2 * stored + causes
    }

    /// The steps that a record tells of: none when it is of another conversation, one for an entity's own, and for a record of the failure log
    /// one for each command that failed.
    pub(crate) fn of_record(
        (shard, node): (ShardId, Option<NodeId>),
        stored: &StoredRecord,
        record: &Record<'_>,
        wanted: CorrelationId,
    ) -> Result<Vec<Self>, String> {
        if record.correlation != wanted {
            return Ok(Vec::new());
        }
        if record.entity_type == FailureLog::TYPE {
            return Self::failures(shard, stored.offset, record, wanted);
        }
        let entity = EntityAddress::new(record.entity_type, record.entity_id);
        // A quarantine is stored under the id of the command that failed, and names the failure as its cause. Here it hangs on that command: what was
        // caused by it must not hang on the quarantine, and the failure is no command.
        let (id, causation) = if record.command == QUARANTINED {
            (CommandId(record.causation.0), record.id.causes())
        } else {
            (record.id, record.causation)
        };
        Ok(vec![Self {
            shard,
            offset: stored.offset,
            node,
            at: record.at,
            entity: entity.map_err(|error| error.to_string())?,
            command: record.command.into(),
            id,
            causation,
            base: record.base,
            events: record.events.iter().map(|event| event.name.into()).collect(),
            outcome: match record.verdict {
                StoredVerdict::Accepted(_) => StepOutcome::Accepted,
                StoredVerdict::Rejected(_) => StepOutcome::Rejected,
            },
            stored: Some(stored.detach()),
        }])
    }

    /// The failure log stores a fact under the conversation of the command that failed.
    fn failures(
        shard: ShardId,
        offset: Offset,
        record: &Record<'_>,
        wanted: CorrelationId,
    ) -> Result<Vec<Self>, String> {
        let mut steps = Vec::new();
        for event in &record.events {
            let event = read_event::<FailureLog>(event).map_err(|error| error.to_string())?;
            if let FailureEvent::Failed { fact } = event {
                steps.extend(Self::of_failure(shard, offset, fact, wanted));
            }
        }
        Ok(steps)
    }

    /// A slow handler or the like is a fact about a command that has a record of its own; only what failed is a step.
    fn of_failure(
        shard: ShardId,
        offset: Offset,
        fact: FailureFact,
        wanted: CorrelationId,
    ) -> Option<Self> {
        let FailureFact { kind, subject, command, causes, at, node, .. } = fact;
        let failed = matches!(
            kind,
            FailureKind::Panicked | FailureKind::RecoveryFailed | FailureKind::DeadLetter
        );
        let (Subject::Entity(entity), true) = (subject, failed) else { return None };
        let command = command.filter(|command| command.correlation == wanted)?;
        Some(Self {
            shard,
            offset,
            // Where it failed, not where that was written down. A fact from before nodes had numbers names none.
            node: (node != NodeId::ZERO).then_some(node),
            at,
            entity,
            command: command.name,
            id: command.id,
            causation: command.causation,
            base: SequenceNumber::ZERO,
            events: Vec::new(),
            outcome: StepOutcome::Failed { kind, causes },
            stored: None,
        })
    }
}
