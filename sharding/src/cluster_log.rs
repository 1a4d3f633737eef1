//! The cluster's own log: one small Raft group whose entries are facts about the cluster, and the state that follows from them.
//!
//! Only what is committed here moves a replica. Gossip, lost connections and metrics are hints that lead to a fact or to nothing.

pub(crate) mod fact;
pub(crate) mod follower;
pub(crate) mod state;

pub(crate) use fact::{Fact, NodeFacts};
pub(crate) use follower::ClusterFollower;
pub(crate) use state::{ClusterState, MemberStatus};
