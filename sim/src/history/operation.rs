//! One try of one client: what it asked, of which node, and what it was told.

use std::fmt;

use bytes::Bytes;
use holm_core::{
    Answer, AskError, EntityAddress, IdempotencyKey, Limit, NodeId, Offset, Outcome,
    SequenceNumber, ShardId, Verdict,
};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::text;

/// A point in the time of the run: nanoseconds since it began, by a clock that never goes back.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(pub u64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} ms", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Which client.
    pub client: u32,
    /// The node that it asked; not always the one that leads the shard.
    pub asked: NodeId,
    /// Whom it asked.
    #[serde(with = "text::shown")]
    pub entity: EntityAddress,
    /// The command's name.
    pub command: Box<str>,
    /// Whether the command changes nothing by its type. Such an answer is not recorded.
    pub reads: bool,
    /// The key. Every try of the same intention carries the same one.
    #[serde(with = "text::shown")]
    pub key: IdempotencyKey,
    /// XXH3-64 of command name, a zero byte and payload, as a record has it. None where the caller does not know the encoded command: over HTTP
    /// it sends JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<u64>,
    /// The encoded command.
    pub payload: Content,
    /// When it was sent.
    pub invoked: Moment,
    /// When its client stops waiting.
    pub deadline: Moment,
}

impl Call {
    /// The fingerprint of a request.
    #[must_use]
    pub fn fingerprint_of(command: &str, payload: &[u8]) -> u64 {
        XxHash3_64::oneshot(&[command.as_bytes(), &[0], payload].concat())
    }
}

/// One try of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What was asked.
    #[serde(flatten)]
    pub call: Call,
    /// When the client was told; none while the try is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Moment>,
    /// What the client was told.
    pub told: Told,
}

/// What a client was told about one try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Nothing: the run ended before. A client that dies is told so by whoever recorded it: [`Told::Failed`] with an unknown effect.
    Open,
    /// The entity did it.
    Accepted {
        /// The encoded reply.
        reply: Content,
        /// Where it stands.
        place: Place,
    },
    /// The entity refused.
    Rejected {
        /// The encoded rejection.
        rejection: Content,
        /// Where the refusal stands.
        place: Place,
    },
    /// An error instead of an answer.
    Failed {
        /// Whether the command may have taken effect.
        effect: Outcome,
        /// The limit that was passed, when one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Limit>,
        /// What the error said.
        error: Box<str>,
    },
}

/// The place in history that an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The entity's sequence number after the command.
    pub sequence: SequenceNumber,
    /// The entity's shard.
    pub shard: ShardId,
    /// The offset of the command's record; for a read, of the newest record that the reply reflects.
    pub offset: Offset,
    /// Whether the answer says that it is the recorded one.
    pub replayed: bool,
    /// The node that led the shard.
    pub served_by: NodeId,
}

impl Told {
    /// What an asker resolved to.
    #[must_use]
    pub fn of(asked: &Result<Answer, AskError>) -> Self {
        match asked {
            Ok(answer) => Self::of_answer(answer),
            Err(error) => Self::Failed {
                effect: error.outcome(),
                limit: match error {
                    AskError::Overloaded { limit, .. } | AskError::TooLarge { limit, .. } => {
                        Some(*limit)
                    }
                    _ => None,
                },
                error: error.to_string().into(),
            },
        }
    }

    fn of_answer(answer: &Answer) -> Self {
        let Answer { sequence, shard, offset, replayed, served_by, .. } = *answer;
        let place = Place { sequence, shard, offset, replayed, served_by };
        match &answer.verdict {
            Verdict::Accepted(reply) => Self::Accepted { reply: Content::of(reply), place },
            Verdict::Rejected(rejection) => {
                Self::Rejected { rejection: Content::of(rejection), place }
            }
        }
    }

    /// The place, when the entity answered.
    #[must_use]
    pub const fn place(&self) -> Option<&Place> {
        match self {
            Self::Accepted { place, .. } | Self::Rejected { place, .. } => Some(place),
            Self::Open | Self::Failed { .. } => None,
        }
    }

    /// Whether the command surely had no effect through this try.
    #[must_use]
    pub const fn surely_not_applied(&self) -> bool {
        matches!(self, Self::Failed { effect: Outcome::NotApplied, .. })
    }

    /// Whether nobody knows what became of this try: it is open, or ended in an error that leaves it open.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Open | Self::Failed { effect: Outcome::Unknown, .. })
    }
}

/// Longest content of which a history keeps the bytes themselves. Longer ones are known by length and digest, which is enough to tell whether two
/// are the same; the bytes are for models that must understand a command, and those have short ones.
pub const KEPT_BYTES: usize = 256;

/// An encoded command, reply or rejection: its digest always, its bytes when they are few.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content {
    /// XXH3-64 of the bytes.
    pub digest: u64,
    /// How many bytes there are.
    pub length: usize,
    /// The bytes, unless there are more than [`KEPT_BYTES`].
    #[serde(with = "text::hex", default, skip_serializing_if = "Bytes::is_empty")]
    pub kept: Bytes,
}

impl Content {
    /// The content of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let kept = if bytes.len() <= KEPT_BYTES { bytes } else { &[] };
        Self {
            digest: XxHash3_64::oneshot(bytes),
            length: bytes.len(),
            kept: Bytes::copy_from_slice(kept),
        }
    }

    /// The bytes, when they were kept.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        (self.kept.len() == self.length).then_some(&self.kept[..])
    }
}
