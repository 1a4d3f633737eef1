//! Topics of a program's own: typed messages that are facts like any other, durable before they are called published, in order for each key.
//!
//! A topic is sixteen entities of Holm's own, one of which takes the messages of a key. Nothing else is needed: publishing is a command with an idempotency key,
//! and following a topic is following the log.

use std::marker::PhantomData;
use std::sync::Arc;

use holm_core::IdempotencyKey;
use holm_persistence::{CodecError, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::door::Bus;
use super::durable::{DurableSubscription, SubscribeError};
use super::fact::Fact;
use super::feed::FeedError;
use super::interest::Interest;
use super::position::Start;
use super::subscription::Subscription;
use crate::commands::Commands;
use crate::context::Context;
use crate::effect::Effect;
use crate::entity::{Entity, Handle, NoRejection};
use crate::entity_ref::{AskOptions, EntityError, EntityRef};
use crate::{Command, Event};

/// Entities that share a topic's messages. Pinned: the messages of a key are found where they were put.
const PARTITIONS: u64 = 16;

/// Stands between a topic's name and the number of a partition, and so in no name.
const SEPARATOR: char = '/';

/// The messages of one partition of one topic.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TopicLog {}

#[derive(Debug, Event, Serialize, Deserialize)]
pub(crate) enum TopicEvent {
    /// A message, encoded by whoever published it.
    Published {
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = ())]
pub(crate) struct Publish {
    #[serde(with = "serde_bytes")]
    pub(crate) message: Vec<u8>,
}

impl Entity for TopicLog {
    const TYPE: &'static str = "holm-topic";
    type Event = TopicEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, _: &TopicEvent) {}

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Publish>();
    }
}

impl Handle<Publish> for TopicLog {
    fn handle(
        &self,
        publish: Publish,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        Ok(cx.persist(TopicEvent::Published { message: publish.message }).no_reply())
    }
}

/// A topic of messages of type `M`. Made by [`Bus::topic`]; cheap to clone.
///
/// Messages are stored in bincode, which does not describe itself: a type that may change over the years carries a version of its own.
pub struct Topic<M> {
    bus: Bus,
    name: Arc<str>,
    message: PhantomData<fn(M)>,
}

impl<M: Serialize + DeserializeOwned> Topic<M> {
    pub(super) fn new(bus: Bus, name: &str) -> Result<Self, TopicError> {
        let refused = |reason: String| TopicError::Name { name: name.to_owned(), reason };
        if name.is_empty() || name.contains(SEPARATOR) {
            return Err(refused(format!("it must not be empty, nor hold `{SEPARATOR}`")));
        }
        let topic = Self { bus, name: name.into(), message: PhantomData };
        topic.log("any").address().map_err(|error| refused(error.to_string()))?;
        Ok(topic)
    }

    /// Publishes a message; it is durable when this resolves. Messages of one key keep their order.
    ///
    /// # Errors
    /// [`TopicError::Failed`] says by its source whether it may have been published; use [`Topic::publish_once`] to try again safely.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the message back.
    pub async fn publish(&self, key: &str, message: &M) -> Result<(), TopicError> {
        self.publish_with(key, message, AskOptions::default()).await
    }

    /// The same with an idempotency key: published once, however often it is tried within the window of keys.
    ///
    /// # Errors
    /// As [`Topic::publish`].
    ///
    /// # Cancel safety
    /// As [`Topic::publish`].
    pub async fn publish_once(
        &self,
        key: &str,
        message: &M,
        once: IdempotencyKey,
    ) -> Result<(), TopicError> {
        self.publish_with(key, message, AskOptions::with_key(once)).await
    }

    /// The same with whatever a caller may say besides: with [`AskOptions::following`], the message belongs to the conversation of the fact that it follows.
    ///
    /// # Errors
    /// As [`Topic::publish`].
    ///
    /// # Cancel safety
    /// As [`Topic::publish`].
    pub async fn publish_with(
        &self,
        key: &str,
        message: &M,
        options: AskOptions,
    ) -> Result<(), TopicError> {
        let publish = message_for(message).map_err(TopicError::Message)?;
        let sent = self.log(key).ask_with(publish, options).await;
        sent.map(drop).map_err(TopicError::Failed)
    }

    /// Follows the topic.
    ///
    /// # Errors
    /// As [`Bus::subscribe`].
    pub async fn subscribe(&self, start: Start) -> Result<Subscription, FeedError> {
        self.bus.subscribe(self.interest(), start).await
    }

    /// Follows the topic under a name that remembers how far it is.
    ///
    /// # Errors
    /// As [`Bus::subscribe_durable`].
    pub async fn subscribe_durable(
        &self,
        name: &str,
        start: Start,
    ) -> Result<DurableSubscription, SubscribeError> {
        self.bus.subscribe_durable(name, self.interest(), start).await
    }

    /// The facts of this topic.
    #[must_use]
    pub fn interest(&self) -> Interest {
        Interest::of::<TopicLog>().id_prefix(format!("{}{SEPARATOR}", self.name))
    }

    /// The message in a fact of this topic.
    ///
    /// # Errors
    /// [`TopicError::Foreign`] when the fact holds no such message.
    pub fn read(&self, fact: &Fact) -> Result<M, TopicError> {
        let foreign = |reason| TopicError::Foreign { name: self.name.to_string(), reason };
        message_in(fact).map_err(foreign)
    }

    fn log(&self, key: &str) -> EntityRef<TopicLog> {
        EntityRef::new(Arc::clone(self.bus.caller()), partition_of(&self.name, key))
    }
}

/// The id of the entity that takes the messages of this key.
pub(super) fn partition_of(topic: &str, key: &str) -> String {
    let partition = XxHash3_64::oneshot(key.as_bytes()) % PARTITIONS;
    format!("{topic}{SEPARATOR}{partition}")
}

/// The command that publishes a message.
pub(crate) fn message_for<M: Serialize>(message: &M) -> Result<Publish, CodecError> {
    Ok(Publish { message: encode(message)?.to_vec() })
}

/// The message in a fact, whatever topic it is of.
pub(super) fn message_in<M: DeserializeOwned>(fact: &Fact) -> Result<M, String> {
    let event = fact.event::<TopicLog>().map_err(|error| error.to_string())?;
    let TopicEvent::Published { message } = event;
    decode(&message).map_err(|error| error.to_string())
}

impl<M> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self { bus: self.bus.clone(), name: Arc::clone(&self.name), message: PhantomData }
    }
}

impl<M> std::fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Topic").field(&self.name).finish()
    }
}

/// Why a message was not published, or not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The name is none.
    #[error("`{name}` is no name for a topic: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The message cannot be encoded, or is too long for [`holm_core::Limits::command_bytes`].
    #[error("the message cannot be encoded")]
    Message(#[source] CodecError),
    /// The fact holds no message of this topic's type.
    #[error("the fact holds no message of topic `{name}`: {reason}")]
    Foreign {
        /// The topic.
        name: String,
        /// What stands in the way.
        reason: String,
    },
    /// It was not acknowledged. The source says what to do and what became of it.
    #[error("the message was not acknowledged")]
    Failed(#[source] EntityError<NoRejection>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key's messages are found for ever where they were put.
    #[test]
    fn the_partition_of_a_key_never_changes() {
        let ids = ["", "ada", "bob", "order-1"].map(|key| partition_of("t", key));
        assert_eq!(ids, ["t/2", "t/15", "t/5", "t/6"]);
    }
}
