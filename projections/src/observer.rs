//! The hook for whoever wants to hear what a projection does: metrics of one's own, alarms, failures as facts.

use holm_core::{Offset, ShardId};

use crate::view::SetAside;

/// Hears what happens to a projection, in the order in which it happens (law O22). Called from the projection's own task: it must not block.
pub trait Observer: Send + Sync {
    /// Something happened to the projection of this name.
    fn notice(&self, projection: &str, notice: &Notice<'_>);
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// It reads on from its stored position.
    Started,
    /// So many facts are in the view with their position: each is counted once, whatever failed before.
    Handled {
        /// How many.
        facts: usize,
    },
    /// The handler failed on a record. Nothing of it is in the view.
    HandlerFailed {
        /// Where the record stands.
        shard: ShardId,
        /// Where the record stands.
        offset: Offset,
        /// What the handler said.
        reason: &'a str,
        /// How many times it failed on this record.
        attempt: u32,
    },
    /// A record was left out, and stored as such.
    SetAside(&'a SetAside),
    /// The view cannot be written now; it is tried again.
    ViewTroubled {
        /// What it said.
        reason: &'a str,
    },
    /// It stopped and needs somebody.
    Failed {
        /// Why.
        reason: &'a str,
    },
    /// It was told to pause.
    Paused,
    /// A rebuilt view took the place of the old one.
    Switched,
    /// It was told to stop.
    Stopped,
}
