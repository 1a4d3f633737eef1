//! The transport between processes: one TCP connection per peer and direction of dialling, three lanes, requests with deadlines.
//!
//! Who dials, asks; the other side only answers on that connection. So two members that ask each other keep two connections, and neither
//! side ever has to decide which of two connections is the right one. The layout of frames is in `docs/wire-format.md`.

mod assembly;
mod bind;
mod complaint;
mod death;
mod dialler;
mod error;
mod event;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod greeting;
mod handler;
mod handshake;
mod inbound;
mod link;
mod options;
mod outbox;
mod second;
mod shared;
mod stream;
mod waiting;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, oneshot};

use crate::transport::handshake::Credentials;
use crate::transport::link::Done;
use crate::transport::shared::Shared;

pub use error::{PeerError, PeersError, RefusalCode};
pub use event::PeerEvent;
pub use handler::{PeerHandler, PeerInfo, Responder};
pub(crate) use waiting::{NotWaiting, Waiting};

pub use options::{NodeIdentity, PeerLimits, PeersOptions, Secret};

/// The transport of one process. Clones share it; it lives until [`Peers::shutdown`] or until the last clone is dropped.
///
/// Its tasks run on the tokio runtime on which it was started; its methods may be called, and their futures awaited, anywhere.
#[derive(Clone)]
pub struct Peers(Arc<Owner>);

/// What the clones share and the tasks do not, so that dropping the last clone ends the tasks.
struct Owner {
    shared: Arc<Shared>,
    listen: Option<SocketAddr>,
    advertised: Option<SocketAddr>,
    gossip: Mutex<Option<UdpSocket>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

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
        options.check()?;
        let bound = match options.listen {
            Some(listen) => Some(bind::bind(&options.surroundings, listen, options.gossip).await?),
            None => None,
        };
        let listen = bound.as_ref().map(|bound| bound.address);
        let advertised = listen.map(|listen| options.advertise.unwrap_or(listen));
        let incarnation = options.me.incarnation;
        let credentials = Credentials {
            cluster: options.cluster,
            secret: options.secret,
            identity: options.me,
            listen: advertised,
            timeout: options.limits.handshake_timeout,
            surroundings: options.surroundings,
        };
        let shared = Arc::new(Shared::new(credentials, options.limits, handler, listen));
        let mut gossip = None;
        if let Some(bound) = bound {
            gossip = bound.gossip;
            if let (None, Some(advertised)) = (shared.surroundings().network(), advertised) {
                let stop = shared.stop.clone();
                shared.tasks.spawn(death::offer(advertised, incarnation, stop));
            }
            shared.tasks.spawn(shared::accept(shared.clone(), bound.listener));
        }
        Ok(Self(Arc::new(Owner { shared, listen, advertised, gossip: Mutex::new(gossip) })))
    }

    /// Where this process listens; none for one that only dials.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.listen
    }

    /// Where others reach this process; none for one that only dials.
    #[must_use]
    pub fn advertised(&self) -> Option<SocketAddr> {
        self.0.advertised
    }

    /// The id that this process gives in handshakes from now on. Peers that are connected are told.
    pub fn set_node(&self, node: NodeId) {
        self.0.shared.set_node(node);
    }

    /// Says where a member listens, dials it and keeps it connected. A new address replaces the old one; what waits fails as lost.
    pub fn set_address(&self, node: NodeId, address: SocketAddr) {
        self.0.shared.set_address(node, address);
    }

    /// The address of a member, when it was set.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.0.shared.address(node)
    }

    /// Forgets a member: its connection is closed, what waits fails as lost.
    pub fn forget(&self, node: NodeId) {
        self.0.shared.forget(node);
    }

    /// Whether the connection to a destination stands at this moment.
    #[must_use]
    pub fn is_connected(&self, to: impl Into<Destination>) -> bool {
        self.0.shared.is_connected(to.into())
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
        let (done, answer) = oneshot::channel();
        self.request_with(to, lane, body, deadline, move |result| {
            // Who dropped the future does not want to know.
            let _ = done.send(result);
        });
        async move { answer.await.unwrap_or(Err(PeerError::Closed)) }
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
        match self.0.shared.link(to.into()) {
            Ok((link, wanted)) => {
                let second = self.0.shared.second(&link, wanted, (lane, &body));
                let done: Done = match second {
                    None => Box::new(done),
                    Some(second) => second.of_request(Box::new(done)),
                };
                link.request(wanted, (lane, &body), deadline, done);
            }
            Err(error) => done(Err(error)),
        }
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
        let (link, wanted) = self.0.shared.link(to.into())?;
        link.notify(wanted, lane, &body)?;
        if let Some(second) = self.0.shared.second(&link, wanted, (lane, &body)) {
            second.of_notice();
        }
        Ok(())
    }

    /// The most bytes that wait in each [`Lane`] of any connection.
    #[must_use]
    pub fn most_unsent(&self) -> [usize; 3] {
        self.0.shared.most_unsent()
    }

    /// Connections that came and went, from now on. A reader that lags loses the oldest events and is told so.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.0.shared.events()
    }

    /// Closes every connection and the listener; what waits fails as lost. Resolves when the port is free again.
    pub async fn shutdown(&self) {
        self.gossip_socket();
        self.0.shared.shutdown().await;
    }

    /// The UDP port that was kept for gossip; once.
    pub(crate) fn gossip_socket(&self) -> Option<UdpSocket> {
        self.0.gossip.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The runtime that everything runs on.
    pub(crate) fn runtime(&self) -> &Handle {
        self.0.shared.runtime()
    }
}
