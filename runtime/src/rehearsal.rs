//! A rehearsal: one entity of one type, run by the same handler path as in a shard, without a shard.
//!
//! What a command decides is told by [`Rehearsed`] instead of being written to a log. Test kits stand on it, and tools that want to know what a history
//! would have been answered. There is no pipeline, no window of keys and no recovery here: those are the engine's.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use holm_core::{
    AskError, CommandEnvelope, EntityAddress, Entropy, Limit, Limits, SequenceNumber, Timestamp,
    Verdict,
};
use holm_persistence::{CodecError, StoredEvent, StoredReaction};

use crate::context::Facts;
use crate::entity::{Entity, UpcastError};
use crate::panic_text;
use crate::registry::{Executed, Fault, Kind, PayloadLimits, Registry, Scratch, State};

/// One entity outside any shard.
pub struct Rehearsal {
    kind: Kind,
    state: State,
    sequence: SequenceNumber,
    limits: Limits,
    scratch: Scratch,
}

/// What a command decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The events, encoded as they would be stored.
    pub events: Vec<RehearsedEvent>,
    /// What is to be sent because of it.
    pub reactions: Vec<RehearsedReaction>,
    /// The reply or the rejection.
    pub verdict: Verdict,
    /// Whether the entity wishes to be put to rest.
    pub passivate: bool,
}

/// One event that a command decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsedEvent {
    /// Its name.
    pub name: Box<str>,
    /// The version of its schema.
    pub schema_version: u16,
    /// The event, encoded.
    pub payload: Bytes,
}

/// One command that is to be sent because of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsedReaction {
    /// Whom it is for.
    pub to: EntityAddress,
    /// Its name.
    pub command: Box<str>,
    /// The command, encoded.
    pub payload: Bytes,
    /// Not before this time; none: at once.
    pub due: Option<Timestamp>,
    /// The sender's command that takes the answer.
    pub answered: Option<Box<str>>,
}

impl RehearsedReaction {
    /// As it would stand in the log.
    #[must_use]
    pub fn stored(&self) -> StoredReaction<'_> {
        StoredReaction {
            entity_type: self.to.entity_type(),
            entity_id: self.to.id(),
            command: &self.command,
            payload: &self.payload,
            due: self.due,
            answered: self.answered.as_deref(),
        }
    }

    fn of(stored: &StoredReaction<'_>) -> Self {
        Self {
            to: EntityAddress::new(stored.entity_type, stored.entity_id)
                .expect("the address of a reaction is checked with its effect"),
            command: stored.command.into(),
            payload: Bytes::copy_from_slice(stored.payload),
            due: stored.due,
            answered: stored.answered.map(Into::into),
        }
    }
}

impl RehearsedEvent {
    /// As it would stand in the log.
    #[must_use]
    pub fn stored(&self) -> StoredEvent<'_> {
        let Self { name, schema_version, payload } = self;
        StoredEvent { name, schema_version: *schema_version, payload }
    }
}

impl Registry {
    /// An entity of a registered type as it is before its first event.
    ///
    /// # Errors
    /// [`AskError::UnknownEntityType`].
    pub fn rehearse(&self, entity_type: &str, limits: &Limits) -> Result<Rehearsal, AskError> {
        let kind = self.kind(entity_type)?.clone();
        Ok(Rehearsal {
            state: kind.entity.fresh(),
            kind,
            sequence: SequenceNumber::ZERO,
            limits: limits.clone(),
            scratch: Scratch::default(),
        })
    }
}

impl Rehearsal {
    /// Applies a stored event, as recovery does.
    ///
    /// # Errors
    /// When no reader knows the event.
    ///
    /// # Panics
    /// When `apply` panics.
    pub fn apply(&mut self, event: &StoredEvent<'_>) -> Result<(), UpcastError> {
        self.kind.entity.apply(&mut self.state, event)?;
        self.sequence = self.sequence.next();
        Ok(())
    }

    /// Begins at an encoded state, as recovery does from a snapshot.
    ///
    /// # Errors
    /// When the bytes are no state of this type.
    pub fn restore(&mut self, state: &[u8], sequence: SequenceNumber) -> Result<(), CodecError> {
        self.state = self.kind.entity.decode_state(state)?;
        self.sequence = sequence;
        Ok(())
    }

    /// Runs a command on the state, as a shard does. The events are applied.
    ///
    /// # Errors
    /// As a caller would be told. The state may then hold what was never decided: drop this rehearsal, as a shard drops its entity.
    pub fn execute(
        &mut self,
        now: Timestamp,
        envelope: &CommandEnvelope,
        entropy: &mut dyn Entropy,
    ) -> Result<Rehearsed, AskError> {
        let (actual, allowed) = (envelope.payload.len(), self.limits.command_bytes);
        if actual > allowed {
            return Err(too_large(Limit::CommandBytes, allowed, actual));
        }
        let command = self.kind.command(&envelope.command)?;
        let facts = Facts {
            entity_id: envelope.address.id(),
            sequence: self.sequence,
            now,
            id: envelope.id,
            correlation: envelope.correlation,
            causation: envelope.causation,
            key: &envelope.key,
        };
        let limits = PayloadLimits::of(&self.limits);
        let (state, scratch) = (&mut self.state, &mut self.scratch);
        let executed = catch_unwind(AssertUnwindSafe(|| {
            command.execute(state, &envelope.payload, facts, entropy, limits, scratch)
        }));
        match executed {
            Ok(Ok(executed)) => Ok(self.decided(executed, envelope.address.id())),
            Ok(Err(fault)) => Err(told(fault, envelope)),
            Err(panic) => Err(failed(envelope, panic_text(&*panic))),
        }
    }

    fn decided(&mut self, executed: Executed, id: &str) -> Rehearsed {
        let stored = self.scratch.stored_events(Vec::new());
        let events = stored.iter().map(|event| RehearsedEvent {
            name: event.name.into(),
            schema_version: event.schema_version,
            payload: Bytes::copy_from_slice(event.payload),
        });
        let events: Vec<_> = events.collect();
        self.sequence = self.sequence.plus(events.len() as u64);
        let reactions = self.scratch.stored_reactions(self.kind.name(), id);
        let reactions = reactions.iter().map(RehearsedReaction::of).collect();
        let bytes = Bytes::copy_from_slice(&self.scratch.verdict);
        let (verdict, passivate) = match executed {
            Executed::Accepted { passivate } => (Verdict::Accepted(bytes), passivate),
            Executed::Rejected => (Verdict::Rejected(bytes), false),
        };
        Rehearsed { events, reactions, verdict, passivate }
    }

    /// The state, when the entity is of this type.
    #[must_use]
    pub fn state<E: Entity>(&self) -> Option<&E> {
        let state: &dyn Any = &*self.state;
        state.downcast_ref()
    }

    /// The state, encoded as in a snapshot.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn encoded_state(&self) -> Result<Bytes, CodecError> {
        let mut buffer = Vec::new();
        self.kind.entity.encode_state(&self.state, &mut buffer)?;
        Ok(buffer.into())
    }

    /// The sequence number of the last event.
    #[must_use]
    pub const fn sequence(&self) -> SequenceNumber {
        self.sequence
    }
}

fn told(fault: Fault, envelope: &CommandEnvelope) -> AskError {
    match fault {
        Fault::Undecodable(reason) => {
            AskError::Undecodable { command: (*envelope.command).into(), reason: reason.into() }
        }
        Fault::TooLarge { limit, allowed, actual, .. } => too_large(limit, allowed, actual),
        Fault::Unencodable { reason, .. } => failed(envelope, reason),
    }
}

fn too_large(limit: Limit, allowed: usize, actual: usize) -> AskError {
    AskError::TooLarge { limit, allowed: allowed as u64, actual: actual as u64 }
}

fn failed(envelope: &CommandEnvelope, reason: String) -> AskError {
    let (address, command) = (envelope.address.clone(), (*envelope.command).into());
    AskError::EntityFailed { address, command, reason: reason.into() }
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal")
            .field("entity_type", &self.kind.name())
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
