//! Who is there, by gossip (chitchat): names, addresses, incarnations and load of the live nodes. A hint, never a decision.

use std::net::SocketAddr;
use std::sync::Arc;

use holm_core::NodeId;
use tokio::sync::watch;

use crate::transport::{Peers, PeersError};

/// The gossip of one node.
pub struct Membership(());

/// How gossip is started.
#[derive(Debug, Clone)]
pub struct MembershipOptions {
    /// The cluster's name; gossip of other clusters is not heard.
    pub cluster: String,
    /// This node's name, unique in the cluster.
    pub name: String,
    /// A number that rises with every start of this node.
    pub incarnation: u64,
    /// This node's id, zero while it has none.
    pub node: NodeId,
    /// Where this node's pages are.
    pub http: Option<String>,
    /// Peer addresses of the seeds; their gossip port has the same number.
    pub seeds: Vec<SocketAddr>,
}

/// A node that gossip has heard of lately.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveNode {
    /// Its name.
    pub name: String,
    /// Its id, zero while it has none.
    pub node: NodeId,
    /// Which start of the process.
    pub incarnation: u64,
    /// Where its peers reach it.
    pub peer: SocketAddr,
    /// Where its pages are.
    pub http: Option<String>,
    /// How busy it is: commands per second, as it says.
    pub load: f64,
}

impl Membership {
    /// Starts gossip on the UDP port that `peers` keeps (see [`crate::PeersOptions::gossip`]).
    ///
    /// # Errors
    /// [`PeersError::Bind`] when there is no such port.
    pub async fn start(options: MembershipOptions, peers: &Peers) -> Result<Self, PeersError> {
        let _ = (options, peers);
        unimplemented!()
    }

    /// The live nodes, this one included, by name. Changes when one comes, goes or says something new.
    #[must_use]
    pub fn live(&self) -> watch::Receiver<Arc<Vec<LiveNode>>> {
        unimplemented!()
    }

    /// Tells the others this node's id.
    pub fn set_node(&self, node: NodeId) {
        let _ = node;
        unimplemented!()
    }

    /// Tells the others how busy this node is.
    pub fn set_load(&self, commands_per_second: f64) {
        let _ = commands_per_second;
        unimplemented!()
    }

    /// Stops gossiping; the others notice the silence.
    pub async fn shutdown(self) {
        unimplemented!()
    }
}
