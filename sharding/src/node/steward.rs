//! What the leader of a shard does for its group: it moves the group's members towards the plan, and the leadership to where it is preferred.
//!
//! Nothing is remembered between two looks, so the next leader goes on where this one stopped. A few shards at a time, so that copying logs
//! does not fill the network and leaders do not move in a crowd.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use holm_core::NodeId;

use super::core::{Core, lock};
use super::groups::ShardGroup;
use super::messages::LeadPhase;
use crate::cluster_log::MemberStatus;
use crate::controller::replicas::{GroupSeen, Step, is_ready, next_step};
use crate::raft::group::Group;
use crate::raft::{EmptyNode, elapsed};

/// How often it looks when there was nothing to do, and when there was.
const IDLE_PERIOD: Duration = Duration::from_millis(500);
const BUSY_PERIOD: Duration = Duration::from_millis(50);

/// Shards that are changed at the same time.
const AT_ONCE: usize = 4;

/// Time for one step.
const STEP_DEADLINE: Duration = Duration::from_secs(5);

/// How long everything must have been calm before leaderships are moved to where they are preferred.
const CALM: Duration = Duration::from_secs(3);

/// Leaderships that are moved in one look, so that callers meet few hand-overs at a time.
const TRANSFERS_PER_LOOK: usize = 2;

/// Silence of a node that was never heard of.
const NEVER: Duration = Duration::from_secs(3_600);

impl Core {
    /// Takes care of the shards that this node leads.
    pub(super) async fn steward(self: Arc<Self>) {
        loop {
            let steps = self.steps();
            let idle = steps.is_empty();
            stream::iter(steps)
                .for_each_concurrent(AT_ONCE, |(group, step)| {
                    let core = self.clone();
                    async move {
                        let shard = group.shard;
                        if tokio::time::timeout(STEP_DEADLINE, core.take_step(group, step))
                            .await
                            .is_err()
                        {
                            tracing::warn!(%shard, "a change of a shard's replicas takes long");
                        }
                    }
                })
                .await;
            tokio::time::sleep(if idle { IDLE_PERIOD } else { BUSY_PERIOD }).await;
        }
    }

    fn steps(&self) -> Vec<(Arc<ShardGroup>, Step)> {
        let state = self.state();
        let Some(plan) = &state.plan else { return Vec::new() };
        let calm = lock(&self.unrest).elapsed() > CALM
            && state.members.iter().all(|(node, member)| {
                member.status == MemberStatus::Up && self.is_reachable(*node)
            });
        let leaving = state
            .members
            .get(&self.me())
            .is_some_and(|member| member.status == MemberStatus::Leaving);
        let mut transfers = 0;
        let mut steps = Vec::new();
        for group in self.all_groups() {
            let serving = matches!(lock(&group.lead).here(), Some((_, LeadPhase::Serving)));
            let Some(planned) = plan.shard(group.shard).filter(|_| serving) else { continue };
            let seen = self.seen(&group.group);
            let step = if leaving {
                successor(&seen, &planned.replicas).map(Step::Transfer)
            } else {
                None
            };
            let Some(step) = step.or_else(|| next_step(&seen, planned, !calm)) else { continue };
            if matches!(step, Step::Transfer(_)) && !leaving {
                transfers += 1;
                if transfers > TRANSFERS_PER_LOOK {
                    continue;
                }
            }
            steps.push((group, step));
        }
        steps
    }

    /// What the leader of a group sees of it. Of whom it rests with it knows that they have everything, and their nodes that they live.
    pub(super) fn seen(&self, group: &Group) -> GroupSeen {
        let rests = group.rests().is_some();
        let metrics = group.metrics();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<NodeId> = membership.voter_ids().map(NodeId).collect();
        let learners: BTreeSet<NodeId> = membership.learner_ids().map(NodeId).collect();
        let last = metrics.last_log_index.map_or(0, |index| index + 1);
        let look = |node: NodeId| {
            let matched = metrics.replication.as_ref().and_then(|matched| *matched.get(&node.0)?);
            let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&node.0)?);
            let behind = last - matched.map_or(0, |matched| matched.index() + 1).min(last);
            let silent = heard.map_or(NEVER, |at| elapsed(&at));
            (behind, if rests && self.is_reachable(node) { Duration::ZERO } else { silent })
        };
        let others: BTreeMap<NodeId, (u64, Duration)> = voters
            .union(&learners)
            .filter(|node| **node != self.me())
            .map(|node| (*node, look(*node)))
            .collect();
        GroupSeen {
            me: self.me(),
            voters,
            learners,
            settled: metrics.membership_config == metrics.committed_membership_config,
            joint: membership.get_joint_config().len() > 1,
            others,
        }
    }

    async fn take_step(self: &Arc<Self>, group: Arc<ShardGroup>, step: Step) {
        let raft = group.group.raft();
        let shard = group.shard;
        tracing::info!(%shard, ?step, "changing a shard's replicas");
        group.group.rouse().await;
        let result = match step {
            Step::AddLearner(node) => {
                raft.add_learner(node.0, EmptyNode::new(), false).await.map(drop)
            }
            Step::SetVoters(voters) => {
                let voters: BTreeSet<u64> = voters.iter().map(|node| node.0).collect();
                raft.change_membership(voters, false).await.map(drop)
            }
            Step::Transfer(node) => {
                self.hand_over(&group, node).await;
                Ok(())
            }
        };
        if let Err(error) = result {
            tracing::debug!(%shard, %error, "the replicas did not change");
        }
        self.changed.notify_one();
    }
}

/// Who takes over from a node that goes: a ready voter, planned ones first.
pub(super) fn successor(seen: &GroupSeen, planned: &[NodeId]) -> Option<NodeId> {
    let ready =
        |node: &NodeId| *node != seen.me && seen.voters.contains(node) && is_ready(seen, *node);
    planned.iter().copied().find(ready).or_else(|| seen.voters.iter().copied().find(ready))
}
