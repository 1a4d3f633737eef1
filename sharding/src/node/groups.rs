//! The groups of the shards on this node: those the plan names it for, and those it took part in before, until their leader says it is out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_core::{NodeId, ShardId};
use tokio::sync::watch;

use super::core::{Core, Setup, lock};
use super::leading::Leading;
use crate::cluster_log::ClusterState;
use crate::raft::EmptyNode;
use crate::raft::group::Group;
use crate::raft::log_storage::{GroupLog, KeepCommitted};
use crate::replicated_log::{GroupSeat, Replica};

/// Bytes of the newest durable entries of one shard kept in memory: 32 MiB with 32 shards. At 20,000 commands/s it holds the last seconds, so
/// that only a follower that is later than that makes its leader read the disk.
const SHARD_TAIL_BYTES: usize = 1024 * 1024;

/// How long a founder waits for the first founder before it founds the group in its place.
const FOUNDER_PATIENCE: Duration = Duration::from_secs(3);

/// One shard's group on this node.
pub(super) struct ShardGroup {
    pub(super) shard: ShardId,
    pub(super) group: Group,
    pub(super) replica: Arc<Replica>,
    pub(super) lead: Mutex<Leading>,
    /// Dropped with the group; its watchers end then.
    pub(super) alive: watch::Sender<()>,
}

impl Core {
    /// Starts the groups that this node took part in before, whatever the plan says now.
    pub(super) async fn start_used_groups(self: &Arc<Self>) -> io::Result<()> {
        for number in 0..self.setup.shards {
            let shard = ShardId(number);
            let log = open_log(&self.setup, shard)?;
            if log.is_away() {
                self.erase_later(shard);
            } else if log.is_used() {
                self.start_group(shard, log).await?;
            }
        }
        Ok(())
    }

    /// Keeps the groups in step with the plan.
    pub(super) async fn follow_plan(self: Arc<Self>) {
        let mut states = self.states.clone();
        let mut known = BTreeSet::new();
        loop {
            let state = states.borrow_and_update().clone();
            self.changed.notify_one();
            self.introduce(&state, &mut known);
            for shard in state.planned_for(self.me()) {
                if self.groups().contains_key(&shard) {
                    continue;
                }
                if let Err(error) = self.start_planned(shard, &state).await {
                    tracing::error!(%shard, %error, "the group of a shard does not start");
                }
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells the transport where the members are, and who is none any more.
    fn introduce(&self, state: &ClusterState, known: &mut BTreeSet<NodeId>) {
        for gone in known.iter().filter(|node| !state.members.contains_key(node)) {
            self.peers.forget(*gone);
            lock(&self.reports).remove(gone);
        }
        *known = state.members.keys().copied().collect();
        for (node, member) in &state.members {
            if *node != self.me() && self.peers.address(*node) != Some(member.facts.peer) {
                self.peers.set_address(*node, member.facts.peer);
            }
        }
    }

    async fn start_planned(
        self: &Arc<Self>,
        shard: ShardId,
        state: &ClusterState,
    ) -> io::Result<()> {
        let _turn = self.erasing.lock().await;
        if self.groups().contains_key(&shard) {
            return Ok(());
        }
        lock(&self.away).remove(&shard);
        let log = open_log(&self.setup, shard)?;
        log.come_back().await?;
        let pristine = !log.is_used();
        let group = self.start_group(shard, log).await?;
        let founders = state.founders.get(shard.0 as usize).cloned().unwrap_or_default();
        if pristine && founders.contains(&self.me()) {
            self.found_group(group, founders);
        }
        Ok(())
    }

    /// The first founder founds the group; another does it when the first is not there. All would found the same, so it may happen twice.
    fn found_group(self: &Arc<Self>, group: Arc<ShardGroup>, founders: Vec<NodeId>) {
        let first = founders.first() == Some(&self.me());
        let voters: BTreeMap<u64, EmptyNode> =
            founders.iter().map(|node| (node.0, EmptyNode::new())).collect();
        tokio::spawn(async move {
            if !first {
                tokio::time::sleep(FOUNDER_PATIENCE).await;
            }
            let raft = group.group.raft();
            if raft.is_initialized().await.unwrap_or(true) {
                return;
            }
            if let Err(error) = raft.initialize(voters).await {
                tracing::debug!(shard = %group.shard, %error, "the group was founded by another");
            }
        });
    }

    async fn start_group(
        self: &Arc<Self>,
        shard: ShardId,
        log: GroupLog,
    ) -> io::Result<Arc<ShardGroup>> {
        let seat = GroupSeat {
            me: self.me(),
            config: self.config.clone(),
            times: self.setup.times,
            peers: self.peers.clone(),
        };
        let (group, replica) = self.log.start(shard, log, seat).await?;
        let started = Arc::new(ShardGroup {
            shard,
            group,
            replica,
            lead: Mutex::new(Leading::new(self.setup.times.election_max)),
            alive: watch::Sender::new(()),
        });
        self.groups().insert(shard, started.clone());
        self.watch_leadership(started.clone());
        Ok(started)
    }

    /// Stops a group here.
    pub(super) async fn stop_group(&self, group: &ShardGroup) {
        self.log.remove(group.shard);
        if lock(&group.lead).end().is_some() {
            self.host.depose(group.shard);
        }
        group.group.stop().await;
        if let Err(error) = group.replica.index().flush() {
            tracing::warn!(shard = %group.shard, %error, "the index was not flushed; it will be rebuilt from the log");
        }
    }
}

/// The log of a shard's group on this node. Reads its last entry.
pub(super) fn open_log(setup: &Setup, shard: ShardId) -> io::Result<GroupLog> {
    let store = setup.store.clone();
    let log = GroupLog::open(store, shard.into(), SHARD_TAIL_BYTES, KeepCommitted::No)?;
    Ok(log.around(&setup.surroundings))
}
