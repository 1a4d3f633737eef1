//! What travels between a caller and an entity: the command's envelope on the way in, the answer on the way out.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    CausationId, CommandId, CorrelationId, EntityAddress, IdempotencyKey, NodeId, Offset,
    SequenceNumber, ShardId, Timestamp,
};

/// One command on its way to an entity. A retry is the same envelope, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnvelope {
    /// Whom it is for.
    pub address: EntityAddress,
    /// The command's name, as in `withdraw`. Where it is made, that is a name in the program; where it was received, a text of its own.
    pub command: Cow<'static, str>,
    /// The command itself, encoded.
    pub payload: Bytes,
    /// Makes the retry of this command safe.
    pub key: IdempotencyKey,
    /// The id of this command.
    pub id: CommandId,
    /// The conversation it belongs to.
    pub correlation: CorrelationId,
    /// What caused it.
    pub causation: CausationId,
    /// When the caller stops waiting. A command found in a mailbox after this time is not begun.
    pub deadline: Timestamp,
}

/// What the entity said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It did what was asked: the encoded reply.
    Accepted(Bytes),
    /// It refused: the encoded rejection, a typed error of the domain.
    Rejected(Bytes),
}

/// The answer to a command, with the place in history that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The reply or the rejection.
    pub verdict: Verdict,
    /// The entity's sequence number after this command (for a replayed answer: after the first try).
    pub sequence: SequenceNumber,
    /// The entity's shard.
    pub shard: ShardId,
    /// The offset of this command's record; for a read, of the last record of the entity that the reply reflects.
    pub offset: Offset,
    /// True when the same key had been answered before and this is the recorded answer.
    pub replayed: bool,
    /// The node that led the shard.
    pub served_by: NodeId,
}
