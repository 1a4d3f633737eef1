//! The cluster: ring and placement, membership, transport, the replicated log, router and hand-off.

mod client;
mod membership;
mod plan;
mod router;
mod transport;
mod view;
mod wire;

pub use client::{Client, ClientError, ClientOptions};
pub use membership::{LiveNode, Membership, MembershipOptions};
pub use plan::{Plan, ShardPlan, plan};
pub use router::{LocalShards, OnAnswer, Router, RouterOptions};
pub use transport::{
    Destination, Lane, NodeIdentity, PeerError, PeerEvent, PeerHandler, PeerInfo, PeerLimits, Peers,
    PeersError, PeersOptions, RefusalCode, Responder, Secret,
};
pub use view::{ClusterView, MemberState, MemberView, ShardState, ShardView};
pub use wire::{BatchesAnswer, CommandAnswer, Message, UnknownMessage, raft_body};
