//! A record that somebody could not handle and left out, so that the rest goes on.

use holm_core::{Offset, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

/// A record that the handler could not handle and that was left out, so that the rest goes on. Never silently: it is stored with the position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// Where it stands.
    pub shard: ShardId,
    /// Where it stands.
    pub offset: Offset,
    /// The names of its events, separated by commas.
    pub events: String,
    /// To which entity it happened.
    pub entity: String,
    /// What the handler said.
    pub reason: String,
    /// When it was set aside.
    pub at: Timestamp,
    /// True when it waits to be handled later, false when it was skipped for good.
    pub parked: bool,
}
