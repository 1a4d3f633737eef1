//! The groups of the shards on this node: those the plan names it for, and those it ever took part in, until their leader says it is out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holm_core::{NodeId, ShardId};
use holm_persistence::LogId as StoreLog;
use tokio::sync::watch;

use super::core::{Core, lock};
use super::leadership::Lead;
use super::messages::LedShard;
use crate::cluster_log::ClusterState;
use crate::raft::EmptyNode;
use crate::raft::entry;
use crate::raft::group::{Group, GroupParts};
use crate::raft::log_storage::{GroupLog, KeepCommitted};
use crate::raft::machine::Machine;
use crate::replicated_log::Replica;

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
    pub(super) lead: Mutex<Lead>,
    /// Dropped with the group; its watchers end then.
    pub(super) alive: watch::Sender<()>,
}

impl Core {
    /// Starts the groups that this node took part in before, whatever the plan says now.
    pub(super) async fn start_used_groups(self: &Arc<Self>) -> io::Result<()> {
        for number in 0..self.setup.shards {
            let log = self.open_log(ShardId(number))?;
            if log.is_used() {
                self.start_group(ShardId(number), log).await?;
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
        let log = self.open_log(shard)?;
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

    fn open_log(&self, shard: ShardId) -> io::Result<GroupLog> {
        let store = self.setup.store.clone();
        let log = GroupLog::open(store, shard.into(), SHARD_TAIL_BYTES, KeepCommitted::No)?;
        Ok(log.around(&self.setup.surroundings))
    }

    async fn start_group(
        self: &Arc<Self>,
        shard: ShardId,
        log: GroupLog,
    ) -> io::Result<Arc<ShardGroup>> {
        let follower = self.log.follower(shard)?;
        let (index, progress) = (follower.index(), follower.progress());
        let applied = applied(&log, index.watermark())?;
        let membership = log.membership_at(applied.map_or(0, |id| id.index()));
        let parts = GroupParts {
            id: StoreLog::from(shard),
            me: self.me(),
            config: self.config.clone(),
            peers: self.peers.clone(),
            log: log.clone(),
            machine: Machine::new(applied, membership, Box::new(follower)),
        };
        let group = Group::start(parts).await?;
        let replica = Arc::new(Replica::new(shard, Arc::new(group.clone()), log, index, progress));
        self.log.insert(replica.clone());
        let started = Arc::new(ShardGroup {
            shard,
            group,
            replica,
            lead: Mutex::default(),
            alive: watch::Sender::new(()),
        });
        self.groups().insert(shard, started.clone());
        self.watch_leadership(started.clone());
        Ok(started)
    }

    /// Stops a group that this node is no longer part of. Its log stays: what it voted must not be forgotten, and when it is wanted again
    /// only the rest has to be sent.
    pub(super) async fn retire_if_out(self: &Arc<Self>, led: &LedShard) {
        let planned = self.state().planned_for(self.me()).contains(&led.shard);
        if planned || !led.settled || led.members.contains(&self.me()) {
            return;
        }
        let Some(group) = self.groups().get(&led.shard).cloned() else { return };
        let newer = group.group.metrics().current_term <= led.term.0;
        if newer && self.groups().remove(&led.shard).is_some() {
            tracing::info!(shard = %led.shard, "this node no longer holds a replica");
            self.stop_group(&group).await;
            self.changed.notify_one();
        }
    }

    /// Stops a group here.
    pub(super) async fn stop_group(&self, group: &ShardGroup) {
        self.log.remove(group.shard);
        if std::mem::take(&mut *lock(&group.lead)) != Lead::None {
            self.host.depose(group.shard);
        }
        group.group.stop().await;
        if let Err(error) = group.replica.index().flush() {
            tracing::warn!(shard = %group.shard, %error, "the index was not flushed; it will be rebuilt from the log");
        }
    }
}

/// The log id up to which the index has followed, so that openraft goes on after it.
fn applied(log: &GroupLog, watermark: u64) -> io::Result<Option<crate::raft::LogId>> {
    if watermark == 0 || log.last_index().is_none_or(|last| last < watermark) {
        return Ok(None);
    }
    let term = log.term_at(watermark)?;
    Ok(term.map(|term| entry::log_id(term, watermark)))
}
