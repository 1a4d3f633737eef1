//! What a node held at one moment of something that has a limit.

use holm_core::NodeId;
use serde::{Deserialize, Serialize};

use super::Moment;

/// How much of it there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Moment,
    /// Where.
    pub node: NodeId,
    /// Of what.
    pub measure: Measure,
    /// How much. What is counted for each shard or each connection is here the most of any.
    pub amount: u64,
}

/// Something that has a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Entities of one shard in memory.
    LiveEntities,
    /// Commands of one shard that wait for entities to come back.
    HeldCommands,
    /// Batches of one leadership on their way to the log, the most since the sample before.
    BatchesInFlight,
    /// Bytes before the committer.
    QueuedBytes,
    /// Bytes of one connection that were not sent yet, of what decides or of commands.
    UnsentBytes,
    /// The same of what may wait.
    UnsentBulkBytes,
}
