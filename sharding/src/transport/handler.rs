//! The receiving end: who sent something, and how it is answered.

use std::net::SocketAddr;

use bytes::Bytes;
use holm_core::NodeId;

use crate::transport::Lane;

/// Receives what peers send.
///
/// It is called on the transport's runtime, in the order in which the peer sent things on one lane, and must not block: what takes time
/// keeps the [`Responder`] and answers later. A panic closes the connection that it happened on, and nothing else.
pub trait PeerHandler: Send + Sync + 'static {
    /// A request or a notice. For a notice the responder answers into the void.
    fn handle(&self, from: &PeerInfo, lane: Lane, body: Bytes, respond: Responder);
}

/// Who sent something, as it said in the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id; zero for a client, and for a node that has none yet.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Which start of the process.
    pub incarnation: u64,
    /// Where its pages are.
    pub http: Option<String>,
    /// Where it listens for peers; none for a client.
    pub listen: Option<SocketAddr>,
    /// The remote end of this connection.
    pub remote: SocketAddr,
}

/// The right to answer one request once, from any thread. Dropped without an answer, it tells the peer so.
#[derive(Debug)]
pub struct Responder(());

impl Responder {
    /// Sends the answer, on the lane of the request. It is lost when the connection is.
    pub fn respond(self, body: Bytes) {
        let _ = body;
        unimplemented!()
    }

    /// Tells the peer that this request cannot be understood, and closes the connection behind that.
    pub fn reject(self, reason: &str) {
        let _ = reason;
        unimplemented!()
    }

    /// True when the peer still waits: a request, on a connection that stands.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        unimplemented!()
    }
}
