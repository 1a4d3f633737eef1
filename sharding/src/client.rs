//! The client: a process that hosts nothing, learns the cluster from its seeds and routes commands into it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::router::Router;
use crate::transport::{PeerLimits, PeersError, Secret};
use crate::view::ClusterView;

/// A connection to a cluster. Clones share it.
#[derive(Clone)]
pub struct Client(Arc<()>);

/// How a client connects.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's secret, when it has one.
    pub secret: Option<Secret>,
    /// Peer addresses of some members; one that answers is enough.
    pub seeds: Vec<SocketAddr>,
    /// The client's name, for the logs of the nodes.
    pub name: String,
    /// How long to look for a member that answers.
    pub connect_timeout: Duration,
    /// The transport's limits.
    pub limits: PeerLimits,
}

impl ClientOptions {
    /// A client with default limits and without a secret.
    #[must_use]
    pub fn new(cluster: impl Into<String>, seeds: Vec<SocketAddr>) -> Self {
        Self {
            cluster: cluster.into(),
            secret: None,
            seeds,
            name: "client".to_owned(),
            connect_timeout: Duration::from_secs(5),
            limits: PeerLimits::default(),
        }
    }
}

/// Why a client could not connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No seed was given.
    #[error("no seed was given: name the peer address of at least one member")]
    NoSeeds,
    /// No seed answered with a picture of the cluster in time.
    #[error("none of {seeds:?} answered within {waited:?}: {last}")]
    NoAnswer {
        /// The seeds.
        seeds: Vec<SocketAddr>,
        /// How long they were tried.
        waited: Duration,
        /// What the last try said.
        last: String,
    },
    /// The transport did not start.
    #[error("the transport did not start")]
    Transport(#[from] PeersError),
}

impl Client {
    /// Connects to the first seed that answers and learns the cluster from it. Runs on the tokio runtime that it is called on.
    ///
    /// # Errors
    /// [`ClientError`] says what was tried.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let _ = options;
        unimplemented!()
    }

    /// The router into the cluster.
    #[must_use]
    pub fn router(&self) -> &Router {
        unimplemented!()
    }

    /// The newest picture of the cluster.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        unimplemented!()
    }

    /// Pictures of the cluster as they come.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<ClusterView>> {
        unimplemented!()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        unimplemented!()
    }
}
