//! Who leads what: each node tells the others which shards it leads, and puts what it hears together into its picture of the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, ShardId, Term};

use super::core::{Core, lock};
use super::groups::ShardGroup;
use super::messages::{LeadPhase, LedShard, REPORT, Report, SNAPSHOT, SnapshotCopy, body};
use super::troubles::{Change, Trouble, Troubles};
use crate::cluster_log::{ClusterState, MemberStatus};
use crate::transport::Lane;
use crate::view::{ClusterView, MemberState, MemberView, ShardState, ShardView};
use holm_persistence::ShardLog as _;

/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(10);

/// How often a node tells what it leads when nothing changes, for whoever missed it.
const REPEAT: Duration = Duration::from_secs(1);

/// Snapshots of one entity kept on a replica that does not lead.
const COPIES_KEPT: usize = 2;

impl Core {
    /// Tells the others and renews the view, when something changed and once in a while.
    pub(super) async fn report_changes(self: Arc<Self>) {
        let mut told = Report::default();
        let mut told_at = tokio::time::Instant::now();
        let mut troubles = Troubles::default();
        loop {
            let _ = tokio::time::timeout(REPEAT, self.changed.notified()).await;
            tokio::time::sleep(GATHER).await;
            let report = self.report();
            if report != told || told_at.elapsed() >= REPEAT {
                let state = self.state();
                for node in state.members.keys().filter(|node| **node != self.me()) {
                    self.send_report(*node, &report);
                }
                told = report;
                told_at = tokio::time::Instant::now();
            }
            self.renew_view();
            self.tell_troubles(&mut troubles);
        }
    }

    /// What happens to the cluster becomes a fact, and what goes wrong a failure fact too; the leader of the cluster log tells it.
    fn tell_troubles(&self, troubles: &mut Troubles) {
        let leader = self.cluster_group.metrics().current_leader.map(NodeId);
        let view = self.views.borrow().clone();
        // Before this start of the node is in the picture, the picture is of the past: the cluster log is being read again.
        let present = view.member(self.me()).map(|member| member.incarnation);
        if present != Some(self.setup.facts.incarnation) {
            return;
        }
        for Change { event, trouble } in troubles.look(&view, self.me(), leader, self.now()) {
            self.host.announce(event);
            if let Some(Trouble { kind, subject, reason }) = trouble {
                self.host.report(kind, subject, &reason);
            }
        }
    }

    /// Tells one node that just came.
    pub(super) fn report_to(&self, node: NodeId) {
        self.send_report(node, &self.report());
    }

    fn send_report(&self, node: NodeId, report: &Report) {
        if let Some(body) = body(REPORT, report) {
            // Who cannot be reached now is told when it is connected again.
            let _ = self.peers.notify(node, Lane::Control, body);
        }
    }

    /// Takes note of what another node leads.
    pub(super) fn hear(self: &Arc<Self>, report: Report) {
        for led in &report.led {
            if led.phase == LeadPhase::Serving {
                self.router().learn(led.shard, Some(report.node), led.term);
            }
        }
        let out: Vec<LedShard> =
            report.led.iter().filter(|led| !led.members.contains(&self.me())).cloned().collect();
        lock(&self.reports).insert(report.node, report);
        self.changed.notify_one();
        if !out.is_empty() {
            let core = self.clone();
            tokio::spawn(async move {
                for led in out {
                    core.retire_if_out(&led).await;
                }
            });
        }
    }

    /// What this node leads.
    pub(super) fn report(&self) -> Report {
        let led = self.all_groups().iter().filter_map(|group| led_shard(group)).collect();
        Report { node: self.me(), incarnation: self.setup.facts.incarnation, led }
    }

    /// Keeps another node's snapshot in the local cache.
    pub(super) fn keep_copy(&self, copy: SnapshotCopy) {
        // One that comes late, when the replica has moved away, would stay for ever.
        if !self.groups().contains_key(&copy.shard) {
            return;
        }
        let log = self.log.clone();
        let surroundings = self.setup.surroundings.clone();
        let keep = move || {
            let (shard, address, snapshot) = copy.into_snapshot();
            if let Err(error) = log.save_snapshot(shard, &address, snapshot, COPIES_KEPT) {
                tracing::warn!(%shard, %error, "a copy of a snapshot was not kept");
            }
        };
        // A copy is a cache: whether it was kept is nobody's concern.
        tokio::spawn(async move { drop(surroundings.wait_for_disk(keep).await) });
    }

    /// Sends a snapshot that was saved here to the other replicas; it is lost where it does not arrive.
    pub(super) fn copy_snapshot(&self, copy: &SnapshotCopy) {
        let Some(group) = self.groups().get(&copy.shard).cloned() else { return };
        let Some(body) = body(SNAPSHOT, copy) else { return };
        for voter in group.group.metrics().membership_config.voter_ids() {
            if voter != self.me().0 {
                let _ = self.peers.notify(NodeId(voter), Lane::Bulk, body.clone());
            }
        }
    }

    fn renew_view(&self) {
        let view = self.picture();
        self.views.send_if_modified(|old| {
            let new = **old != view;
            if new {
                *old = Arc::new(view);
            }
            new
        });
    }

    fn picture(&self) -> ClusterView {
        let state = self.state();
        let leaders = self.leaders();
        let shards =
            (0..self.setup.shards).map(|number| self.shard_view(ShardId(number), &state, &leaders));
        ClusterView {
            cluster: self.setup.cluster_name.clone(),
            version: state.version,
            members: state.members.keys().map(|node| self.member_view(*node, &state)).collect(),
            shards: shards.collect(),
        }
    }

    fn member_view(&self, node: NodeId, state: &ClusterState) -> MemberView {
        let member = &state.members[&node];
        let shown = match member.status {
            MemberStatus::Down => MemberState::Down,
            MemberStatus::Leaving => MemberState::Leaving,
            _ if !self.is_reachable(node) => MemberState::Suspect,
            MemberStatus::Joining => MemberState::Joining,
            MemberStatus::Up => MemberState::Up,
        };
        MemberView {
            id: node,
            name: member.facts.name.clone(),
            peer: member.facts.peer,
            http: member.facts.http.clone(),
            state: shown,
            incarnation: member.facts.incarnation,
            since: member.since,
        }
    }

    /// The newest word about each shard's leader: from the leaders themselves, this node included.
    fn leaders(&self) -> BTreeMap<ShardId, (NodeId, LedShard)> {
        let mut leaders: BTreeMap<ShardId, (NodeId, LedShard)> = BTreeMap::new();
        let reports = lock(&self.reports);
        let own = self.report();
        for report in reports.values().chain([&own]) {
            if !self.is_reachable(report.node) {
                continue;
            }
            for led in &report.led {
                let newest = leaders.get(&led.shard).is_none_or(|(_, other)| other.term < led.term);
                if newest {
                    leaders.insert(led.shard, (report.node, led.clone()));
                }
            }
        }
        leaders
    }

    fn shard_view(
        &self,
        shard: ShardId,
        state: &ClusterState,
        leaders: &BTreeMap<ShardId, (NodeId, LedShard)>,
    ) -> ShardView {
        let planned = state.plan.as_ref().and_then(|plan| plan.shard(shard));
        let planned = planned.map_or_else(Vec::new, |plan| plan.replicas.clone());
        // A follower may have heard of a newer leader than any leader has told of.
        let heard = self
            .groups()
            .get(&shard)
            .map_or(Term::ZERO, |group| Term(group.group.metrics().current_term));
        match leaders.get(&shard) {
            Some((leader, led)) if led.term >= heard => ShardView {
                id: shard,
                leader: Some(*leader),
                term: led.term,
                replicas: led.members.clone(),
                state: match led.phase {
                    LeadPhase::Opening => ShardState::Recovering,
                    LeadPhase::Serving => ShardState::Serving,
                    LeadPhase::HandingOff => ShardState::HandingOff,
                },
            },
            _ => {
                let alive = planned.iter().filter(|node| self.is_reachable(**node)).count();
                let majority = !planned.is_empty() && alive * 2 > planned.len();
                let state = if majority { ShardState::Recovering } else { ShardState::Unassigned };
                ShardView { id: shard, leader: None, term: heard, replicas: planned, state }
            }
        }
    }

    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        node == self.me() || self.peers.is_connected(node)
    }
}

fn led_shard(group: &ShardGroup) -> Option<LedShard> {
    let (term, phase) = lock(&group.lead).here()?;
    let metrics = group.group.metrics();
    let membership = metrics.committed_membership_config.membership().clone();
    let voters: Vec<NodeId> = membership.voter_ids().map(NodeId).collect();
    let count = u32::try_from(voters.len()).unwrap_or(u32::MAX);
    let members = voters.into_iter().chain(membership.learner_ids().map(NodeId)).collect();
    let settled = metrics.membership_config == metrics.committed_membership_config
        && membership.get_joint_config().len() == 1;
    Some(LedShard { shard: group.shard, term: Term(term), phase, members, voters: count, settled })
}
