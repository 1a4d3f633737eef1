//! Consensus: what Holm says to openraft and what it hears back. Whoever needs an openraft type takes it from here, so that replacing
//! openraft begins and ends in this folder and with those who use it.
//!
//! One group per shard and one for the cluster log, all of the same type. An entry's index in its Raft log is its index in the
//! [`holm_persistence::Store`]; logs are never purged and openraft's own snapshots are off, because the log is the truth and a new
//! replica catches up by reading it.

mod assured;
pub(crate) mod consensus;
pub(crate) mod entry;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod group;
mod heard;
pub(crate) mod log_storage;
pub(crate) mod machine;
pub(crate) mod memberships;
pub(crate) mod network;
mod promise;
pub(crate) mod rest;
pub(crate) mod rpc;
mod runtime;
pub(crate) mod tail;

use std::time::Duration;

use bytes::Bytes;
use openraft::SnapshotPolicy;

pub(crate) use openraft::async_runtime::watch::WatchReceiver;
pub(crate) use openraft::{ChangeMembers, Config, EmptyNode};
pub use runtime::seed_consensus;

openraft::declare_raft_types!(
    /// The types of every group.
    pub(crate) Types:
        D = Payload,
        R = Applied,
        NodeId = u64,
        Node = openraft::EmptyNode,
        Term = u64,
        // One leader per term, so that a term alone names its leader and can be the fence.
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = runtime::SeedableTokio,
);

pub(crate) type Raft = openraft::Raft<Types, machine::Machine>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, openraft::EmptyNode>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
#[cfg(test)]
pub(crate) type VoteRequest = openraft::raft::VoteRequest<Types>;
#[cfg(test)]
pub(crate) type VoteResponse = openraft::raft::VoteResponse<Types>;

/// How long ago something was.
pub(crate) fn elapsed(at: &openraft::alias::SerdeInstantOf<Types>) -> Duration {
    use openraft::Instant as _;
    (**at).elapsed()
}

/// What an entry of a group carries: a batch of a shard or a fact of the cluster, as its group knows.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Payload(pub(crate) Bytes);

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What became of a committed entry. All replicas come to the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Applied {
    /// It took effect.
    Accepted,
    /// It was made under a term other than that of the leader that appended it.
    Fenced,
    /// It does not follow the last accepted one.
    Gap {
        /// The offset that the next batch must begin at.
        expected: u64,
    },
    /// It cannot be read or breaks a rule of the cluster's state; it has no effect on any replica.
    Invalid,
}

/// How fast a group notices that its leader is gone, and what that costs when nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusTimes {
    /// Time between heartbeats of a leader.
    pub heartbeat: Duration,
    /// Shortest time without a heartbeat after which a follower stands for election.
    pub election_min: Duration,
    /// Longest such time, and the length of a leader's lease.
    pub election_max: Duration,
    /// How long nothing was asked of a shard's leader before its group rests: no heartbeats and no clock of elections, until something is
    /// asked of it again. None: groups never rest.
    pub rest_after: Option<Duration>,
}

impl Default for ConsensusTimes {
    /// A killed leader is noticed at once by its closed connection, and its lease is over after at most 450 ms; without that sign the
    /// election comes after 700 ms to 900 ms. Three lost or late heartbeats do not start an election.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(80),
            election_min: Duration::from_millis(280),
            election_max: Duration::from_millis(450),
            // Who asks now and then, by hand or by a timer of a second, meets a group that is awake.
            rest_after: Some(Duration::from_secs(5)),
        }
    }
}

impl ConsensusTimes {
    /// How long the answer to a heartbeat is waited for; the next one is sent when it came. As long as openraft allows: an answer that is
    /// given up is lost even when it comes, and a leader that loses them all leads nothing.
    fn heartbeat_answer(self) -> Duration {
        (self.election_min * 7 / 8).max(self.heartbeat)
    }

    /// Time between two signs of life to a node with which groups rest. Four of them may be lost before anybody wakes.
    pub(crate) fn sign(self) -> Duration {
        self.heartbeat * 2
    }

    /// Silence of a node after which what rests with it wakes: that of a leader after which a follower stands for election.
    pub(crate) fn patience(self) -> Duration {
        self.election_max + self.election_min
    }

    /// Whether a majority's acknowledgement of this age lets a leader write. A little less than openraft's own lease, which is judged a moment
    /// later.
    pub(crate) fn is_fresh(self, silence: Duration) -> bool {
        silence < self.relied_on()
    }

    /// How much of a lease its leader relies on. Clocks run at slightly different speeds.
    pub(crate) fn relied_on(self) -> Duration {
        self.election_max * 7 / 8
    }
}

/// Most entries in one append message; the bytes are bounded as well, by the reader of the log.
const MAX_PAYLOAD_ENTRIES: u64 = 256;

/// openraft's settings for a group.
pub(crate) fn config(cluster: &str, times: ConsensusTimes) -> Result<Config, String> {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: cluster.to_owned(),
        // The node beats for all its groups together (`node/beating.rs`). What is left of this are the answers' deadline, and the grain of the
        // clock of elections: 13/64 of it.
        enable_heartbeat: false,
        heartbeat_interval: milliseconds(times.heartbeat_answer()),
        election_timeout_min: milliseconds(times.election_min),
        election_timeout_max: milliseconds(times.election_max),
        max_payload_entries: MAX_PAYLOAD_ENTRIES,
        snapshot_policy: SnapshotPolicy::Never,
        // A follower is never caught up by snapshot: there are none.
        replication_lag_threshold: u64::MAX,
        enable_pre_vote: Some(true),
        // A restarted leader must win an election: its term is the fence, so one term must never cover two lives of a process.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        backoff: "50ms 100ms 200ms ..500ms".to_owned(),
        // 33 groups a node: small channels, the shards' own limits bound what is in flight.
        api_channel_size: Some(1_024),
        notification_channel_size: Some(1_024),
        state_machine_channel_size: Some(256),
        ..Config::default()
    }
    .validate()
    .map_err(|error| error.to_string())
}
