//! Turns the leadership of a group into the leadership of its shard: the host leads when the group does, with a majority behind it, and only then.

use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, Term};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::core::{Core, lock};
use super::groups::ShardGroup;
use super::leading::{PULSE, Seen};
use super::messages::LeadPhase;
use crate::raft::group::Group;
use crate::raft::{WatchReceiver as _, elapsed};
use crate::replicated_log::Interrupted;

/// Time for the host to finish what is under way before a leadership is handed over.
pub(super) const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Time for a hand-over.
const TRANSFER_DEADLINE: Duration = Duration::from_millis(1_500);

impl Core {
    /// Follows one group until it is stopped.
    pub(super) fn watch_leadership(self: &Arc<Self>, group: Arc<ShardGroup>) {
        let core = Arc::downgrade(self);
        let mut alive = group.alive.subscribe();
        let mut server = group.group.raft().server_metrics();
        let group = Arc::downgrade(&group);
        tokio::spawn(async move {
            loop {
                {
                    let (Some(core), Some(group)) = (core.upgrade(), group.upgrade()) else {
                        return;
                    };
                    core.judge_leadership(&group);
                    core.changed.notify_one();
                }
                tokio::select! {
                    biased;
                    changed = server.changed() => if changed.is_err() { return },
                    _ = alive.changed() => return,
                }
            }
        });
    }

    /// Looks at all groups again and again: a lost majority shows only as silence.
    pub(super) async fn pulse(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(PULSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut before = self.connected();
        loop {
            ticks.tick().await;
            let (mut awake, mut resting) = (false, 0_u32);
            for group in self.all_groups() {
                resting += u32::from(group.group.rests().is_some());
                self.judge_host(&group);
                if !self.is_quiet(&group) {
                    self.judge_leadership(&group);
                    awake |= group.group.rest().is_awake();
                }
            }
            metrics::gauge!("holm.shard.resting.count").set(resting);
            // Connections come and go without a word; the view shows them.
            let connected = self.connected();
            if awake || connected != before {
                before = connected;
                self.changed.notify_one();
            }
        }
    }

    /// Whether it rests and there is nothing to judge until it wakes: it is led elsewhere, or it is served here.
    fn is_quiet(&self, group: &ShardGroup) -> bool {
        let Some(agreement) = group.group.rests() else { return false };
        let serves = matches!(lock(&group.lead).here(), Some((_, LeadPhase::Serving)));
        agreement.leader != self.me().0 || serves
    }

    fn connected(&self) -> Vec<NodeId> {
        let state = self.state();
        state.members.keys().copied().filter(|node| self.is_reachable(*node)).collect()
    }

    /// Ends leaderships whose writes failed; they begin again when the group still leads.
    pub(super) async fn follow_interruptions(
        self: Arc<Self>,
        mut interrupted: mpsc::UnboundedReceiver<Interrupted>,
    ) {
        while let Some(Interrupted { shard, term }) = interrupted.recv().await {
            let Some(group) = self.groups().get(&shard).cloned() else { continue };
            if lock(&group.lead).trouble(term.0, LeadPhase::Serving, Instant::now()) {
                tracing::warn!(%shard, %term, "a write was not acknowledged; the shard is opened again");
                self.step_down(&group, term.0);
            }
        }
    }

    /// A host that stepped down by itself is made to lead again.
    fn judge_host(&self, group: &ShardGroup) {
        let now = Instant::now();
        let settled = {
            let lead = lock(&group.lead);
            lead.here().filter(|_| lead.is_settled(now))
        };
        let Some((term, phase)) = settled.filter(|_| !self.host.leads(group.shard)) else { return };
        if lock(&group.lead).trouble(term, phase, now) {
            tracing::warn!(shard = %group.shard, "the host stepped down; the shard is opened again");
            self.step_down(group, term);
        }
    }

    /// Makes the host lead what the group leads with a majority behind it.
    pub(super) fn judge_leadership(self: &Arc<Self>, group: &Arc<ShardGroup>) {
        let seen = self.look(&group.group);
        let orders = lock(&group.lead).judge(seen, Instant::now());
        if let Some(term) = orders.step_down {
            if seen.term == Some(term) {
                tracing::warn!(shard = %group.shard, term, silence = ?seen.silence, "no majority of the replicas answers; the shard is not served");
            }
            self.step_down(group, term);
        }
        if let Some(term) = orders.open {
            self.open(group, term);
        }
    }

    fn look(&self, group: &Group) -> Seen {
        let (me, rests) = (self.me().0, group.rests().is_some());
        let metrics = group.metrics();
        let elected = metrics.state.is_leader()
            && metrics.vote.is_committed()
            && metrics.vote.leader_id().voted_for == me
            && metrics.running_state.is_ok();
        Seen {
            term: elected.then_some(metrics.current_term),
            alone: metrics.membership_config.voter_ids().all(|voter| voter == me),
            silence: metrics.last_quorum_acked.as_ref().map(elapsed),
            rests,
        }
    }

    fn open(self: &Arc<Self>, group: &Arc<ShardGroup>, term: u64) {
        self.stir();
        let opening = self.host.lead(group.shard, Term(term));
        let (core, group) = (self.clone(), group.clone());
        tokio::spawn(async move {
            let opened = opening.await;
            let now = Instant::now();
            match opened {
                Ok(()) if lock(&group.lead).opened(term, now) => {
                    core.router().learn(group.shard, Some(core.me()), Term(term));
                    core.changed.notify_one();
                }
                Ok(()) => {}
                // Unless it was given up or replaced meanwhile, which is why it failed.
                Err(error) if lock(&group.lead).trouble(term, LeadPhase::Opening, now) => {
                    tracing::warn!(shard = %group.shard, term, %error, "a shard could not be opened");
                    core.step_down(&group, term);
                }
                Err(_) => {}
            }
        });
    }

    /// Ends the leadership that there is, if any.
    fn depose(&self, group: &ShardGroup) {
        let ended = lock(&group.lead).end();
        if let Some(term) = ended {
            self.step_down(group, term);
        }
    }

    /// Tells everybody that a leadership is over.
    fn step_down(&self, group: &ShardGroup, term: u64) {
        group.replica.close();
        self.host.depose(group.shard);
        self.router().learn(group.shard, None, Term(term));
        self.stir();
        self.changed.notify_one();
    }

    /// Hands the leadership of a shard over: what is under way is finished first, so that no caller sees more than a short wait. True when
    /// another node leads it then.
    pub(super) async fn hand_over(self: &Arc<Self>, group: &Arc<ShardGroup>, to: NodeId) -> bool {
        if !lock(&group.lead).begin_hand_off() {
            return false;
        }
        group.group.rest().stir();
        self.changed.notify_one();
        if tokio::time::timeout(DRAIN_DEADLINE, self.host.drain(group.shard)).await.is_err() {
            tracing::warn!(shard = %group.shard, "the shard could not be drained in time");
        }
        let handed_over = self.transfer(group, to).await;
        // When it failed, the shard is opened again at the same term.
        self.depose(group);
        self.judge_leadership(group);
        handed_over
    }

    async fn transfer(&self, group: &ShardGroup, to: NodeId) -> bool {
        if !group.group.give_away(to).await {
            return false;
        }
        let mut server = group.group.raft().server_metrics();
        let gone = async {
            loop {
                if !server.borrow_watched().state.is_leader() {
                    return true;
                }
                if server.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(TRANSFER_DEADLINE, gone).await.unwrap_or(false)
    }
}
