//! Nodes whose shards are played by a fake host, and who share one log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    Answer, AskError, Clock, CommandEnvelope, CommandId, CorrelationId, EntityAddress,
    IdempotencyKey, NodeId, Offset, SeededEntropy, SequenceNumber, ShardId, SystemClock, Term,
    Timestamp, Verdict,
};
use holm_persistence::{Pending, encode};
use holm_runtime::{ConversationPage, HistoryPage};
use holm_sharding::{
    ClusterView, Lane, LocalShards, MemberState, MemberView, Message, OnAnswer, PeerHandler,
    PeerInfo, Peers, Responder, Router, RouterOptions, ShardState, ShardView,
};
use tokio::sync::watch;

use crate::support::{client, echo, node, start};

pub(super) const SHARDS: u32 = 4;

/// Shards that count commands by key, as an entity with an idempotency window would.
#[derive(Default)]
pub(super) struct FakeHost {
    pub(super) me: u64,
    pub(super) leads: AtomicBool,
    /// Takes commands and never answers.
    pub(super) silent: AtomicBool,
    /// What the next commands are answered.
    pub(super) errors: Mutex<Vec<AskError>>,
    pub(super) held: Mutex<Vec<OnAnswer>>,
    /// The deadline of the last command, by this process's clock.
    pub(super) deadline: Mutex<Option<Timestamp>>,
    pub(super) asked: AtomicUsize,
    pub(super) effects: Arc<Mutex<HashMap<String, u64>>>,
}

impl LocalShards for FakeHost {
    fn leads(&self, _: ShardId) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    fn submit(&self, envelope: CommandEnvelope, done: OnAnswer) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        *self.deadline.lock().unwrap() = Some(envelope.deadline);
        if let Some(error) = self.errors.lock().unwrap().pop() {
            return done(Err(error));
        }
        let mut effects = self.effects.lock().unwrap();
        let before = effects.len() as u64;
        let replayed = effects.contains_key(&envelope.key.to_string());
        let sequence = *effects.entry(envelope.key.to_string()).or_insert(before + 1);
        drop(effects);
        if self.silent.load(Ordering::SeqCst) {
            return self.held.lock().unwrap().push(done);
        }
        done(Ok(Answer {
            verdict: Verdict::Accepted(envelope.payload),
            sequence: SequenceNumber(sequence),
            shard: holm_core::shard_of(&envelope.address, SHARDS),
            offset: Offset(sequence),
            replayed,
            served_by: NodeId(self.me),
        }));
    }

    fn history(
        &self,
        _: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        let page = HistoryPage { highest: after, head: Offset(limit as u64), ..Default::default() };
        Box::pin(async move { Ok(encode(&page).unwrap()) })
    }

    fn conversation(
        &self,
        _: ShardId,
        _: CorrelationId,
        from: Offset,
        _: usize,
    ) -> Pending<Result<Bytes, AskError>> {
        let page = ConversationPage { known_from: Some(from), ..ConversationPage::default() };
        Box::pin(async move { Ok(encode(&page).unwrap()) })
    }

    fn tail(&self, _: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        Box::pin(std::future::ready(Ok(seen.unwrap_or_default().next())))
    }

    fn follow(&self, _: ShardId, seen: Offset, _: usize) -> Pending<Result<Vec<Bytes>, AskError>> {
        Box::pin(async move { Ok(vec![seen.to_string().into()]) })
    }

    fn batches(&self, _: ShardId, from: Offset, _: usize) -> Pending<Result<Vec<Bytes>, AskError>> {
        Box::pin(async move { Ok(vec![from.to_string().into()]) })
    }
}

/// Hands what comes to the node's router, once there is one.
#[derive(Default)]
pub(super) struct Gate(OnceLock<Router>);

impl PeerHandler for Gate {
    fn handle(&self, from: &PeerInfo, _: Lane, body: Bytes, respond: Responder) {
        let message = Message::decode(body).unwrap();
        let router = self.0.get().expect("the router stands before anybody asks");
        assert!(router.serve(from, message, respond).is_ok());
    }
}

pub(super) struct Node {
    pub(super) peers: Peers,
    pub(super) host: Arc<FakeHost>,
    pub(super) router: Router,
}

/// Nodes 1 to `count` that share one log (the effects), and the channel that tells all of them the view.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Node>,
    pub(super) tell: watch::Sender<Arc<ClusterView>>,
}

impl Cluster {
    pub(super) async fn start(count: u64, leader: u64) -> Self {
        let (tell, view) = watch::channel(Arc::new(ClusterView::default()));
        let effects = Arc::new(Mutex::new(HashMap::new()));
        let mut nodes = Vec::new();
        for id in 1..=count {
            let gate = Arc::new(Gate::default());
            let peers = start(node(id), gate.clone()).await;
            let leads = AtomicBool::new(id == leader);
            let host = Arc::new(FakeHost {
                me: id,
                leads,
                effects: effects.clone(),
                ..FakeHost::default()
            });
            let router = router(&peers, id, view.clone(), Some(host.clone()), 1000);
            assert!(gate.0.set(router.clone()).is_ok());
            nodes.push(Node { peers, host, router });
        }
        let cluster = Self { nodes, tell };
        for one in &cluster.nodes {
            for other in &cluster.nodes {
                if one.host.me != other.host.me {
                    one.peers.set_address(NodeId(other.host.me), other.peers.local_addr().unwrap());
                }
            }
        }
        cluster.tell(Some(leader), 1, ShardState::Serving);
        cluster
    }

    pub(super) fn view(&self, leader: Option<u64>, term: u64, state: ShardState) -> ClusterView {
        let member = |node: &Node| MemberView {
            id: NodeId(node.host.me),
            name: format!("holm-{}", node.host.me),
            peer: node.peers.local_addr().unwrap(),
            http: None,
            state: MemberState::Up,
            incarnation: 1,
            since: SystemClock.now(),
        };
        let members: Vec<_> = self.nodes.iter().map(member).collect();
        let shard = |id| ShardView {
            id: ShardId(id),
            leader: leader.map(NodeId),
            term: Term(term),
            replicas: members.iter().map(|member| member.id).collect(),
            state,
        };
        let shards = (0..SHARDS).map(shard).collect();
        ClusterView { cluster: "test".into(), version: term, members, shards }
    }

    pub(super) fn tell(&self, leader: Option<u64>, term: u64, state: ShardState) {
        self.tell.send_replace(Arc::new(self.view(leader, term, state)));
    }

    pub(super) fn lead(&self, leader: u64) {
        for node in &self.nodes {
            node.host.leads.store(node.host.me == leader, Ordering::SeqCst);
        }
    }

    pub(super) fn node(&self, id: u64) -> &Node {
        &self.nodes[id as usize - 1]
    }

    pub(super) async fn client(&self, allowed: usize) -> (Peers, Router) {
        let peers = start(client(), echo()).await;
        for node in &self.nodes {
            peers.set_address(NodeId(node.host.me), node.peers.local_addr().unwrap());
        }
        let router = router(&peers, 0, self.tell.subscribe(), None, allowed);
        (peers, router)
    }

    pub(super) fn asked(&self) -> usize {
        self.nodes.iter().map(|node| node.host.asked.load(Ordering::SeqCst)).sum()
    }
}

pub(super) fn router(
    peers: &Peers,
    me: u64,
    view: watch::Receiver<Arc<ClusterView>>,
    local: Option<Arc<FakeHost>>,
    allowed: usize,
) -> Router {
    Router::start(RouterOptions {
        shards: SHARDS,
        me: NodeId(me),
        peers: peers.clone(),
        view,
        local: local.map(|host| host as Arc<dyn LocalShards>),
        requests_in_flight: allowed,
        clock: Arc::new(SystemClock),
    })
}

pub(super) fn command(id: u64, patience: Duration) -> CommandEnvelope {
    let command = CommandId(u128::from(id) << 64 | u128::from(id));
    CommandEnvelope {
        address: EntityAddress::new("account", format!("a{id}")).unwrap(),
        command: "deposit".into(),
        payload: Bytes::from_static(b"5"),
        key: IdempotencyKey::generate(&mut SeededEntropy::new(id)),
        id: command,
        correlation: command.opens(),
        causation: command.causes(),
        deadline: SystemClock.now().plus(patience),
    }
}
