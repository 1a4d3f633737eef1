//! What a node is made of once it has its place in the cluster; the other files of this folder each add one thing that it does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::{Clock, NodeId, ShardId, Timestamp};
use holm_persistence::{LogId as StoreLog, Store};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::groups::ShardGroup;
use super::host::HostedShards;
use super::messages::Report;
use super::options::ClusterOptions;
use super::resting::Company;
use crate::cluster_log::follower::fact_payload;
use crate::cluster_log::{ClusterFollower, ClusterState, Fact, NodeFacts};
use crate::membership::Membership;
use crate::raft::consensus::Consensus;
use crate::raft::group::{Group, GroupParts};
use crate::raft::log_storage::{GroupLog, KeepCommitted};
use crate::raft::machine::Machine;
use crate::raft::{Applied, Config, ConsensusTimes, StoredMembership};
use crate::replicated_log::{Interrupted, ReplicatedLog};
use crate::router::Router;
use crate::surroundings::Surroundings;
use crate::transport::Peers;
use crate::view::ClusterView;

/// Bytes of the newest facts kept in memory. Facts are few and small.
const CLUSTER_TAIL_BYTES: usize = 1024 * 1024;

/// What is given once, at the start.
pub(super) struct Setup {
    pub(super) cluster_name: String,
    pub(super) cluster: u128,
    pub(super) me: NodeId,
    pub(super) directory: u128,
    pub(super) facts: NodeFacts,
    pub(super) shards: u32,
    pub(super) replication: u32,
    pub(super) expected_nodes: u32,
    pub(super) down_after: Duration,
    pub(super) erase_after: Duration,
    pub(super) times: ConsensusTimes,
    pub(super) store: Arc<Store>,
    pub(super) surroundings: Surroundings,
    pub(super) clock: Arc<dyn Clock>,
}

/// A node with its place in the cluster.
pub(super) struct Core {
    pub(super) setup: Setup,
    pub(super) peers: Peers,
    pub(super) membership: Mutex<Option<Membership>>,
    pub(super) config: Arc<Config>,
    pub(super) cluster_group: Group,
    pub(super) states: watch::Receiver<Arc<ClusterState>>,
    pub(super) log: Arc<ReplicatedLog>,
    pub(super) host: Arc<dyn HostedShards>,
    router: Router,
    groups: Mutex<BTreeMap<ShardId, Arc<ShardGroup>>>,
    /// Held while a group is started, stopped for good, or its log is shortened: one of these at a time.
    pub(super) erasing: tokio::sync::Mutex<()>,
    /// The shards whose replica moved away from here and whose log still has something to erase, and from when on that may happen.
    pub(super) away: Mutex<BTreeMap<ShardId, Instant>>,
    pub(super) reports: Mutex<BTreeMap<NodeId, Report>>,
    pub(super) views: watch::Sender<Arc<ClusterView>>,
    /// The nodes with which groups rest.
    pub(super) company: Mutex<Company>,
    /// Something that the reports or the view show has changed.
    pub(super) changed: Notify,
    /// When this node last began or lost anything that balancing should wait for.
    pub(super) unrest: Mutex<Instant>,
    /// This node is about to stop and takes no leadership.
    pub(super) retiring: watch::Sender<bool>,
}

/// Why a fact was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotCommitted {
    /// This node does not lead the cluster log, or lost it meanwhile.
    #[error("the cluster log has no leader here")]
    NoLeader,
    /// It contradicts what was committed before it.
    #[error("it contradicts what was decided before")]
    Contradiction,
}

/// What a node consists of besides its setup.
pub(super) struct Organs {
    pub(super) peers: Peers,
    pub(super) membership: Option<Membership>,
    pub(super) config: Arc<Config>,
    pub(super) cluster_group: Group,
    pub(super) states: watch::Receiver<Arc<ClusterState>>,
    pub(super) log: Arc<ReplicatedLog>,
    pub(super) host: Arc<dyn HostedShards>,
    pub(super) router: Router,
    pub(super) views: watch::Sender<Arc<ClusterView>>,
}

impl Core {
    pub(super) fn new(setup: Setup, organs: Organs) -> Self {
        let Organs { peers, membership, config, cluster_group, states, log, host, router, views } =
            organs;
        let company = Mutex::new(Company::new(setup.times));
        Self {
            setup,
            peers,
            membership: Mutex::new(membership),
            config,
            cluster_group,
            states,
            log,
            host,
            router,
            groups: Mutex::default(),
            erasing: tokio::sync::Mutex::default(),
            away: Mutex::default(),
            reports: Mutex::default(),
            views,
            company,
            changed: Notify::new(),
            unrest: Mutex::new(Instant::now()),
            retiring: watch::Sender::new(false),
        }
    }

    pub(super) fn me(&self) -> NodeId {
        self.setup.me
    }

    pub(super) fn now(&self) -> Timestamp {
        self.setup.clock.now()
    }

    pub(super) fn router(&self) -> &Router {
        &self.router
    }

    /// The newest state of the cluster that is known here.
    pub(super) fn state(&self) -> Arc<ClusterState> {
        self.states.borrow().clone()
    }

    /// The group with this log, when this node takes part in it.
    pub(super) fn group(&self, log: StoreLog) -> Option<Group> {
        if log == StoreLog::CLUSTER {
            return Some(self.cluster_group.clone());
        }
        self.groups().get(&ShardId(log.0)).map(|shard| shard.group.clone())
    }

    /// The shards' groups here.
    pub(super) fn groups(&self) -> MutexGuard<'_, BTreeMap<ShardId, Arc<ShardGroup>>> {
        lock(&self.groups)
    }

    /// All groups, as they are now.
    pub(super) fn all_groups(&self) -> Vec<Arc<ShardGroup>> {
        self.groups().values().cloned().collect()
    }

    /// Balancing waits a while from now on.
    pub(super) fn stir(&self) {
        *lock(&self.unrest) = Instant::now();
    }

    /// Commits a fact; only the leader of the cluster log can.
    pub(super) async fn commit(&self, fact: Fact) -> Result<(), NotCommitted> {
        let metrics = self.cluster_group.metrics();
        if !metrics.state.is_leader() {
            return Err(NotCommitted::NoLeader);
        }
        let payload = fact_payload(&fact).map_err(|_| NotCommitted::Contradiction)?;
        tracing::info!(?fact, "proposing");
        match self.cluster_group.propose(metrics.current_term, payload).await {
            Ok(Applied::Accepted) => Ok(()),
            Ok(_) => Err(NotCommitted::Contradiction),
            Err(_) => Err(NotCommitted::NoLeader),
        }
    }
}

/// Starts the group of the cluster log.
pub(super) async fn start_cluster_group(
    options: &ClusterOptions,
    me: NodeId,
    config: Arc<Config>,
    peers: Peers,
) -> io::Result<(Group, watch::Receiver<Arc<ClusterState>>)> {
    let log = GroupLog::open(
        options.store.clone(),
        StoreLog::CLUSTER,
        CLUSTER_TAIL_BYTES,
        KeepCommitted::Yes,
    )?
    .around(&options.surroundings);
    let times = options.times;
    let (follower, states) = ClusterFollower::new();
    let machine = Machine::new(None, StoredMembership::default(), Box::new(follower));
    let parts = GroupParts { id: StoreLog::CLUSTER, me, config, times, peers, log, machine };
    Ok((Group::start(parts).await?, states))
}

/// The log of the shards, and where it tells that a leadership can write no more.
pub(super) fn start_log(
    store: &Arc<Store>,
) -> (Arc<ReplicatedLog>, mpsc::UnboundedReceiver<Interrupted>) {
    let (failures, interrupted) = mpsc::unbounded_channel();
    (Arc::new(ReplicatedLog::new(store.clone(), failures)), interrupted)
}

/// Every lock of a node guards plain values that are whole at any moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
