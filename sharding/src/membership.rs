//! Who is there, by gossip (chitchat): names, addresses, incarnations and load of the live nodes. A hint, never a decision.
//!
//! Each node gossips every 100 ms over UDP, on the port of the same number as its TCP port. chitchat counts a node as gone when it was silent for eight
//! times its usual interval; that is under a second here. What is said is not authenticated, so nothing is done on the strength of it
//! but look: every node that matters is asked over an authenticated connection.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod lives;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chitchat::transport::UdpTransport;
use chitchat::{ChitchatId, NodeState};
use holm_core::NodeId;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use self::lives::Lives;
use crate::transport::{Peers, PeersError};

/// Most nodes whose names are kept. Gossip is not authenticated; strangers must not fill the memory of whoever watches.
const MOST_NODES: usize = 4_096;

mod key {
    /// Which start of the process. Nodes of before have none and say it by chitchat's generation.
    pub(super) const START: &str = "start";
    pub(super) const NODE: &str = "node";
    pub(super) const PEER: &str = "peer";
    pub(super) const HTTP: &str = "http";
    pub(super) const LOAD: &str = "load";
}

/// The gossip of one node.
pub struct Membership {
    live: watch::Receiver<Arc<Vec<LiveNode>>>,
    said: watch::Sender<Said>,
    /// Dropped with the rest, which ends it.
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// What this node says of itself and may change.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Said {
    node: NodeId,
    load: f64,
}

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
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let peer = peers.advertised().unwrap_or(nowhere);
        let failed = |reason: String| PeersError::Bind {
            listen: peer,
            source: std::io::Error::other(reason),
        };
        let socket = peers
            .gossip_socket()
            .ok_or_else(|| failed("the transport was not told to keep a port for gossip".into()))?;
        let listen = socket.local_addr().map_err(|error| failed(error.to_string()))?;
        let (say, heard) = watch::channel(Said { node: options.node, load: 0.0 });
        // chitchat opens its socket itself (its messages can be encoded by its own sockets only), so the port is free for a moment.
        drop(socket);
        let lives = Lives { options, peer, listen, past: 0 };
        let said = *heard.borrow();
        let first = lives.begin(said, &UdpTransport).await.map_err(failed)?;
        let (tell, live) = watch::channel(Arc::default());
        let (stop, stopped) = oneshot::channel();
        let running = lives.live(UdpTransport, first, heard, tell, stopped);
        Ok(Self { live, said: say, stop, running: peers.runtime().spawn(running) })
    }

    /// The live nodes, this one included, by name. Changes when one comes, goes or says something new.
    #[must_use]
    pub fn live(&self) -> watch::Receiver<Arc<Vec<LiveNode>>> {
        self.live.clone()
    }

    /// Tells the others this node's id.
    pub fn set_node(&self, node: NodeId) {
        self.said.send_modify(|said| said.node = node);
    }

    /// Tells the others how busy this node is.
    pub fn set_load(&self, commands_per_second: f64) {
        self.said.send_modify(|said| said.load = commands_per_second);
    }

    /// Stops gossiping; the others notice the silence.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.running.await {
            tracing::debug!(%error, "gossip ended with an error");
        }
    }
}

/// The newest start of each name. What cannot be read is passed over: it is somebody else's.
fn read_nodes(nodes: &BTreeMap<ChitchatId, NodeState>) -> Vec<LiveNode> {
    let mut live: BTreeMap<&str, LiveNode> = BTreeMap::new();
    for (id, state) in nodes.iter().take(MOST_NODES) {
        let Some(node) = read_node(id, state) else { continue };
        let known = live.get(&*id.node_id).map(|known| known.incarnation);
        if known.is_none_or(|known| known < node.incarnation) {
            live.insert(&id.node_id, node);
        }
    }
    live.into_values().collect()
}

fn read_node(id: &ChitchatId, state: &NodeState) -> Option<LiveNode> {
    Some(LiveNode {
        name: id.node_id.to_string(),
        node: NodeId(state.get(key::NODE)?.parse().ok()?),
        incarnation: match state.get(key::START) {
            Some(start) => start.parse().ok()?,
            None => id.generation_id,
        },
        peer: state.get(key::PEER)?.parse().ok()?,
        http: state.get(key::HTTP).filter(|http| !http.is_empty()).map(str::to_owned),
        load: state.get(key::LOAD).and_then(|load| load.parse().ok()).unwrap_or(0.0),
    })
}
