//! What a policy decides about one event, and the one place where the event's type is erased.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::bus::{Fact, TopicName};
use crate::entity::{Command, Entity, Handle};
use crate::panic_text;
use crate::reaction::{Passed, Reaction, Target};

/// What is to follow from an event. A policy gets it empty and gives it back.
#[derive(Debug, Default)]
#[must_use = "a policy gives back what is to follow"]
pub struct Then {
    reactions: Vec<Reaction>,
}

impl Then {
    /// Sends a command to an entity, once. Nobody waits for its answer: a refusal stands in the history of the entity that refused, and what happens there is an
    /// event that another policy may follow.
    ///
    /// What one policy sends to one entity because of events of one shard arrives in the order of the events.
    pub fn send<T: Handle<C>, C: Command>(mut self, id: &str, command: C) -> Self {
        self.reactions.push(Reaction::new(Target::other::<T>(id), &command));
        self
    }

    /// Publishes a message to a topic, once.
    pub fn publish<M: Serialize>(mut self, topic: &TopicName<M>, key: &str, message: &M) -> Self {
        self.reactions.push(topic.publishing(key, message));
        self
    }
}

/// A policy's decisions without the type of its events.
pub(super) trait Decide: Send + Sync {
    fn decide(&self, fact: &Fact) -> Result<Vec<Passed>, Undecided>;
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undecided {
    /// The event cannot be read by this program; one of another version may be able to.
    Unreadable(String),
    /// It fails on this event, and will each time.
    Failed(String),
}

pub(super) struct Deciding<E, F> {
    decide: F,
    entity: PhantomData<fn(E)>,
}

impl<E, F> Deciding<E, F> {
    pub(super) fn new(decide: F) -> Self {
        Self { decide, entity: PhantomData }
    }
}

impl<E: Entity, F: Fn(E::Event, &Fact, Then) -> Then + Send + Sync> Decide for Deciding<E, F> {
    fn decide(&self, fact: &Fact) -> Result<Vec<Passed>, Undecided> {
        let read = catch_unwind(AssertUnwindSafe(|| fact.event::<E>()));
        let event = match read {
            Ok(read) => read.map_err(|error| Undecided::Unreadable(error.to_string()))?,
            Err(panic) => return Err(Undecided::Failed(panic_text(&*panic))),
        };
        let decided =
            catch_unwind(AssertUnwindSafe(|| (self.decide)(event, fact, Then::default())));
        let then = decided.map_err(|panic| Undecided::Failed(panic_text(&*panic)))?;
        then.reactions
            .into_iter()
            .map(Reaction::pass_on)
            .collect::<Result<_, _>>()
            .map_err(Undecided::Failed)
    }
}
