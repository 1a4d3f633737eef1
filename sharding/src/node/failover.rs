//! What is done at once when a peer is dead: the first live replica of each shard it led stands for election, without waiting for heartbeats to be missed,
//! and the next one a little later.
//!
//! Its lease stays a promise as long as it may live: a port that refuses may be a firewall's word, so then nobody can be elected before the lease is over.
//! Only the system that runs both processes knows for certain ([`PeerEvent::Died`]). Then each replica lets go of the lease by itself, of the terms that the
//! process said it led in that very life: no later life of it serves at one of these terms, so nobody is left who could answer by that lease.

use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, ShardId, Term};
use tokio::sync::broadcast::error::RecvError;

use super::core::{Core, lock};
use super::messages::Report;
use crate::raft::group::Group;
use crate::transport::PeerEvent;

/// Pause behind the first try; it doubles. Each try costs one small message per replica, and a new one ends the one before.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(40);

/// How much later than the one before it the next replica stands: one whose log is behind that of the others is not elected.
const NEXT_IN_LINE: Duration = Duration::from_millis(120);

/// Tries before the ordinary election timeout is left to do it.
const TRIES: u32 = 50;

impl Core {
    /// Follows the connections.
    pub(super) async fn follow_peers(self: Arc<Self>) {
        let mut events = self.peers.events();
        loop {
            match events.recv().await {
                Ok(PeerEvent::Lost { node, sure_dead, .. }) => {
                    self.changed.notify_one();
                    if sure_dead && node != NodeId::ZERO {
                        tracing::info!(%node, "a peer is dead: its port refuses");
                        self.take_over_from(node);
                    }
                }
                Ok(PeerEvent::Died { node, incarnation, .. }) => {
                    if node != NodeId::ZERO {
                        tracing::info!(%node, incarnation, "a peer is dead: its process has ended");
                        self.release_leases_of(node, incarnation).await;
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

    /// Lets go of what is left of the leases of a process that has ended.
    async fn release_leases_of(&self, dead: NodeId, incarnation: u64) {
        let led = lock(&self.reports).get(&dead).map(|report| led_in(report, incarnation));
        let mut released = 0;
        for (shard, term) in led.unwrap_or_default() {
            let group = self.groups().get(&shard).cloned();
            if let Some(group) = group {
                released += u32::from(group.group.release(dead, term.0).await);
            }
        }
        if released > 0 {
            tracing::info!(node = %dead, released, "the leases of a process that has ended are let go");
        }
    }

    pub(super) fn take_over_from(self: &Arc<Self>, dead: NodeId) {
        self.stir();
        let shards = self.all_groups();
        let groups =
            shards.iter().map(|shard| (shard.group.clone(), self.planned_order(shard.shard)));
        let cluster: Vec<NodeId> = self.state().members.keys().copied().collect();
        for (group, order) in groups.chain([(self.cluster_group.clone(), cluster)]) {
            let metrics = group.metrics();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
            let led_by_dead = metrics.current_leader.is_none_or(|leader| leader == dead.0);
            if led_by_dead && let Some(place) = self.place_in_line(&order, &voters, dead) {
                tokio::spawn(elect(group, dead, NEXT_IN_LINE * place));
            }
        }
    }

    fn planned_order(&self, shard: ShardId) -> Vec<NodeId> {
        let state = self.state();
        let plan = state.plan.as_ref().and_then(|plan| plan.shard(shard));
        plan.map_or_else(Vec::new, |plan| plan.replicas.clone())
    }

    /// How many living voters come before this node, in the order of the plan, then by id; none when it does not vote.
    fn place_in_line(&self, order: &[NodeId], voters: &[u64], dead: NodeId) -> Option<u32> {
        let place = |node: NodeId| {
            (order.iter().position(|other| *other == node).unwrap_or(usize::MAX), node)
        };
        let me = self.me();
        if !voters.contains(&me.0) {
            return None;
        }
        let others = voters
            .iter()
            .map(|voter| NodeId(*voter))
            .filter(|node| *node != dead && *node != me && self.peers.is_connected(*node));
        u32::try_from(others.filter(|node| place(*node) < place(me)).count()).ok()
    }
}

/// What a process led in this start of it, as far as it said so.
fn led_in(report: &Report, incarnation: u64) -> Vec<(ShardId, Term)> {
    let led = report.led.iter().filter(|_| report.incarnation == incarnation);
    led.map(|led| (led.shard, led.term)).collect()
}

/// Stands for election until somebody else leads.
async fn elect(group: Group, dead: NodeId, at_first: Duration) {
    tokio::time::sleep(at_first).await;
    let mut pause = TRY_AGAIN;
    for _ in 0..TRIES {
        let metrics = group.metrics();
        if metrics.current_leader.is_some_and(|leader| leader != dead.0) {
            return;
        }
        // With a pre-vote: while the lease holds, or when the majority disagrees, the term does not rise. One that has begun is not begun anew.
        if !metrics.state.is_candidate() && !group.stand().await {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::messages::{LeadPhase, LedShard};

    /// Promise G5: the end of one start of a process says nothing about the leases of the next.
    #[test]
    fn only_what_was_led_in_that_start_of_the_process_counts() {
        let led = LedShard {
            shard: ShardId(3),
            term: Term(9),
            phase: LeadPhase::Serving,
            members: vec![NodeId(1)],
            voters: 1,
            settled: true,
        };
        let report = Report { node: NodeId(1), incarnation: 5, led: vec![led] };
        assert_eq!(led_in(&report, 5), [(ShardId(3), Term(9))]);
        assert_eq!(led_in(&report, 4), []);
        assert_eq!(led_in(&report, 6), []);
    }
}
