//! What the transport of a process is told at its start, and every limit it keeps (promise G9).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use holm_core::NodeId;

use crate::surroundings::Surroundings;
use crate::transport::greeting::{MAX_CLUSTER_BYTES, MAX_HTTP_BYTES, MAX_NAME_BYTES};
use crate::transport::outbox::Outbox;
use crate::transport::{Lane, PeersError};

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
    /// Where the others reach this process, when that is not where it listens: behind an address translation, or when it listens everywhere.
    pub advertise: Option<SocketAddr>,
    /// Also keeps the UDP port of the same number, for [`crate::Membership`].
    pub gossip: bool,
    /// Allows listening on an address that other machines reach without a secret. For closed networks only.
    pub insecure: bool,
    /// The limits.
    pub limits: PeerLimits,
    /// What lies around this process.
    pub surroundings: Surroundings,
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
            advertise: None,
            gossip: false,
            insecure: false,
            limits: PeerLimits::default(),
            surroundings: Surroundings::default(),
        }
    }
}

impl PeersOptions {
    /// Refuses what could not work or would not be safe.
    pub(crate) fn check(&self) -> Result<(), PeersError> {
        if let Some(listen) = self.listen
            && !listen.ip().is_loopback()
            && self.secret.is_none()
            && !self.insecure
        {
            return Err(PeersError::Unprotected { listen });
        }
        let http = self.me.http.as_deref().unwrap_or_default();
        for (what, text, allowed) in [
            ("the cluster's name", self.cluster.as_str(), MAX_CLUSTER_BYTES),
            ("the node's name", self.me.name.as_str(), MAX_NAME_BYTES),
            ("the address of the node's pages", http, MAX_HTTP_BYTES),
        ] {
            if text.len() > allowed {
                return Err(PeersError::TooLong { what, allowed, actual: text.len() });
            }
        }
        Ok(())
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
    /// Bytes that may wait in the control lane, and in the commands lane, of one connection: a second of work, and four of the longest messages.
    pub lane_bytes: usize,
    /// Bytes that may wait in the bulk lane of one connection: two of the longest messages.
    pub bulk_lane_bytes: usize,
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
            message_bytes: 8 * 1024 * 1024,
            bulk_message_bytes: 64 * 1024 * 1024,
            lane_bytes: 32 * 1024 * 1024,
            bulk_lane_bytes: 130 * 1024 * 1024,
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

impl PeerLimits {
    /// Bytes of one message on this lane.
    pub(crate) fn message_bytes_on(&self, lane: Lane) -> usize {
        match lane {
            Lane::Control | Lane::Commands => self.message_bytes,
            Lane::Bulk => self.bulk_message_bytes,
        }
    }

    /// Bytes of messages whose last part has not arrived: one of the longest on each lane.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        2 * self.message_bytes + 2 * self.bulk_message_bytes
    }

    pub(crate) fn outbox(&self) -> Outbox {
        Outbox::new([self.lane_bytes, self.lane_bytes, self.bulk_lane_bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &str) -> PeersOptions {
        let me = NodeIdentity { node: NodeId(1), name: "a".into(), incarnation: 1, http: None };
        PeersOptions { listen: Some(listen.parse().unwrap()), ..PeersOptions::new("test", me) }
    }

    #[test]
    fn an_open_port_without_a_secret_is_refused_with_a_reason() {
        let error = options("0.0.0.0:0").check().unwrap_err();
        assert!(matches!(error, PeersError::Unprotected { .. }));
        assert!(error.to_string().contains("secret"), "{error}");
        assert!(options("127.0.0.1:0").check().is_ok());
        assert!(options("[::1]:0").check().is_ok());
        assert!(PeersOptions { insecure: true, ..options("0.0.0.0:0") }.check().is_ok());
        let secret = Some(Secret::new("s3cret"));
        assert!(PeersOptions { secret, ..options("0.0.0.0:0") }.check().is_ok());
    }

    #[test]
    fn a_secret_does_not_show() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "Secret(…)");
    }

    #[test]
    fn a_name_that_no_handshake_carries_is_refused() {
        let mut options = options("127.0.0.1:0");
        options.me.name = "x".repeat(129);
        assert!(matches!(options.check(), Err(PeersError::TooLong { actual: 129, .. })));
    }
}
