//! Two nodes in one process, connected over loopback: the second leads every shard, the first only asks. Beside them a pair whose handler echoes.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{Clock, NodeId, SeededEntropy, ShardId, SystemClock, Term};
use holm_persistence::MemoryLog;
use holm_runtime::{Caller, EntityRef, HostOptions, ShardHost};
use holm_sharding::{
    ClusterView, Lane, LocalShards, MemberState, MemberView, Message, NodeIdentity, PeerHandler,
    PeerInfo, Peers, PeersOptions, Responder, Router, RouterOptions, ShardState, ShardView,
};
use tokio::sync::watch;

use crate::counter::{COUNTERS, Counter, Increase, id, registry};

/// Longer than any answer takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const SHARDS: u32 = 32;
const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

/// As a node's own limit.
const REQUESTS_IN_FLIGHT: usize = 100_000;

pub(crate) struct Nodes {
    /// Asks a peer that echoes.
    pub(crate) echoing: Peers,
    counters: Vec<EntityRef<Counter>>,
    host: ShardHost,
    peers: Vec<Peers>,
    /// Both routers follow the view while its sender lives.
    _view: watch::Sender<Arc<ClusterView>>,
}

/// Hands what comes to the node's router, once there is one.
#[derive(Default)]
struct Gate(OnceLock<Router>);

impl PeerHandler for Gate {
    fn handle(&self, from: &PeerInfo, _: Lane, body: Bytes, respond: Responder) {
        if let (Some(router), Ok(message)) = (self.0.get(), Message::decode(body)) {
            // What is not for a router is not asked here.
            let _ = router.serve(from, message, respond);
        }
    }
}

struct Echo;

impl PeerHandler for Echo {
    fn handle(&self, _: &PeerInfo, _: Lane, body: Bytes, respond: Responder) {
        respond.respond(body);
    }
}

impl Nodes {
    /// Starts all of it and asks every counter once, so that connections stand and every counter is in memory.
    pub(crate) async fn start() -> Self {
        let host = lead_everything().await;
        let gate = Arc::new(Gate::default());
        let there = peers(THERE, Arc::clone(&gate) as _).await;
        let here = peers(HERE, Arc::new(Echo)).await;
        let address = there.local_addr().expect("it listens");
        here.set_address(THERE, address);
        let (view_sender, view) = watch::channel(Arc::new(view(address)));
        let local = Arc::new(host.clone()) as Arc<dyn LocalShards>;
        let serving = router(&there, THERE, view.clone(), Some(local));
        assert!(gate.0.set(serving).is_ok(), "it is set once");
        let asking = router(&here, HERE, view, None);
        let clock = Arc::new(SystemClock);
        let caller = Caller::new(Arc::new(asking), clock, PATIENCE, SeededEntropy::from_os());
        let counters: Vec<_> =
            (0..COUNTERS).map(|step| EntityRef::new(Arc::clone(&caller), id(step))).collect();
        for counter in &counters {
            counter.ask(Increase { by: 1 }).await.expect("the other node answers");
        }
        let echo = peers(THERE, Arc::new(Echo)).await;
        let echoing = peers(HERE, Arc::new(Echo)).await;
        echoing.set_address(THERE, echo.local_addr().expect("it listens"));
        let peers = vec![here, there, echo, echoing.clone()];
        Self { echoing, counters, host, peers, _view: view_sender }
    }

    /// A counter of the other node.
    pub(crate) fn counter(&self, step: u64) -> &EntityRef<Counter> {
        &self.counters[usize::try_from(step % COUNTERS).expect("it fits")]
    }

    pub(crate) async fn stop(&self) {
        for peers in &self.peers {
            peers.shutdown().await;
        }
        self.host.stop().await;
    }
}

async fn lead_everything() -> ShardHost {
    let mut options = HostOptions::new(registry(), SHARDS);
    options.node = THERE;
    let host = ShardHost::start(options, Arc::new(MemoryLog::new())).expect("the host starts");
    for shard in 0..SHARDS {
        host.lead(ShardId(shard), Term(1)).await.expect("a fresh shard opens");
    }
    host
}

async fn peers(node: NodeId, handler: Arc<dyn PeerHandler>) -> Peers {
    let name = format!("holm-{}", node.0);
    let identity = NodeIdentity { node, name, incarnation: 1, http: None };
    let listen = "127.0.0.1:0".parse().expect("an address");
    let options = PeersOptions { listen: Some(listen), ..PeersOptions::new("echo", identity) };
    Peers::start(options, handler).await.expect("loopback works")
}

fn router(
    peers: &Peers,
    me: NodeId,
    view: watch::Receiver<Arc<ClusterView>>,
    local: Option<Arc<dyn LocalShards>>,
) -> Router {
    Router::start(RouterOptions {
        shards: SHARDS,
        me,
        peers: peers.clone(),
        view,
        local,
        requests_in_flight: REQUESTS_IN_FLIGHT,
        clock: Arc::new(SystemClock),
    })
}

/// One member that leads every shard.
fn view(peer: SocketAddr) -> ClusterView {
    let member = MemberView {
        id: THERE,
        name: "holm-2".into(),
        peer,
        http: None,
        state: MemberState::Up,
        incarnation: 1,
        since: SystemClock.now(),
    };
    let shard = |id| ShardView {
        id: ShardId(id),
        leader: Some(THERE),
        term: Term(1),
        replicas: vec![THERE],
        state: ShardState::Serving,
    };
    ClusterView {
        cluster: "echo".into(),
        version: 1,
        members: vec![member],
        shards: (0..SHARDS).map(shard).collect(),
    }
}
