//! The name of a topic with the type of its messages, known where a program is compiled: so that effects and policies can publish without a bus.

use std::fmt;
use std::marker::PhantomData;

use holm_core::EntityAddress;
use holm_persistence::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::door::Bus;
use super::topic::{Publish, Topic, TopicLog, message_for, partition_of};
use crate::entity::{Command, Entity};
use crate::reaction::{Reaction, Target};
use crate::rehearsal::RehearsedReaction;

/// Longest name in bytes. It leaves room in an id for the number of a partition.
const NAME_BYTES: usize = 128;

/// A topic by its name. A constant, beside the type of its messages:
///
/// ```
/// use holm_runtime::bus::TopicName;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Shipped { order: u64 }
///
/// const SHIPPED: TopicName<Shipped> = TopicName::new("shipped");
/// ```
///
/// [`crate::Draft::publish`] and [`crate::Then::publish`] publish under it, [`TopicName::on`] opens it.
pub struct TopicName<M> {
    name: &'static str,
    message: PhantomData<fn(M)>,
}

impl<M> TopicName<M> {
    /// The topic of this name.
    ///
    /// # Panics
    /// When it is none: it must have 1 to 128 bytes of printable ASCII, and no `/`. A constant does not compile then.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(
            !bytes.is_empty() && bytes.len() <= NAME_BYTES,
            "a topic's name has 1 to 128 bytes"
        );
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at].is_ascii_graphic() && bytes[at] != b'/',
                "a topic's name is printable ASCII without `/`"
            );
            at += 1;
        }
        Self { name, message: PhantomData }
    }

    /// The name itself.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        self.name
    }
}

impl<M: Serialize> TopicName<M> {
    /// What an effect that publishes this message sends, for tests.
    ///
    /// # Errors
    /// When the message cannot be encoded.
    pub fn reaction(&self, key: &str, message: &M) -> Result<RehearsedReaction, CodecError> {
        let to = EntityAddress::new(TopicLog::TYPE, partition_of(self.name, key))
            .expect("the name of a topic is checked, and short");
        let payload = holm_persistence::encode(&message_for(message)?)?;
        let command = Publish::NAME.into();
        Ok(RehearsedReaction { to, command, payload, due: None, answered: None })
    }

    pub(crate) fn publishing(&self, key: &str, message: &M) -> Reaction {
        let target = Target::other::<TopicLog>(&partition_of(self.name, key));
        Reaction::encoded(
            target,
            Publish::NAME,
            message_for(message).and_then(|it| holm_persistence::encode(&it)),
        )
    }
}

impl<M: Serialize + DeserializeOwned> TopicName<M> {
    /// The topic itself, to be followed, or published to from outside of entities.
    #[must_use]
    pub fn on(&self, bus: &Bus) -> Topic<M> {
        Topic::new(bus.clone(), self.name).expect("the name was checked when it was made")
    }
}

impl<M> Clone for TopicName<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for TopicName<M> {}

impl<M> fmt::Debug for TopicName<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TopicName").field(&self.name).finish()
    }
}
