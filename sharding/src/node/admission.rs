//! What a member answers to those who want in or out. The leader of the cluster log decides; another member asks it once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_core::NodeId;
use holm_persistence::decode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::{Core, NotCommitted};
use super::messages::{JOIN, JoinAnswer, JoinRequest, LEAVE, LeaveRequest, body};
use crate::cluster_log::{ClusterState, Fact, MemberStatus};
use crate::transport::Lane;

/// Time for the leader's answer to a request that was passed on.
const FORWARD_DEADLINE: Duration = Duration::from_millis(1_500);

impl Core {
    /// Decides on a request to join, or to come back.
    pub(super) async fn admit(self: &Arc<Self>, request: JoinRequest) -> JoinAnswer {
        let state = self.state();
        if let Some(reason) = self.objection(&request, &state) {
            return JoinAnswer::Refused { reason };
        }
        self.note_address(&request, &state);
        if !self.cluster_group.metrics().state.is_leader() {
            return self.forward_join(request).await;
        }
        match self.decide(&request, &state).await {
            Ok(answer) => answer,
            Err(NotCommitted::NoLeader) => self.wait("the cluster log has no leader"),
            Err(NotCommitted::Contradiction) => self.wait("another change came first"),
        }
    }

    /// What can be said against a request without asking anybody (laws G18, G20, G27).
    fn objection(&self, request: &JoinRequest, state: &ClusterState) -> Option<String> {
        let setup = &self.setup;
        if request.cluster != setup.cluster_name {
            return Some(format!(
                "this is the cluster `{}`, not `{}`",
                setup.cluster_name, request.cluster
            ));
        }
        if request.shards != setup.shards {
            return Some(format!(
                "the cluster was created with {} shards, this node is told {}; the number of shards never changes",
                setup.shards, request.shards
            ));
        }
        if request.replication != setup.replication {
            return Some(format!(
                "the cluster was created with {} replicas of each shard, this node is told {}",
                setup.replication, request.replication
            ));
        }
        let (cluster, node) = request.member?;
        if cluster != setup.cluster {
            return Some(
                "its data directory belongs to another cluster of the same name; start it with an empty data directory".to_owned(),
            );
        }
        state.created.as_ref()?;
        match state.members.get(&node) {
            Some(member) if member.directory == request.directory => None,
            Some(_) => Some(format!(
                "its data directory says it is node {node}, which is another directory; start it with an empty data directory"
            )),
            // It was admitted by facts that this member has not seen yet, or it has left.
            None if node.0 >= state.next_node => None,
            None => Some(format!(
                "node {node} has left the cluster; start it with an empty data directory to join anew"
            )),
        }
    }

    /// A member that comes back is reachable at once, also before its new address is a fact.
    fn note_address(&self, request: &JoinRequest, state: &ClusterState) {
        if let Some((_, node)) = request.member
            && node != self.me()
            && state.members.get(&node).is_some_and(|member| member.directory == request.directory)
        {
            self.peers.set_address(node, request.facts.peer);
        }
    }

    async fn decide(
        &self,
        request: &JoinRequest,
        state: &ClusterState,
    ) -> Result<JoinAnswer, NotCommitted> {
        let at = self.now();
        let facts = request.facts.clone();
        // Joining again has no effect (law G18): the same directory is the same node.
        if let Some(node) = state.by_directory(request.directory) {
            if state.members[&node].facts != facts {
                self.commit(Fact::NodeReturned { node, facts, at }).await?;
            }
            return Ok(self.member(node));
        }
        if request.member.is_some() {
            return Ok(self.wait("this member does not know all facts yet"));
        }
        if let Some(old) = state.by_name(&facts.name) {
            let elsewhere = state.members[&old].facts.peer != facts.peer;
            if elsewhere && (old == self.me() || self.peers.is_connected(old)) {
                return Ok(JoinAnswer::Refused {
                    reason: format!(
                        "the name `{}` is taken by node {old}, which is running",
                        facts.name
                    ),
                });
            }
            // The same name with another data directory: the old node lost its data and will never be back (law G24).
            self.commit(Fact::NodeLeft { node: old, at }).await?;
        }
        let node = NodeId(self.state().next_node);
        self.commit(Fact::NodeAdmitted { node, directory: request.directory, facts, at }).await?;
        Ok(self.member(node))
    }

    fn member(&self, node: NodeId) -> JoinAnswer {
        JoinAnswer::Member { cluster: self.setup.cluster, node, peers: self.addresses() }
    }

    fn wait(&self, reason: &str) -> JoinAnswer {
        JoinAnswer::Wait { reason: reason.to_owned(), peers: self.addresses() }
    }

    /// Where the members are, as far as known here; the transport knows newer addresses than the facts.
    fn addresses(&self) -> Vec<(NodeId, SocketAddr)> {
        let state = self.state();
        let address = |node: NodeId| {
            if node == self.me() { Some(self.setup.facts.peer) } else { self.peers.address(node) }
        };
        state.members.keys().filter_map(|node| Some((*node, address(*node)?))).collect()
    }

    async fn forward_join(&self, mut request: JoinRequest) -> JoinAnswer {
        if std::mem::replace(&mut request.forwarded, true) {
            return self.wait("the cluster log has no leader");
        }
        match self.ask_leader(JOIN, &request).await {
            // Who answers at the leader's address knows no cluster: the leader has lost its disk, and is perhaps the very node that asks. Handed on,
            // the answer would make it found a second cluster beside this one.
            None | Some(JoinAnswer::NotFormed) => self.wait("the cluster log has no leader"),
            Some(answer) => answer,
        }
    }

    /// Decides on a request to leave. The answer is empty, or the reason why not now.
    pub(super) async fn agree_to_leave(&self, mut request: LeaveRequest) -> Option<String> {
        let no_leader = || Some("the cluster log has no leader".to_owned());
        if !self.cluster_group.metrics().state.is_leader() {
            if std::mem::replace(&mut request.forwarded, true) {
                return no_leader();
            }
            return self
                .ask_leader::<Option<String>>(LEAVE, &request)
                .await
                .unwrap_or_else(no_leader);
        }
        let node = request.node;
        match self.state().members.get(&node).map(|member| member.status) {
            None | Some(MemberStatus::Leaving) => None,
            Some(_) => match self.commit(Fact::NodeLeaving { node, at: self.now() }).await {
                Ok(()) => None,
                Err(error) => Some(error.to_string()),
            },
        }
    }

    async fn ask_leader<A: DeserializeOwned>(
        &self,
        kind: u8,
        request: &impl Serialize,
    ) -> Option<A> {
        let leader =
            self.cluster_group.metrics().current_leader.filter(|leader| *leader != self.me().0)?;
        let body = body(kind, request)?;
        let answer =
            self.peers.request(NodeId(leader), Lane::Control, body, FORWARD_DEADLINE).await.ok()?;
        decode(&answer).ok()
    }
}
