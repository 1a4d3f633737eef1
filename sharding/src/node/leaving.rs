//! How a node goes: for good, after its shards were handed over and its replicas moved, or for a while, after the hand-over alone.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use holm_persistence::decode;
use tokio::time::Instant;

use super::core::{Core, lock};
use super::groups::ShardGroup;
use super::leadership::DRAIN_DEADLINE;
use super::messages::{LeadPhase, LeaveRequest};
use super::options::LeaveError;
use super::steward::successor;
use crate::transport::Lane;
use crate::view::ClusterView;
use crate::wire::Message;

/// How long a node tries to leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(120);

/// How long it asks for agreement.
const AGREE_DEADLINE: Duration = Duration::from_secs(10);

/// How often it looks whether it may go.
const LOOK: Duration = Duration::from_millis(50);

/// Time for the answer of another member.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// How long leaderships are handed over before a node stops without them.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(10);

/// Shards that are handed over at the same time.
const AT_ONCE: usize = 8;

/// How long a node that was let go still answers, so that the fact reaches everybody.
const FAREWELL: Duration = Duration::from_millis(300);

impl Core {
    /// Leaves the cluster: agreed, emptied, let go.
    pub(super) async fn leave(self: &Arc<Self>) -> Result<(), LeaveError> {
        let began = Instant::now();
        self.ask_to_leave(began).await?;
        let only_member = self.state().members.len() == 1;
        if !only_member {
            self.hand_over_all().await;
        }
        // The plan without this node is being carried out by the leaders of the shards; this node only has to wait for its end.
        loop {
            if !self.state().members.contains_key(&self.me()) || self.is_forgotten().await {
                tokio::time::sleep(FAREWELL).await;
                return Ok(());
            }
            if began.elapsed() > LEAVE_DEADLINE {
                let shards = self.all_groups().len();
                return Err(LeaveError::Unfinished { shards, waited: LEAVE_DEADLINE });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ask_to_leave(self: &Arc<Self>, began: Instant) -> Result<(), LeaveError> {
        let request = LeaveRequest { node: self.me(), forwarded: false };
        loop {
            match self.agree_to_leave(request.clone()).await {
                None => return Ok(()),
                Some(reason) if began.elapsed() > AGREE_DEADLINE => {
                    return Err(LeaveError::Unavailable { reason });
                }
                Some(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Whether another member's picture is without this node: the fact may not reach it any more.
    async fn is_forgotten(&self) -> bool {
        let mut others = self
            .state()
            .members
            .keys()
            .copied()
            .filter(|node| *node != self.me())
            .collect::<Vec<_>>();
        others.retain(|node| self.peers.is_connected(*node));
        let Some(other) = others.first() else { return false };
        let asked = self
            .peers
            .request(*other, Lane::Control, Message::View.encode(), ANSWER_DEADLINE)
            .await;
        let view = asked.ok().and_then(|bytes| decode::<ClusterView>(&bytes).ok());
        view.is_some_and(|view| {
            view.version >= self.state().version && view.member(self.me()).is_none()
        })
    }

    /// Finishes what is under way in the shards of which there is no other replica: nobody can take them, so nobody is waited for.
    pub(super) async fn finish_alone(self: &Arc<Self>) {
        self.retiring.send_replace(true);
        let (me, state) = (self.me(), self.state());
        let is_alone = |group: &Arc<ShardGroup>| {
            let planned = state.plan.as_ref().and_then(|plan| plan.shard(group.shard));
            let is_mine = planned.is_none_or(|plan| plan.replicas.iter().all(|node| *node == me));
            is_mine && self.seen(&group.group).others.is_empty()
        };
        let alone: Vec<_> = self.all_groups().into_iter().filter(is_alone).collect();
        let drained = alone
            .iter()
            .filter(|group| lock(&group.lead).begin_hand_off())
            .map(|group| tokio::time::timeout(DRAIN_DEADLINE, self.host.drain(group.shard)));
        for drained in futures::future::join_all(drained).await {
            if drained.is_err() {
                tracing::warn!("a shard could not be drained in time");
            }
        }
    }

    /// Hands over every leadership that another replica can take; what is left after a while stays.
    pub(super) async fn hand_over_all(self: &Arc<Self>) {
        self.retiring.send_replace(true);
        let began = Instant::now();
        while began.elapsed() < HAND_OVER_DEADLINE {
            let led: Vec<_> = self
                .all_groups()
                .into_iter()
                .filter(|group| {
                    matches!(
                        lock(&group.lead).here(),
                        Some((_, LeadPhase::Serving | LeadPhase::Opening))
                    )
                })
                .collect();
            if led.is_empty() {
                return;
            }
            let state = self.state();
            let handed_over = stream::iter(led)
                .map(|group| {
                    let core = self.clone();
                    let planned = state.plan.as_ref().and_then(|plan| plan.shard(group.shard));
                    let planned = planned.map_or_else(Vec::new, |plan| plan.replicas.clone());
                    async move {
                        let successor = successor(&core.seen(&group.group), &planned);
                        match successor {
                            Some(next) => core.hand_over(&group, next).await,
                            None => false,
                        }
                    }
                })
                .buffer_unordered(AT_ONCE)
                .filter(|handed_over| std::future::ready(*handed_over))
                .count()
                .await;
            if handed_over == 0 {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Stops everything in order: entities, groups, gossip, transport.
    pub(super) async fn stop(self: &Arc<Self>) {
        self.host.stop();
        for group in self.all_groups() {
            self.groups().remove(&group.shard);
            self.stop_group(&group).await;
        }
        self.cluster_group.stop().await;
        let membership = lock(&self.membership).take();
        if let Some(membership) = membership {
            membership.shutdown().await;
        }
        self.peers.shutdown().await;
    }
}
