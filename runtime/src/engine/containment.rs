//! Carrying out what the supervisor decided about an entity that failed, and the fact about it (promise G7).

use std::time::Duration;

use holm_core::{
    CausationId, CommandEnvelope, CommandId, CorrelationId, FailureId, Offset, SequenceNumber,
    Timestamp,
};

use super::slots::SlotId;
use super::supervision::Decision;
use super::tally::CommandIndex;
use super::{Output, ShardEngine};
use crate::failure::{
    Causes, FailedCommand, FailureFact, FailureKind, Severity, Standing, Subject,
};

/// The command that a handler saw last: plain numbers, so that noting it costs nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastStep {
    slot: SlotId,
    index: CommandIndex,
    id: CommandId,
    correlation: CorrelationId,
    causation: CausationId,
}

impl LastStep {
    pub(super) fn of(slot: SlotId, index: CommandIndex, envelope: &CommandEnvelope) -> Self {
        let CommandEnvelope { id, correlation, causation, .. } = *envelope;
        Self { slot, index, id, correlation, causation }
    }
}

impl<T> ShardEngine<T> {
    /// The input before this one took so long; the shell measures that. Its last command is reported as slow, when it was one.
    pub fn took(&mut self, now: Timestamp, time: Duration) {
        let Some(step) = self.last_step.take() else { return };
        // One that failed has left its slot, and its failure says more.
        if self.slots.get(step.slot).state.is_none() {
            return;
        }
        let reason = format!("it ran {} ms and held up its shard", time.as_millis());
        let mut fact = self.fact(now, FailureKind::SlowHandler, step.slot, &reason.into());
        let kind = self.registry.kind_at(step.index.kind);
        fact.command = Some(FailedCommand {
            name: kind.command_name(step.index.command).into(),
            id: step.id,
            correlation: step.correlation,
            causation: step.causation,
            key: Box::default(),
            payload: None,
        });
        self.outputs.push_back(Output::failure(fact));
    }

    /// The entity becomes what was decided. `end` is where its chain of records ends; unknown when it could not be read.
    pub(super) fn carry_out(
        &mut self,
        now: Timestamp,
        id: SlotId,
        decision: Decision,
        end: Option<(Offset, SequenceNumber)>,
        mut fact: FailureFact,
    ) {
        fact.standing = match (decision, end) {
            (Decision::Again, _) => Standing::Running,
            (Decision::After(wait), _) => {
                let after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                Standing::Restarting { after_ms }
            }
            (Decision::Quarantine, Some(_)) => Standing::Quarantined,
            (Decision::Stop | Decision::Quarantine, _) => Standing::Stopped,
        };
        if let (Decision::Quarantine, Some(end)) = (decision, end) {
            fact.severity = Severity::Critical;
            let slot = self.slots.get(id);
            let (kind, name) = (slot.kind, slot.id.clone());
            self.set_aside(id);
            return self.quarantine(now, (kind, &name), end, fact);
        }
        self.outputs.push_back(Output::failure(fact));
        if decision == Decision::Again { self.restart(id) } else { self.set_aside(id) }
    }

    /// Takes an entity out of memory that may have records on their way.
    pub(super) fn set_aside(&mut self, id: SlotId) {
        let head = self.slots.get(id).head;
        self.abandoned = self.abandoned.max(head);
        self.slots.remove(id);
    }

    /// Something of an entity failed, and it goes on.
    pub(super) fn report(
        &mut self,
        now: Timestamp,
        kind: FailureKind,
        id: SlotId,
        causes: &Causes,
    ) {
        let fact = self.fact(now, kind, id, causes);
        self.outputs.push_back(Output::failure(fact));
    }

    /// A fact about an entity.
    pub(super) fn fact(
        &mut self,
        now: Timestamp,
        kind: FailureKind,
        id: SlotId,
        causes: &Causes,
    ) -> FailureFact {
        let subject = Subject::Entity(self.address_of(id));
        let failure = FailureId::generate(now, &mut self.names);
        let fact = FailureFact::new(failure, kind, subject, now).because_of(causes);
        FailureFact { node: self.node, shard: Some(self.shard), ..fact }
    }
}
