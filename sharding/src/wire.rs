//! The vocabulary between processes: what a request may be and how it is laid out in a frame's body.
//!
//! The first byte of a body says which layout follows. Raft messages and the cluster's own requests go as they are, behind a few
//! fixed bytes, so that nothing is encoded twice and decoding copies nothing; everything else is a [`Message`] in bincode.

#[cfg(test)]
pub(crate) mod shape;

use bytes::Bytes;
use holm_core::{
    Answer, AskError, CommandEnvelope, CorrelationId, EntityAddress, Offset, SequenceNumber,
    ShardId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request or a notice from one process to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A message of a Raft group. The answer's body is whatever that group says.
    Raft {
        /// The group: a shard's number, or `u32::MAX` for the cluster log.
        group: u32,
        /// Which of the group's messages, as the consensus part numbers them.
        kind: u8,
        /// The message, encoded by the consensus part.
        bytes: Bytes,
    },
    /// A request of the cluster node (join, leave, elect, a snapshot's copy …). The answer's body is its own too.
    Cluster {
        /// Which request, as the cluster node numbers them.
        kind: u8,
        /// The request, encoded by the cluster node.
        bytes: Bytes,
    },
    /// A command for an entity whose shard the receiver should lead. Its deadline is the time that is left, counted from the epoch: the clocks of
    /// two processes may show different times of day. Answer: [`CommandAnswer`].
    Command(CommandEnvelope),
    /// The receiver's picture of the cluster. Answer: an encoded [`crate::ClusterView`].
    View,
    /// A page of an entity's history, from the shard's leader. Answer: [`HistoryAnswer`].
    History {
        /// The entity.
        address: EntityAddress,
        /// Only events after this one.
        after: SequenceNumber,
        /// Most records.
        limit: u32,
    },
    /// Batches of a shard's log, from any replica's committed part. Answer: [`BatchesAnswer`].
    Batches {
        /// The shard.
        shard: ShardId,
        /// From the batch that holds this offset.
        from: Offset,
        /// About how many bytes.
        max_bytes: u32,
    },
    /// The end of a shard's log, at once, or once it is above an offset or nothing came for some seconds. Answer: [`TailAnswer`].
    Tail {
        /// The shard.
        shard: ShardId,
        /// The last offset that the sender knows; none: answer at once.
        seen: Option<Offset>,
    },
    /// Records of one conversation in a shard, as its leader's index knows them. Answer: [`ConversationAnswer`].
    Conversation {
        /// The shard.
        shard: ShardId,
        /// The conversation.
        correlation: CorrelationId,
        /// Only records from this offset on.
        from: Offset,
        /// About how many bytes.
        max_bytes: u32,
    },
    /// What stands behind an offset of a shard's log, as soon as there is anything; nothing when nothing came for some seconds. Answer: [`BatchesAnswer`].
    Follow {
        /// The shard.
        shard: ShardId,
        /// The last offset that the sender has.
        seen: Offset,
        /// About how many bytes.
        max_bytes: u32,
    },
}

/// The answer to [`Message::Command`].
pub type CommandAnswer = Result<Answer, AskError>;

/// The answer to [`Message::History`]: an encoded [`holm_runtime::HistoryPage`].
pub type HistoryAnswer = Result<Bytes, AskError>;

/// The answer to [`Message::Batches`] and [`Message::Follow`]: whole batches as stored.
pub type BatchesAnswer = Result<Vec<Bytes>, AskError>;

/// The answer to [`Message::Tail`]: the last durable offset.
pub type TailAnswer = Result<Offset, AskError>;

/// The answer to [`Message::Conversation`]: an encoded [`holm_runtime::ConversationPage`].
pub type ConversationAnswer = Result<Bytes, AskError>;

/// First byte of each layout.
mod tag {
    pub(super) const RAFT: u8 = 0;
    pub(super) const CLUSTER: u8 = 1;
    pub(super) const COMMAND: u8 = 2;
    pub(super) const VIEW: u8 = 3;
    pub(super) const HISTORY: u8 = 4;
    pub(super) const BATCHES: u8 = 5;
    pub(super) const TAIL: u8 = 6;
    pub(super) const CONVERSATION: u8 = 7;
    pub(super) const FOLLOW: u8 = 8;
}

/// Tag, kind and group.
const RAFT_HEAD_BYTES: usize = 6;
/// Tag and kind.
const CLUSTER_HEAD_BYTES: usize = 2;

impl Message {
    /// The body of a frame that carries this message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Raft { group, kind, bytes } => {
                let mut body = Vec::with_capacity(RAFT_HEAD_BYTES + bytes.len());
                put_raft_head(&mut body, *group, *kind);
                body.extend_from_slice(bytes);
                body.into()
            }
            Self::Cluster { kind, bytes } => {
                let mut body = Vec::with_capacity(CLUSTER_HEAD_BYTES + bytes.len());
                body.extend_from_slice(&[tag::CLUSTER, *kind]);
                body.extend_from_slice(bytes);
                body.into()
            }
            Self::Command(envelope) => Self::encode_command(envelope),
            Self::View => Bytes::from_static(&[tag::VIEW]),
            Self::History { address, after, limit } => {
                tagged(tag::HISTORY, &(address, after, limit))
            }
            Self::Batches { shard, from, max_bytes } => {
                tagged(tag::BATCHES, &(shard, from, max_bytes))
            }
            Self::Tail { shard, seen } => tagged(tag::TAIL, &(shard, seen)),
            Self::Conversation { shard, correlation, from, max_bytes } => {
                tagged(tag::CONVERSATION, &(shard, correlation, from, max_bytes))
            }
            Self::Follow { shard, seen, max_bytes } => {
                tagged(tag::FOLLOW, &(shard, seen, max_bytes))
            }
        }
    }

    /// The body for a [`Message::Command`] that stays with the caller, for a retry.
    pub(crate) fn encode_command(envelope: &CommandEnvelope) -> Bytes {
        tagged(tag::COMMAND, envelope)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`UnknownMessage`] when the bytes are no message of this version.
    pub fn decode(body: Bytes) -> Result<Self, UnknownMessage> {
        let (&tag, rest) = body.split_first().ok_or_else(|| unknown("an empty body"))?;
        match tag {
            tag::RAFT => {
                let head: [u8; RAFT_HEAD_BYTES] = *body
                    .first_chunk()
                    .ok_or_else(|| unknown("a Raft message without its head"))?;
                let [_, kind, group @ ..] = head;
                let group = u32::from_le_bytes(group);
                Ok(Self::Raft { group, kind, bytes: body.slice(RAFT_HEAD_BYTES..) })
            }
            tag::CLUSTER => {
                let kind =
                    *rest.first().ok_or_else(|| unknown("a cluster message without its kind"))?;
                Ok(Self::Cluster { kind, bytes: body.slice(CLUSTER_HEAD_BYTES..) })
            }
            tag::COMMAND => Ok(Self::Command(untagged(rest)?)),
            tag::VIEW if rest.is_empty() => Ok(Self::View),
            tag::HISTORY => {
                let (address, after, limit) = untagged(rest)?;
                Ok(Self::History { address, after, limit })
            }
            tag::BATCHES => {
                let (shard, from, max_bytes) = untagged(rest)?;
                Ok(Self::Batches { shard, from, max_bytes })
            }
            tag::TAIL => {
                let (shard, seen) = untagged(rest)?;
                Ok(Self::Tail { shard, seen })
            }
            tag::CONVERSATION => {
                let (shard, correlation, from, max_bytes) = untagged(rest)?;
                Ok(Self::Conversation { shard, correlation, from, max_bytes })
            }
            tag::FOLLOW => {
                let (shard, seen, max_bytes) = untagged(rest)?;
                Ok(Self::Follow { shard, seen, max_bytes })
            }
            tag => Err(unknown(format!("layout {tag}"))),
        }
    }
}

/// Whether a body is a [`Message::Command`].
pub(crate) fn is_command(body: &[u8]) -> bool {
    body.first() == Some(&tag::COMMAND)
}

/// The body of a [`Message::Raft`], encoded in one go: `write` puts the message behind the head.
///
/// # Errors
/// Whatever `write` says.
pub fn raft_body<E>(
    group: u32,
    kind: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let mut body = Vec::with_capacity(256);
    put_raft_head(&mut body, group, kind);
    write(&mut body)?;
    Ok(body.into())
}

fn put_raft_head(body: &mut Vec<u8>, group: u32, kind: u8) {
    body.extend_from_slice(&[tag::RAFT, kind]);
    body.extend_from_slice(&group.to_le_bytes());
}

fn tagged(tag: u8, value: &impl Serialize) -> Bytes {
    let mut body = Vec::with_capacity(256);
    body.push(tag);
    holm_persistence::encode_into(value, &mut body).expect("the vocabulary can be encoded");
    body.into()
}

fn untagged<T: DeserializeOwned>(rest: &[u8]) -> Result<T, UnknownMessage> {
    holm_persistence::decode(rest).map_err(|error| unknown(error.to_string()))
}

fn unknown(reason: impl Into<String>) -> UnknownMessage {
    UnknownMessage { reason: reason.into() }
}

/// Why a body is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown message: {reason}")]
pub struct UnknownMessage {
    /// What does not fit.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use holm_core::{CausationId, CommandId, CorrelationId, IdempotencyKey, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn messages() -> Vec<Message> {
        let address: EntityAddress = "account/alice".parse().unwrap();
        vec![
            Message::Raft { group: u32::MAX, kind: 3, bytes: Bytes::from_static(b"raft") },
            Message::Raft { group: 0, kind: 0, bytes: Bytes::new() },
            Message::Cluster { kind: 9, bytes: Bytes::from_static(b"join") },
            Message::Command(CommandEnvelope {
                address: address.clone(),
                command: "deposit".into(),
                payload: Bytes::from_static(b"\x05"),
                key: IdempotencyKey::new("once").unwrap(),
                id: CommandId(1),
                correlation: CorrelationId(2),
                causation: CausationId(3),
                deadline: Timestamp::from_millis(4),
            }),
            Message::View,
            Message::History { address, after: SequenceNumber(7), limit: 100 },
            Message::Batches { shard: ShardId(3), from: Offset(1), max_bytes: 4096 },
            Message::Tail { shard: ShardId(3), seen: Some(Offset(9)) },
            Message::Conversation {
                shard: ShardId(3),
                correlation: CorrelationId(2),
                from: Offset(1),
                max_bytes: 4096,
            },
            Message::Follow { shard: ShardId(3), seen: Offset(9), max_bytes: 4096 },
        ]
    }

    #[test]
    fn messages_read_back() {
        for message in messages() {
            assert_eq!(Message::decode(message.encode()), Ok(message));
        }
    }

    #[test]
    fn a_raft_message_is_encoded_in_place() {
        let body = raft_body::<()>(7, 2, |body| {
            body.extend_from_slice(b"entries");
            Ok(())
        });
        let bytes = Bytes::from_static(b"entries");
        assert_eq!(Message::decode(body.unwrap()), Ok(Message::Raft { group: 7, kind: 2, bytes }));
    }

    #[test]
    fn layouts_of_later_versions_are_named() {
        let error = Message::decode(Bytes::from_static(&[200, 1, 2])).unwrap_err();
        assert_eq!(error.to_string(), "unknown message: layout 200");
        assert!(Message::decode(Bytes::new()).is_err());
        assert!(Message::decode(Bytes::from_static(&[tag::VIEW, 0])).is_err());
    }

    proptest! {
        /// Random and mutated bodies never panic.
        #[test]
        fn garbage_never_panics(tag in 0u8..9, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body: Vec<u8> = std::iter::once(tag).chain(rest).collect();
            let _ = Message::decode(body.into());
        }

        #[test]
        fn mutated_messages_never_panic(which in 0usize..9, at: prop::sample::Index, byte: u8, end: prop::sample::Index) {
            let mut body = messages()[which].encode().to_vec();
            let place = at.index(body.len());
            body[place] = byte;
            body.truncate(end.index(body.len() + 1));
            let _ = Message::decode(body.into());
        }
    }
}
