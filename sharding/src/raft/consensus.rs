//! The narrow trait through which everything else sees a group.

use bytes::Bytes;
use holm_persistence::Pending;

use super::Applied;

/// What the rest of this crate needs from a replicated log, so that another library could take openraft's place.
pub(crate) trait Consensus: Send + Sync + 'static {
    /// The newest term that this replica knows of.
    fn term(&self) -> u64;

    /// Queues an entry to be appended while this node leads at `term`, and only then, behind those queued before. Resolves when it is
    /// committed and followed here.
    fn propose(&self, term: u64, payload: Bytes) -> Pending<Result<Applied, NotProposed>>;

    /// Resolves to `Ok` when at some moment after the call this node still led at `term`.
    fn confirm(&self, term: u64) -> Pending<Result<(), NotProposed>>;

    /// Whether this node leads at `term` at some moment of the call. False says nothing: [`Consensus::confirm`] finds out.
    fn confirm_at_once(&self, term: u64) -> bool;

    /// Resolves when this node leads at `term` and has followed every entry of the terms before.
    fn settle(&self, term: u64) -> Pending<Result<(), NotProposed>>;

    /// The same, and it has also followed every entry of its own that was queued before this call.
    fn barrier(&self, term: u64) -> Pending<Result<(), NotProposed>>;
}

/// Why an entry was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotProposed {
    /// This node does not lead at that term. The entry is surely not in the log.
    #[error("this node does not lead at that term")]
    NotLeader,
    /// It may be in the log and may be committed, now or later.
    #[error("{reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}
