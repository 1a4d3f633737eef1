//! Why a node did not start.

use std::path::PathBuf;

use crate::EnvironmentError;

/// Why a node, or a client, did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings do not fit together.
    #[error("the settings do not fit: {reason}")]
    Settings {
        /// What to change.
        reason: String,
    },
    /// A `HOLM_*` variable is unknown or malformed.
    #[error("a variable of the environment is wrong")]
    Environment(#[from] EnvironmentError),
    /// The data directory cannot be used.
    #[error("the data directory {} cannot be used", dir.display())]
    Data {
        /// The directory.
        dir: PathBuf,
        /// What the store said.
        source: holm_persistence::StoreError,
    },
    /// The threads that run entities did not start.
    #[error("the shard host did not start: {reason}")]
    Host {
        /// What the system said.
        reason: String,
    },
    /// A shard could not be opened.
    #[error("a shard could not be opened")]
    Shard(#[from] holm_persistence::OpenError),
    /// The node could not become a member of its cluster.
    #[error("the node could not become a member")]
    Cluster(#[from] holm_sharding::StartError),
    /// The client found no cluster.
    #[error("no cluster was found")]
    Client(#[from] holm_sharding::ClientError),
}
