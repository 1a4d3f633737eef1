//! How a node's present address becomes known: it tells the cluster until it is a fact, and hears in gossip where the others are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_core::NodeId;

use super::core::{Core, lock};
use super::joining::Joining;
use super::messages::JoinRequest;
use crate::membership::Membership;

/// Pause between two tries to tell the cluster that this node is back.
const ANNOUNCE_AGAIN: Duration = Duration::from_millis(250);

impl Core {
    /// Tells the cluster where this node is now, until it is a fact.
    pub(super) async fn announce(
        self: Arc<Self>,
        seeds: Vec<SocketAddr>,
        mut request: JoinRequest,
    ) {
        request.member = Some((self.setup.cluster, self.me()));
        loop {
            let state = self.state();
            if state.members.get(&self.me()).is_some_and(|member| member.facts == request.facts) {
                return;
            }
            if self.cluster_group.metrics().state.is_leader() {
                self.admit(request.clone()).await;
            } else {
                let known = state.members.keys().filter(|node| **node != self.me());
                let members = known.filter_map(|node| self.peers.address(*node));
                let mut asked: Vec<SocketAddr> = seeds.iter().copied().chain(members).collect();
                asked.sort_unstable();
                asked.dedup();
                let joining = Joining {
                    peers: &self.peers,
                    seeds: &asked,
                    expected_nodes: self.setup.expected_nodes,
                    request: request.clone(),
                    timeout: Duration::ZERO,
                };
                let round = joining.ask_seeds().await;
                for (node, address) in round.seat.map_or(round.peers, |seat| seat.peers) {
                    if node != self.me() && self.peers.address(node).is_none() {
                        self.peers.set_address(node, address);
                    }
                }
                if let Some(reason) = round.refused {
                    tracing::error!(%reason, "the cluster refuses this node");
                }
            }
            tokio::time::sleep(ANNOUNCE_AGAIN).await;
        }
    }

    /// Learns from gossip where members are whose addresses changed.
    pub(super) async fn follow_gossip(self: Arc<Self>) {
        let live = lock(&self.membership).as_ref().map(Membership::live);
        let Some(mut live) = live else { return };
        loop {
            let nodes = live.borrow_and_update().clone();
            for node in
                nodes.iter().filter(|node| node.node != NodeId::ZERO && node.node != self.me())
            {
                let fact =
                    self.state().members.get(&node.node).map(|member| member.facts.incarnation);
                // Gossip of an older start says nothing new, and gossip of a stranger nothing at all.
                if fact.is_some_and(|known| node.incarnation >= known)
                    && self.peers.address(node.node) != Some(node.peer)
                {
                    self.peers.set_address(node.node, node.peer);
                }
            }
            self.changed.notify_one();
            if live.changed().await.is_err() {
                return;
            }
        }
    }
}
