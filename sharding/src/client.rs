//! The client: a process that hosts nothing, learns the cluster from its seeds and routes commands into it.
//!
//! It asks one member at a time for its picture of the cluster: often at first and whenever a connection comes or goes, else once a second. Who leads
//! what it learns from answers as well, so an old picture costs a detour, not an error.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::router::{Router, RouterOptions};
use crate::surroundings::Surroundings;
use crate::transport::{
    Destination, Lane, NodeIdentity, PeerEvent, PeerHandler, PeerInfo, PeerLimits, Peers,
    PeersError, PeersOptions, Responder, Secret,
};
use crate::view::ClusterView;
use crate::wire::Message;

/// Time between two pictures while nothing happens.
const REFRESH: Duration = Duration::from_secs(1);

/// Time between two pictures while a shard has no leader, and between tries of the seeds.
const REFRESH_SOON: Duration = Duration::from_millis(100);

/// Time for one answer.
const ANSWER: Duration = Duration::from_millis(500);

/// Commands under way at the same time when nothing else is said.
const REQUESTS_IN_FLIGHT: usize = 65_536;

/// A connection to a cluster. Clones share it; it lives until [`Client::close`] or until the last clone is dropped.
#[derive(Clone)]
pub struct Client(Arc<Parts>);

struct Parts {
    peers: Peers,
    router: Router,
    view: watch::Receiver<Arc<ClusterView>>,
}

/// Nobody dials a client.
struct NoRequests;

impl PeerHandler for NoRequests {
    fn handle(&self, _: &PeerInfo, _: Lane, _: Bytes, respond: Responder) {
        respond.reject("a client serves nothing");
    }
}

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
    /// What lies around this process.
    pub surroundings: Surroundings,
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
            surroundings: Surroundings::default(),
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
        if options.seeds.is_empty() {
            return Err(ClientError::NoSeeds);
        }
        let me = NodeIdentity {
            node: NodeId::ZERO,
            name: options.name,
            incarnation: options.surroundings.draw(),
            http: None,
        };
        let peers = PeersOptions {
            secret: options.secret,
            limits: options.limits,
            surroundings: options.surroundings.clone(),
            ..PeersOptions::new(options.cluster, me)
        };
        let peers = Peers::start(peers, Arc::new(NoRequests)).await?;
        let events = peers.events();
        let first = first_view(&peers, &options.seeds, options.connect_timeout).await?;
        follow_members(&peers, &ClusterView::default(), &first);
        let shards = u32::try_from(first.shards.len()).unwrap_or(u32::MAX);
        let (tell, view) = watch::channel(Arc::new(first));
        let router = Router::start(RouterOptions {
            shards,
            me: NodeId::ZERO,
            peers: peers.clone(),
            view: view.clone(),
            local: None,
            requests_in_flight: REQUESTS_IN_FLIGHT,
            clock: options.surroundings.clock,
        });
        let parts = Arc::new(Parts { peers, router, view });
        let refresh = refresh(Arc::downgrade(&parts), options.seeds, tell, events);
        parts.peers.runtime().spawn(refresh);
        Ok(Self(parts))
    }

    /// The router into the cluster.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.0.router
    }

    /// The newest picture of the cluster.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        self.0.view.borrow().clone()
    }

    /// Pictures of the cluster as they come.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.0.view.clone()
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.0.peers.shutdown().await;
    }
}

/// The first usable picture that a seed gives. One without shards is of a cluster that is still forming.
async fn first_view(
    peers: &Peers,
    seeds: &[SocketAddr],
    patience: Duration,
) -> Result<ClusterView, ClientError> {
    let deadline = Instant::now() + patience;
    let mut last = "no try was made".to_owned();
    loop {
        for &seed in seeds {
            match ask_view(peers, seed).await {
                Ok(view) if !view.shards.is_empty() => return Ok(view),
                Ok(_) => last = format!("the cluster at {seed} has no shards yet"),
                Err(error) => last = error,
            }
        }
        if Instant::now() + REFRESH_SOON >= deadline {
            return Err(ClientError::NoAnswer { seeds: seeds.to_vec(), waited: patience, last });
        }
        tokio::time::sleep(REFRESH_SOON).await;
    }
}

async fn ask_view(peers: &Peers, from: impl Into<Destination>) -> Result<ClusterView, String> {
    let answer = peers.request(from, Lane::Control, Message::View.encode(), ANSWER).await;
    let body = answer.map_err(|error| error.to_string())?;
    holm_persistence::decode(&body).map_err(|error| error.to_string())
}

/// Connects to the members of a picture and lets go of those that are not in it any more.
fn follow_members(peers: &Peers, before: &ClusterView, now: &ClusterView) {
    let present: HashSet<NodeId> = now.members.iter().map(|member| member.id).collect();
    for member in &now.members {
        if peers.address(member.id) != Some(member.peer) {
            peers.set_address(member.id, member.peer);
        }
    }
    for gone in before.members.iter().filter(|member| !present.contains(&member.id)) {
        peers.forget(gone.id);
    }
}

/// Keeps the picture fresh until the client is dropped.
async fn refresh(
    client: std::sync::Weak<Parts>,
    seeds: Vec<SocketAddr>,
    tell: watch::Sender<Arc<ClusterView>>,
    mut events: broadcast::Receiver<PeerEvent>,
) {
    let mut turn = 0;
    loop {
        let without_leader = tell.borrow().shards.iter().any(|shard| shard.leader.is_none());
        let pause = if without_leader { REFRESH_SOON } else { REFRESH };
        tokio::select! {
                    biased;
            () = tokio::time::sleep(pause) => {}
            event = events.recv() => match event {
                // A burst of events is one reason to look.
                Ok(_) | Err(RecvError::Lagged(_)) => {
                    tokio::time::sleep(REFRESH_SOON / 4).await;
                    events = events.resubscribe();
                }
                Err(RecvError::Closed) => return,
            }
        }
        let Some(peers) = client.upgrade().map(|parts| parts.peers.clone()) else { return };
        let before = tell.borrow().clone();
        turn += 1;
        if let Some(view) = next_view(&peers, &before, &seeds, turn).await {
            follow_members(&peers, &before, &view);
            tell.send_if_modified(|known| {
                let changed = **known != view;
                if changed {
                    *known = Arc::new(view);
                }
                changed
            });
        }
    }
}

/// A picture from a member that is connected, a different one each time; from a seed when none is.
async fn next_view(
    peers: &Peers,
    before: &ClusterView,
    seeds: &[SocketAddr],
    turn: usize,
) -> Option<ClusterView> {
    let connected: Vec<NodeId> = before
        .members
        .iter()
        .map(|member| member.id)
        .filter(|&member| peers.is_connected(member))
        .collect();
    let from = match connected.get(turn % connected.len().max(1)) {
        Some(&member) => Destination::Node(member),
        None => Destination::Address(seeds[turn % seeds.len()]),
    };
    match ask_view(peers, from).await {
        // A member that was cut off may know an older cluster than this client does.
        Ok(view) => (view.version >= before.version).then_some(view),
        Err(reason) => {
            tracing::debug!(?from, reason, "no picture of the cluster");
            None
        }
    }
}
