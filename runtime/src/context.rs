//! The context: the only window through which a handler sees anything but its entity's state (promise G10).

use std::fmt;
use std::marker::PhantomData;

use holm_core::{
    CausationId, CommandId, CorrelationId, Entropy, IdempotencyKey, SequenceNumber, Timestamp,
};

use crate::effect::{Draft, Events};
use crate::entity::Entity;

/// What a handler knows besides the state and the command. Time and randomness come from here and from nowhere else.
pub struct Context<'a, E: Entity> {
    facts: Facts<'a>,
    entropy: &'a mut dyn Entropy,
    entity: PhantomData<fn(E)>,
}

/// The facts about one command that its handler may see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) entity_id: &'a str,
    pub(crate) sequence: SequenceNumber,
    pub(crate) now: Timestamp,
    pub(crate) id: CommandId,
    pub(crate) correlation: CorrelationId,
    pub(crate) causation: CausationId,
    pub(crate) key: &'a IdempotencyKey,
}

impl<'a, E: Entity> Context<'a, E> {
    pub(crate) fn new(facts: Facts<'a>, entropy: &'a mut dyn Entropy) -> Self {
        Self { facts, entropy, entity: PhantomData }
    }

    /// Stores one event.
    pub fn persist(&mut self, event: E::Event) -> Draft<E> {
        Draft::new(Events::One(event), self.facts.now)
    }

    /// Stores several events together or not at all. None is fine too.
    pub fn persist_all(&mut self, events: impl IntoIterator<Item = E::Event>) -> Draft<E> {
        Draft::new(Events::Any(events.into_iter().collect()), self.facts.now)
    }

    /// Stores no event: there was nothing to do. The reply is recorded under the command's key all the same.
    pub fn none(&mut self) -> Draft<E> {
        Draft::new(Events::Any(Vec::new()), self.facts.now)
    }

    /// The entity's id, as in `alice`.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        self.facts.entity_id
    }

    /// The sequence number before this command's events.
    #[must_use]
    pub fn sequence(&self) -> SequenceNumber {
        self.facts.sequence
    }

    /// The present time, the same for the whole command.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.facts.now
    }

    /// 64 random bits. What follows from them must be put into an event: `apply` has no randomness.
    #[must_use]
    pub fn random(&mut self) -> u64 {
        self.entropy.next_u64()
    }

    /// The conversation that this command belongs to.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.facts.correlation
    }

    /// What caused this command.
    #[must_use]
    pub fn causation_id(&self) -> CausationId {
        self.facts.causation
    }

    /// The id of this command; a retry keeps it.
    #[must_use]
    pub fn command_id(&self) -> CommandId {
        self.facts.id
    }

    /// The key that makes the retry of this command safe.
    #[must_use]
    pub fn key(&self) -> &IdempotencyKey {
        self.facts.key
    }
}

impl<E: Entity> fmt::Debug for Context<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("facts", &self.facts).finish_non_exhaustive()
    }
}
