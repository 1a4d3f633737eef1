//! Entities and commands with their types erased: the engine calls these, once per command, and knows bytes only.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use holm_core::{Entropy, Limit, Limits};
use holm_persistence::{CodecError, StoredEvent, StoredReaction, decode, encode, encode_into};
use serde_json::Value;

use crate::context::{Context, Facts};
use crate::entity::{Command, Entity, Event, Handle, Read, UpcastError};
use crate::panic_text;
use crate::reaction::{self, Reaction};

/// The state of one live entity.
pub(crate) type State = Box<dyn Any + Send>;

/// An entity type without its type.
pub(crate) trait ErasedEntity: Send + Sync {
    fn fresh(&self) -> State;
    fn apply(&self, state: &mut State, event: &StoredEvent<'_>) -> Result<(), UpcastError>;
    fn encode_state(&self, state: &State, buffer: &mut Vec<u8>) -> Result<usize, CodecError>;
    fn decode_state(&self, bytes: &[u8]) -> Result<State, CodecError>;
    fn state_json(&self, state: &State) -> Result<Value, String>;
    fn event_json(&self, event: &StoredEvent<'_>) -> Result<Value, String>;
    /// Whether the event has one of these tags.
    fn has_tag(&self, event: &StoredEvent<'_>, tags: &[Box<str>]) -> Result<bool, String>;
    fn rejection_json(&self, bytes: &[u8]) -> Result<Value, String>;
    fn rejection_text(&self, bytes: &[u8]) -> Result<String, String>;
}

/// A command of some entity type without either type.
pub(crate) trait ErasedCommand: Send + Sync {
    fn name(&self) -> &'static str;
    fn reads(&self) -> bool;
    fn internal(&self) -> bool;

    /// Runs the command on the state. Events are applied at once; their bytes and the verdict's are left in `scratch`.
    fn execute(
        &self,
        state: &mut State,
        payload: &[u8],
        facts: Facts<'_>,
        entropy: &mut dyn Entropy,
        limits: PayloadLimits,
        scratch: &mut Scratch,
    ) -> Result<Executed, Fault>;

    fn command_from_json(&self, body: &Value) -> Result<Bytes, String>;
    fn reply_json(&self, bytes: &[u8]) -> Result<Value, String>;
}

/// The limits that bear on what one command produces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PayloadLimits {
    pub(crate) reply_bytes: usize,
    pub(crate) events_bytes: usize,
    pub(crate) command_bytes: usize,
    pub(crate) reactions: usize,
}

impl PayloadLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            reply_bytes: limits.reply_bytes,
            events_bytes: limits.events_bytes,
            command_bytes: limits.command_bytes,
            reactions: limits.reactions_per_command,
        }
    }
}

/// Places of an empty list of events that are kept.
const SPARE_EVENTS: usize = 64;

/// The list without its events, which borrowed: the same memory, for events that borrow from elsewhere.
pub(crate) fn emptied<'a>(mut events: Vec<StoredEvent<'_>>) -> Vec<StoredEvent<'a>> {
    events.clear();
    events.into_iter().map(|_| unreachable!("it was just emptied")).collect()
}

/// What one command left behind; used again for the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    events: Vec<u8>,
    spans: Vec<Span>,
    reactions: Vec<Reaction>,
    /// The list of a record that is written, empty.
    spare: Vec<StoredEvent<'static>>,
    pub(crate) verdict: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    name: &'static str,
    schema_version: u16,
    end: usize,
}

impl Scratch {
    fn clear(&mut self) {
        self.events.clear();
        self.spans.clear();
        self.reactions.clear();
        self.verdict.clear();
    }

    /// An empty list for [`Scratch::stored_events`], which [`Scratch::use_again`] takes back.
    pub(crate) fn spare_events(&mut self) -> Vec<StoredEvent<'static>> {
        std::mem::take(&mut self.spare)
    }

    pub(crate) fn use_again(&mut self, spare: Vec<StoredEvent<'static>>) {
        if spare.capacity() <= SPARE_EVENTS {
            self.spare = spare;
        }
    }

    pub(crate) fn stored_events<'a>(
        &'a self,
        mut stored: Vec<StoredEvent<'a>>,
    ) -> Vec<StoredEvent<'a>> {
        let mut start = 0;
        stored.reserve(self.spans.len());
        for span in &self.spans {
            stored.push(StoredEvent {
                name: span.name,
                schema_version: span.schema_version,
                payload: &self.events[start..span.end],
            });
            start = span.end;
        }
        stored
    }

    /// What is to be sent because of the command, by the entity that it was run on.
    pub(crate) fn stored_reactions<'a>(
        &'a self,
        entity_type: &'a str,
        id: &'a str,
    ) -> Vec<StoredReaction<'a>> {
        self.reactions.iter().map(|reaction| reaction.stored(entity_type, id)).collect()
    }
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Executed {
    Accepted { passivate: bool },
    Rejected,
}

/// Why a command did not go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The payload is no such command. The state is untouched.
    Undecodable(String),
    /// Something is too long. `spoiled`: events were applied before that was known.
    TooLarge { limit: Limit, allowed: usize, actual: usize, spoiled: bool },
    /// Reply, rejection or event cannot be encoded.
    Unencodable { reason: String, spoiled: bool },
}

/// A command of `E` that may change it.
pub(crate) struct HandleCommand<E, C>(PhantomData<fn(E, C)>);

/// A read-only command of `E`.
pub(crate) struct ReadCommand<E, C>(PhantomData<fn(E, C)>);

impl<E, C> HandleCommand<E, C> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E, C> ReadCommand<E, C> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E: Handle<C>, C: Command> ErasedCommand for HandleCommand<E, C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn reads(&self) -> bool {
        false
    }

    fn internal(&self) -> bool {
        C::INTERNAL
    }

    fn execute(
        &self,
        state: &mut State,
        payload: &[u8],
        facts: Facts<'_>,
        entropy: &mut dyn Entropy,
        limits: PayloadLimits,
        scratch: &mut Scratch,
    ) -> Result<Executed, Fault> {
        scratch.clear();
        let command: C = decode(payload).map_err(|error| Fault::Undecodable(error.to_string()))?;
        let state = state_mut::<E>(state);
        let effect = match state.handle(command, &mut Context::new(facts, entropy)) {
            Ok(effect) => effect,
            Err(rejection) => {
                put_verdict(&rejection, limits, scratch, false)?;
                return Ok(Executed::Rejected);
            }
        };
        let events = effect.events.as_slice();
        // Sizes are checked before anything is applied, so that an oversized command changes nothing.
        put_events(events, limits, scratch)?;
        reaction::check(&effect.reactions, scratch.events.len(), limits)?;
        scratch.reactions = effect.reactions;
        for event in events {
            state.apply(event);
        }
        let reply = (effect.reply)(state);
        put_verdict(&reply, limits, scratch, !events.is_empty())?;
        Ok(Executed::Accepted { passivate: effect.passivate })
    }

    fn command_from_json(&self, body: &Value) -> Result<Bytes, String> {
        command_from_json::<C>(body)
    }

    fn reply_json(&self, bytes: &[u8]) -> Result<Value, String> {
        to_json::<C::Reply>(bytes)
    }
}

impl<E: Read<C>, C: Command> ErasedCommand for ReadCommand<E, C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn reads(&self) -> bool {
        true
    }

    fn internal(&self) -> bool {
        C::INTERNAL
    }

    fn execute(
        &self,
        state: &mut State,
        payload: &[u8],
        facts: Facts<'_>,
        entropy: &mut dyn Entropy,
        limits: PayloadLimits,
        scratch: &mut Scratch,
    ) -> Result<Executed, Fault> {
        scratch.clear();
        let command: C = decode(payload).map_err(|error| Fault::Undecodable(error.to_string()))?;
        let state: &E = state_mut::<E>(state);
        match state.read(command, &Context::new(facts, entropy)) {
            Ok(reply) => {
                put_verdict(&reply, limits, scratch, false)?;
                Ok(Executed::Accepted { passivate: false })
            }
            Err(rejection) => {
                put_verdict(&rejection, limits, scratch, false)?;
                Ok(Executed::Rejected)
            }
        }
    }

    fn command_from_json(&self, body: &Value) -> Result<Bytes, String> {
        command_from_json::<C>(body)
    }

    fn reply_json(&self, bytes: &[u8]) -> Result<Value, String> {
        to_json::<C::Reply>(bytes)
    }
}

/// The entity type `E` itself.
pub(crate) struct EntityOf<E>(PhantomData<fn(E)>);

impl<E> EntityOf<E> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E: Entity> ErasedEntity for EntityOf<E> {
    fn fresh(&self) -> State {
        Box::new(E::default())
    }

    fn apply(&self, state: &mut State, event: &StoredEvent<'_>) -> Result<(), UpcastError> {
        state_mut::<E>(state).apply(&read_event::<E>(event)?);
        Ok(())
    }

    fn encode_state(&self, state: &State, buffer: &mut Vec<u8>) -> Result<usize, CodecError> {
        encode_into(state_ref::<E>(state), buffer)
    }

    fn decode_state(&self, bytes: &[u8]) -> Result<State, CodecError> {
        Ok(Box::new(decode::<E>(bytes)?))
    }

    fn state_json(&self, state: &State) -> Result<Value, String> {
        serde_json::to_value(state_ref::<E>(state)).map_err(|error| error.to_string())
    }

    fn event_json(&self, event: &StoredEvent<'_>) -> Result<Value, String> {
        let event = read_event::<E>(event).map_err(|error| error.to_string())?;
        serde_json::to_value(&event).map_err(|error| error.to_string())
    }

    fn has_tag(&self, stored: &StoredEvent<'_>, tags: &[Box<str>]) -> Result<bool, String> {
        let wanted = |tag: &str| tags.iter().any(|wanted| **wanted == *tag);
        let by_name = |name: &str| E::Event::tags_of(name).iter().any(|tag| wanted(tag));
        if E::Event::NAMES.contains(&stored.name) {
            if by_name(stored.name) {
                return Ok(true);
            }
            // Most events say all by their name, and need not be decoded.
            if !E::Event::FINDS_TAGS {
                return Ok(false);
            }
        }
        let event = read_event::<E>(stored).map_err(|error| error.to_string())?;
        let found = || event.tags().iter().any(|tag| wanted(tag));
        let found = catch_unwind(AssertUnwindSafe(found))
            .map_err(|panic| format!("finding them panicked: {}", panic_text(&*panic)))?;
        Ok(found || by_name(event.name()))
    }

    fn rejection_json(&self, bytes: &[u8]) -> Result<Value, String> {
        to_json::<E::Rejection>(bytes)
    }

    fn rejection_text(&self, bytes: &[u8]) -> Result<String, String> {
        let rejection = decode::<E::Rejection>(bytes).map_err(|error| error.to_string())?;
        Ok(rejection.to_string())
    }
}

/// Reads a stored event, by way of the upcaster when it is of another schema.
pub(crate) fn read_event<E: Entity>(stored: &StoredEvent<'_>) -> Result<E::Event, UpcastError> {
    let known = E::Event::NAMES.contains(&stored.name)
        && E::Event::schema_version(stored.name) == stored.schema_version;
    if known {
        let event: E::Event = decode(stored.payload)?;
        // bincode stores the variant's index: after a reordering of variants the name no longer fits, and nothing must be guessed.
        if event.name() == stored.name {
            return Ok(event);
        }
    }
    E::Event::upcast(stored.name, stored.schema_version, stored.payload)
}

fn put_events<V: Event>(
    events: &[V],
    limits: PayloadLimits,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    for event in events {
        encode_into(event, &mut scratch.events)
            .map_err(|error| Fault::Unencodable { reason: error.to_string(), spoiled: false })?;
        let (name, end) = (event.name(), scratch.events.len());
        scratch.spans.push(Span { name, schema_version: V::schema_version(name), end });
    }
    let actual = scratch.events.len();
    if actual > limits.events_bytes {
        let (limit, allowed) = (Limit::EventsBytes, limits.events_bytes);
        return Err(Fault::TooLarge { limit, allowed, actual, spoiled: false });
    }
    Ok(())
}

fn put_verdict<V: serde::Serialize>(
    value: &V,
    limits: PayloadLimits,
    scratch: &mut Scratch,
    spoiled: bool,
) -> Result<(), Fault> {
    let actual = encode_into(value, &mut scratch.verdict)
        .map_err(|error| Fault::Unencodable { reason: error.to_string(), spoiled })?;
    if actual > limits.reply_bytes {
        let (limit, allowed) = (Limit::ReplyBytes, limits.reply_bytes);
        return Err(Fault::TooLarge { limit, allowed, actual, spoiled });
    }
    Ok(())
}

fn command_from_json<C: Command>(body: &Value) -> Result<Bytes, String> {
    let command: C = serde::Deserialize::deserialize(body)
        .map_err(|error: serde_json::Error| error.to_string())?;
    encode(&command).map_err(|error| error.to_string())
}

fn to_json<V: serde::Serialize + serde::de::DeserializeOwned>(
    bytes: &[u8],
) -> Result<Value, String> {
    let value: V = decode(bytes).map_err(|error| error.to_string())?;
    serde_json::to_value(&value).map_err(|error| error.to_string())
}

fn state_mut<E: Entity>(state: &mut State) -> &mut E {
    state.downcast_mut().expect("a state is handled by the kind that made it")
}

fn state_ref<E: Entity>(state: &State) -> &E {
    state.downcast_ref().expect("a state is handled by the kind that made it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_events_is_used_again_unless_it_is_long() {
        let mut scratch = Scratch::default();
        for (places, again) in [(1, true), (SPARE_EVENTS, true), (SPARE_EVENTS + 1, false)] {
            let mut list = Vec::with_capacity(places);
            list.push(StoredEvent { name: "opened", schema_version: 1, payload: b"x" });
            let before = list.as_ptr() as usize;
            scratch.use_again(emptied(list));
            let spare = scratch.spare_events();
            assert!(spare.is_empty());
            assert_eq!(spare.capacity() > 0 && spare.as_ptr() as usize == before, again);
        }
    }
}
