//! Puts the groups to rest that have nothing to do, and wakes them when the nodes that they rest with fall silent. What is decided stands in
//! `resting.rs`; that a message or a question wakes a group, in `raft/rest.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{NodeId, ShardId};
use holm_persistence::{LogId as StoreLog, decode, encode};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::core::{Core, lock};
use super::groups::ShardGroup;
use super::messages::LeadPhase;
use super::resting::{Calm, Other, Shared, Woken};
use crate::raft::group::Group;
use crate::raft::rest::Agreement;
use crate::raft::rpc::{self, RestRequest};
use crate::raft::{Metrics, WatchReceiver as _, elapsed};
use crate::transport::{Lane, PeerEvent, PeerInfo};
use crate::wire::Message;

/// Groups whose followers are asked at the same time, so that a node which falls quiet does not fill its connections with questions.
const ASKED_AT_ONCE: usize = 64;

impl Core {
    /// Asks the followers of calm groups whether they rest. Once in a heartbeat, in the place of that of the group: the one before has been
    /// answered by then, and nothing of it can wake who agreed.
    pub(super) fn put_to_rest(self: &Arc<Self>, groups: &[Arc<ShardGroup>]) {
        let Some(calm_for) = self.setup.times.rest_after else { return };
        let calm = |shard: &&Arc<ShardGroup>| {
            let rest = shard.group.rest();
            rest.is_awake() && rest.calm_for() >= calm_for && shard.group.leads()
        };
        for shard in groups.iter().filter(calm).take(ASKED_AT_ONCE) {
            let rest = shard.group.rest();
            let begun = self
                .rest_request(shard)
                .and_then(|request| Some((request, rest.begin_asking(calm_for)?)));
            let Some((request, number)) = begun else {
                rest.put_off();
                continue;
            };
            let (core, shard) = (self.clone(), shard.clone());
            tokio::spawn(async move {
                let others = others(&shard.group.metrics());
                let agreed = shard.group.ask_to_rest(&core.peers, &request, &others).await;
                let RestRequest { leader, term, .. } = request;
                let rest = shard.group.rest();
                // Whoever agreed in vain is woken by the next heartbeat, which comes at once.
                if !(agreed && rest.complete_asking(number, Agreement { leader, term })) {
                    rest.wake();
                }
            });
        }
    }

    /// What to ask the followers of a group that may rest.
    fn rest_request(&self, shard: &ShardGroup) -> Option<RestRequest> {
        let (led, phase) = lock(&shard.lead).here()?;
        let metrics = shard.group.metrics();
        let committed = metrics.local_committed?;
        let membership = metrics.membership_config.membership();
        let settled = phase == LeadPhase::Serving
            && metrics.current_term == led
            && metrics.running_state.is_ok()
            && metrics.membership_config == metrics.committed_membership_config
            && membership.get_joint_config().len() == 1
            && membership.learner_ids().next().is_none();
        let calm = Calm {
            settled,
            retiring: *self.retiring.borrow(),
            last: metrics.last_log_index,
            committed: Some(committed.index()),
            applied: metrics.last_applied.map(|id| id.index()),
            others: others(&metrics).iter().map(|node| self.see(&metrics, *node)).collect(),
        };
        let request = RestRequest { leader: self.me().0, term: led, last: committed };
        calm.may_rest(self.setup.times.election_max).then_some(request)
    }

    fn see(&self, metrics: &Metrics, node: NodeId) -> Other {
        let matched = metrics.replication.as_ref().and_then(|matched| *matched.get(&node.0)?);
        let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&node.0)?);
        Other {
            matched: matched.map(|id| id.index()),
            silent: heard.map_or(Duration::MAX, |at| elapsed(&at)),
            connected: self.peers.is_connected(node),
        }
    }

    /// Gives a sign to every node with which groups rest, and wakes what rests with those that gave none.
    pub(super) fn keep_company(self: &Arc<Self>, groups: &[Arc<ShardGroup>]) {
        let shared = self.shared(groups);
        for (node, shared) in &shared {
            let Ok(bytes) = encode(shared) else { continue };
            let group = StoreLog::CLUSTER.0;
            let sign = Message::Raft { group, kind: rpc::SIGN, bytes };
            // Whoever does not get it wakes what rests with this node.
            let _ = self.peers.notify(*node, Lane::Control, sign.encode());
        }
        let woken = lock(&self.company).look(&shared, Instant::now());
        for Woken { node, dead } in woken {
            tracing::debug!(%node, dead, "what rests with a node wakes");
            self.wake_what_rests_with(groups, node);
            if dead {
                // Left to the clocks of elections, which all stood still, those who woke at the same moment would stand at the same moment.
                self.take_over_from(node);
            }
        }
    }

    /// What rests, by the node that it rests with.
    fn shared(&self, groups: &[Arc<ShardGroup>]) -> BTreeMap<NodeId, Shared> {
        let mut shared: BTreeMap<NodeId, Shared> = BTreeMap::new();
        for shard in groups {
            let Some(agreement) = shard.group.rests() else { continue };
            let (shard, group, term) = (shard.shard, &shard.group, agreement.term);
            if agreement.leader != self.me().0 {
                let with = shared.entry(NodeId(agreement.leader)).or_default();
                with.follows.add(shard, term);
                continue;
            }
            for node in others(&group.raft().metrics().borrow_watched()) {
                shared.entry(node).or_default().leads.add(shard, term);
            }
        }
        shared
    }

    fn wake_what_rests_with(&self, groups: &[Arc<ShardGroup>], node: NodeId) {
        for shard in groups {
            let Some(agreement) = shard.group.rests() else { continue };
            let led_there = agreement.leader == node.0;
            let led_here = agreement.leader == self.me().0;
            if led_there || (led_here && others(&shard.group.metrics()).contains(&node)) {
                shard.group.rest().wake();
            }
        }
    }

    /// A node gave a sign.
    pub(super) fn hear_sign(&self, from: &PeerInfo, bytes: &[u8]) {
        if let Ok(said) = decode::<Shared>(bytes) {
            lock(&self.company).hear(from.node, from.incarnation, said);
        }
    }

    /// Whether nobody is to be elected in this group because it rests under a node that lives. Its lease is over, so by itself the group would
    /// agree to any election.
    pub(super) fn rests_under_a_living_leader(&self, group: &Group) -> bool {
        let Some(agreement) = group.rests() else { return false };
        if agreement.leader == self.me().0 {
            // Somebody thinks otherwise, and hears better by the heartbeat that follows.
            group.rest().wake();
            return true;
        }
        lock(&self.company).lives(NodeId(agreement.leader))
    }

    /// Wakes what rests with nodes whose connections tell of a change.
    pub(super) async fn watch_company(self: Arc<Self>) {
        let mut events = self.peers.events();
        loop {
            match events.recv().await {
                Ok(PeerEvent::Lost { node, sure_dead, .. }) => {
                    // A lost connection alone is no death of a leader, whose own connection to here may stand; and what its groups would
                    // do at once is elect. As a leader it is enough to wake: a follower may be gone, and heartbeats do no harm.
                    self.wake_led_with(node);
                    if sure_dead {
                        lock(&self.company).died(node);
                    }
                }
                Ok(PeerEvent::Died { node, .. }) => {
                    self.wake_led_with(node);
                    lock(&self.company).died(node);
                }
                Ok(PeerEvent::Connected { node, incarnation, .. }) => {
                    lock(&self.company).connected(node, incarnation);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn wake_led_with(&self, node: NodeId) {
        for shard in self.all_groups() {
            let led = shard.group.rests().is_some_and(|it| it.leader == self.me().0);
            if led && others(&shard.group.metrics()).contains(&node) {
                shard.group.rest().wake();
            }
        }
    }

    /// The shards whose groups rest here.
    pub(super) fn resting_shards(&self) -> Vec<ShardId> {
        let groups = self.all_groups();
        let resting = groups.iter().filter(|shard| shard.group.rests().is_some());
        resting.map(|shard| shard.shard).collect()
    }
}

/// The other voters of a group.
fn others(metrics: &Metrics) -> Vec<NodeId> {
    let voters = metrics.membership_config.voter_ids();
    voters.filter(|voter| *voter != metrics.id).map(NodeId).collect()
}
