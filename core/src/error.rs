//! The errors of `ask`, and the two questions that every error of Holm answers: what should the caller do, and what happened?

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{EntityAddress, FailureId, NodeId, ShardId};

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// Send the same command again with the same idempotency key, now.
    Retry,
    /// The same, but later: something is full or not there yet.
    BackOff,
    /// The request itself is wrong; repeating it does not help.
    FixRequest,
    /// Nothing the caller can do helps; a person must look.
    GiveUp,
}

/// What became of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It surely had no effect and will have none.
    NotApplied,
    /// It may have taken effect or may still; a retry with the same key tells.
    Unknown,
}

/// The limit that was passed (promise G9). Its `Display` is the name in [`crate::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// The mailbox of the shard is full.
    MailboxCapacity,
    /// The encoded command is too long.
    CommandBytes,
    /// The encoded reply is too long.
    ReplyBytes,
    /// The encoded events are too long.
    EventsBytes,
    /// Every live entity of the shard is busy, so none can be passivated to make room.
    LiveEntities,
    /// Too many commands wait for the recovery of this entity.
    HeldCommands,
    /// Too many requests wait in the router or on the connection to a peer.
    RequestsInFlight,
    /// One command has too many reactions.
    ReactionsPerCommand,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MailboxCapacity => "mailbox_capacity",
            Self::CommandBytes => "command_bytes",
            Self::ReplyBytes => "reply_bytes",
            Self::EventsBytes => "events_bytes",
            Self::ReactionsPerCommand => "reactions_per_command",
            Self::LiveEntities => "live_entities",
            Self::HeldCommands => "held_commands",
            Self::RequestsInFlight => "requests_in_flight",
        })
    }
}

/// Why a command got no answer from its entity. A rejection by the entity is an answer, not one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AskError {
    /// A limit was passed; nothing was done.
    #[error("overloaded: {limit} of {allowed} is used up")]
    Overloaded {
        /// Which limit.
        limit: Limit,
        /// Its value.
        allowed: u64,
    },
    /// Something is longer than its limit; nothing was done.
    #[error("too large: {actual} bytes, {limit} allows {allowed}")]
    TooLarge {
        /// Which limit.
        limit: Limit,
        /// Its value.
        allowed: u64,
        /// The length found.
        actual: u64,
    },
    /// No node serves the shard at the moment, for example because the majority of its replicas is gone.
    #[error("shard {shard} is unavailable: {reason}")]
    Unavailable {
        /// The shard.
        shard: ShardId,
        /// What is missing.
        reason: Box<str>,
        /// Whether the command may have been taken.
        outcome: Outcome,
    },
    /// The deadline passed.
    #[error("no answer within the deadline")]
    DeadlinePassed {
        /// Whether the command may have been taken.
        outcome: Outcome,
    },
    /// The node asked does not lead the shard; the router follows this by itself.
    #[error("shard {shard} is led elsewhere")]
    Moved {
        /// The shard.
        shard: ShardId,
        /// The leader, when known.
        leader: Option<NodeId>,
    },
    /// The write was on its way when leadership or the log was lost.
    #[error("the outcome is unknown: {reason}; retry with the same idempotency key")]
    Interrupted {
        /// What happened to the write.
        reason: Box<str>,
    },
    /// No such entity type is registered.
    #[error("no entity type `{entity_type}` is registered{}", nearest_hint(.nearest.as_deref()))]
    UnknownEntityType {
        /// The name asked for.
        entity_type: Box<str>,
        /// The registered name that resembles it most.
        nearest: Option<Box<str>>,
    },
    /// The entity type has no such command.
    #[error("entity type `{entity_type}` has no command `{command}`{}", nearest_hint(.nearest.as_deref()))]
    UnknownCommand {
        /// The entity type.
        entity_type: Box<str>,
        /// The name asked for.
        command: Box<str>,
        /// The command that resembles it most.
        nearest: Option<Box<str>>,
    },
    /// The command, or what came back, could not be decoded.
    #[error("`{command}` could not be decoded: {reason}")]
    Undecodable {
        /// The command's name.
        command: Box<str>,
        /// What the decoder said.
        reason: Box<str>,
    },
    /// The idempotency key was used before with another command or payload.
    #[error("the idempotency key was used before on {address} with another command or payload")]
    KeyReused {
        /// The entity.
        address: EntityAddress,
    },
    /// The handler or `apply` panicked; the entity restarts from its log and the command had no effect.
    #[error("{address} failed while handling `{command}`: {reason}")]
    EntityFailed {
        /// The entity.
        address: EntityAddress,
        /// The command.
        command: Box<str>,
        /// The panic's message.
        reason: Box<str>,
    },
    /// The entity could not be rebuilt from its history.
    #[error("{address} cannot be recovered: {reason}")]
    RecoveryFailed {
        /// The entity.
        address: EntityAddress,
        /// What stands in the way.
        reason: Box<str>,
    },
    /// The entity failed and is restarted after a back-off; until then it takes no command, reads included.
    #[error("{address} restarts after a failure; ask again in {} ms", .retry_after.as_millis())]
    Restarting {
        /// The entity.
        address: EntityAddress,
        /// After which time it takes commands again.
        retry_after: Duration,
    },
    /// The entity failed too often and is in quarantine: it takes no command, reads included, until somebody lifts that.
    #[error("{address} is in quarantine since failure {failure}: {reason}")]
    Quarantined {
        /// The entity.
        address: EntityAddress,
        /// The failure fact that says why.
        failure: FailureId,
        /// What that failure said.
        reason: Box<str>,
    },
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

impl AskError {
    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Overloaded { .. } | Self::Unavailable { .. } | Self::Restarting { .. } => {
                ErrorKind::BackOff
            }
            Self::DeadlinePassed { .. } | Self::Moved { .. } | Self::Interrupted { .. } => {
                ErrorKind::Retry
            }
            Self::TooLarge { .. }
            | Self::UnknownEntityType { .. }
            | Self::UnknownCommand { .. }
            | Self::Undecodable { .. }
            | Self::KeyReused { .. } => ErrorKind::FixRequest,
            Self::EntityFailed { .. } | Self::RecoveryFailed { .. } | Self::Quarantined { .. } => {
                ErrorKind::GiveUp
            }
        }
    }

    /// What became of the command.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable { outcome, .. } | Self::DeadlinePassed { outcome } => *outcome,
            Self::Interrupted { .. } => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }
}
