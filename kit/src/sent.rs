//! Sent: what a command leads to beyond its entity, in order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use holm_core::Timestamp;
use holm_persistence::encode;
use holm_runtime::bus::TopicName;
use holm_runtime::{Command, Entity, RehearsedReaction};
use serde::Serialize;

/// The reactions of one command that were not compared yet.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    now: Timestamp,
    sender: Box<str>,
    reactions: VecDeque<RehearsedReaction>,
}

/// One reaction, as far as tests compare it. Who hears the answer is not part of it: the types see to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reacted {
    to: String,
    command: Box<str>,
    payload: Bytes,
    due: Option<Timestamp>,
}

impl Reacted {
    fn of(RehearsedReaction { to, command, payload, due, .. }: RehearsedReaction) -> Self {
        Self { to: to.to_string(), command, payload, due }
    }
}

impl Sent {
    pub(crate) fn new(now: Timestamp, sender: &str, reactions: Vec<RehearsedReaction>) -> Self {
        Self { now, sender: sender.into(), reactions: reactions.into() }
    }

    pub(crate) fn nothing() -> Self {
        Self::new(Timestamp::EPOCH, "", Vec::new())
    }

    pub(crate) fn next(&mut self) -> Option<Reacted> {
        self.reactions.pop_front().map(Reacted::of)
    }

    pub(crate) fn published<M: Serialize>(topic: &TopicName<M>, key: &str, message: &M) -> Reacted {
        let reaction = topic.reaction(key, message);
        Reacted::of(reaction.expect("the expected message can be encoded"))
    }

    pub(crate) fn other<T: Entity, C: Command>(id: &str, command: &C) -> Reacted {
        reacted::<T, C>(id, command, None)
    }

    pub(crate) fn timer<E: Entity, C: Command>(&self, after: Duration, command: &C) -> Reacted {
        reacted::<E, C>(&self.sender, command, Some(self.now.plus(after)))
    }
}

fn reacted<T: Entity, C: Command>(id: &str, command: &C, due: Option<Timestamp>) -> Reacted {
    let payload = encode(command).expect("the expected command can be encoded");
    Reacted { to: format!("{}/{id}", T::TYPE), command: C::NAME.into(), payload, due }
}
