//! The state of the cluster: what follows from the facts. Pure; every replica of the cluster log comes to the same state.

use std::collections::BTreeMap;

use holm_core::{NodeId, ShardId, Timestamp};

use super::fact::{Fact, NodeFacts};
use crate::plan::Plan;

/// What the facts so far say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClusterState {
    /// The index of the last entry followed; readers tell newer from older by it.
    pub(crate) version: u64,
    /// What was said at the creation; none before it.
    pub(crate) created: Option<Created>,
    /// Every node that has not left.
    pub(crate) members: BTreeMap<NodeId, Member>,
    /// The next id to give.
    pub(crate) next_node: u64,
    /// Where shards belong; none before enough nodes are up.
    pub(crate) plan: Option<Plan>,
    /// Who founds the groups of the shards: the replicas of the first plan.
    pub(crate) founders: Vec<Vec<NodeId>>,
}

/// What is fixed at the creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) cluster: u128,
    pub(crate) name: String,
    pub(crate) shards: u32,
    pub(crate) replication: u32,
    pub(crate) expected_nodes: u32,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) directory: u128,
    pub(crate) facts: NodeFacts,
    pub(crate) status: MemberStatus,
    pub(crate) since: Timestamp,
}

/// What the facts say of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberStatus {
    /// Admitted; it does not follow the cluster log yet.
    Joining,
    /// It can hold shards.
    Up,
    /// It was silent for long.
    Down,
    /// It wants to go.
    Leaving,
}

/// Why a fact has no effect: it contradicts those before it. The same on every replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contradiction;

impl ClusterState {
    /// Takes in a fact.
    pub(crate) fn apply(&mut self, fact: Fact) -> Result<(), Contradiction> {
        match fact {
            Fact::Created { cluster, name, shards, replication, expected_nodes, at: _ } => {
                ensure(self.created.is_none() && shards > 0 && replication > 0)?;
                self.created = Some(Created { cluster, name, shards, replication, expected_nodes });
                self.next_node = 1;
            }
            Fact::NodeAdmitted { node, directory, facts, at } => {
                self.admit(node, directory, facts, at)?
            }
            Fact::NodeReturned { node, facts, at } => {
                let taken = self.name_taken(&facts.name, node);
                let member = self.member_mut(node)?;
                ensure(!taken && facts.incarnation >= member.facts.incarnation)?;
                member.facts = facts;
                member.since = at;
            }
            Fact::NodeUp { node, at } => {
                self.change(
                    node,
                    &[MemberStatus::Joining, MemberStatus::Down],
                    MemberStatus::Up,
                    at,
                )?;
            }
            Fact::NodeDown { node, at } => {
                self.change(
                    node,
                    &[MemberStatus::Joining, MemberStatus::Up],
                    MemberStatus::Down,
                    at,
                )?;
            }
            Fact::NodeLeaving { node, at } => {
                let any = [MemberStatus::Joining, MemberStatus::Up, MemberStatus::Down];
                self.change(node, &any, MemberStatus::Leaving, at)?;
            }
            Fact::NodeLeft { node, at: _ } => {
                ensure(self.members.remove(&node).is_some())?;
            }
            Fact::PlanAdopted { plan, at: _ } => self.adopt(plan)?,
        }
        Ok(())
    }

    /// The members in a status.
    pub(crate) fn in_status(&self, status: MemberStatus) -> impl Iterator<Item = NodeId> + '_ {
        self.members
            .iter()
            .filter(move |(_, member)| member.status == status)
            .map(|(node, _)| *node)
    }

    /// The member that is this data directory.
    pub(crate) fn by_directory(&self, directory: u128) -> Option<NodeId> {
        self.members.iter().find(|(_, member)| member.directory == directory).map(|(node, _)| *node)
    }

    /// The member with this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<NodeId> {
        self.members.iter().find(|(_, member)| member.facts.name == name).map(|(node, _)| *node)
    }

    /// The shards whose plan names this node.
    pub(crate) fn planned_for(&self, node: NodeId) -> Vec<ShardId> {
        let shards = self.plan.iter().flat_map(|plan| plan.shards.iter().enumerate());
        shards
            .filter(|(_, shard)| shard.replicas.contains(&node))
            .filter_map(|(number, _)| u32::try_from(number).ok().map(ShardId))
            .collect()
    }

    fn admit(
        &mut self,
        node: NodeId,
        directory: u128,
        facts: NodeFacts,
        at: Timestamp,
    ) -> Result<(), Contradiction> {
        ensure(self.created.is_some() && node.0 == self.next_node)?;
        ensure(!self.name_taken(&facts.name, node) && self.by_directory(directory).is_none())?;
        self.next_node += 1;
        let member = Member { directory, facts, status: MemberStatus::Joining, since: at };
        self.members.insert(node, member);
        Ok(())
    }

    fn adopt(&mut self, plan: Plan) -> Result<(), Contradiction> {
        let created = self.created.as_ref().ok_or(Contradiction)?;
        ensure(plan.shards.len() == created.shards as usize)?;
        ensure(plan.shards.iter().all(|shard| shard.replicas.contains(&shard.preferred)))?;
        let version = self.plan.as_ref().map_or(0, |plan| plan.version);
        ensure(plan.version > version || self.plan.is_none())?;
        if self.founders.is_empty() {
            self.founders = plan.shards.iter().map(|shard| shard.replicas.clone()).collect();
        }
        self.plan = Some(plan);
        Ok(())
    }

    fn change(
        &mut self,
        node: NodeId,
        from: &[MemberStatus],
        to: MemberStatus,
        at: Timestamp,
    ) -> Result<(), Contradiction> {
        let member = self.member_mut(node)?;
        ensure(from.contains(&member.status))?;
        member.status = to;
        member.since = at;
        Ok(())
    }

    fn member_mut(&mut self, node: NodeId) -> Result<&mut Member, Contradiction> {
        self.members.get_mut(&node).ok_or(Contradiction)
    }

    fn name_taken(&self, name: &str, by_other_than: NodeId) -> bool {
        self.by_name(name).is_some_and(|node| node != by_other_than)
    }
}

fn ensure(holds: bool) -> Result<(), Contradiction> {
    if holds { Ok(()) } else { Err(Contradiction) }
}

#[cfg(test)]
mod tests;
