//! The effect: what a handler decided, as a value. Nothing has happened yet when it is made.

use std::fmt;
use std::time::Duration;

use holm_core::Timestamp;
use serde::Serialize;

use crate::answered::Answered;
use crate::bus::TopicName;
use crate::entity::{Command, Entity, Handle};
use crate::reaction::{Passed, Reaction, Target};

/// Events, reactions and a reply: what a handler returns. Made by [`crate::Context::persist`] and its siblings.
#[must_use = "an effect does nothing until the handler returns it"]
pub struct Effect<E: Entity, R> {
    pub(crate) events: Events<E::Event>,
    /// A closure that captures nothing takes no allocation here.
    pub(crate) reply: Box<dyn FnOnce(&E) -> R>,
    pub(crate) passivate: bool,
    /// Most effects have none, which takes no allocation.
    pub(crate) reactions: Vec<Reaction>,
}

impl<E: Entity, R> Effect<E, R> {
    /// Puts the entity to rest once the events are stored; its next command wakes it up.
    pub fn passivate(mut self) -> Self {
        self.passivate = true;
        self
    }
}

impl<E: Entity, R> fmt::Debug for Effect<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effect")
            .field("events", &self.events.len())
            .field("reactions", &self.reactions.len())
            .field("passivate", &self.passivate)
            .finish_non_exhaustive()
    }
}

/// An effect that lacks its reply. It is no [`Effect`], so a handler that forgets to reply does not compile.
#[must_use = "say what to reply: `.reply(|state| ..)` or `.no_reply()`"]
pub struct Draft<E: Entity> {
    events: Events<E::Event>,
    passivate: bool,
    reactions: Vec<Reaction>,
    now: Timestamp,
}

impl<E: Entity> Draft<E> {
    pub(crate) fn new(events: Events<E::Event>, now: Timestamp) -> Self {
        Self { events, passivate: false, reactions: Vec::new(), now }
    }

    /// Sends a command to another entity once the events are durable: once, whatever crashes in between. Nobody waits for its answer.
    ///
    /// What is sent to one entity arrives in the order in which it was stored.
    pub fn send<T: Handle<C>, C: Command>(self, id: &str, command: C) -> Self {
        self.react(Reaction::new(Target::other::<T>(id), &command))
    }

    /// As [`Draft::send`]; what the other entity answers comes back as the command [`Answered`], once, too.
    pub fn send_for_answer<T: Handle<C>, C: Command>(self, id: &str, command: C) -> Self
    where
        E: Handle<Answered<T, C>>,
    {
        let name = <Answered<T, C> as Command>::NAME;
        self.react(Reaction::new(Target::other::<T>(id), &command).answered_by(name))
    }

    /// Sends a command to another entity at a time, or as soon after it as possible.
    pub fn send_at<T: Handle<C>, C: Command>(self, at: Timestamp, id: &str, command: C) -> Self {
        self.react(Reaction::new(Target::other::<T>(id), &command).due(at))
    }

    /// Sends a command to this entity itself after a while: a timer that survives restarts. It may come late, never early and never twice.
    ///
    /// It cannot be called back. A timer that is no longer of interest finds a state in which there is nothing to do.
    pub fn after<C: Command>(self, time: Duration, command: C) -> Self
    where
        E: Handle<C>,
    {
        let at = self.now.plus(time);
        self.at(at, command)
    }

    /// As [`Draft::after`], at a time.
    pub fn at<C: Command>(self, at: Timestamp, command: C) -> Self
    where
        E: Handle<C>,
    {
        self.react(Reaction::new(Target::Itself, &command).due(at))
    }

    /// Publishes a message to a topic once the events are durable: once, whatever crashes in between. It is stored in the same batch as they are, and the messages
    /// of one key keep the order in which this entity published them.
    pub fn publish<M: Serialize>(self, topic: &TopicName<M>, key: &str, message: &M) -> Self {
        self.react(topic.publishing(key, message))
    }

    /// Sends what others decided on and encoded.
    pub(crate) fn pass_on(mut self, letters: impl IntoIterator<Item = Passed>) -> Self {
        self.reactions.extend(letters.into_iter().map(Reaction::passed_on));
        self
    }

    fn react(mut self, reaction: Reaction) -> Self {
        self.reactions.push(reaction);
        self
    }

    /// Replies with what `reply` finds in the state after all events. The reply goes out when the events are durable.
    pub fn reply<R>(self, reply: impl FnOnce(&E) -> R + 'static) -> Effect<E, R> {
        let Self { events, passivate, reactions, .. } = self;
        Effect { events, reply: Box::new(reply), passivate, reactions }
    }

    /// Says only that it was done, for commands whose reply is `()`.
    pub fn no_reply(self) -> Effect<E, ()> {
        self.reply(|_| ())
    }

    /// Puts the entity to rest once the events are stored; its next command wakes it up.
    pub fn passivate(mut self) -> Self {
        self.passivate = true;
        self
    }
}

impl<E: Entity> fmt::Debug for Draft<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("events", &self.events.len())
            .field("reactions", &self.reactions.len())
            .finish_non_exhaustive()
    }
}

/// The events of one command. Most commands have one, which takes no allocation.
pub(crate) enum Events<T> {
    One(T),
    Any(Vec<T>),
}

impl<T> Events<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(event) => std::slice::from_ref(event),
            Self::Any(events) => events,
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }
}
