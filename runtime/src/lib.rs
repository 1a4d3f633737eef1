//! The entity API, the pure shard engine and the actix actors around it.
//!
//! A developer implements [`Entity`], [`Handle`] and [`Read`]; a [`Registry`] knows the types; a [`ShardHost`] runs the shards that a node leads;
//! an [`EntityRef`] asks. Everything that decides is in [`engine`], a state machine without I/O, clock or thread; the actors and threads around it
//! only carry its inputs in and its outputs out.

// The derive macros name this crate by its own name, also in its doc tests and here.
extern crate self as holm_runtime;

mod answered;
mod ask;
pub mod bus;
mod cluster_facts;
mod commands;
mod context;
mod effect;
pub mod engine;
mod entity;
mod entity_ref;
mod failure;
mod failures;
pub mod flow;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod inspector;
mod options;
mod outbox;
mod pairs;
mod pieces;
mod policy;
mod reaction;
mod registry;
mod rehearsal;
mod shell;
mod snapshot_payload;
mod supervision;
mod system;

pub use answered::{Answered, NotDone};
pub use ask::{Asker, Asking, ReplyTo};
pub use cluster_facts::{ClusterEvent, ClusterFacts};
pub use commands::Commands;
pub use context::Context;
pub use effect::{Draft, Effect};
pub use entity::{Command, Entity, Event, Handle, NoRejection, Read, Rejection, UpcastError};
pub use entity_ref::{AskOptions, Caller, EntityError, EntityRef, Reply};
pub use failure::{
    FailedCommand, FailureFact, FailureKind, KEPT_COMMAND_BYTES, Severity, Standing, Subject,
};
pub use failures::{
    FailureCounts, FailureEvent, FailureFilter, FailureList, FailureLog, FailureRow, Failures,
    Handled, HandledOutcome, MalformedFilter, ReaderFailures, Settlement,
};
pub use holm_macros::{Command, Event};
pub use host::{ShardHost, StartError, together};
pub use inspector::{ConversationEntry, ConversationPage, HistoryPage, Inspector};
pub use options::{
    HostOptions, HostStats, LeadershipLost, Placement, ReadDelay, ShardStats, SnapshotObserver,
    WriteFailurePolicy,
};
pub use policy::{Policies, Policy, PolicyError, Then};
pub use registry::{CommandView, EntityTypeView, Registry, RegistryError, SYSTEM_PREFIX};
pub use rehearsal::{Rehearsal, Rehearsed, RehearsedEvent, RehearsedReaction};
pub use shell::afterwards::notify_afterwards;
pub use supervision::Supervision;

/// What a caught panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
