//! The vocabulary between processes: what a request may be and how it is laid out in a frame's body.
//!
//! The first byte of a body says which layout follows. Raft messages and the cluster's own requests go as they are, behind a few
//! fixed bytes, so that nothing is encoded twice and decoding copies nothing; everything else is a [`Message`] in bincode.

use bytes::Bytes;
use holm_core::{Answer, AskError, CommandEnvelope, EntityAddress, Offset, SequenceNumber, ShardId};

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
    /// A command for an entity whose shard the receiver should lead. Answer: [`CommandAnswer`].
    Command(CommandEnvelope),
    /// The receiver's picture of the cluster. Answer: an encoded [`crate::ClusterView`].
    View,
    /// A page of an entity's history, from the shard's leader. The answer is an encoded page.
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
}

/// The answer to [`Message::Command`].
pub type CommandAnswer = Result<Answer, AskError>;

/// The answer to [`Message::Batches`]: whole batches as stored.
pub type BatchesAnswer = Result<Vec<Bytes>, AskError>;

impl Message {
    /// The body of a frame that carries this message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`UnknownMessage`] when the bytes are no message of this version.
    pub fn decode(body: Bytes) -> Result<Self, UnknownMessage> {
        let _ = body;
        unimplemented!()
    }
}

/// The body of a [`Message::Raft`], encoded in one go: `write` puts the message behind the header.
///
/// # Errors
/// Whatever `write` says.
pub fn raft_body<E>(
    group: u32,
    kind: u8,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Bytes, E> {
    let _ = (group, kind);
    let mut body = Vec::new();
    write(&mut body)?;
    Ok(body.into())
}

/// Why a body is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown message: {reason}")]
pub struct UnknownMessage {
    /// What does not fit.
    pub reason: String,
}
