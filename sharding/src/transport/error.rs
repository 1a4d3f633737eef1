//! Why a message did not get there, why an answer did not come, and why a transport did not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use holm_core::{ErrorKind, Limit, NodeId, Outcome};

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// Nobody said where this node listens.
    #[error("the address of node {node} is not known")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// There is no connection and the last attempt failed; the next one is under way. Surely not sent.
    #[error("no connection to {address}: {reason}")]
    NotConnected {
        /// Where it was to go.
        address: SocketAddr,
        /// What the last attempt said.
        reason: Box<str>,
        /// The port refused, so that no process listens there.
        sure_dead: bool,
    },
    /// The peer refused the handshake, or this process refused the peer. Surely not sent.
    #[error("{address} and this process refuse each other: {code}: {reason}")]
    Refused {
        /// Where it was to go.
        address: SocketAddr,
        /// Which rule.
        code: RefusalCode,
        /// What does not fit.
        reason: Box<str>,
    },
    /// The connection was lost after the request was queued. The peer may have got it.
    #[error("the connection to {address} was lost")]
    Lost {
        /// Where it went.
        address: SocketAddr,
    },
    /// No answer in time. The peer may have got it.
    #[error("no answer from {address} within the deadline")]
    Deadline {
        /// Where it went.
        address: SocketAddr,
        /// Whether the request may have left this process.
        outcome: Outcome,
    },
    /// The peer got the request and gave no answer to it: its handler dropped the request.
    #[error("{address} dropped the request: {reason}")]
    Dropped {
        /// Where it went.
        address: SocketAddr,
        /// What the peer said.
        reason: Box<str>,
    },
    /// A queue on this side or on the peer's side is full. Not taken.
    #[error("overloaded: {limit} of {allowed} is used up on the way to {address}")]
    Overloaded {
        /// Where it was to go.
        address: SocketAddr,
        /// Which limit.
        limit: Limit,
        /// Its value.
        allowed: u64,
    },
    /// The message is longer than its lane allows. Not sent.
    #[error("too large: {actual} bytes, the lane allows {allowed}")]
    TooLarge {
        /// The limit.
        allowed: usize,
        /// The length.
        actual: usize,
    },
    /// The transport was shut down.
    #[error("the transport is closed")]
    Closed,
}

impl PeerError {
    /// What the caller should do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost { .. } | Self::Deadline { .. } | Self::Dropped { .. } => ErrorKind::Retry,
            Self::UnknownNode { .. } | Self::NotConnected { .. } | Self::Overloaded { .. } => {
                ErrorKind::BackOff
            }
            Self::TooLarge { .. } => ErrorKind::FixRequest,
            Self::Refused { .. } | Self::Closed => ErrorKind::GiveUp,
        }
    }

    /// Whether the peer may have carried out the request.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Lost { .. } | Self::Dropped { .. } => Outcome::Unknown,
            Self::Deadline { outcome, .. } => *outcome,
            _ => Outcome::NotApplied,
        }
    }

    /// True when the peer is there and only too much is under way.
    #[must_use]
    pub(crate) const fn is_congestion(&self) -> bool {
        matches!(self, Self::Overloaded { .. } | Self::TooLarge { .. })
    }

    /// True when the process at the other end is surely gone.
    #[must_use]
    pub const fn sure_dead(&self) -> bool {
        matches!(self, Self::NotConnected { sure_dead: true, .. })
    }
}

/// The rule by which a handshake was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The protocol versions have none in common.
    Version,
    /// Another cluster.
    Cluster,
    /// One side has a secret and the other none, or they differ.
    Secret,
    /// Another node answers at this address.
    Identity,
    /// The process dialled itself.
    Myself,
    /// Too many connections.
    Connections,
    /// What was said is no handshake.
    Malformed,
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::Cluster => "cluster",
            Self::Secret => "secret",
            Self::Identity => "identity",
            Self::Myself => "myself",
            Self::Connections => "connections",
            Self::Malformed => "malformed",
        })
    }
}

/// Why a transport did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// The address is reachable from other machines, and nothing tells friend from foe.
    #[error(
        "{listen} is reachable from other machines, and there is no secret: anybody who reaches the port could join the cluster; set a \
         secret, listen on a loopback address, or say that the network is closed with the insecure option"
    )]
    Unprotected {
        /// The address.
        listen: SocketAddr,
    },
    /// The port cannot be had.
    #[error("cannot listen on {listen}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A name or an address is longer than a handshake may carry.
    #[error("{what} has {actual} bytes, a handshake carries at most {allowed}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// The limit.
        allowed: usize,
        /// The length.
        actual: usize,
    },
}
