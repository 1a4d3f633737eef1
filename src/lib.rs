//! Holm: an actor-based, cluster-sharded, event-sourced entity runtime.
//!
//! A service declares *entities*: plain values that change only through events. Holm keeps each of them as an actor on one node of a
//! cluster, journals its events, recovers it after any failure, and answers commands once they are durable.
//!
//! This crate is the door: it names what a service needs and hides the rooms behind. [`Holm::builder`] starts a node, alone or as a member of
//! a cluster; [`Holm::client`] reaches a cluster without being part of it; [`Holm::entity`] gives the same [`EntityRef`] in all cases.
#![doc = include_str!("../README.md")]

mod builder;
mod client;
mod disk;
mod environment;
mod handle;
mod member;
mod policies;
mod single;
mod start_error;

pub use builder::{Builder, ClusterSettings};
pub use client::ClientBuilder;
pub use environment::{EnvironmentError, secret_variable};
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use environment::{fuzz_settings, fuzz_settings_seeds};
pub use handle::{Holm, NodeFacts};
pub use start_error::StartError;

pub use holm_core::{
    Answer, AskError, CausationId, Clock, CommandEnvelope, CommandId, CorrelationId, EntityAddress,
    Entropy, ErrorKind, FailureId, IdempotencyKey, Limit, Limits, MAX_SHARDS, ManualClock, NodeId,
    NotATraceParent, Offset, OsEntropy, Outcome, SeededEntropy, SequenceNumber, ShardId,
    SystemClock, Term, Timestamp, TraceParent, Verdict, shard_of,
};
pub use holm_persistence::{
    Batch, DiskLimits, DiskSpace, Pending, Record, Snapshot, StoredEvent, StoredReaction,
    StoredRecord, StoredVerdict, decode, encode,
};
pub use holm_runtime::{
    Answered, AskOptions, Asker, Caller, ClusterEvent, ClusterFacts, Command, CommandView,
    Commands, Context, Draft, Effect, Entity, EntityError, EntityRef, EntityTypeView, Event,
    FailedCommand, FailureCounts, FailureEvent, FailureFact, FailureFilter, FailureKind,
    FailureList, FailureLog, FailureRow, Failures, Handle, Handled, HandledOutcome, HistoryPage,
    HostStats, Inspector, MalformedFilter, NoRejection, NotDone, Policy, PolicyError, Read,
    Registry, Rejection, Reply, ReplyTo, Settlement, Severity, ShardStats, Standing, Subject,
    Supervision, Then, UpcastError,
};
pub use holm_runtime::{bus, flow};
pub use holm_sharding::{ClusterView, LeaveError, MemberState, MemberView, ShardState, ShardView};
