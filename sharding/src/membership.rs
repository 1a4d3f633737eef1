//! Who is there, by gossip (chitchat): names, addresses, incarnations and load of the live nodes. A hint, never a decision.
//!
//! Each node gossips every 100 ms over UDP, on the port of the same number as its TCP port. chitchat counts a node as gone when it was silent for eight
//! times its usual interval; that is under a second here. What is said is not authenticated, so nothing is done on the strength of it
//! but look: every node that matters is asked over an authenticated connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::UdpTransport;
use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState,
    ProtocolVersion, spawn_chitchat,
};
use holm_core::NodeId;
use tokio::sync::{Mutex, watch};

use crate::transport::{Peers, PeersError};

const GOSSIP_INTERVAL: Duration = Duration::from_millis(100);

/// Silence, in multiples of the usual interval, after which a node counts as gone. Measured here: 0.6 to 0.9 s.
const PHI: f64 = 8.0;

/// Intervals remembered. 100 are some ten seconds: a machine that slows down is understood soon.
const WINDOW: usize = 100;

/// What a first interval is taken to be, before any was seen.
const FIRST_INTERVAL: Duration = Duration::from_millis(150);

/// Intervals longer than this are pauses, not intervals, and teach nothing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(2);

/// How long nodes that are gone are remembered, so that old gossip does not bring them back.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// Most nodes whose names are kept. Gossip is not authenticated; strangers must not fill the memory of whoever watches.
const MOST_NODES: usize = 4_096;

mod key {
    pub(super) const NODE: &str = "node";
    pub(super) const PEER: &str = "peer";
    pub(super) const HTTP: &str = "http";
    pub(super) const LOAD: &str = "load";
}

/// The gossip of one node.
pub struct Membership {
    handle: ChitchatHandle,
    live: watch::Receiver<Arc<Vec<LiveNode>>>,
    said: watch::Sender<Said>,
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
        let id = ChitchatId::new(options.name.as_str(), options.incarnation, peer);
        let said = Said { node: options.node, load: 0.0 };
        let listen = socket.local_addr().map_err(|error| failed(error.to_string()))?;
        let config = config(&options, id, listen);
        let first = [
            (key::NODE, said.node.to_string()),
            (key::PEER, peer.to_string()),
            (key::HTTP, options.http.unwrap_or_default()),
            (key::LOAD, said.load.to_string()),
        ];
        let first = first.map(|(key, value)| (key.to_owned(), value)).to_vec();
        // chitchat opens its socket itself (its messages can be encoded by its own sockets only), so the port is free for a moment.
        drop(socket);
        let handle = spawn_chitchat(config, first, &UdpTransport)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let nodes = handle.chitchat().lock().await.live_nodes_watcher();
        let (tell, live) = watch::channel(Arc::new(read_nodes(&nodes.borrow())));
        peers.runtime().spawn(follow(nodes, tell));
        let (say, heard) = watch::channel(said);
        peers.runtime().spawn(repeat(handle.chitchat(), heard));
        Ok(Self { handle, live, said: say })
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
        if let Err(error) = self.handle.shutdown().await {
            tracing::debug!(%error, "gossip ended with an error");
        }
    }
}

fn config(options: &MembershipOptions, id: ChitchatId, listen: SocketAddr) -> ChitchatConfig {
    ChitchatConfig {
        listen_addr: listen,
        chitchat_id: id,
        cluster_id: options.cluster.clone(),
        gossip_interval: GOSSIP_INTERVAL,
        seed_nodes: options.seeds.iter().map(ToString::to_string).collect(),
        failure_detector_config: FailureDetectorConfig::new(
            PHI,
            WINDOW,
            LONGEST_INTERVAL,
            FIRST_INTERVAL,
            MEMORY,
        ),
        marked_for_deletion_grace_period: MEMORY,
        catchup_callback: None,
        extra_liveness_predicate: None,
        // The only version that is as old as the crate; the newer one compresses, which a handful of keys does not need.
        protocol_version: ProtocolVersion::V0,
    }
}

/// Says to the others what this node says of itself.
async fn repeat(chitchat: Arc<Mutex<Chitchat>>, mut said: watch::Receiver<Said>) {
    while said.changed().await.is_ok() {
        let now = *said.borrow_and_update();
        let mut chitchat = chitchat.lock().await;
        let state = chitchat.self_node_state();
        state.set(key::NODE, now.node);
        state.set(key::LOAD, now.load);
    }
}

async fn follow(
    mut nodes: watch::Receiver<BTreeMap<ChitchatId, NodeState>>,
    tell: watch::Sender<Arc<Vec<LiveNode>>>,
) {
    while nodes.changed().await.is_ok() {
        let live = read_nodes(&nodes.borrow_and_update());
        tell.send_if_modified(|known| {
            let changed = **known != live;
            if changed {
                *known = Arc::new(live);
            }
            changed
        });
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
        incarnation: id.generation_id,
        peer: state.get(key::PEER)?.parse().ok()?,
        http: state.get(key::HTTP).filter(|http| !http.is_empty()).map(str::to_owned),
        load: state.get(key::LOAD).and_then(|load| load.parse().ok()).unwrap_or(0.0),
    })
}
