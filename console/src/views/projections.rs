//! The documents about projections.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/projections?positions=`: those that run in the process of the node that answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProjectionsDocument {
    /// In the order in which the node started them.
    pub projections: Vec<ProjectionDocument>,
}

/// How far one projection is on one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectionDocument {
    /// Its name.
    pub name: String,
    /// The node whose view it keeps.
    pub node: String,
    /// True when the nodes that run it share its work; false when each has all of it for itself.
    #[serde(default)]
    pub shared: bool,
    /// `starting`, `running`, `retrying`, `paused`, `failed` or `stopped`.
    pub state: String,
    /// Records between its position and the ends of the logs; absent when those cannot be asked for.
    pub lag_events: Option<u64>,
    /// How long the oldest of them has waited.
    pub lag_seconds: Option<f64>,
    /// Facts handled in a second, of late.
    pub rate: f64,
    /// Seconds until it has caught up if it goes on like that; absent when it does not move.
    pub seconds_left: Option<f64>,
    /// Records up to its position, over all shards.
    pub position: u64,
    /// The same shard by shard, where that was asked for; a shard that is not named stands at zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Vec<PlaceDocument>>,
    /// Records up to the ends of the logs, over all shards.
    pub head: Option<u64>,
    /// Records that the view has read which is built beside the present one; absent when none is.
    pub rebuilt: Option<u64>,
    /// Records that were left out of the view: parked and skipped.
    pub set_aside: u64,
    /// What last went wrong.
    pub last_error: Option<String>,
    /// Why the last rebuild ended without a switch.
    pub rebuild_error: Option<String>,
    /// What became of the order that this answers, where that is more than that it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// A place in the log of one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceDocument {
    /// The shard.
    pub shard: u32,
    /// Everything up to this offset was seen.
    pub offset: u64,
}
