//! What an entity can get wrong without any test of its logic noticing: the kit's own findings, as messages for its author.

use holm_core::AskError;
use holm_persistence::CodecError;
use holm_runtime::UpcastError;

/// Why an entity would go wrong on a node, although its logic may be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Something cannot be encoded or decoded.
    #[error("{entity}: {what} does not survive its encoding: {reason}\n  {HINT}")]
    Unreadable {
        /// The entity's type.
        entity: &'static str,
        /// The command, event, reply, rejection or state.
        what: String,
        /// What the codec said.
        reason: CodecError,
    },
    /// Something comes back from its encoding as something else.
    #[error(
        "{entity}: {what} comes back from its encoding as something else\n  before: {before}\n  after:  {after}\n  {HINT}"
    )]
    Altered {
        /// The entity's type.
        entity: &'static str,
        /// The command or the state.
        what: String,
        /// How it went in.
        before: String,
        /// How it came out.
        after: String,
    },
    /// A stored event has no reader.
    #[error("{entity}: the stored event `{name}` cannot be read back: {reason}")]
    UnreadableEvent {
        /// The entity's type.
        entity: &'static str,
        /// The event's name.
        name: Box<str>,
        /// What the reader said.
        reason: UpcastError,
    },
    /// `apply` panicked over events that are said to have happened.
    #[error(
        "{entity}: `apply` panicked over the history: {reason}\n  it must not fail: what happened, happened"
    )]
    PanickedInApply {
        /// The entity's type.
        entity: &'static str,
        /// The panic's message.
        reason: String,
    },
    /// The state after the command is not what the events add up to.
    #[error(
        "{entity}: {restart} gives another state\n  live:      {live}\n  restarted: {restarted}\n  `apply` must depend on nothing but state and event; does serde leave a field of an event out?"
    )]
    RestartDiffers {
        /// The entity's type.
        entity: &'static str,
        /// Which restart.
        restart: &'static str,
        /// The state of the entity that handled the command.
        live: String,
        /// The state of the one that was restarted.
        restarted: String,
    },
    /// The same command on the same state at the same time decided differently.
    #[error(
        "{entity}: `{command}` decides differently when it runs again on the same state\n  first:  {first}\n  second: {second}\n  time and randomness must come from the context, and a `HashMap` has no order"
    )]
    Undetermined {
        /// The entity's type.
        entity: &'static str,
        /// The command.
        command: &'static str,
        /// What it decided first.
        first: String,
        /// What it decided then.
        second: String,
    },
    /// The recorded answer is not the one that was given.
    #[error(
        "{entity}: a repeated key would be answered differently from the first try of `{command}`"
    )]
    RepeatDiffers {
        /// The entity's type.
        entity: &'static str,
        /// The command.
        command: &'static str,
    },
    /// The entity cannot be asked at all.
    #[error("{entity} cannot be asked: {reason}\n  name each command in `Entity::commands`, once")]
    NotAnswered {
        /// The entity's type.
        entity: &'static str,
        /// What a caller would be told.
        reason: AskError,
    },
    /// The entity's type cannot be registered.
    #[error(transparent)]
    Unregistered(#[from] holm_runtime::RegistryError),
}

/// What is behind most of them.
const HINT: &str = "bincode does not describe itself: serde's `skip`, `skip_serializing_if`, `untagged` and `flatten` lose data or fail in it";
