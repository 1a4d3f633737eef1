//! How a process becomes a member: it asks the seeds, and the first seed founds the cluster when no other knows one.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use holm_core::{Entropy, NodeId};
use holm_persistence::{LogId as StoreLog, Op, Store, decode};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::messages::{JOIN, JoinAnswer, JoinRequest, body};
use super::options::StartError;
use crate::transport::{Lane, PeerError, Peers, RefusalCode};

/// The record by which a founder that was interrupted knows that it has to go on.
pub(super) const FOUNDING: &str = "founding";

/// Pause between two rounds of asking.
const ROUND_PAUSE: Duration = Duration::from_millis(150);

/// Time for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);

/// How long a lone founder waits for seeds that neither answer nor refuse.
const SILENT_SEEDS: Duration = Duration::from_secs(3);

/// A place in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) cluster: u128,
    pub(super) node: NodeId,
    pub(super) peers: Vec<(NodeId, SocketAddr)>,
}

/// What one round of asking the seeds brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) seat: Option<Seat>,
    pub(super) refused: Option<String>,
    /// Seeds that know no cluster.
    not_formed: usize,
    /// Seeds that surely do not run.
    dead: usize,
    /// Seeds that know a cluster which cannot decide now, or that did not answer.
    uncertain: usize,
    /// Whether one of those surely knows a cluster.
    cluster_known: bool,
    /// Whether the first seed turned out to be this process.
    first_is_me: bool,
    pub(super) peers: Vec<(NodeId, SocketAddr)>,
    pub(super) last: String,
}

/// Everything that joining needs to know.
pub(super) struct Joining<'a> {
    pub(super) peers: &'a Peers,
    pub(super) seeds: &'a [SocketAddr],
    pub(super) expected_nodes: u32,
    pub(super) request: JoinRequest,
    pub(super) timeout: Duration,
}

impl Joining<'_> {
    fn me(&self) -> SocketAddr {
        self.request.facts.peer
    }

    /// Asks until there is a seat; founds the cluster when it is this process's turn.
    pub(super) async fn join(
        &self,
        store: &Store,
        entropy: &mut dyn Entropy,
    ) -> Result<Seat, StartError> {
        let began = Instant::now();
        let mut first_is_me = self.seeds.first().is_none_or(|first| *first == self.me());
        loop {
            let round = self.ask_seeds().await;
            if let Some(seat) = round.seat {
                return Ok(seat);
            }
            if let Some(reason) = round.refused {
                return Err(StartError::Refused { cluster: self.request.cluster.clone(), reason });
            }
            first_is_me |= round.first_is_me;
            if first_is_me && self.may_found(&round, began.elapsed()) {
                return found(store, entropy).await;
            }
            if began.elapsed() > self.timeout {
                return Err(StartError::NotJoined {
                    cluster: self.request.cluster.clone(),
                    waited: self.timeout,
                    reason: round.last,
                });
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// Whether the first seed may found the cluster: no other seed knows one, and as many of them answered as are expected, so that a
    /// first seed that lost its disk does not found a second cluster beside sleeping members of the first.
    fn may_found(&self, round: &Round, waited: Duration) -> bool {
        let required = (self.expected_nodes as usize).min(self.seeds.len()).max(1);
        let enough = round.not_formed + 1 >= required;
        !round.cluster_known && enough && (round.uncertain == 0 || waited > SILENT_SEEDS)
    }

    /// Asks every seed once, all at the same time.
    pub(super) async fn ask_seeds(&self) -> Round {
        let others = self.seeds.iter().enumerate().filter(|(_, seed)| **seed != self.me());
        let answers =
            join_all(others.map(|(place, seed)| async move { (place, self.ask(*seed).await) }))
                .await;
        let mut round = Round::default();
        for (place, answer) in answers {
            round.take(place, answer);
        }
        round
    }

    async fn ask(&self, seed: SocketAddr) -> Result<JoinAnswer, PeerError> {
        let body =
            body(JOIN, &self.request).ok_or(PeerError::TooLarge { allowed: 0, actual: 0 })?;
        let answer = self.peers.request(seed, Lane::Control, body, ANSWER_DEADLINE).await?;
        decode(&answer)
            .map_err(|error| PeerError::Dropped { address: seed, reason: error.to_string().into() })
    }
}

impl Round {
    fn take(&mut self, place: usize, answer: Result<JoinAnswer, PeerError>) {
        match answer {
            Ok(JoinAnswer::Member { cluster, node, peers }) => {
                self.seat = Some(Seat { cluster, node, peers })
            }
            Ok(JoinAnswer::NotFormed) => {
                self.not_formed += 1;
                "the other seeds know no cluster; waiting for the first seed"
                    .clone_into(&mut self.last);
            }
            Ok(JoinAnswer::Wait { reason, peers }) => {
                self.cluster_known = true;
                self.uncertain += 1;
                self.peers.extend(peers);
                self.last = reason;
            }
            Ok(JoinAnswer::Refused { reason }) => self.refused = Some(reason),
            Err(PeerError::Refused { code: RefusalCode::Myself, .. }) => {
                self.first_is_me |= place == 0
            }
            Err(error @ PeerError::Refused { .. }) => self.refused = Some(error.to_string()),
            Err(error) if error.sure_dead() => {
                self.dead += 1;
                self.last = error.to_string();
            }
            Err(error) => {
                self.uncertain += 1;
                self.last = error.to_string();
            }
        }
    }
}

/// Makes this data directory the first node of a new cluster.
async fn found(store: &Store, entropy: &mut dyn Entropy) -> Result<Seat, StartError> {
    let cluster = entropy.next_u128();
    let node = NodeId(1);
    let (done, durable) = oneshot::channel();
    let value = cluster.to_le_bytes().to_vec().into();
    store.commit(
        vec![Op::PutRecord { log: StoreLog::CLUSTER, name: FOUNDING, value }],
        Box::new(move |result| {
            let _ = done.send(result);
        }),
    );
    let data = |reason: String| StartError::Data { reason };
    durable
        .await
        .map_err(|_| data("the committer has stopped".to_owned()))?
        .map_err(|error| data(error.to_string()))?;
    take_seat(store, cluster, node)?;
    Ok(Seat { cluster, node, peers: Vec::new() })
}

/// Remembers the seat in the data directory.
pub(super) fn take_seat(store: &Store, cluster: u128, node: NodeId) -> Result<(), StartError> {
    store
        .set_membership(cluster, node)
        .map_err(|error| StartError::Data { reason: error.to_string() })
}
