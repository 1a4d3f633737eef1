//! The cluster: ring and placement, membership, transport, the replicated log, router and hand-off.

mod client;
mod cluster_log;
mod controller;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod membership;
mod node;
mod plan;
mod raft;
mod replicated_log;
mod ring;
mod router;
mod surroundings;
mod transport;
mod view;
mod wire;

pub use client::{Client, ClientError, ClientOptions};
pub use membership::{LiveNode, Membership, MembershipOptions};
pub use node::{
    ClusterNode, ClusterOptions, HostSeat, HostedShards, LeaveError, SnapshotHook, StartError,
    StartHost,
};
pub use plan::{Plan, ShardPlan, lead_bound, plan};
pub use raft::{ConsensusTimes, seed_consensus};
pub use replicated_log::ReplicatedLog;
pub use ring::{POINTS_PER_NODE, Ring};
pub use router::{LocalShards, OnAnswer, Router, RouterOptions};
pub use surroundings::{Connection, Duplex, Listening, Network, Surroundings};
pub use transport::{
    Destination, Lane, NodeIdentity, PeerError, PeerEvent, PeerHandler, PeerInfo, PeerLimits,
    Peers, PeersError, PeersOptions, RefusalCode, Responder, Secret,
};
pub use view::{ClusterView, MemberState, MemberView, ShardState, ShardView};
pub use wire::{
    BatchesAnswer, CommandAnswer, ConversationAnswer, HistoryAnswer, Message, TailAnswer,
    UnknownMessage, raft_body,
};
