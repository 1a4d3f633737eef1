//! What is done at once when a peer is surely dead: the first live replica of each shard it led stands for election, without waiting for
//! heartbeats to be missed. The lease of the dead leader is still respected, so nobody can be elected too early.

use std::sync::Arc;
use std::time::Duration;

use holm_core::NodeId;
use tokio::sync::broadcast::error::RecvError;

use super::core::Core;
use crate::raft::group::Group;
use crate::transport::PeerEvent;

/// Pause between two tries; each costs one small message per replica.
const TRY_AGAIN: Duration = Duration::from_millis(30);

/// Tries before the ordinary election timeout is left to do it.
const TRIES: u32 = 60;

impl Core {
    /// Follows the connections.
    pub(super) async fn follow_peers(self: Arc<Self>) {
        let mut events = self.peers.events();
        loop {
            match events.recv().await {
                Ok(PeerEvent::Lost { node, sure_dead, .. }) => {
                    self.changed.notify_one();
                    if sure_dead && node != NodeId::ZERO {
                        tracing::info!(%node, "a peer is surely dead");
                        self.take_over_from(node);
                    }
                }
                Ok(PeerEvent::Connected { node, .. }) => {
                    self.changed.notify_one();
                    if node != NodeId::ZERO {
                        self.report_to(node);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn take_over_from(self: &Arc<Self>, dead: NodeId) {
        self.stir();
        let shards = self.all_groups();
        let groups =
            shards.iter().map(|shard| (shard.group.clone(), self.planned_order(shard.shard)));
        let cluster: Vec<NodeId> = self.state().members.keys().copied().collect();
        for (group, order) in groups.chain([(self.cluster_group.clone(), cluster)]) {
            let metrics = group.metrics();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
            let led_by_dead = metrics.current_leader.is_none_or(|leader| leader == dead.0);
            if led_by_dead
                && voters.contains(&self.me().0)
                && self.is_first_alive(&order, &voters, dead)
            {
                tokio::spawn(elect(group, dead));
            }
        }
    }

    fn planned_order(&self, shard: holm_core::ShardId) -> Vec<NodeId> {
        let state = self.state();
        let plan = state.plan.as_ref().and_then(|plan| plan.shard(shard));
        plan.map_or_else(Vec::new, |plan| plan.replicas.clone())
    }

    /// Whether this node comes first among the living voters, in the order of the plan, then by id.
    fn is_first_alive(&self, order: &[NodeId], voters: &[u64], dead: NodeId) -> bool {
        let place = |node: NodeId| {
            (order.iter().position(|other| *other == node).unwrap_or(usize::MAX), node)
        };
        let alive = voters
            .iter()
            .map(|voter| NodeId(*voter))
            .filter(|node| *node != dead && (*node == self.me() || self.peers.is_connected(*node)));
        alive.min_by_key(|node| place(*node)) == Some(self.me())
    }
}

/// Stands for election until somebody else leads.
async fn elect(group: Group, dead: NodeId) {
    for _ in 0..TRIES {
        let metrics = group.metrics();
        if metrics.current_leader.is_some_and(|leader| leader != dead.0) {
            return;
        }
        // With a pre-vote: while the lease holds, or when the majority disagrees, the term does not rise.
        if !group.stand().await {
            return;
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}
