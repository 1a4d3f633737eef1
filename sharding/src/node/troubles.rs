//! From one picture of the cluster to the next: which members came, fell silent, came back or went, which shards moved or lost their majority. Pure.
//!
//! Every node sees it; one tells it, the leader of the cluster log, so that it is told once. When that leader is the very node that fell silent, the next
//! leader tells what it saw meanwhile. One that was started since saw nothing of it: then it is told by the first of those who did. What is trouble becomes a
//! failure fact too.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, ShardId, Timestamp};
use holm_runtime::{ClusterEvent, FailureKind, Subject};

use crate::view::{ClusterView, MemberState, MemberView, ShardState};

/// How long a node remembers what another one should have told, while somebody leads. An election takes less than a second.
const REMEMBERED: Duration = Duration::from_secs(10);

/// How much it remembers: every shard of a large cluster once.
const MOST_REMEMBERED: usize = 4_096;

/// Something that happened, and what went wrong with it, or right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) event: ClusterEvent,
    pub(super) trouble: Option<Trouble>,
}

/// What went wrong in the cluster, or right again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: FailureKind,
    pub(super) subject: Subject,
    pub(super) reason: String,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// Who was there, by name; none before the first look, in which everybody is new and nobody came.
    members: Option<BTreeMap<NodeId, (MemberState, String)>>,
    /// The last leader of each shard, also while it has none.
    leaders: BTreeMap<ShardId, NodeId>,
    unassigned: BTreeMap<ShardId, bool>,
    /// Who led the cluster log, also while nobody does.
    cluster_leader: Option<NodeId>,
    /// Which start of each member it was, in the picture before.
    lives: Arc<Lives>,
    /// What others should have told.
    untold: VecDeque<Note>,
}

/// Of each member the number of its start.
type Lives = BTreeMap<NodeId, u64>;

/// What another node should have told.
#[derive(Debug)]
struct Note {
    at: Timestamp,
    /// Who led the cluster log then.
    leader: Option<NodeId>,
    /// Who was there before the change, so saw it.
    lives: Arc<Lives>,
    change: Change,
}

impl Note {
    /// Whether this node saw the change and remembers it.
    fn is_known_by(&self, member: &MemberView) -> bool {
        self.lives.get(&member.id) == Some(&member.incarnation)
    }
}

impl Troubles {
    /// Looks at the next picture. Gives what this node has to tell.
    pub(super) fn look(
        &mut self,
        view: &ClusterView,
        me: NodeId,
        leader: Option<NodeId>,
        now: Timestamp,
    ) -> Vec<Change> {
        let mut seen = self.of_members(view, now);
        seen.extend(self.of_shards(view, now));
        let mine = self.of_leader(view, me, leader, now);
        let is_up = |it: &&MemberView| it.state == MemberState::Up;
        let present = leader.and_then(|it| view.member(it)).filter(is_up);
        if present.is_none() {
            // Nobody could tell it so far, however long that lasts: a lost majority is told when it is back.
            self.untold.iter_mut().for_each(|note| note.at = now);
        }
        while self.untold.front().is_some_and(|note| now.since(note.at) > REMEMBERED) {
            self.untold.pop_front();
        }
        let lives = view.members.iter().map(|it| (it.id, it.incarnation)).collect();
        let lives = std::mem::replace(&mut self.lives, Arc::new(lives));
        if leader != Some(me) {
            let room = MOST_REMEMBERED.saturating_sub(self.untold.len());
            let noted = seen.into_iter().take(room);
            self.untold.extend(noted.map(|change| {
                let lives = Arc::clone(&lives);
                Note { at: now, leader, lives, change }
            }));
            return present.map_or_else(Vec::new, |leader| self.in_its_place(view, me, leader));
        }
        // One that started again meanwhile remembers nothing of it.
        let told = |note: &Note| {
            let member = note.leader.and_then(|leader| view.member(leader)).filter(is_up);
            member.is_some_and(|member| note.is_known_by(member))
        };
        let untold = self.untold.drain(..).filter(|note| !told(note));
        untold.map(|note| note.change).chain(mine).chain(seen).collect()
    }

    /// What this node tells although another one leads, because that one was started since. Of those who were there the one with the lowest id tells it.
    fn in_its_place(&mut self, view: &ClusterView, me: NodeId, leader: &MemberView) -> Vec<Change> {
        let (known, unknown): (VecDeque<_>, VecDeque<_>) =
            self.untold.drain(..).partition(|note| note.is_known_by(leader));
        self.untold = known;
        let first = |note: &Note| {
            let up = view.members.iter().filter(|it| it.state == MemberState::Up);
            up.filter(|it| note.is_known_by(it)).map(|it| it.id).min()
        };
        let mine = unknown.into_iter().filter(|note| first(note) == Some(me));
        mine.map(|note| note.change).collect()
    }

    /// That this node leads the cluster log now, it tells itself.
    fn of_leader(
        &mut self,
        view: &ClusterView,
        me: NodeId,
        leader: Option<NodeId>,
        at: Timestamp,
    ) -> Option<Change> {
        let leader = leader?;
        let before = self.cluster_leader.replace(leader);
        let changed = leader == me && before != Some(me);
        let member = view.member(me).filter(|_| changed)?;
        let event = ClusterEvent::LeaderChanged { node: me, name: member.name.as_str().into(), at };
        Some(Change { event, trouble: None })
    }

    fn of_members(&mut self, view: &ClusterView, at: Timestamp) -> Vec<Change> {
        let now = view.members.iter().map(|it| (it.id, (it.state, it.name.clone()))).collect();
        let Some(before) = self.members.replace(now) else { return Vec::new() };
        let mut seen: Vec<Change> = view
            .members
            .iter()
            .filter_map(|it| of_member(before.get(&it.id).map(|(state, _)| *state), it, at))
            .collect();
        let left = before.iter().filter(|(node, _)| view.member(**node).is_none());
        seen.extend(left.map(|(node, (_, name))| Change {
            event: ClusterEvent::NodeLeft { node: *node, name: name.as_str().into(), at },
            trouble: None,
        }));
        seen
    }

    fn of_shards(&mut self, view: &ClusterView, at: Timestamp) -> Vec<Change> {
        let mut seen = Vec::new();
        let name = |node: NodeId| {
            view.member(node).map_or_else(|| format!("node {node}"), |member| member.name.clone())
        };
        for it in &view.shards {
            let (shard, subject) = (it.id, Subject::Shard(it.id));
            if let Some(to) = it.leader
                && let Some(from) = self.leaders.insert(shard, to)
                && from != to
            {
                let event = ClusterEvent::ShardMoved { shard, from, to, term: it.term, at };
                let reason = format!("from {} to {}", name(from), name(to));
                let (kind, subject) = (FailureKind::ShardMoved, subject.clone());
                seen.push(Change { event, trouble: Some(Trouble { kind, subject, reason }) });
            }
            // A shard without replicas was never placed; that is no loss.
            let lost = it.state == ShardState::Unassigned && !it.replicas.is_empty();
            match (self.unassigned.insert(shard, lost), lost) {
                (Some(false), true) => {
                    let replicas = u32::try_from(it.replicas.len()).unwrap_or(u32::MAX);
                    let event = ClusterEvent::QuorumLost { shard, replicas, at };
                    let reason = format!("{replicas} replicas, no majority of them");
                    let kind = FailureKind::ShardWithoutQuorum;
                    seen.push(Change { event, trouble: Some(Trouble { kind, subject, reason }) });
                }
                (Some(true), false) => {
                    let event = ClusterEvent::QuorumRegained { shard, at };
                    seen.push(Change { event, trouble: None });
                }
                _ => {}
            }
        }
        seen
    }
}

/// What became of one member since the picture before.
fn of_member(before: Option<MemberState>, member: &MemberView, at: Timestamp) -> Option<Change> {
    use MemberState::{Down, Joining, Leaving, Suspect, Up};
    if before == Some(member.state) {
        return None;
    }
    let (node, name): (_, Box<str>) = (member.id, member.name.as_str().into());
    let (event, trouble) = match (before, member.state) {
        (None | Some(Joining), Up) => (ClusterEvent::NodeJoined { node, name, at }, None),
        (Some(Suspect | Down), Up) => (
            ClusterEvent::NodeReturned { node, name, at },
            Some((FailureKind::NodeBack, "answers again")),
        ),
        // A node that is down and seen to be silent again, or that never was seen, says nothing new.
        (Some(Down) | None, Suspect) | (None, Down) => return None,
        (_, Suspect) => (
            ClusterEvent::NodeSuspected { node, name, at },
            Some((FailureKind::NodeSuspected, "does not answer")),
        ),
        (_, Down) => (
            ClusterEvent::NodeDowned { node, name, at },
            Some((FailureKind::NodeDown, "was silent for too long; its shards go elsewhere")),
        ),
        (_, Leaving) => (ClusterEvent::NodeLeaving { node, name, at }, None),
        _ => return None,
    };
    let trouble = trouble.map(|(kind, what)| Trouble {
        kind,
        subject: Subject::Node(node),
        reason: format!("{} {what}", member.name),
    });
    Some(Change { event, trouble })
}

#[cfg(test)]
#[path = "troubles/tests.rs"]
mod tests;
