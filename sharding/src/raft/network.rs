//! How a group's messages reach its other replicas: over the node's one transport, on its control lane, each with a deadline.
//!
//! Appends are pipelined: the next is sent before the one before it is answered, because the transport keeps their order.

mod marks;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use holm_core::NodeId;
use holm_persistence::LogId as StoreLog;
use openraft::alias::SnapshotOf;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::heard::Heard;
use super::rest::Rest;
use super::rpc::RestRequest;
use super::{ConsensusTimes, Types, Vote, rpc};
use crate::transport::{Lane, PeerError, Peers};
use crate::wire::raft_body;

/// Time for an append with entries: it is answered after the other replica's disk write, which under load takes longer than a heartbeat may.
const APPEND_DEADLINE: Duration = Duration::from_secs(3);

/// Appends of one group to one replica that may wait for their answers. With the size of a read this bounds the bytes under way.
const APPENDS_IN_FLIGHT: usize = 8;

type Failure = RPCError<Types>;

/// Makes a group's connections to its other replicas.
pub(crate) struct Network {
    group: u32,
    peers: Peers,
    rest: Rest,
    heard: Heard,
}

impl Network {
    /// For one group, named by its number on the wire. Whatever it says ends its rest; who agrees to it is noted.
    pub(crate) fn new(group: u32, peers: Peers, rest: Rest, heard: Heard) -> Self {
        Self { group, peers, rest, heard }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Replica;

    async fn new_client(&mut self, target: u64, _node: &openraft::EmptyNode) -> Replica {
        Replica {
            group: self.group,
            target: NodeId(target),
            peers: self.peers.clone(),
            rest: self.rest.clone(),
            heard: self.heard.clone(),
        }
    }
}

/// The way to one replica of one group.
#[derive(Clone)]
pub(crate) struct Replica {
    group: u32,
    target: NodeId,
    peers: Peers,
    rest: Rest,
    heard: Heard,
}

impl Replica {
    /// Sends a message; it is queued when this returns.
    fn send<T: DeserializeOwned>(
        &self,
        body: std::io::Result<Bytes>,
        deadline: Duration,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'static + use<T> {
        self.rest.wake();
        let sent = body
            .map_err(|error| Failure::Unreachable(Unreachable::new(&error)))
            .map(|body| self.peers.request(self.target, Lane::Control, body, deadline).boxed());
        async move {
            let answer: Bytes = sent?.await.map_err(|error| failure(&error))?;
            rpc::read_answer(&answer)
                .map_err(|reason| Failure::Unreachable(Unreachable::from_string(reason)))
        }
    }

    fn send_append(
        &self,
        request: &AppendEntriesRequest<Types>,
        option: &RPCOption,
    ) -> impl Future<Output = Result<AppendEntriesResponse<Types>, Failure>> + Send + 'static + use<>
    {
        let deadline = if request.entries.is_empty() { option.hard_ttl() } else { APPEND_DEADLINE };
        let (heard, voter, term) =
            (self.heard.clone(), self.target.0, request.vote.leader_id().term);
        let left = Instant::now();
        let answer = self.send(
            raft_body(self.group, rpc::APPEND, |out| rpc::write_append(request, out)),
            deadline,
        );
        async move {
            let answer = answer.await?;
            if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                heard.note(voter, term, left);
            }
            Ok(answer)
        }
    }

    fn plain(&self, kind: u8, message: &impl Serialize) -> std::io::Result<Bytes> {
        raft_body(self.group, kind, |out| rpc::write_plain(message, out))
    }
}

/// Asks one follower of a group to rest. A version that does not know the question says no.
pub(super) async fn ask_to_rest(
    peers: &Peers,
    group: StoreLog,
    target: NodeId,
    request: &RestRequest,
    times: ConsensusTimes,
) -> bool {
    let body = raft_body(group.0, rpc::REST, |out| rpc::write_plain(request, out));
    let Ok(body) = body else { return false };
    let answer = peers.request(target, Lane::Control, body, times.heartbeat_answer()).await;
    answer.is_ok_and(|answer| rpc::read_answer(&answer) == Ok(true))
}

/// Where there is no connection, trying again at once does not help; a lost answer is asked for again.
fn failure(error: &PeerError) -> Failure {
    match error {
        PeerError::Lost { .. } | PeerError::Deadline { .. } => {
            Failure::Network(NetworkError::new(error))
        }
        _ => Failure::Unreachable(Unreachable::new(error)),
    }
}

impl RaftNetworkV2<Types> for Replica {
    type SnapshotData = ();

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, Failure> {
        self.send_append(&request, &option).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> futures::future::BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, Failure>>, Failure>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let replica = self.clone();
        // What the cluster log says is wanted everywhere at once, and seldom.
        let hold_for =
            if replica.group == StoreLog::CLUSTER.0 { Duration::ZERO } else { marks::HELD };
        // Queued there, in the order of the input, and not when the future is polled.
        let send = move |request: &_| replica.send_append(request, &option).boxed();
        let answers = marks::Outgoing::new(input, hold_for, send).buffered(APPENDS_IN_FLIGHT);
        async move { Ok(answers.boxed()) }.boxed()
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failure> {
        self.send(self.plain(rpc::VOTE, &request), option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, Failure> {
        self.send(self.plain(rpc::PRE_VOTE, &request), option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: SnapshotOf<Types, ()>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(Unreachable::from_string(
            "the log is never purged, so no snapshot is ever sent",
        )))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, Failure> {
        self.send(self.plain(rpc::TRANSFER, &request), option.hard_ttl()).await
    }
}
