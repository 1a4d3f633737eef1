//! The reaction: a command that an effect sends to another entity, or to its own at a later time. It is stored in the record of the command that led
//! to it (promise G6) and delivered by the outbox.

use std::borrow::Cow;

use bytes::Bytes;
use holm_core::{EntityAddress, Limit, Timestamp};
use holm_persistence::{CodecError, StoredReaction, encode};
use serde::{Deserialize, Serialize};

use crate::entity::{Command, Entity};
use crate::registry::{Fault, PayloadLimits};

/// A command on its way into a record.
#[derive(Debug)]
pub(crate) struct Reaction {
    target: Target,
    command: Cow<'static, str>,
    /// An error is the entity's failure, told when the effect is looked at.
    payload: Result<Bytes, CodecError>,
    due: Option<Timestamp>,
    answered: Option<&'static str>,
}

/// A command that one entity hands to another to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    pub(crate) entity_type: Box<str>,
    pub(crate) id: Box<str>,
    pub(crate) command: Box<str>,
    pub(crate) payload: Bytes,
}

/// Whom a reaction is for.
#[derive(Debug)]
pub(crate) enum Target {
    Itself,
    Other { entity_type: Cow<'static, str>, id: Box<str> },
}

impl Target {
    pub(crate) fn other<T: Entity>(id: &str) -> Self {
        Self::Other { entity_type: T::TYPE.into(), id: id.into() }
    }
}

impl Reaction {
    pub(crate) fn new<C: Command>(target: Target, command: &C) -> Self {
        Self::encoded(target, C::NAME, encode(command))
    }

    pub(crate) fn encoded(
        target: Target,
        command: &'static str,
        payload: Result<Bytes, CodecError>,
    ) -> Self {
        Self { target, command: command.into(), payload, due: None, answered: None }
    }

    /// A command that somebody else encoded, passed on as it is.
    pub(crate) fn passed_on(letter: Passed) -> Self {
        let Passed { entity_type, id, command, payload } = letter;
        let target = Target::Other { entity_type: entity_type.into_string().into(), id };
        let command = command.into_string().into();
        Self { target, command, payload: Ok(payload), due: None, answered: None }
    }

    /// As it is passed on to another entity, which will send it; an error says what is wrong with it.
    pub(crate) fn pass_on(self) -> Result<Passed, String> {
        let Self { target, command, payload, .. } = self;
        let Target::Other { entity_type, id } = target else {
            return Err(format!("`{command}` is for nobody"));
        };
        let wrong = |error: String| format!("`{command}`: {error}");
        EntityAddress::new(&*entity_type, &*id).map_err(|error| wrong(error.to_string()))?;
        let payload = payload.map_err(|error| wrong(error.to_string()))?;
        let (entity_type, command) = (entity_type.into(), command.into());
        Ok(Passed { entity_type, id, command, payload })
    }

    pub(crate) fn due(mut self, at: Timestamp) -> Self {
        self.due = Some(at);
        self
    }

    pub(crate) fn answered_by(mut self, command: &'static str) -> Self {
        self.answered = Some(command);
        self
    }

    /// As it goes into the record of the entity `entity_type/id`.
    pub(crate) fn stored<'a>(&'a self, entity_type: &'a str, id: &'a str) -> StoredReaction<'a> {
        let (entity_type, entity_id) = match &self.target {
            Target::Itself => (entity_type, id),
            Target::Other { entity_type, id } => (&**entity_type, &**id),
        };
        let payload = self.payload.as_deref().unwrap_or_default();
        let (command, due, answered) = (&*self.command, self.due, self.answered);
        StoredReaction { entity_type, entity_id, command, payload, due, answered }
    }

    /// Bytes that it takes in the record, but for the lengths.
    fn bytes(&self) -> usize {
        let address = match &self.target {
            Target::Itself => 0,
            Target::Other { entity_type, id } => entity_type.len() + id.len(),
        };
        let payload = self.payload.as_deref().unwrap_or_default();
        address + self.command.len() + payload.len() + self.answered.map_or(0, str::len)
    }
}

/// Checks what an effect wants to send, before anything of it is applied. `events` are the bytes that its events take.
pub(crate) fn check(
    reactions: &[Reaction],
    events: usize,
    limits: PayloadLimits,
) -> Result<(), Fault> {
    if reactions.is_empty() {
        return Ok(());
    }
    let too_large = |limit, allowed, actual| {
        if actual > allowed {
            Err(Fault::TooLarge { limit, allowed, actual, spoiled: false })
        } else {
            Ok(())
        }
    };
    too_large(Limit::ReactionsPerCommand, limits.reactions, reactions.len())?;
    let mut total = events;
    for reaction in reactions {
        let unencodable = |reason: String| Fault::Unencodable { reason, spoiled: false };
        let payload = reaction.payload.as_ref().map_err(|error| unencodable(error.to_string()))?;
        too_large(Limit::CommandBytes, limits.command_bytes, payload.len())?;
        if let Target::Other { entity_type, id } = &reaction.target {
            EntityAddress::new(&**entity_type, &**id)
                .map_err(|error| unencodable(format!("`{}`: {error}", reaction.command)))?;
        }
        total += reaction.bytes();
    }
    too_large(Limit::EventsBytes, limits.events_bytes, total)
}
