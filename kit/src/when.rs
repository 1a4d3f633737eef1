//! When: a command was asked; what followed is compared with what must follow.

use std::fmt::Debug;
use std::time::Duration;

use holm_core::AskError;
use holm_runtime::bus::TopicName;
use holm_runtime::{Command, Entity};
use serde::Serialize;

use crate::given::{Given, Tested, TestedCommand};
use crate::sent::Sent;

/// What one command led to. Each `then` compares one thing; [`When::when`] goes on with the next command.
pub struct When<E: Entity, C: Command> {
    /// The past with what the command added to it.
    pub(crate) given: Given<E>,
    pub(crate) told: Told<C::Reply, E::Rejection>,
    pub(crate) events: Vec<E::Event>,
    pub(crate) sent: Sent,
    pub(crate) state: E,
    pub(crate) rests: bool,
}

/// What the caller is told.
#[derive(Debug)]
pub(crate) enum Told<R, J> {
    Replied(R),
    Rejected(J),
    Failed(AskError),
}

impl<E: Tested, C: TestedCommand> When<E, C> {
    /// These events are stored, and no others.
    ///
    /// # Panics
    /// When others are.
    #[track_caller]
    pub fn then_events(self, expected: impl IntoIterator<Item = E::Event>) -> Self {
        let expected: Vec<_> = expected.into_iter().collect();
        self.compare("events", &self.events, &expected);
        self
    }

    /// No event is stored.
    ///
    /// # Panics
    /// When one is.
    #[track_caller]
    pub fn then_no_events(self) -> Self {
        self.then_events([])
    }

    /// The next of what is sent goes to another entity, at once. What is sent is compared in order, each with one of these.
    ///
    /// # Panics
    /// When something else is sent next, or nothing.
    #[track_caller]
    pub fn then_sends<T: Entity, D: TestedCommand>(mut self, id: &str, command: D) -> Self {
        let found = self.sent.next();
        let expected = Sent::other::<T, D>(id, &command);
        assert!(
            found == Some(expected),
            "{}",
            self.wrong("reaction", &found, &(T::TYPE, id, command))
        );
        self
    }

    /// The next of what is sent is this message, to a topic.
    ///
    /// # Panics
    /// When something else is sent next, or nothing.
    #[track_caller]
    pub fn then_publishes<M: Serialize + Debug>(
        mut self,
        topic: &TopicName<M>,
        key: &str,
        message: &M,
    ) -> Self {
        let found = self.sent.next();
        let expected = Sent::published(topic, key, message);
        assert!(
            found == Some(expected),
            "{}",
            self.wrong("message", &found, &(topic.as_str(), key, message))
        );
        self
    }

    /// The next of what is sent comes back to this entity after a while.
    ///
    /// # Panics
    /// When something else is sent next, or nothing.
    #[track_caller]
    pub fn then_timer<D: TestedCommand>(mut self, after: Duration, command: D) -> Self {
        let found = self.sent.next();
        let expected = self.sent.timer::<E, D>(after, &command);
        assert!(found == Some(expected), "{}", self.wrong("timer", &found, &(after, command)));
        self
    }

    /// Nothing is sent, besides what was compared already.
    ///
    /// # Panics
    /// When something is.
    #[track_caller]
    pub fn then_sends_nothing(mut self) -> Self {
        let found = self.sent.next();
        assert!(found.is_none(), "{}", self.wrong("reaction", &found, &"nothing"));
        self
    }

    /// The caller gets this reply.
    ///
    /// # Panics
    /// When it gets anything else.
    #[track_caller]
    pub fn then_reply(self, expected: C::Reply) -> Self {
        match &self.told {
            Told::Replied(reply) => self.compare("reply", reply, &expected),
            other => panic!("{}", self.wrong("reply", other, &expected)),
        }
        self
    }

    /// The entity refuses, with this rejection. A rejection stores no event.
    ///
    /// # Panics
    /// When it does anything else.
    #[track_caller]
    pub fn then_rejected(self, expected: E::Rejection) -> Self {
        match &self.told {
            Told::Rejected(rejection) => self.compare("rejection", rejection, &expected),
            other => panic!("{}", self.wrong("rejection", other, &expected)),
        }
        self
    }

    /// The entity fails: it panics, or what it decides passes a limit. What the caller is told holds this text. Nothing remains of the command.
    ///
    /// # Panics
    /// When it does not fail, or says something else.
    #[track_caller]
    pub fn then_fails(self, expected: &str) -> Self {
        match &self.told {
            Told::Failed(error) if error.to_string().contains(expected) => {}
            other => panic!("{}", self.wrong("failure", other, &expected)),
        }
        self
    }

    /// The entity is in this state.
    ///
    /// # Panics
    /// When it is in another.
    #[track_caller]
    pub fn then_state(self, expected: E) -> Self {
        self.compare("state", &self.state, &expected);
        self
    }

    /// The entity wishes to be put to rest.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn then_rests(self) -> Self {
        assert!(self.rests, "{}: `{}` does not put the entity to rest", E::TYPE, C::NAME);
        self
    }

    /// Asks the next command, on the state that this one led to.
    ///
    /// # Panics
    /// As [`Given::when`].
    #[track_caller]
    pub fn when<D: TestedCommand>(self, command: D) -> When<E, D> {
        self.given.when(command)
    }

    /// Time passes before the next command.
    #[must_use]
    pub fn later(mut self, time: Duration) -> Self {
        self.given = self.given.later(time);
        self
    }

    #[track_caller]
    fn compare<T: PartialEq + Debug + ?Sized>(&self, what: &str, found: &T, expected: &T) {
        assert!(found == expected, "{}", self.wrong(what, &found, &expected));
    }

    fn wrong(&self, what: &str, found: &impl Debug, expected: &impl Debug) -> String {
        let (entity, command) = (E::TYPE, C::NAME);
        format!(
            "{entity}: `{command}`: wrong {what}\n  expected: {expected:?}\n  found:    {found:?}"
        )
    }
}

impl<E: Tested, C: TestedCommand> Debug for When<E, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("When")
            .field("told", &self.told)
            .field("events", &self.events)
            .field("state", &self.state)
            .field("rests", &self.rests)
            .finish_non_exhaustive()
    }
}
