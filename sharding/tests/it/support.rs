//! What the tests share: a peer that echoes, and waiting for a state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use holm_sharding::{
    Lane, NodeIdentity, PeerError, PeerEvent, PeerHandler, PeerInfo, PeerLimits, Peers,
    PeersOptions, Responder,
};
use tokio::sync::broadcast;

/// Long enough for a loaded machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A handler made of a closure.
pub(crate) struct Handling<F>(pub(crate) F);

impl<F: Fn(&PeerInfo, Lane, Bytes, Responder) + Send + Sync + 'static> PeerHandler for Handling<F> {
    fn handle(&self, from: &PeerInfo, lane: Lane, body: Bytes, respond: Responder) {
        (self.0)(from, lane, body, respond);
    }
}

pub(crate) fn echo() -> Arc<dyn PeerHandler> {
    Arc::new(Handling(|_: &PeerInfo, _, body, respond: Responder| respond.respond(body)))
}

pub(crate) fn identity(node: u64, incarnation: u64) -> NodeIdentity {
    NodeIdentity { node: NodeId(node), name: format!("holm-{node}"), incarnation, http: None }
}

pub(crate) fn node(node: u64) -> PeersOptions {
    PeersOptions { listen: Some(loopback()), ..PeersOptions::new("test", identity(node, 1)) }
}

pub(crate) fn client() -> PeersOptions {
    PeersOptions::new("test", NodeIdentity { name: "client".into(), ..identity(0, 1) })
}

/// Limits that make a test of silence short.
pub(crate) fn impatient() -> PeerLimits {
    let mut limits = PeerLimits::default();
    limits.ping_after = Duration::from_millis(50);
    limits.dead_after = Duration::from_millis(300);
    limits.handshake_timeout = Duration::from_millis(300);
    limits.back_off_most = Duration::from_millis(100);
    limits
}

pub(crate) async fn start(options: PeersOptions, handler: Arc<dyn PeerHandler>) -> Peers {
    Peers::start(options, handler).await.unwrap()
}

/// A node that echoes and a client that knows it as node 1.
pub(crate) async fn pair(handler: Arc<dyn PeerHandler>) -> (Peers, Peers) {
    let server = start(node(1), handler).await;
    let client = start(client(), echo()).await;
    client.set_address(NodeId(1), server.local_addr().unwrap());
    (server, client)
}

pub(crate) async fn ask(peers: &Peers, to: u64, body: &'static str) -> Result<Bytes, PeerError> {
    peers.request(NodeId(to), Lane::Commands, Bytes::from_static(body.as_bytes()), PATIENCE).await
}

/// Waits for an event that `wanted` takes.
pub(crate) async fn event<T>(
    events: &mut broadcast::Receiver<PeerEvent>,
    wanted: impl Fn(&PeerEvent) -> Option<T>,
) -> T {
    let search = async {
        loop {
            if let Some(found) = wanted(&events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the event comes in time")
}

/// Asks until it works: for a state that is not told by an event.
pub(crate) async fn ask_until_answered(peers: &Peers, to: u64) -> Bytes {
    let search = async {
        loop {
            if let Ok(answer) = ask(peers, to, "there?").await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the peer answers in time")
}
