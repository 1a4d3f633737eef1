//! The documents about projections.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/projections?positions=&local=`: those of all nodes, or of the one that answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProjectionsDocument {
    /// By name and node; those of one node alone in the order in which it started them.
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
    /// Records between its position and the ends of the logs, each with one event or some; absent when those cannot be asked for.
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
    /// How far the view is that is built beside the present one; absent when none is.
    #[serde(default)]
    pub rebuild: Option<RebuildDocument>,
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

/// How far a view is that is built beside the present one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RebuildDocument {
    /// Records up to its position, over all shards.
    pub position: u64,
    /// Records between that and the ends of the logs, as above.
    pub lag_events: u64,
    /// How long the oldest of them has waited.
    pub lag_seconds: f64,
    /// Facts handled in a second, of late.
    pub rate: f64,
    /// Seconds until it takes the place of the present one if it goes on like that; absent when it does not move.
    pub seconds_left: Option<f64>,
}

/// The body of `POST /api/v1/projections/{p}:set-position`: how far a shared projection is from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PositionDocument {
    /// `{"to": "beginning"}` or `{"to": "end"}`, in every shard.
    To(PositionEnd),
    /// `{"positions": [{"shard": 3, "offset": 812}]}`; shards that are not named stay where they are.
    Positions(Vec<PlaceDocument>),
}

/// One end of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionEnd {
    /// Before the first fact: all of them are handled again.
    Beginning,
    /// Behind the last: what is not handled yet is left out.
    End,
}

/// A place in the log of one shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceDocument {
    /// The shard.
    pub shard: u32,
    /// Everything up to this offset was seen.
    pub offset: u64,
}
