//! The transport between processes: one TCP connection per peer and direction of dialling, three lanes, requests with deadlines.
//!
//! Who dials, asks; the other side only answers on that connection. So two members that ask each other keep two connections, and neither
//! side ever has to decide which of two connections is the right one. The layout of frames is in `docs/wire-format.md`.

mod error;
mod event;
mod handler;
mod options;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use tokio::sync::broadcast;

pub use error::{PeerError, PeersError, RefusalCode};
pub use event::PeerEvent;
pub use handler::{PeerHandler, PeerInfo, Responder};
pub use options::{NodeIdentity, PeerLimits, PeersOptions, Secret};

/// The transport of one process. Clones share it; it lives until [`Peers::shutdown`] or until the last clone is dropped.
///
/// Its tasks run on the tokio runtime on which it was started; its methods may be called, and their futures awaited, anywhere.
#[derive(Clone)]
pub struct Peers(Arc<()>);

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A member whose address was set by [`Peers::set_address`].
    Node(NodeId),
    /// Whoever listens there, for example a seed.
    Address(SocketAddr),
}

impl From<NodeId> for Destination {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

/// The order in which what waits is written: nothing of a later lane is written while something of an earlier one waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats, votes, appends, and whatever decides.
    Control,
    /// Commands and their answers.
    Commands,
    /// Snapshots, pages of history and whatever may wait.
    Bulk,
}

impl Peers {
    /// Binds the listener, when there is one, and starts accepting. Must be called on a tokio runtime; everything runs there.
    ///
    /// # Errors
    /// [`PeersError`] when the address cannot be bound, or is reachable from other machines without a secret.
    pub async fn start(
        options: PeersOptions,
        handler: Arc<dyn PeerHandler>,
    ) -> Result<Self, PeersError> {
        let _ = (options, handler);
        unimplemented!()
    }

    /// Where this process listens; none for one that only dials.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        unimplemented!()
    }

    /// The id that this process gives in handshakes from now on. Connections made under another id are made anew.
    pub fn set_node(&self, node: NodeId) {
        let _ = node;
        unimplemented!()
    }

    /// Says where a member listens, dials it and keeps it connected. A new address replaces the old one; what waits fails as lost.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        let _ = (node, address);
        unimplemented!()
    }

    /// The address of a member, when it was set.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let _ = node;
        unimplemented!()
    }

    /// Forgets a member: its connection is closed, what waits fails as lost.
    pub fn forget(&self, node: NodeId) {
        let _ = node;
        unimplemented!()
    }

    /// Whether the connection to a destination stands at this moment.
    #[must_use]
    pub fn is_connected(&self, to: impl Into<Destination>) -> bool {
        let _ = to.into();
        unimplemented!()
    }

    /// Sends a request and waits for the answer's body. The request is queued when the method is called.
    ///
    /// # Errors
    /// [`PeerError`]; its `outcome` tells whether the peer may have got the request.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answer; the request may still be carried out.
    pub fn request(
        &self,
        to: impl Into<Destination>,
        lane: Lane,
        body: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, PeerError>> + Send + 'static {
        let _ = (to.into(), lane, body, deadline);
        async { unimplemented!() }
    }

    /// The same with a callback: no future, no task. `done` is called exactly once, on any thread, and must not block.
    pub fn request_with(
        &self,
        to: impl Into<Destination>,
        lane: Lane,
        body: Bytes,
        deadline: Duration,
        done: impl FnOnce(Result<Bytes, PeerError>) + Send + 'static,
    ) {
        let _ = (to.into(), lane, body, deadline, done);
        unimplemented!()
    }

    /// Sends a message that has no answer. It is lost when the connection is.
    ///
    /// # Errors
    /// [`PeerError`] when it was not even queued.
    pub fn notify(
        &self,
        to: impl Into<Destination>,
        lane: Lane,
        body: Bytes,
    ) -> Result<(), PeerError> {
        let _ = (to.into(), lane, body);
        unimplemented!()
    }

    /// Connections that came and went, from now on. A reader that lags loses the oldest events and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        unimplemented!()
    }

    /// Closes every connection and the listener; what waits fails as lost. Resolves when the port is free again.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
