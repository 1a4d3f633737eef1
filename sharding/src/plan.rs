//! The placement plan: which nodes hold which shard, and who should lead it. A pure function of members, shards, replication factor and the plan before.
//!
//! Replicas come from the ring alone: the first nodes of the shard's preference list. So a node that comes takes its share from the others and one
//! that goes leaves its share to them, and nothing else moves. Leaders are bounded: nobody leads more than 1.25 times the mean, rounded up. A
//! shard keeps the leader that it had as long as that stays within the bound, except that it goes to a newcomer that the ring prefers; and a
//! newcomer leads at least three quarters of the mean. When the bound leaves no replica to lead, the next node of the preference list takes the last replica's place.

use std::collections::{HashMap, HashSet};

use holm_core::{NodeId, ShardId};
use serde::{Deserialize, Serialize};

use crate::ring::Ring;

/// Where every shard belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Rises by one with every plan that differs from the one before.
    pub version: u64,
    /// The members that the plan was made for, in ascending order.
    pub members: Vec<NodeId>,
    /// The replication factor that was asked for; with fewer members there are fewer replicas.
    pub replication: u32,
    /// The place of each shard, in the order of their numbers.
    pub shards: Vec<ShardPlan>,
}

/// Where one shard belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPlan {
    /// The nodes that hold it: distinct, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The replica that should lead it.
    pub preferred: NodeId,
}

impl Plan {
    /// The place of one shard.
    #[must_use]
    pub fn shard(&self, shard: ShardId) -> Option<&ShardPlan> {
        self.shards.get(shard.0 as usize)
    }
}

/// The most shards that one of `members` nodes may lead: 1.25 times the mean, rounded up.
#[must_use]
pub fn lead_bound(members: usize, shards: u32) -> usize {
    (5 * shards as usize).div_ceil(4 * members.max(1))
}

/// The plan for these members. The same input gives the same plan, and a plan made for the same members, shards and replication factor is
/// returned as it was.
///
/// # Panics
/// When there is no member, no shard or a replication factor of zero: no cluster is like that.
#[must_use]
pub fn plan(members: &[NodeId], shards: u32, replication: u32, previous: Option<&Plan>) -> Plan {
    assert!(!members.is_empty(), "a cluster has at least one member");
    assert!(shards > 0, "a cluster has at least one shard");
    assert!(replication > 0, "a shard has at least one replica");
    let mut members = members.to_vec();
    members.sort_unstable();
    members.dedup();
    let version = previous.map_or(1, |plan| plan.version + 1);
    if let Some(same) = previous.filter(|plan| {
        plan.members == members
            && plan.replication == replication
            && plan.shards.len() == shards as usize
    }) {
        return same.clone();
    }
    let ring = Ring::new(&members);
    let preferences: Vec<Vec<NodeId>> =
        (0..shards).map(|shard| ring.preference(ShardId(shard))).collect();
    let leaders = choose_leaders(&preferences, lead_bound(members.len(), shards), previous);
    let shards = preferences
        .iter()
        .zip(leaders)
        .map(|(preference, preferred)| ShardPlan {
            replicas: std::iter::once(preferred)
                .chain(preference.iter().copied().filter(|&node| node != preferred))
                .take(replication as usize)
                .collect(),
            preferred,
        })
        .collect();
    Plan { version, members, replication, shards }
}

/// One leader per shard, none leading more than `bound`.
fn choose_leaders(
    preferences: &[Vec<NodeId>],
    bound: usize,
    previous: Option<&Plan>,
) -> Vec<NodeId> {
    let known: HashSet<NodeId> =
        previous.map(|plan| plan.members.iter().copied().collect()).unwrap_or_default();
    let mut leads: HashMap<NodeId, usize> =
        preferences[0].iter().map(|&member| (member, 0)).collect();
    let mut chosen: Vec<Option<NodeId>> = vec![None; preferences.len()];
    // First those that stay where they are; what is decided later must not push them out.
    for (shard, preference) in preferences.iter().enumerate() {
        let led_by = previous.and_then(|plan| plan.shards.get(shard)).map(|place| place.preferred);
        let stays = led_by.filter(|_| known.contains(&preference[0]));
        if let Some(leader) = stays
            && let Some(leads) = leads.get_mut(&leader).filter(|leads| **leads < bound)
        {
            *leads += 1;
            chosen[shard] = Some(leader);
        }
    }
    let mut leaders: Vec<NodeId> = preferences
        .iter()
        .zip(chosen)
        .map(|(preference, chosen)| {
            chosen.unwrap_or_else(|| {
                let leader = *preference
                    .iter()
                    .find(|member| leads[*member] < bound)
                    .expect("the bounds of all members add up to more than all shards");
                leads.entry(leader).and_modify(|leads| *leads += 1);
                leader
            })
        })
        .collect();
    let mut newcomers: Vec<NodeId> =
        leads.keys().copied().filter(|member| !known.contains(member)).collect();
    newcomers.sort_unstable();
    give_share(&newcomers, preferences, &mut leads, &mut leaders);
    leaders
}

/// Gives each newcomer at least three quarters of the mean, rounded down, from whoever leads the most. With few shards the ring alone may
/// leave it with none. Members that were there before get nothing this way: when one leaves, the others keep what they have.
fn give_share(
    newcomers: &[NodeId],
    preferences: &[Vec<NodeId>],
    leads: &mut HashMap<NodeId, usize>,
    leaders: &mut [NodeId],
) {
    let least = 3 * preferences.len() / (4 * leads.len());
    for newcomer in newcomers {
        while leads[newcomer] < least {
            let most = leads.values().copied().max().unwrap_or(0);
            let place = |shard: usize| preferences[shard].iter().position(|node| node == newcomer);
            let Some(shard) = (0..leaders.len())
                .filter(|&shard| leads[&leaders[shard]] == most)
                .min_by_key(|&shard| (place(shard), shard))
            else {
                return;
            };
            leads.entry(leaders[shard]).and_modify(|leads| *leads -= 1);
            leads.entry(*newcomer).and_modify(|leads| *leads += 1);
            leaders[shard] = *newcomer;
        }
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
