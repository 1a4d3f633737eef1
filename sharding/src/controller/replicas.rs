//! Moves the group of one shard towards the plan, one step at a time: learner, catch up, promote and let go in one joint change, then lead.
//!
//! It runs on the leader of the group, which alone sees how far the others are. A learner counts as caught up only when it has nearly all
//! entries *and* was heard of just now: a dead one must never be promoted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holm_core::NodeId;

use crate::plan::ShardPlan;

/// What the leader of a group sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GroupSeen {
    /// The leader: this node.
    pub(crate) me: NodeId,
    /// Who votes. While a change is under way, everybody of the old and the new.
    pub(crate) voters: BTreeSet<NodeId>,
    /// Who only learns.
    pub(crate) learners: BTreeSet<NodeId>,
    /// Whether the membership is committed.
    pub(crate) settled: bool,
    /// Whether a change between two sets of voters is half done.
    pub(crate) joint: bool,
    /// How far each other node is behind, in entries, and how long it has been silent.
    pub(crate) others: BTreeMap<NodeId, (u64, Duration)>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Add a node that only learns.
    AddLearner(NodeId),
    /// Make these nodes, and only these, the voters; who is not among them leaves the group.
    SetVoters(BTreeSet<NodeId>),
    /// Hand the leadership over.
    Transfer(NodeId),
}

/// Entries that a learner may lack when it is promoted; it gets them with the next message.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// Silence above which a node is not promoted and gets no leadership: a few heartbeats.
const FRESH: Duration = Duration::from_millis(400);

/// The next step towards the plan; none when there is nothing to do, or nothing that can be done now.
///
/// `rest` says that leaderships are not to be moved now merely because the plan prefers another leader.
pub(crate) fn next_step(seen: &GroupSeen, plan: &ShardPlan, rest: bool) -> Option<Step> {
    let target: BTreeSet<NodeId> = plan.replicas.iter().copied().collect();
    if !seen.settled || target.is_empty() {
        return None;
    }
    if seen.joint {
        // Somebody stopped half way. The same change again completes it.
        return Some(Step::SetVoters(voters_towards(seen, &target)));
    }
    let missing =
        target.iter().find(|node| !seen.voters.contains(node) && !seen.learners.contains(node));
    if let Some(node) = missing {
        return Some(Step::AddLearner(*node));
    }
    let voters = voters_towards(seen, &target);
    let ready = voters.iter().all(|node| seen.voters.contains(node) || is_ready(seen, *node));
    if ready && (voters != seen.voters || !seen.learners.is_subset(&voters)) {
        return Some(Step::SetVoters(voters));
    }
    next_leader(seen, plan, &target, rest).map(Step::Transfer)
}

/// The voters to have: those of the plan, and this node as long as it leads, because it hands over before it goes.
fn voters_towards(seen: &GroupSeen, target: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let mut voters = target.clone();
    voters.insert(seen.me);
    voters
}

/// Who should take over, if anybody: the preferred leader, or any ready node of the plan when this one is not in it.
fn next_leader(
    seen: &GroupSeen,
    plan: &ShardPlan,
    target: &BTreeSet<NodeId>,
    rest: bool,
) -> Option<NodeId> {
    if seen.me == plan.preferred {
        return None;
    }
    let may_lead = |node: NodeId| seen.voters.contains(&node) && is_ready(seen, node);
    let must_go = !target.contains(&seen.me);
    if may_lead(plan.preferred) && (must_go || !rest) {
        return Some(plan.preferred);
    }
    if must_go {
        return plan.replicas.iter().copied().find(|node| may_lead(*node));
    }
    None
}

/// Whether a node is caught up and alive.
pub(crate) fn is_ready(seen: &GroupSeen, node: NodeId) -> bool {
    let caught_up =
        |(behind, silent): &(u64, Duration)| *behind <= CAUGHT_UP_ENTRIES && *silent < FRESH;
    node == seen.me || seen.others.get(&node).is_some_and(caught_up)
}

#[cfg(test)]
mod tests;
