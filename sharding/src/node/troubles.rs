//! From one picture of the cluster to the next: which members fell silent or came back, which shards moved or lost their majority. Pure.
//!
//! Every node sees it; one tells it, the leader of the cluster log, so that it is told once. When that leader is the very node that fell silent, the next
//! leader tells what it saw meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use holm_core::{NodeId, ShardId, Timestamp};
use holm_runtime::{FailureKind, Subject};

use crate::view::{ClusterView, MemberState, ShardState};

/// How long a node remembers what another one should have told. An election takes less than a second.
const REMEMBERED: Duration = Duration::from_secs(10);

/// How much it remembers: every shard of a large cluster once.
const MOST_REMEMBERED: usize = 4_096;

/// Something that went wrong in the cluster, or right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: FailureKind,
    pub(super) subject: Subject,
    pub(super) reason: String,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    members: BTreeMap<NodeId, MemberState>,
    /// The last leader of each shard, also while it has none.
    leaders: BTreeMap<ShardId, NodeId>,
    unassigned: BTreeMap<ShardId, bool>,
    /// What others should have told: when it was, and who led the cluster log then.
    untold: VecDeque<(Timestamp, Option<NodeId>, Trouble)>,
}

impl Troubles {
    /// Looks at the next picture. Gives what this node has to tell.
    pub(super) fn look(
        &mut self,
        view: &ClusterView,
        me: NodeId,
        leader: Option<NodeId>,
        now: Timestamp,
    ) -> Vec<Trouble> {
        let mut seen = self.of_members(view);
        seen.extend(self.of_shards(view));
        while self.untold.front().is_some_and(|(at, ..)| now.since(*at) > REMEMBERED) {
            self.untold.pop_front();
        }
        if leader != Some(me) {
            let room = MOST_REMEMBERED.saturating_sub(self.untold.len());
            let noted = seen.into_iter().take(room).map(|trouble| (now, leader, trouble));
            self.untold.extend(noted);
            return Vec::new();
        }
        let told = |leader: &Option<NodeId>| {
            leader.is_some_and(|leader| {
                view.member(leader).is_some_and(|member| member.state == MemberState::Up)
            })
        };
        let untold = self.untold.drain(..).filter(|(_, leader, _)| !told(leader));
        untold.map(|(.., trouble)| trouble).chain(seen).collect()
    }

    fn of_members(&mut self, view: &ClusterView) -> Vec<Trouble> {
        let mut seen = Vec::new();
        let mut members = BTreeMap::new();
        for member in &view.members {
            let before = self.members.get(&member.id).copied();
            members.insert(member.id, member.state);
            let kind = match (before, member.state) {
                (Some(before), now) if before == now => continue,
                (Some(MemberState::Down), MemberState::Suspect) | (None, _) => continue,
                (_, MemberState::Suspect) => FailureKind::NodeSuspected,
                (_, MemberState::Down) => FailureKind::NodeDown,
                (Some(MemberState::Suspect | MemberState::Down), MemberState::Up) => {
                    FailureKind::NodeBack
                }
                _ => continue,
            };
            let what = match kind {
                FailureKind::NodeSuspected => "does not answer",
                FailureKind::NodeDown => "was silent for too long; its shards go elsewhere",
                _ => "answers again",
            };
            let reason = format!("{} {what}", member.name);
            seen.push(Trouble { kind, subject: Subject::Node(member.id), reason });
        }
        self.members = members;
        seen
    }

    fn of_shards(&mut self, view: &ClusterView) -> Vec<Trouble> {
        let mut seen = Vec::new();
        let name = |node: NodeId| {
            view.member(node).map_or_else(|| format!("node {node}"), |member| member.name.clone())
        };
        for shard in &view.shards {
            let subject = Subject::Shard(shard.id);
            if let Some(leader) = shard.leader
                && let Some(before) = self.leaders.insert(shard.id, leader)
                && before != leader
            {
                let reason = format!("from {} to {}", name(before), name(leader));
                let kind = FailureKind::ShardMoved;
                seen.push(Trouble { kind, subject: subject.clone(), reason });
            }
            // A shard without replicas was never placed; that is no loss.
            let lost = shard.state == ShardState::Unassigned && !shard.replicas.is_empty();
            if self.unassigned.insert(shard.id, lost) == Some(false) && lost {
                let reason = format!("{} replicas, no majority of them", shard.replicas.len());
                seen.push(Trouble { kind: FailureKind::ShardWithoutQuorum, subject, reason });
            }
        }
        seen
    }
}

#[cfg(test)]
#[path = "troubles/tests.rs"]
mod tests;
