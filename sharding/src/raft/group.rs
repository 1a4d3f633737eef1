//! One running group on this node.

mod resting;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use holm_persistence::{LogId as StoreLog, Pending};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError};
use openraft::impls::ProgressResponder;
use openraft::raft::{ClientWriteResult, TransferLeaderRequest};
use openraft::{Config, ReadPolicy};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::assured::Assured;
use super::consensus::{Consensus, NotProposed};
use super::heard::Heard;
use super::log_storage::GroupLog;
use super::machine::Machine;
use super::network::Network;
use super::promise::Promise;
use super::rest::Rest;
use super::{Applied, ConsensusTimes, Metrics, Payload, Raft, Types, rpc};
use crate::transport::{Peers, Responder};

/// Time for a write to be committed. Far above what a loaded disk needs: whoever waits longer than this has no majority.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// Time for a new leader to have everything of the past applied.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

const NO_MAJORITY: &str = "no majority of the replicas answered in time";

type Written = ClientWriteResult<Types>;
type Write = ProgressResponder<Types, Written>;

/// A write that waits for its turn.
struct Ask {
    term: u64,
    /// When nobody waits for it any more.
    until: Instant,
    what: What,
}

enum What {
    Propose { payload: Bytes, responder: Write },
    Barrier { responder: tokio::sync::oneshot::Sender<Result<u64, NotProposed>> },
}

/// A running group. Clones are handles to it.
#[derive(Clone)]
pub(crate) struct Group {
    id: StoreLog,
    raft: Raft,
    log: GroupLog,
    asks: mpsc::UnboundedSender<Ask>,
    runtime: Handle,
    times: ConsensusTimes,
    rest: Rest,
    heard: Heard,
    assured: Assured,
    promise: Promise,
    me: u64,
}

/// What a group is made of.
pub(crate) struct GroupParts {
    pub(crate) id: StoreLog,
    pub(crate) me: NodeId,
    pub(crate) config: Arc<Config>,
    pub(crate) times: ConsensusTimes,
    pub(crate) peers: Peers,
    pub(crate) log: GroupLog,
    pub(crate) machine: Machine,
}

impl Group {
    /// Starts a group on the present runtime.
    pub(crate) async fn start(parts: GroupParts) -> io::Result<Self> {
        let GroupParts { id, me, config, times, peers, log, machine } = parts;
        let catches_up = log.floor().is_some();
        let promise = Promise::since_now(log.followed_another(me.0), times.election_max);
        let config = if catches_up || promise.holds() {
            Arc::new(Config { enable_elect: false, ..(*config).clone() })
        } else {
            config
        };
        let rest = Rest::new();
        let heard = Heard::new();
        let network = Network::new(id.0, peers, rest.clone(), heard.clone());
        let raft = Raft::new(me.0, config, network, log.clone(), machine)
            .await
            .map_err(|fatal| io::Error::other(fatal.to_string()))?;
        if catches_up || promise.holds() {
            tokio::spawn(stand_when_caught_up(raft.clone(), log.clone(), promise.until()));
        }
        let (asks, queue) = mpsc::unbounded_channel();
        tokio::spawn(write_in_order(raft.clone(), times, queue));
        tokio::spawn(rest.carry_out(raft.clone()));
        let (runtime, assured, me) = (Handle::current(), Assured::default(), me.0);
        Ok(Self { id, raft, log, asks, runtime, times, rest, heard, assured, promise, me })
    }

    /// openraft's handle, for membership changes and elections.
    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// What the group said of itself last.
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Whether this node leads the group, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().state.is_leader()
    }

    /// Hands a message of another replica over and answers it, as [`rpc::serve`]. About elections a replica says nothing that lacks entries
    /// which it once had.
    pub(crate) fn serve(&self, kind: u8, bytes: Bytes, respond: Responder) {
        if kind == rpc::REST {
            return respond.respond(self.answer_rest(&bytes));
        }
        self.rest.wake();
        if kind != rpc::APPEND && self.log.floor().is_some() {
            return respond
                .respond(rpc::failure("this replica has not caught up with what it once had"));
        }
        if matches!(kind, rpc::VOTE | rpc::PRE_VOTE) && self.promise.holds() {
            return respond.respond(rpc::failure(
                "this replica has just started and may have followed another",
            ));
        }
        let wanted = (kind == rpc::VOTE).then(|| self.assured.vote_wanted());
        rpc::serve(&self.raft, kind, bytes, respond, wanted);
    }

    /// Gives the leadership to another voter, who then stands for election; how that goes is seen in the metrics. False when the group has stopped.
    pub(crate) async fn give_away(&self, to: NodeId) -> bool {
        self.assured.give_away(self.term());
        self.raft.trigger().transfer_leader(to.0).await.is_ok()
    }

    /// Stands for election, after a pre-vote; false when that is not for this replica now.
    pub(crate) async fn stand(&self) -> bool {
        self.log.floor().is_none()
            && !self.promise.holds()
            && self.raft.trigger().elect(true).await.is_ok()
    }

    /// Lets go of the promise that nobody else is elected while the leader's lease lasts, when the leader of this term is gone for good. True when this
    /// replica has followed that leader until now.
    ///
    /// The leader must have ended: one that lives answers reads by its lease.
    pub(crate) async fn release(&self, leader: NodeId, term: u64) -> bool {
        let followed = self.metrics().vote;
        let theirs = followed.is_committed()
            && followed.leader_id().voted_for == leader.0
            && followed.leader_id().term == term;
        if !theirs {
            return false;
        }
        self.promise.let_go();
        // openraft lets go for a leadership that is handed over. The one that it is handed to stands at once; here that is nobody.
        let to_nobody = TransferLeaderRequest::new(followed, leader.0, None);
        self.raft.handle_transfer_leader(to_nobody).await.is_ok()
    }

    /// Tells the others that this node still leads.
    pub(crate) async fn beat(&self) {
        // A group that has stopped has no heartbeat.
        let _ = self.raft.trigger().heartbeat().await;
    }

    /// Stops the group; what waits gets "unknown".
    pub(crate) async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "a group did not stop cleanly");
        }
    }
}

/// Lets a replica that came back take part in elections once its log is as long as it was, and its promises are over.
async fn stand_when_caught_up(raft: Raft, log: GroupLog, promised: Instant) {
    tokio::time::sleep_until(promised).await;
    let mut metrics = raft.metrics();
    while log.floor().is_some() {
        if metrics.changed().await.is_err() {
            return;
        }
    }
    raft.runtime_config().elect(true);
    // It stays true without the record; the next start finds that out again.
    if let Err(error) = log.forget_past().await {
        tracing::warn!(%error, "a replica that caught up could not note it");
    }
}

/// Hands writes over one behind the other. A task of its own because the callers are on other threads and must not wait.
async fn write_in_order(
    raft: Raft,
    times: ConsensusTimes,
    mut queue: mpsc::UnboundedReceiver<Ask>,
) {
    let mut metrics = raft.metrics();
    while let Some(Ask { term, until, what }) = queue.recv().await {
        let late = async {
            while awaits_majority(&metrics.borrow_watched(), term, times) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Who has waited in vain hears from openraft why.
        let _ = tokio::time::timeout_at(until, late).await;
        match what {
            What::Propose { payload, responder } => {
                // An error means that the group has stopped; the responder is dropped with it and its owner hears "unknown".
                let write = raft.write(Payload(payload)).with_leader(term).responder(responder);
                if write.await.is_err() {
                    tracing::debug!("a write came to a group that has stopped");
                }
            }
            What::Barrier { responder } => {
                let raft = raft.clone();
                // Its first poll queues the entry, in its place; waiting for it must not hold up the writes behind it.
                let mut written = Box::pin(async move {
                    match raft.write_blank().await {
                        Ok(written) => Ok(super::entry::term_of(&written.log_id)),
                        Err(error) if error.forward_to_leader().is_some() => {
                            Err(NotProposed::NotLeader)
                        }
                        Err(error) => Err(unknown(error.to_string())),
                    }
                });
                if let std::task::Poll::Ready(result) = futures::poll!(written.as_mut()) {
                    let _ = responder.send(result);
                } else {
                    tokio::spawn(async move { responder.send(written.await) });
                }
            }
        }
    }
}

/// Whether a write has to wait because no majority has acknowledged this leader lately. openraft refuses it then, as if the leadership were over;
/// but as long as nobody else is elected it goes on with the next answer, and a refusal would cost the shard its state in memory.
fn awaits_majority(metrics: &Metrics, term: u64, times: ConsensusTimes) -> bool {
    let acknowledged = metrics.last_quorum_acked.as_ref();
    !acknowledged.is_some_and(|at| times.is_fresh(super::elapsed(at)))
        && metrics.state.is_leader()
        && metrics.current_term == term
        && metrics.running_state.is_ok()
        && metrics.membership_config.voter_ids().any(|voter| voter != metrics.id)
}

impl Consensus for Group {
    fn term(&self) -> u64 {
        self.raft.metrics().borrow_watched().current_term
    }

    fn propose(&self, term: u64, payload: Bytes) -> Pending<Result<Applied, NotProposed>> {
        self.rest.stir();
        let (responder, written) = ProgressResponder::complete_only();
        if !self.queue(term, What::Propose { payload, responder }) {
            return Box::pin(async { Err(NotProposed::NotLeader) });
        }
        self.wait(WRITE_DEADLINE, NO_MAJORITY, async move {
            match written.await {
                Ok(result) => outcome(result),
                Err(_) => Err(unknown("the group stopped")),
            }
        })
    }

    fn confirm(&self, term: u64) -> Pending<Result<(), NotProposed>> {
        self.rest.stir();
        let (group, asked) = (self.clone(), Instant::now());
        self.wait(WRITE_DEADLINE, NO_MAJORITY, async move {
            let begun = group.assured.begin();
            // The lease may be over because answers are late: then the majority is asked, again and again until it answers.
            let mut policy = ReadPolicy::LeaseRead;
            loop {
                match group.raft.get_read_linearizer(policy.clone()).await {
                    Ok(read) if **read.read_log_id().committed_leader_id() == term => {
                        if group.is_borne_out(&policy, asked, term).await {
                            group.assured.leads(term, begun);
                            return Ok(());
                        }
                    }
                    Ok(_) => return Err(NotProposed::NotLeader),
                    Err(error) => match error.api_error() {
                        Some(LinearizableReadError::QuorumNotEnough(_)) => {}
                        Some(error) if is_not_leader(error) => return Err(NotProposed::NotLeader),
                        _ => return Err(unknown(error.to_string())),
                    },
                }
                policy = ReadPolicy::ReadIndex;
            }
        })
    }

    fn confirm_at_once(&self, term: u64) -> bool {
        self.rest.stir();
        // In this order: what the others promise now they promised at the moment at which this node had voted for nobody else.
        self.assured.holds(term)
            && self.lease_begins().is_some_and(|since| self.agreed_since(since, term))
    }

    fn settle(&self, term: u64) -> Pending<Result<(), NotProposed>> {
        let mut metrics = self.raft.metrics();
        self.wait(SETTLE_DEADLINE, "the past was not applied in time", async move {
            loop {
                match is_settled(&metrics.borrow_watched(), term) {
                    Some(true) => return Ok(()),
                    Some(false) => {}
                    None => return Err(NotProposed::NotLeader),
                }
                if metrics.changed().await.is_err() {
                    return Err(unknown("the group stopped"));
                }
            }
        })
    }

    fn barrier(&self, term: u64) -> Pending<Result<(), NotProposed>> {
        self.rest.stir();
        let (responder, written) = tokio::sync::oneshot::channel();
        if !self.queue(term, What::Barrier { responder }) {
            return Box::pin(async { Err(NotProposed::NotLeader) });
        }
        self.wait(WRITE_DEADLINE, NO_MAJORITY, async move {
            match written.await {
                Ok(Ok(at)) if at == term => Ok(()),
                Ok(Ok(_)) => Err(NotProposed::NotLeader),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(unknown("the group stopped")),
            }
        })
    }
}

impl Group {
    /// Whether what openraft found about its lease, or by asking the majority, is so by the clock of [`Heard`] too. Where it is not, the majority is asked
    /// and waited for, for the time of an answer.
    async fn is_borne_out(&self, policy: &ReadPolicy, asked: Instant, term: u64) -> bool {
        let within_lease = match policy {
            ReadPolicy::LeaseRead => self.lease_begins(),
            ReadPolicy::ReadIndex => None,
        };
        let since = within_lease.unwrap_or(asked);
        if self.agreed_since(since, term) {
            return true;
        }
        self.beat().await;
        let Some(voters) = self.log.of_voters(<[_]>::to_vec) else { return false };
        let answered = self.heard.until_majorities_since(asked, term, self.me, &voters);
        tokio::time::timeout(self.times.heartbeat_answer(), answered).await.is_ok()
    }

    /// Whether a majority agreed to what left since then that this node leads at this term.
    fn agreed_since(&self, since: Instant, term: u64) -> bool {
        let agreed =
            |sets: &[BTreeSet<u64>]| self.heard.majorities_since(since, term, self.me, sets);
        self.log.of_voters(agreed).unwrap_or(false)
    }

    /// From when on an answer is one within the lease, as far as that is relied on. A lease is what a follower promises from when it heard the message on, which is after it left.
    fn lease_begins(&self) -> Option<Instant> {
        Instant::now().checked_sub(self.times.relied_on())
    }

    /// Puts a write behind those before; false when the group has stopped.
    fn queue(&self, term: u64, what: What) -> bool {
        let until = Instant::now() + WRITE_DEADLINE;
        self.asks.send(Ask { term, until, what }).is_ok()
    }

    /// Waits on the cluster's runtime, because the caller's executor may have no timer, and because the work must go on when the caller
    /// has dropped the future.
    fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        too_late: &'static str,
        work: impl Future<Output = Result<T, NotProposed>> + Send + 'static,
    ) -> Pending<Result<T, NotProposed>> {
        let waited = self.runtime.spawn(async move { tokio::time::timeout(limit, work).await });
        Box::pin(async move {
            match waited.await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(unknown(too_late)),
                Err(_) => Err(unknown("the node is stopping")),
            }
        })
    }
}

/// Whether everything before `term` is applied; none when this node does not lead at `term`.
fn is_settled(metrics: &Metrics, term: u64) -> Option<bool> {
    let leads =
        metrics.state.is_leader() && metrics.current_term == term && metrics.running_state.is_ok();
    leads.then(|| metrics.last_applied.as_ref().map(super::entry::term_of) == Some(term))
}

fn is_not_leader(error: &LinearizableReadError<Types>) -> bool {
    matches!(
        error,
        LinearizableReadError::ForwardToLeader(ForwardToLeader {
            reason: ForwardReason::NotLeader,
            ..
        })
    )
}

fn outcome(written: Written) -> Result<Applied, NotProposed> {
    match written {
        Ok(written) => Ok(written.data),
        // Refused before it was appended: another leader, a leadership being handed over, or a lease that is over.
        Err(ClientWriteError::ForwardToLeader(_)) => Err(NotProposed::NotLeader),
        Err(error) => Err(unknown(error.to_string())),
    }
}

fn unknown(reason: impl Into<String>) -> NotProposed {
    NotProposed::Unknown { reason: reason.into() }
}
