//! Nodes that hold replicas of two shards, and nothing else: started, stopped, cut off and elected by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{NodeId, Offset, ShardId};
use holm_persistence::{Disk, ShardLog as _, Store, StoreOptions, forget_derived};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};

use crate::raft::consensus::Consensus as _;
use crate::raft::group::Group;
use crate::raft::log_storage::{GroupLog, KeepCommitted};
use crate::raft::{Config, ConsensusTimes, EmptyNode, config, rpc};
use crate::replicated_log::{GroupSeat, ReplicatedLog};
use crate::transport::{Lane, NodeIdentity, PeerHandler, PeerInfo, Peers, PeersOptions, Responder};
use crate::wire::Message;

/// The shards of every node.
pub(super) const SHARDS: [ShardId; 2] = [ShardId(0), ShardId(1)];

/// Long enough for a loaded machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks at something that tells of no change.
const LOOK: Duration = Duration::from_millis(2);

/// Time for a transfer of leadership before it is asked for again.
const TRANSFER_AGAIN: Duration = Duration::from_millis(500);

/// Some nodes.
pub(super) struct Nodes {
    runtime: Runtime,
    config: Arc<Config>,
    times: ConsensusTimes,
    /// Who is cut off from the others.
    cut: Arc<Mutex<BTreeSet<NodeId>>>,
    nodes: Vec<Node>,
}

/// One of them.
struct Node {
    id: NodeId,
    dir: TempDir,
    disk: Arc<Disk>,
    peers: Peers,
    door: Arc<Door>,
    running: Option<Running>,
}

/// What is gone when a node is stopped.
struct Running {
    store: Arc<Store>,
    log: Arc<ReplicatedLog>,
}

/// The groups of a node, and its receiving end.
struct Door {
    me: NodeId,
    cut: Arc<Mutex<BTreeSet<NodeId>>>,
    groups: Mutex<BTreeMap<ShardId, Group>>,
    /// What becomes of messages from some nodes.
    ways: Mutex<BTreeMap<NodeId, Way>>,
}

/// Messages from one node to another, when they are not taken and answered at once.
enum Way {
    /// They are lost.
    Closed,
    /// They are taken; the answers of appends leave when this says so, and are lost when it is gone.
    AnswersWait(watch::Receiver<bool>),
}

impl PeerHandler for Door {
    fn handle(&self, from: &PeerInfo, _: Lane, body: Bytes, respond: Responder) {
        let cut = lock(&self.cut);
        if cut.contains(&self.me) || cut.contains(&from.node) {
            return;
        }
        let Ok(Message::Raft { group, kind, bytes }) = Message::decode(body) else { return };
        let found = lock(&self.groups).get(&ShardId(group)).cloned();
        match (lock(&self.ways).get(&from.node), found) {
            (Some(Way::Closed), _) => {}
            (Some(Way::AnswersWait(leave)), Some(found)) if kind == rpc::APPEND => {
                let (mut leave, raft) = (leave.clone(), found.raft().clone());
                let request = rpc::read_append(bytes).unwrap();
                tokio::spawn(async move {
                    let answer = rpc::answer(raft.append_entries(request).await);
                    if leave.wait_for(|leaves| *leaves).await.is_ok() {
                        respond.respond(answer);
                    }
                });
            }
            (_, Some(found)) => found.serve(kind, bytes, respond),
            (_, None) => respond.respond(rpc::failure("this node has no replica of that group")),
        }
    }
}

impl Nodes {
    /// So many nodes, each with a voter of each shard's group.
    pub(super) fn of(count: u64) -> Self {
        Self::with(count, ConsensusTimes::default())
    }

    /// The same, with other times.
    pub(super) fn with(count: u64, times: ConsensusTimes) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = Arc::new(config("test", times).unwrap());
        let cut = Arc::default();
        let nodes = (1..=count).map(|id| runtime.block_on(node(NodeId(id), &cut))).collect();
        let mut nodes = Self { runtime, config, times, cut, nodes };
        nodes.introduce();
        for place in 0..nodes.nodes.len() {
            nodes.start(place);
        }
        let voters: BTreeMap<u64, EmptyNode> =
            (1..=count).map(|id| (id, EmptyNode::new())).collect();
        for shard in SHARDS {
            let first = nodes.group(0, shard);
            nodes.runtime.block_on(first.raft().initialize(voters.clone())).unwrap();
        }
        nodes
    }

    fn introduce(&self) {
        for node in &self.nodes {
            for other in self.nodes.iter().filter(|other| other.id != node.id) {
                node.peers.set_address(other.id, other.peers.local_addr().unwrap());
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The log of a node.
    pub(super) fn log(&self, place: usize) -> Arc<ReplicatedLog> {
        self.nodes[place].running.as_ref().expect("the node runs").log.clone()
    }

    /// The disk of a node, for faults.
    pub(super) fn disk(&self, place: usize) -> &Disk {
        &self.nodes[place].disk
    }

    /// The group of a shard on a node.
    pub(super) fn group(&self, place: usize, shard: ShardId) -> Group {
        lock(&self.nodes[place].door.groups)[&shard].clone()
    }

    /// The transport of a node.
    pub(super) fn peers(&self, place: usize) -> &Peers {
        &self.nodes[place].peers
    }

    /// Runs something that needs the nodes' runtime.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, future).await.expect("it takes too long")
        })
    }

    /// Cuts a node off from the others, until [`Nodes::heal`].
    pub(super) fn cut_off(&self, place: usize) {
        lock(&self.cut).insert(self.nodes[place].id);
    }

    /// What one node says to another is lost from now on.
    pub(super) fn close_way(&self, from: usize, to: usize) {
        let (from, door) = (self.nodes[from].id, &self.nodes[to].door);
        lock(&door.ways).insert(from, Way::Closed);
    }

    /// A node takes what another one asks it to append, and answers only when it is told to, also when the way is closed meanwhile.
    pub(super) fn hold_answers(&self, from: usize, to: usize) -> watch::Sender<bool> {
        let (answers, leave) = watch::channel(false);
        let (to, door) = (self.nodes[to].id, &self.nodes[from].door);
        lock(&door.ways).insert(to, Way::AnswersWait(leave));
        answers
    }

    /// Joins what was cut off, and starts nodes again whose disk had failed.
    pub(super) fn heal(&mut self) {
        lock(&self.cut).clear();
        for place in 0..self.nodes.len() {
            self.nodes[place].disk.heal();
            let failed = self.nodes[place]
                .running
                .as_ref()
                .is_none_or(|running| running.store.failure().is_some());
            if failed {
                self.stop(place);
                self.start(place);
            }
        }
    }

    /// Starts a node on its directory.
    fn start(&mut self, place: usize) {
        let node = &self.nodes[place];
        let store = open_store(node.dir.path(), &node.disk);
        let (failures, _interrupted) = mpsc::unbounded_channel();
        let log = Arc::new(ReplicatedLog::new(store.clone(), failures));
        for shard in SHARDS {
            self.start_group(place, shard, &store, &log);
        }
        self.nodes[place].running = Some(Running { store, log });
    }

    fn start_group(&self, place: usize, shard: ShardId, store: &Arc<Store>, log: &ReplicatedLog) {
        let node = &self.nodes[place];
        let seat = GroupSeat {
            me: node.id,
            config: self.config.clone(),
            times: self.times,
            peers: node.peers.clone(),
        };
        let tail = 1024 * 1024;
        let group_log = GroupLog::open(store.clone(), shard.into(), tail, KeepCommitted::No);
        let (group, _) = self.runtime.block_on(log.start(shard, group_log.unwrap(), seat)).unwrap();
        lock(&node.door.groups).insert(shard, group);
    }

    fn stop_group(&self, place: usize, shard: ShardId) {
        let group = lock(&self.nodes[place].door.groups).remove(&shard);
        if let Some(group) = group {
            self.runtime.block_on(group.stop());
        }
        let log = self.nodes[place].running.as_ref().map(|running| running.log.clone());
        if let Some(replica) = log.and_then(|log| log.remove(shard)) {
            // A disk that has failed takes no index; it is built anew.
            let _ = replica.index().flush();
        }
    }

    /// Stops the replica of a shard on a node, and nothing else.
    pub(super) fn halt(&self, place: usize, shard: ShardId) {
        self.stop_group(place, shard);
    }

    /// Starts such a replica again.
    pub(super) fn resume(&self, place: usize, shard: ShardId) {
        let Running { store, log } = self.nodes[place].running.as_ref().expect("the node runs");
        self.start_group(place, shard, store, log);
    }

    /// Does to a replica what happens when it moves away and is asked back: its entries are gone.
    pub(super) fn move_away_and_back(&self, place: usize, shard: ShardId) {
        self.stop_group(place, shard);
        let Running { store, .. } = self.nodes[place].running.as_ref().expect("the node runs");
        let log = GroupLog::open(store.clone(), shard.into(), 1024, KeepCommitted::No).unwrap();
        self.runtime.block_on(async {
            log.move_away().await.unwrap();
            while log.erase_some().await.unwrap() {}
            log.come_back().await.unwrap();
        });
        assert_eq!(store.last_index(shard.into()), None);
        while forget_derived(store, shard).unwrap() {}
        self.resume(place, shard);
    }

    /// Waits until every replica has followed what the log of one holds now, and says how far each has come.
    pub(super) fn followed(&self, place: usize, shard: ShardId) -> Vec<Offset> {
        let end = self.group(place, shard).metrics().last_log_index;
        let all = || 0..self.count();
        let follows =
            |place| self.group(place, shard).metrics().last_applied.map(|id| id.index()) >= end;
        self.block_on(async {
            while !all().all(follows) {
                tokio::time::sleep(LOOK).await;
            }
        });
        all().map(|place| self.log(place).last_offset(shard).unwrap()).collect()
    }

    /// Stops a node in an orderly way.
    fn stop(&mut self, place: usize) {
        for shard in SHARDS {
            self.stop_group(place, shard);
        }
        if let Some(Running { store, log }) = self.nodes[place].running.take() {
            drop(log);
            // A store that has failed says so again.
            let _ = store.close();
        }
    }

    /// Stops all nodes and starts them on what they stored.
    pub(super) fn restart(&mut self) {
        for place in 0..self.nodes.len() {
            self.stop(place);
        }
        for place in 0..self.nodes.len() {
            self.start(place);
        }
    }

    /// The node that leads a shard's group at a term above `above`, and that term.
    pub(super) fn leader_above(&self, shard: ShardId, above: u64) -> (usize, u64) {
        self.block_on(async {
            loop {
                if let Some(found) = self.find_leader(shard, above) {
                    return found;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    pub(super) fn find_leader(&self, shard: ShardId, above: u64) -> Option<(usize, u64)> {
        let cut = lock(&self.cut).clone();
        let looks = self.nodes.iter().enumerate().filter(|(_, node)| !cut.contains(&node.id));
        let leaders = looks.filter_map(|(place, node)| {
            let metrics = lock(&node.door.groups).get(&shard)?.metrics();
            let leads = metrics.state.is_leader()
                && metrics.vote.is_committed()
                && metrics.running_state.is_ok()
                && metrics.current_term > above;
            leads.then_some((place, metrics.current_term))
        });
        leaders.max_by_key(|(_, term)| *term)
    }

    /// Has another leadership begin: on the next node, or on the only one by starting its group again.
    pub(super) fn elect_anew(&self, shard: ShardId) -> (usize, u64) {
        let (leader, term) = self.leader_above(shard, 0);
        if self.count() == 1 {
            let Running { store, log } = self.nodes[0].running.as_ref().expect("the node runs");
            self.stop_group(0, shard);
            self.start_group(0, shard, store, log);
            return self.leader_above(shard, term);
        }
        self.transfer(shard, (leader, term), (leader + 1) % self.count())
    }

    /// Moves a leadership to a node; it begins at a higher term.
    pub(super) fn transfer(
        &self,
        shard: ShardId,
        (from, term): (usize, u64),
        to: usize,
    ) -> (usize, u64) {
        let next = self.nodes[to].id.0;
        let group = self.group(from, shard);
        self.block_on(async {
            loop {
                assert!(group.give_away(NodeId(next)).await);
                let begun = async {
                    while self.find_leader(shard, term).is_none() {
                        tokio::time::sleep(LOOK).await;
                    }
                };
                if tokio::time::timeout(TRANSFER_AGAIN, begun).await.is_ok() {
                    return;
                }
            }
        });
        self.leader_above(shard, term)
    }

    /// Waits until the leader of a shard has followed everything of the past, and says which node that is.
    pub(super) fn settled_leader(&self, shard: ShardId) -> usize {
        self.block_on(async {
            loop {
                if let Some((place, term)) = self.find_leader(shard, 0)
                    && self.group(place, shard).settle(term).await.is_ok()
                {
                    return place;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for place in 0..self.nodes.len() {
            self.stop(place);
        }
        let nodes = std::mem::take(&mut self.nodes);
        self.runtime.block_on(async {
            for node in &nodes {
                node.peers.shutdown().await;
            }
        });
    }
}

async fn node(id: NodeId, cut: &Arc<Mutex<BTreeSet<NodeId>>>) -> Node {
    let door = Arc::new(Door {
        me: id,
        cut: cut.clone(),
        groups: Mutex::default(),
        ways: Mutex::default(),
    });
    let name = format!("n{id}");
    let me = NodeIdentity { node: id, name, incarnation: 1, http: None };
    let listen = Some(([127, 0, 0, 1], 0).into());
    let options = PeersOptions { listen, ..PeersOptions::new("test", me) };
    let peers = Peers::start(options, door.clone()).await.unwrap();
    tokio::spawn(beat(Arc::downgrade(&door)));
    // In memory where the system has such a directory: hundreds of openings would wait for a disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    Node { id, dir, disk: Arc::default(), peers, door, running: None }
}

/// What `node/beating.rs` does for a whole node.
async fn beat(door: Weak<Door>) {
    while let Some(groups) = door.upgrade().map(|door| lock(&door.groups).clone()) {
        for group in groups.values().filter(|it| it.leads() && it.rest().is_awake()) {
            group.beat().await;
        }
        tokio::time::sleep(ConsensusTimes::default().heartbeat).await;
    }
}

fn open_store(dir: &Path, disk: &Arc<Disk>) -> Arc<Store> {
    let disk = Arc::clone(disk);
    let options = StoreOptions { disk, cache_bytes: 16 << 20, ..StoreOptions::default() };
    Store::open(dir, options).unwrap()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
