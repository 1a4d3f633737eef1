//! From observations to the next fact: who is up, who is down, and where shards belong then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holm_core::{NodeId, Timestamp};

use crate::cluster_log::{ClusterState, Fact, MemberStatus};
use crate::plan::plan;

/// What the leader of the cluster log sees of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    /// How long it has been silent.
    pub(crate) silent: Duration,
    /// Whether it has all but the newest entries of the cluster log.
    pub(crate) caught_up: bool,
}

/// Silence below which a node counts as heard of just now: a few heartbeats.
const FRESH: Duration = Duration::from_millis(500);

/// The next fact that follows from what is seen; none when all is as it should be.
pub(crate) fn next_fact(
    state: &ClusterState,
    observed: &BTreeMap<NodeId, Observed>,
    down_after: Duration,
    now: Timestamp,
) -> Option<Fact> {
    for (node, member) in &state.members {
        let Some(seen) = observed.get(node) else { continue };
        let node = *node;
        match member.status {
            MemberStatus::Joining | MemberStatus::Down if seen.caught_up && seen.silent < FRESH => {
                return Some(Fact::NodeUp { node, at: now });
            }
            MemberStatus::Joining | MemberStatus::Up if seen.silent >= down_after => {
                return Some(Fact::NodeDown { node, at: now });
            }
            _ => {}
        }
    }
    next_plan(state, now)
}

/// The plan for the members as they are, when it differs from the one in force.
fn next_plan(state: &ClusterState, now: Timestamp) -> Option<Fact> {
    let created = state.created.as_ref()?;
    let members = placeable(state);
    if members.is_empty() {
        return None;
    }
    match &state.plan {
        None if members.len() < created.expected_nodes as usize => return None,
        Some(plan) if plan.members == members => return None,
        _ => {}
    }
    let plan = plan(&members, created.shards, created.replication, state.plan.as_ref());
    (state.plan.as_ref() != Some(&plan)).then_some(Fact::PlanAdopted { plan, at: now })
}

/// The members that shards are placed on, in ascending order. A member that is down keeps its replicas while there are not enough others
/// to take them: moving them would only lower the number of copies.
fn placeable(state: &ClusterState) -> Vec<NodeId> {
    let mut members: BTreeSet<NodeId> = state.in_status(MemberStatus::Up).collect();
    let (Some(created), Some(plan)) = (&state.created, &state.plan) else {
        return members.into_iter().collect();
    };
    if members.len() < created.replication as usize {
        let planned: BTreeSet<&NodeId> = plan.members.iter().collect();
        members.extend(state.in_status(MemberStatus::Down).filter(|node| planned.contains(node)));
    }
    members.into_iter().collect()
}

/// Most voters of the cluster log; every other member learns. Five survive two losses; more only make each fact slower.
const MOST_VOTERS: usize = 5;

/// Who should vote in the cluster log: an odd number, those who do already first, those who are down last.
pub(crate) fn cluster_voters(state: &ClusterState, present: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    let staying: Vec<(NodeId, MemberStatus)> = state
        .members
        .iter()
        .map(|(node, member)| (*node, member.status))
        .filter(|(node, status)| match status {
            MemberStatus::Up => true,
            // A node that is only joining, or was never a voter, is no use as one while it is silent.
            MemberStatus::Down => present.contains(node),
            MemberStatus::Joining | MemberStatus::Leaving => false,
        })
        .collect();
    let wanted = odd_at_most(staying.len().min(MOST_VOTERS));
    let mut order: Vec<(u8, NodeId)> = staying
        .into_iter()
        .map(|(node, status)| {
            let rank = match (status, present.contains(&node)) {
                (MemberStatus::Up, true) => 0,
                (MemberStatus::Up, false) => 1,
                _ => 2,
            };
            (rank, node)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().take(wanted).map(|(_, node)| node).collect()
}

fn odd_at_most(count: usize) -> usize {
    if count == 0 { 0 } else { (count - 1) / 2 * 2 + 1 }
}

#[cfg(test)]
mod tests;
