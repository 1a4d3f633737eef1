//! Turns the leadership of a group into the leadership of its shard: the host leads when the group does, with a majority behind it, and only then.

use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, Term};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::core::{Core, lock};
use super::groups::ShardGroup;
use super::messages::LeadPhase;
use crate::raft::{Metrics, WatchReceiver as _, elapsed};
use crate::replicated_log::Interrupted;

/// Whether this node leads a shard, and how far that is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Lead {
    /// Another node leads it, or nobody.
    #[default]
    None,
    /// Here, at this term.
    Here {
        term: u64,
        phase: LeadPhase,
        /// Since when; a new leader has a moment to hear from its majority.
        since: Instant,
    },
}

/// How often the majorities are looked at.
const PULSE: Duration = Duration::from_millis(200);

/// Pause before a shard that could not be opened is opened again.
const OPEN_AGAIN: Duration = Duration::from_millis(100);

/// Time for the host to finish what is under way before a leadership is handed over.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

/// Time for a hand-over.
const TRANSFER_DEADLINE: Duration = Duration::from_millis(1_500);

impl Lead {
    /// Term and phase of a leadership here.
    pub(super) fn here(self) -> Option<(u64, LeadPhase)> {
        match self {
            Self::None => None,
            Self::Here { term, phase, .. } => Some((term, phase)),
        }
    }
}

impl ShardGroup {
    /// The shard is open at this term; false when that leadership is over meanwhile.
    fn complete_opening(&self, term: u64) -> bool {
        match &mut *lock(&self.lead) {
            Lead::Here { term: at, phase: phase @ LeadPhase::Opening, .. } if *at == term => {
                *phase = LeadPhase::Serving;
                true
            }
            _ => false,
        }
    }
}

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
        loop {
            ticks.tick().await;
            for group in self.all_groups() {
                self.judge_host(&group);
                self.judge_leadership(&group);
            }
            // Connections come and go without a word; the view shows them.
            self.changed.notify_one();
        }
    }

    /// Ends leaderships whose writes failed; they begin again when the group still leads.
    pub(super) async fn follow_interruptions(
        self: Arc<Self>,
        mut interrupted: mpsc::UnboundedReceiver<Interrupted>,
    ) {
        while let Some(Interrupted { shard, term }) = interrupted.recv().await {
            let Some(group) = self.groups().get(&shard).cloned() else { continue };
            let serving = lock(&group.lead).here() == Some((term.0, LeadPhase::Serving));
            if serving {
                tracing::warn!(%shard, %term, "a write was not acknowledged; the shard is opened again");
                self.depose(&group);
                self.judge_leadership(&group);
            }
        }
    }

    /// A host that stepped down by itself is made to lead again, below.
    fn judge_host(&self, group: &ShardGroup) {
        let serving = matches!(*lock(&group.lead), Lead::Here { phase: LeadPhase::Serving, since, .. } if since.elapsed() > PULSE);
        if serving && !self.host.leads(group.shard) {
            tracing::warn!(shard = %group.shard, "the host stepped down; the shard is opened again");
            self.depose(group);
        }
    }

    /// Makes the host lead what the group leads.
    pub(super) fn judge_leadership(self: &Arc<Self>, group: &Arc<ShardGroup>) {
        let metrics = group.group.metrics();
        let lead = *lock(&group.lead);
        let leads = self.leads(&metrics, lead);
        match (lead.here().map(|(term, _)| term), leads) {
            (old, new) if old == new => {}
            (_, None) => self.depose(group),
            (old, Some(term)) => {
                if old.is_some() {
                    self.depose(group);
                }
                self.open(group, term);
            }
        }
    }

    /// The term at which this node leads the group with a majority behind it.
    fn leads(&self, metrics: &Metrics, lead: Lead) -> Option<u64> {
        let committed =
            metrics.vote.is_committed() && metrics.vote.leader_id().voted_for == self.me().0;
        if !metrics.state.is_leader() || !committed || metrics.running_state.is_err() {
            return None;
        }
        let leading_for = match lead {
            Lead::Here { term, since, .. } if term == metrics.current_term => since.elapsed(),
            // A new one has not heard from its majority as its leader yet.
            _ => Duration::ZERO,
        };
        let alone = metrics.membership_config.voter_ids().all(|voter| voter == self.me().0);
        let silence = metrics
            .last_quorum_acked
            .as_ref()
            .map_or(leading_for, |at| elapsed(at).min(leading_for));
        let majority = alone || silence < self.setup.times.election_max * 2;
        majority.then_some(metrics.current_term)
    }

    fn open(self: &Arc<Self>, group: &Arc<ShardGroup>, term: u64) {
        *lock(&group.lead) = Lead::Here { term, phase: LeadPhase::Opening, since: Instant::now() };
        self.stir();
        let opened = self.host.lead(group.shard, Term(term));
        let (core, group) = (self.clone(), group.clone());
        tokio::spawn(async move {
            match opened.await {
                Ok(()) if group.complete_opening(term) => {
                    core.router().learn(group.shard, Some(core.me()), Term(term));
                    core.changed.notify_one();
                }
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(shard = %group.shard, term, %error, "a shard could not be opened");
                    tokio::time::sleep(OPEN_AGAIN).await;
                    if lock(&group.lead).here() == Some((term, LeadPhase::Opening)) {
                        core.depose(&group);
                        core.judge_leadership(&group);
                    }
                }
            }
        });
    }

    fn depose(&self, group: &ShardGroup) {
        let Some((term, _)) = std::mem::take(&mut *lock(&group.lead)).here() else { return };
        group.replica.close();
        self.host.depose(group.shard);
        self.router().learn(group.shard, None, Term(term));
        self.stir();
        self.changed.notify_one();
    }

    /// Hands the leadership of a shard over: what is under way is finished first, so that no caller sees more than a short wait. True when
    /// another node leads it then.
    pub(super) async fn hand_over(self: &Arc<Self>, group: &Arc<ShardGroup>, to: NodeId) -> bool {
        {
            let mut lead = lock(&group.lead);
            let Lead::Here { phase: phase @ LeadPhase::Serving, .. } = &mut *lead else {
                return false;
            };
            *phase = LeadPhase::HandingOff;
        }
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
        let raft = group.group.raft();
        if raft.trigger().transfer_leader(to.0).await.is_err() {
            return false;
        }
        let mut server = raft.server_metrics();
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
