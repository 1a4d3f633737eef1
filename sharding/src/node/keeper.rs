//! What the leader of the cluster log does besides answering: it sees who is there, commits what follows, and keeps the log's own group in step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holm_core::NodeId;

use super::core::{Core, lock};
use crate::cluster_log::{ClusterState, Fact, MemberStatus};
use crate::controller::facts::{Observed, cluster_voters, next_fact};
use crate::raft::{ChangeMembers, EmptyNode, Metrics, elapsed};

/// How often it looks. A node that joins waits for a few of these.
const PERIOD: Duration = Duration::from_millis(100);

/// Time for one change of the group's membership.
const CHANGE_DEADLINE: Duration = Duration::from_secs(5);

/// Entries of the cluster log that a node may lack and still count as following it.
const CAUGHT_UP_ENTRIES: u64 = 16;

/// Longest silence that is told apart from a longer one.
const LONG: Duration = Duration::from_secs(3_600);

impl Core {
    /// Keeps the cluster in order while this node leads the cluster log.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leading_since = None;
        loop {
            ticks.tick().await;
            let metrics = self.cluster_group.metrics();
            let leads = metrics.state.is_leader();
            let retiring = *self.retiring.borrow();
            if !leads || (retiring && self.hand_over_cluster_log(&metrics).await) {
                leading_since = None;
                continue;
            }
            let since = *leading_since.get_or_insert_with(tokio::time::Instant::now);
            let state = self.state();
            if state.created.is_none() {
                continue;
            }
            let observed = self.observe(&metrics, &state, since);
            if let Some(fact) = next_fact(&state, &observed, self.setup.down_after, self.now()) {
                if let Err(error) = self.commit(fact).await {
                    tracing::debug!(%error, "a fact was not committed");
                }
                continue;
            }
            let change =
                tokio::time::timeout(CHANGE_DEADLINE, self.keep_group(&metrics, &state, &observed));
            if change.await.is_err() {
                tracing::warn!("a change of the cluster log's members takes long");
            }
            self.let_go(&metrics, &state).await;
        }
    }

    /// A node that goes leads nothing, the cluster log neither: whoever leads it next carries the rest of the leaving out.
    ///
    /// False when nobody else can take it. The founder is the only voter at first; told to go then, it has to see to other voters itself, or
    /// nobody would ever join or leave again.
    async fn hand_over_cluster_log(&self, metrics: &Metrics) -> bool {
        let mut voters = metrics.membership_config.voter_ids().map(NodeId);
        let next = voters.find(|node| *node != self.me() && self.is_reachable(*node));
        let Some(next) = next else { return false };
        tracing::info!(to = %next, "handing over the cluster log");
        self.cluster_group.give_away(next).await;
        true
    }

    /// How long each node has been silent. A new leader has heard of nobody: silence is counted from its beginning.
    fn observe(
        &self,
        metrics: &Metrics,
        state: &ClusterState,
        since: tokio::time::Instant,
    ) -> BTreeMap<NodeId, Observed> {
        let last = metrics.last_log_index.unwrap_or(0);
        let observe = |node: NodeId| {
            if node == self.me() {
                return Observed { silent: Duration::ZERO, caught_up: true };
            }
            let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&node.0)?);
            let silent = heard.map_or_else(|| since.elapsed(), |at| elapsed(&at)).min(LONG);
            let matched = metrics.replication.as_ref().and_then(|matched| *matched.get(&node.0)?);
            let caught_up = matched
                .is_some_and(|matched| last.saturating_sub(matched.index()) <= CAUGHT_UP_ENTRIES);
            Observed {
                silent: if heard.is_none() { silent.max(Duration::from_secs(1)) } else { silent },
                caught_up,
            }
        };
        state.members.keys().map(|node| (*node, observe(*node))).collect()
    }

    /// One step towards the members that the cluster log's group should have.
    async fn keep_group(
        &self,
        metrics: &Metrics,
        state: &ClusterState,
        observed: &BTreeMap<NodeId, Observed>,
    ) {
        let raft = self.cluster_group.raft();
        let membership = metrics.membership_config.membership();
        if metrics.membership_config != metrics.committed_membership_config {
            return;
        }
        let voters: BTreeSet<NodeId> = membership.voter_ids().map(NodeId).collect();
        let present: BTreeSet<NodeId> = membership.nodes().map(|(node, _)| NodeId(*node)).collect();
        if let Some(node) = state.members.keys().find(|node| !present.contains(node)) {
            if let Err(error) = raft.add_learner(node.0, EmptyNode::new(), false).await {
                tracing::debug!(%node, %error, "the node does not follow the cluster log yet");
            }
            return;
        }
        let wanted = cluster_voters(state, &voters);
        let ready = wanted.iter().all(|node| {
            voters.contains(node) || observed.get(node).is_some_and(|seen| seen.caught_up)
        });
        let joint = membership.get_joint_config().len() > 1;
        if !wanted.is_empty() && ready && (wanted != voters || joint) {
            self.change_voters(&wanted).await;
            return;
        }
        let gone: BTreeSet<u64> = present
            .iter()
            .filter(|node| !state.members.contains_key(node) && !voters.contains(node))
            .map(|node| node.0)
            .collect();
        if !gone.is_empty()
            && let Err(error) =
                raft.change_membership(ChangeMembers::RemoveNodes(gone), false).await
        {
            tracing::debug!(%error, "nodes that left still follow the cluster log");
        }
    }

    /// Changes who votes. A leader that is to vote no more hands over first.
    async fn change_voters(&self, wanted: &BTreeSet<NodeId>) {
        if !wanted.contains(&self.me())
            && let Some(next) = wanted.iter().find(|node| self.is_reachable(**node))
        {
            let all: BTreeSet<u64> =
                wanted.iter().map(|node| node.0).chain([self.me().0]).collect();
            let known: BTreeSet<u64> =
                self.cluster_group.metrics().membership_config.voter_ids().collect();
            if known.contains(&next.0) {
                tracing::info!(to = %next, "handing over the cluster log");
                self.cluster_group.give_away(*next).await;
                tokio::time::sleep(PERIOD).await;
                return;
            }
            self.set_voters(all).await;
            return;
        }
        self.set_voters(wanted.iter().map(|node| node.0).collect()).await;
    }

    async fn set_voters(&self, voters: BTreeSet<u64>) {
        tracing::info!(?voters, "changing who votes in the cluster log");
        // Who votes no more goes on learning: every node follows the cluster log.
        if let Err(error) = self.cluster_group.raft().change_membership(voters, true).await {
            tracing::debug!(%error, "the voters of the cluster log did not change");
        }
    }

    /// Lets a leaving node go when nothing is left on it.
    async fn let_go(&self, metrics: &Metrics, state: &ClusterState) {
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        for node in state.in_status(MemberStatus::Leaving) {
            let last_of_all = state.members.len() == 1;
            let votes = voters.contains(&node.0);
            if last_of_all || (!votes && self.is_empty(node, state)) {
                if let Err(error) = self.commit(Fact::NodeLeft { node, at: self.now() }).await {
                    tracing::debug!(%node, %error, "the node could not be let go");
                }
                return;
            }
        }
    }

    /// Whether every shard's leader says that this node holds no replica of it.
    fn is_empty(&self, node: NodeId, state: &ClusterState) -> bool {
        let Some(plan) = &state.plan else { return true };
        let reports = lock(&self.reports);
        let own = self.report();
        let mut without = BTreeMap::new();
        for led in reports.values().chain([&own]).flat_map(|report| &report.led) {
            let newest = without.get(&led.shard).is_none_or(|(term, _)| *term < led.term);
            if newest {
                without.insert(led.shard, (led.term, led.settled && !led.members.contains(&node)));
            }
        }
        without.len() == plan.shards.len() && without.values().all(|(_, without)| *without)
    }
}
