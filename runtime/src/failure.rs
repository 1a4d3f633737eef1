//! The failure fact: what failed, where, during which command, and what became of it. A value; who stores it and who acts on it stands elsewhere.

use std::error::Error;
use std::fmt;
use std::iter::successors;

use bytes::Bytes;
use holm_core::{
    CausationId, CommandEnvelope, CommandId, CorrelationId, EntityAddress, FailureId, NodeId,
    ShardId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::bus::Fact;

/// Bytes of a failed command that are kept, so that it can be asked again. Longer ones are the caller's to repeat.
pub const KEPT_COMMAND_BYTES: usize = 16 * 1024;

/// Bytes of one cause. Panics quote what they met, which may be long; the beginning says it.
const CAUSE_BYTES: usize = 512;

/// Causes of one fact, from the outermost on.
const MOST_CAUSES: usize = 4;

/// A failure that was contained, as a fact: it happened, it is stored once, and anybody may follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureFact {
    /// Its name. Sorts by time.
    pub id: FailureId,
    /// What kind of failure.
    pub kind: FailureKind,
    /// How bad it is.
    pub severity: Severity,
    /// What failed.
    pub subject: Subject,
    /// During which command; none when during none.
    pub command: Option<FailedCommand>,
    /// What was said, the outermost cause first.
    pub causes: Vec<Box<str>>,
    /// Which failure of this subject in the window of its supervision it is, from 1.
    pub attempt: u32,
    /// How many of its kind it stands for; more than one where they are gathered.
    pub count: u64,
    /// What became of the subject.
    pub standing: Standing,
    /// When.
    pub at: Timestamp,
    /// On which node.
    pub node: NodeId,
    /// In which shard; none where it concerns no single one.
    pub shard: Option<ShardId>,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// An entity.
    Entity(EntityAddress),
    /// A shard as a whole.
    Shard(ShardId),
    /// A node.
    Node(NodeId),
    /// Somebody who follows the logs, as in `subscription mail`.
    Reader(Box<str>),
}

/// The command during which something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCommand {
    /// Its name.
    pub name: Box<str>,
    /// Its id.
    pub id: CommandId,
    /// The conversation it belongs to.
    pub correlation: CorrelationId,
    /// What caused it.
    pub causation: CausationId,
    /// The key of its retries.
    pub key: Box<str>,
    /// The command itself, encoded; none when it is longer than [`KEPT_COMMAND_BYTES`].
    pub payload: Option<Bytes>,
}

/// What became of the subject of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// It goes on.
    Running,
    /// It restarts after this time.
    Restarting {
        /// From the failure on, in milliseconds.
        after_ms: u64,
    },
    /// It left memory; the next command brings it back.
    Stopped,
    /// It takes no command until somebody lifts the quarantine.
    Quarantined,
}

/// How bad a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing to be done, good to know.
    Notice,
    /// Something is slower or nearer to its limit than it should be.
    Warning,
    /// Something failed and was contained.
    Error,
    /// Something does not work until a person, or a program, acts.
    Critical,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// A handler, `apply`, a reply closure or a codec panicked or failed.
    Panicked,
    /// The entity cannot be rebuilt from its history.
    RecoveryFailed,
    /// A snapshot cannot be read; an older one or a full replay takes its place.
    SnapshotUnreadable,
    /// A snapshot cannot be taken; the entity goes on without.
    SnapshotFailed,
    /// A handler ran longer than the limit `slow_handler`.
    SlowHandler,
    /// The mailbox of a shard was full; commands were refused.
    QueueOverflow,
    /// Commands that no handler ever saw: of an unknown type or name, not decodable, or found after their deadline.
    DeadLetter,
    /// A write failed; the shard is opened again, here or elsewhere.
    WriteFailed,
    /// A shard is led again after a failed write.
    ShardReopened,
    /// A member is silent.
    NodeSuspected,
    /// A member counts as down.
    NodeDown,
    /// A member that was silent or down is back.
    NodeBack,
    /// A shard has no majority of its replicas.
    ShardWithoutQuorum,
    /// A shard is led by another node.
    ShardMoved,
    /// More facts came than could wait to be stored.
    FactsLost,
    /// A reaction cannot be delivered: the entity that it is for fails each time.
    ReactionUndelivered,
    /// A policy cannot say, or cannot hand over, what is to be done about an event; the event was left out.
    PolicyFailed,
    /// A subscriber is further behind than its limit, for longer than it may.
    SubscriberLagging,
    /// It has caught up.
    SubscriberCaughtUp,
    /// Little space is left on the disk of a node.
    DiskNearlyFull,
    /// There is more again.
    DiskFreeAgain,
    /// The index of a shard on a node is damaged or cannot be written; it is built anew from the log.
    IndexFailed,
    /// A projection cannot go on, and waits for somebody.
    ProjectionStopped,
    /// A view that was built anew did not come to its switch; the present one goes on.
    RebuildFailed,
    /// A projection left a record out for good.
    RecordSkipped,
    /// A projection left a record out, to be handled later.
    RecordParked,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::Panicked,
        Self::RecoveryFailed,
        Self::SnapshotUnreadable,
        Self::SnapshotFailed,
        Self::SlowHandler,
        Self::QueueOverflow,
        Self::DeadLetter,
        Self::WriteFailed,
        Self::ShardReopened,
        Self::NodeSuspected,
        Self::NodeDown,
        Self::NodeBack,
        Self::ShardWithoutQuorum,
        Self::ShardMoved,
        Self::FactsLost,
        Self::ReactionUndelivered,
        Self::PolicyFailed,
        Self::SubscriberLagging,
        Self::SubscriberCaughtUp,
        Self::DiskNearlyFull,
        Self::DiskFreeAgain,
        Self::IndexFailed,
        Self::ProjectionStopped,
        Self::RebuildFailed,
        Self::RecordSkipped,
        Self::RecordParked,
    ];

    /// The name in metrics, documents and filters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Panicked => "panicked",
            Self::RecoveryFailed => "recovery_failed",
            Self::SnapshotUnreadable => "snapshot_unreadable",
            Self::SnapshotFailed => "snapshot_failed",
            Self::SlowHandler => "slow_handler",
            Self::QueueOverflow => "queue_overflow",
            Self::DeadLetter => "dead_letter",
            Self::WriteFailed => "write_failed",
            Self::ShardReopened => "shard_reopened",
            Self::NodeSuspected => "node_suspected",
            Self::NodeDown => "node_down",
            Self::NodeBack => "node_back",
            Self::ShardWithoutQuorum => "shard_without_quorum",
            Self::ShardMoved => "shard_moved",
            Self::FactsLost => "facts_lost",
            Self::ReactionUndelivered => "reaction_undelivered",
            Self::PolicyFailed => "policy_failed",
            Self::SubscriberLagging => "subscriber_lagging",
            Self::SubscriberCaughtUp => "subscriber_caught_up",
            Self::DiskNearlyFull => "disk_nearly_full",
            Self::DiskFreeAgain => "disk_free_again",
            Self::IndexFailed => "index_failed",
            Self::ProjectionStopped => "projection_stopped",
            Self::RebuildFailed => "rebuild_failed",
            Self::RecordSkipped => "record_skipped",
            Self::RecordParked => "record_parked",
        }
    }

    /// How bad it is, unless it ended in quarantine.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Panicked
            | Self::RecoveryFailed
            | Self::WriteFailed
            | Self::NodeDown
            | Self::ReactionUndelivered
            | Self::PolicyFailed
            | Self::RebuildFailed
            | Self::RecordSkipped
            | Self::RecordParked => Severity::Error,
            Self::ShardWithoutQuorum | Self::ProjectionStopped => Severity::Critical,
            Self::ShardReopened
            | Self::NodeBack
            | Self::ShardMoved
            | Self::SubscriberCaughtUp
            | Self::DiskFreeAgain => Severity::Notice,
            Self::SnapshotUnreadable
            | Self::SnapshotFailed
            | Self::SlowHandler
            | Self::QueueOverflow
            | Self::DeadLetter
            | Self::NodeSuspected
            | Self::FactsLost
            | Self::SubscriberLagging
            | Self::DiskNearlyFull
            | Self::IndexFailed => Severity::Warning,
        }
    }
}

impl FailureFact {
    /// A fact about something that goes on all the same.
    #[must_use]
    pub fn new(id: FailureId, kind: FailureKind, subject: Subject, at: Timestamp) -> Self {
        Self {
            id,
            kind,
            severity: kind.severity(),
            subject,
            command: None,
            causes: Vec::new(),
            attempt: 1,
            count: 1,
            standing: Standing::Running,
            at,
            node: NodeId::ZERO,
            shard: None,
        }
    }

    /// The same with one more cause, behind those there are.
    #[must_use]
    pub fn because(mut self, cause: &str) -> Self {
        if self.causes.len() < MOST_CAUSES && !cause.is_empty() {
            self.causes.push(shortened(cause).into());
        }
        self
    }

    /// The same with everything that was said, behind the causes there are.
    #[must_use]
    pub(crate) fn because_of(self, causes: &Causes) -> Self {
        causes.0.iter().fold(self, |fact, cause| fact.because(cause))
    }

    /// What was said first; empty when nothing was.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.causes.first().map_or("", |cause| cause)
    }

    /// The entity that failed, when it is one.
    #[must_use]
    pub fn address(&self) -> Option<&EntityAddress> {
        match &self.subject {
            Subject::Entity(address) => Some(address),
            _ => None,
        }
    }
}

/// Why something failed, the outermost cause first: what a fact keeps of an error, which may have a source, which may have one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Causes(Vec<Box<str>>);

impl Causes {
    /// An error and the sources behind it.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let chain = successors(Some(error), |error| (*error).source()).take(MOST_CAUSES);
        Self(chain.map(|error| shortened(&error.to_string()).into()).collect())
    }

    /// The same as the cause of something else.
    pub(crate) fn within(mut self, what: &str) -> Self {
        self.0.truncate(MOST_CAUSES - 1);
        self.0.insert(0, shortened(what).into());
        self
    }
}

impl From<&str> for Causes {
    fn from(said: &str) -> Self {
        Self(vec![shortened(said).into()])
    }
}

impl From<String> for Causes {
    fn from(said: String) -> Self {
        Self::from(&*said)
    }
}

/// All of them, for callers who are told one text.
impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(": "))
    }
}

impl FailedCommand {
    /// The command of this envelope.
    #[must_use]
    pub fn of(envelope: &CommandEnvelope) -> Self {
        let fits = envelope.payload.len() <= KEPT_COMMAND_BYTES;
        Self {
            name: (*envelope.command).into(),
            id: envelope.id,
            correlation: envelope.correlation,
            causation: envelope.causation,
            key: envelope.key.to_string().into(),
            // Copied, so that it does not keep the frame alive that it came in.
            payload: fits.then(|| Bytes::copy_from_slice(&envelope.payload)),
        }
    }

    /// The command that a fact came of. It did not fail itself, so there is nothing to ask again.
    pub(crate) fn behind(fact: &Fact) -> Self {
        Self {
            name: fact.command().into(),
            id: fact.command_id(),
            correlation: fact.correlation_id(),
            causation: fact.causation_id(),
            key: "".into(),
            payload: None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entity(address) => address.fmt(f),
            Self::Shard(shard) => write!(f, "shard {shard}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::Reader(name) => f.write_str(name),
        }
    }
}

fn shortened(text: &str) -> &str {
    match text.char_indices().find(|(at, c)| at + c.len_utf8() > CAUSE_BYTES) {
        Some((at, _)) => &text[..at],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("step {0}")]
    struct Step(u32, #[source] Option<Box<Step>>);

    fn steps(count: u32) -> Step {
        (1..=count).rev().fold(Step(0, None), |behind, step| Step(step, Some(Box::new(behind))))
    }

    #[test]
    fn a_fact_keeps_the_chain_of_causes_as_far_as_the_bound() {
        let subject = Subject::Node(NodeId(1));
        let fact = FailureFact::new(FailureId(1), FailureKind::Panicked, subject, Timestamp::EPOCH);
        let causes = |causes: Causes| fact.clone().because_of(&causes).causes.join(", ");
        assert_eq!(causes(Causes::of(&Step(7, None))), "step 7");
        let long = Causes::of(&steps(100));
        assert_eq!(causes(long.clone()), "step 1, step 2, step 3, step 4");
        assert_eq!(causes(long.within("the start")), "the start, step 1, step 2, step 3");
        assert_eq!(Causes::from("a").within("b").to_string(), "b: a");
    }
}
