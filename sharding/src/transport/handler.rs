//! The receiving end: who sent something, and how it is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use holm_core::NodeId;

use crate::transport::Lane;
use crate::transport::complaint::Complaint;
use crate::transport::frame::Kind;
use crate::transport::inbound::Inbound;

/// Receives what peers send.
///
/// It is called on the transport's runtime, in the order in which the peer sent things on one lane, and must not block: what takes time
/// keeps the [`Responder`] and answers later. A panic closes the connection that it happened on, and nothing else.
///
/// A body may share the memory of a whole read: whoever keeps a small body for long copies it.
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
pub struct Responder {
    inbound: Arc<Inbound>,
    lane: Lane,
    correlation: u64,
    /// False for a notice, and once the answer is given.
    wanted: bool,
}

impl Responder {
    /// The answer to a request that was counted in by [`Inbound::begin`].
    pub(crate) fn to_request(inbound: Arc<Inbound>, lane: Lane, correlation: u64) -> Self {
        Self { inbound, lane, correlation, wanted: true }
    }

    /// The answer that nobody waits for.
    pub(crate) fn to_notice(inbound: Arc<Inbound>, lane: Lane) -> Self {
        Self { inbound, lane, correlation: 0, wanted: false }
    }

    /// Sends the answer, on the lane of the request; one that is too long for that goes on the bulk lane. It is lost when the connection is.
    pub fn respond(mut self, body: Bytes) {
        let lane = match self.inbound.lane_for(self.lane, body.len()) {
            Some(lane) => lane,
            None => {
                let reason = format!("its answer of {} bytes is too long", body.len());
                return self.complain(&Complaint::Dropped { reason });
            }
        };
        if std::mem::take(&mut self.wanted) {
            self.inbound.finish(Kind::Response, lane, self.correlation, &body);
        }
    }

    /// Tells the peer that this message cannot be understood, and closes the connection behind that.
    pub fn reject(mut self, reason: &str) {
        self.wanted = true;
        self.complain(&Complaint::Unknown { reason: reason.to_owned() });
        self.inbound.end(reason);
    }

    /// True when the peer still waits: a request, on a connection that stands.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted && !self.inbound.is_closed()
    }

    fn complain(&mut self, complaint: &Complaint) {
        if std::mem::take(&mut self.wanted) {
            self.inbound.finish(Kind::Error, self.lane, self.correlation, &complaint.encode());
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.wanted {
            self.complain(&Complaint::Dropped { reason: "its handler gave no answer".to_owned() });
        }
    }
}
