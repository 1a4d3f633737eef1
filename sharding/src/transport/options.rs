//! What the transport of a process is told at its start, and every limit it keeps (promise G9).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use holm_core::NodeId;

/// How a transport is started.
#[derive(Debug, Clone)]
pub struct PeersOptions {
    /// The cluster's name; processes of other clusters are refused.
    pub cluster: String,
    /// What all processes of the cluster know and nobody else.
    pub secret: Option<Secret>,
    /// Who this process is.
    pub me: NodeIdentity,
    /// Where to listen; port 0 lets the system pick. None for a process that only dials.
    pub listen: Option<SocketAddr>,
    /// Also keeps the UDP port of the same number, for [`crate::Membership`].
    pub gossip: bool,
    /// Allows listening on an address that other machines reach without a secret. For closed networks only.
    pub insecure: bool,
    /// The limits.
    pub limits: PeerLimits,
}

impl PeersOptions {
    /// A process that only dials, with default limits and without a secret.
    #[must_use]
    pub fn new(cluster: impl Into<String>, me: NodeIdentity) -> Self {
        Self {
            cluster: cluster.into(),
            secret: None,
            me,
            listen: None,
            gossip: false,
            insecure: false,
            limits: PeerLimits::default(),
        }
    }
}

/// Who a process is, as it says in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its id; zero for a client, and for a node that has none yet.
    pub node: NodeId,
    /// Its name, for people; at most 128 bytes.
    pub name: String,
    /// A number that rises with every start of the same node.
    pub incarnation: u64,
    /// Where its pages are, when it serves any; at most 256 bytes.
    pub http: Option<String>,
}

/// A secret that never shows in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret from its bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The limits of a transport.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Bytes of one message on the control or the commands lane.
    pub message_bytes: usize,
    /// Bytes of one message on the bulk lane, which travels in chunks.
    pub bulk_message_bytes: usize,
    /// Bytes that may wait in one lane of one connection. Above twice the largest message, so that a large one always fits an idle lane.
    pub lane_bytes: usize,
    /// Requests on one connection that may wait for their answers.
    pub requests_in_flight: usize,
    /// Connections that may be in their handshake at the same time.
    pub unauthenticated: usize,
    /// Connections that may be accepted at the same time. 1,024 is a cluster of hundreds and its clients.
    pub connections: usize,
    /// Time for a connection attempt.
    pub connect_timeout: Duration,
    /// Time for a whole handshake.
    pub handshake_timeout: Duration,
    /// Silence after which a ping is sent.
    pub ping_after: Duration,
    /// Silence after which a connection counts as dead.
    pub dead_after: Duration,
    /// Time within which a write must make progress.
    pub write_stall: Duration,
    /// First pause after a failed connection attempt; it doubles.
    pub back_off_least: Duration,
    /// Longest pause between connection attempts.
    pub back_off_most: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            message_bytes: 8 * 1024 * 1024 - 64,
            bulk_message_bytes: 64 * 1024 * 1024,
            lane_bytes: 160 * 1024 * 1024,
            requests_in_flight: 65_536,
            unauthenticated: 64,
            connections: 1_024,
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(5),
            ping_after: Duration::from_secs(1),
            dead_after: Duration::from_secs(5),
            write_stall: Duration::from_secs(5),
            back_off_least: Duration::from_millis(20),
            back_off_most: Duration::from_secs(1),
        }
    }
}
