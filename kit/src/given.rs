//! Given: what happened before the command, and the world in which it is handled.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{Limits, Timestamp};
use holm_persistence::encode;
use holm_runtime::{Command, Entity, Event, RehearsedEvent};

use crate::broken::Broken;
use crate::verify;
use crate::when::When;

/// An entity that can be tested: its state, events and rejections can be compared and shown. `#[derive(Debug, PartialEq)]` does it.
pub trait Tested:
    Entity<Event: PartialEq + Debug, Rejection: PartialEq> + PartialEq + Debug
{
}

impl<E> Tested for E where
    E: Entity<Event: PartialEq + Debug, Rejection: PartialEq> + PartialEq + Debug
{
}

/// A command that can be tested: it and its reply can be compared and shown.
pub trait TestedCommand: Command<Reply: PartialEq + Debug> + PartialEq + Debug {}

impl<C> TestedCommand for C where C: Command<Reply: PartialEq + Debug> + PartialEq + Debug {}

/// One entity and its past. [`Given::when`] asks it something.
#[must_use = "nothing is tested before `when`"]
pub struct Given<E> {
    pub(crate) past: Past,
    entity: PhantomData<fn(E)>,
}

/// What is known of the entity, without its type.
#[derive(Debug, Clone)]
pub(crate) struct Past {
    /// Where the past begins, when not at nothing.
    pub(crate) snapshot: Option<Bytes>,
    pub(crate) events: Vec<RehearsedEvent>,
    pub(crate) id: Box<str>,
    pub(crate) now: Timestamp,
    /// Drawn from anew for each command.
    pub(crate) seed: u64,
    pub(crate) commands: u64,
    pub(crate) limits: Limits,
    /// What is wrong with the past itself; said at the first command.
    pub(crate) spoiled: Option<String>,
}

impl<E: Tested> Given<E> {
    /// Nothing happened to the entity yet.
    pub fn nothing() -> Self {
        let past = Past {
            snapshot: None,
            events: Vec::new(),
            id: "test".into(),
            // 2001-09-09T01:46:40Z: a time that is easy to recognise and far from zero.
            now: Timestamp::from_millis(1_000_000_000_000),
            seed: 0,
            commands: 0,
            limits: Limits::default(),
            spoiled: None,
        };
        Self { past, entity: PhantomData }
    }

    /// These events happened, in this order. They are stored and read back like any others.
    pub fn events(events: impl IntoIterator<Item = E::Event>) -> Self {
        let mut given = Self::nothing();
        for event in events {
            given.happened(&event);
        }
        given
    }

    /// The entity is in this state, as if it came from a snapshot. Prefer [`Given::events`]: a state that no events lead to proves nothing.
    pub fn state(state: E) -> Self {
        let mut given = Self::nothing();
        match encode(&state) {
            Ok(bytes) => given.past.snapshot = Some(bytes),
            Err(error) => given.past.spoil(format!("{}: the given state: {error}", E::TYPE)),
        }
        given
    }

    /// One more thing that happened.
    pub fn and(mut self, event: E::Event) -> Self {
        self.happened(&event);
        self
    }

    /// The entity's id, for those that look at it. It is `test` otherwise.
    pub fn id(mut self, id: &str) -> Self {
        self.past.id = id.into();
        self
    }

    /// The time at which commands are handled from now on.
    pub fn at(mut self, now: Timestamp) -> Self {
        self.past.now = now;
        self
    }

    /// Moves the clock.
    pub fn later(mut self, time: Duration) -> Self {
        self.past.now = self.past.now.plus(time);
        self
    }

    /// What the context's randomness follows from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.past.seed = seed;
        self
    }

    /// The limits of the node.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.past.limits = limits;
        self
    }

    /// Asks the entity.
    ///
    /// # Panics
    /// When the entity is [`Broken`].
    #[track_caller]
    pub fn when<C: TestedCommand>(self, command: C) -> When<E, C> {
        match self.try_when(command) {
            Ok(when) => when,
            Err(broken) => panic!("{broken}"),
        }
    }

    /// As [`Given::when`], for tests that expect an entity to be broken.
    ///
    /// # Errors
    /// [`Broken`] says what would go wrong on a node.
    ///
    /// # Panics
    /// When the past itself cannot be: a given event or state that cannot be encoded.
    pub fn try_when<C: TestedCommand>(self, command: C) -> Result<When<E, C>, Broken> {
        if let Some(spoiled) = &self.past.spoiled {
            panic!("{spoiled}");
        }
        verify::run(self, command)
    }

    fn happened(&mut self, event: &E::Event) {
        let name = event.name();
        match encode(event) {
            Ok(payload) => self.past.events.push(RehearsedEvent {
                name: name.into(),
                schema_version: E::Event::schema_version(name),
                payload,
            }),
            Err(error) => {
                self.past.spoil(format!("{}: the given event `{name}`: {error}", E::TYPE))
            }
        }
    }
}

impl Past {
    fn spoil(&mut self, what: String) {
        self.spoiled.get_or_insert(what);
    }
}

// Not derived: an entity that cannot be cloned still has a past that can.
impl<E> Clone for Given<E> {
    fn clone(&self) -> Self {
        Self { past: self.past.clone(), entity: PhantomData }
    }
}

impl<E> Debug for Given<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.past.fmt(f)
    }
}
