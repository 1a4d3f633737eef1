//! The effect: what a handler decided, as a value. Nothing has happened yet when it is made.

use std::fmt;

use crate::entity::Entity;

/// Events and a reply: what a handler returns. Made by [`crate::Context::persist`] and its siblings.
#[must_use = "an effect does nothing until the handler returns it"]
pub struct Effect<E: Entity, R> {
    pub(crate) events: Events<E::Event>,
    /// A closure that captures nothing takes no allocation here.
    pub(crate) reply: Box<dyn FnOnce(&E) -> R>,
    pub(crate) passivate: bool,
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
            .field("passivate", &self.passivate)
            .finish_non_exhaustive()
    }
}

/// An effect that lacks its reply. It is no [`Effect`], so a handler that forgets to reply does not compile.
#[must_use = "say what to reply: `.reply(|state| ..)` or `.no_reply()`"]
pub struct Draft<E: Entity> {
    events: Events<E::Event>,
    passivate: bool,
}

impl<E: Entity> Draft<E> {
    pub(crate) fn new(events: Events<E::Event>) -> Self {
        Self { events, passivate: false }
    }

    /// Replies with what `reply` finds in the state after all events. The reply goes out when the events are durable.
    pub fn reply<R>(self, reply: impl FnOnce(&E) -> R + 'static) -> Effect<E, R> {
        Effect { events: self.events, reply: Box::new(reply), passivate: self.passivate }
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
        f.debug_struct("Draft").field("events", &self.events.len()).finish_non_exhaustive()
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
