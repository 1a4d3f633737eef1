//! What all connections of a transport share: who this process is, its limits, the table of links, and the listener's task.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use holm_core::NodeId;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::surroundings::Surroundings;
use crate::transport::handshake::Credentials;
use crate::transport::inbound::{self, Inbound};
use crate::transport::link::{Dialled, Link};
use crate::transport::second::Second;
use crate::transport::stream::Listener;
use crate::transport::{Destination, Lane, PeerError, PeerEvent, PeerHandler, PeerLimits, dialler};

/// Pause after a failed accept: usually the process is out of file descriptors, and trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The state of one transport.
pub(crate) struct Shared {
    pub(crate) handler: Arc<dyn PeerHandler>,
    pub(crate) limits: PeerLimits,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// This process's id; changes once at most, when it gets one.
    pub(crate) node: watch::Sender<NodeId>,
    /// The address that this process listens on, when it is one in particular.
    near: Option<IpAddr>,
    credentials: Credentials,
    routes: RwLock<Routes>,
    inbound: Mutex<Vec<Weak<Inbound>>>,
    events: broadcast::Sender<PeerEvent>,
    runtime: Handle,
}

#[derive(Default)]
struct Routes {
    nodes: HashMap<NodeId, SocketAddr>,
    links: HashMap<SocketAddr, Arc<Link>>,
}

impl Shared {
    pub(crate) fn new(
        credentials: Credentials,
        limits: PeerLimits,
        handler: Arc<dyn PeerHandler>,
        listen: Option<SocketAddr>,
    ) -> Self {
        Self {
            near: listen.map(|listen| listen.ip()).filter(|ip| !ip.is_unspecified()),
            handler,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            node: watch::Sender::new(credentials.identity.node),
            credentials,
            routes: RwLock::default(),
            inbound: Mutex::default(),
            // A reader that is 1,024 connections behind has lost the picture and must look anew.
            events: broadcast::Sender::new(1024),
            runtime: Handle::current(),
            limits,
        }
    }

    /// Where a connection to `far` begins: the address that peers know this process by, so that rules of a network about pairs of addresses hold in
    /// both directions on a machine with several. None: the system chooses, as it must where the one cannot be reached from the other.
    pub(crate) fn near_end(&self, far: SocketAddr) -> Option<SocketAddr> {
        let near = self.near?;
        let fits = near.is_ipv4() == far.is_ipv4() && near.is_loopback() == far.ip().is_loopback();
        fits.then_some(SocketAddr::new(near, 0))
    }

    /// Who this process is at this moment.
    pub(crate) fn credentials(&self) -> Credentials {
        let mut credentials = self.credentials.clone();
        credentials.identity.node = *self.node.borrow();
        credentials
    }

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.credentials.surroundings
    }

    pub(crate) fn set_node(&self, node: NodeId) {
        self.node.send_if_modified(|present| std::mem::replace(present, node) != node);
        let inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        for inbound in inbound.iter().filter_map(Weak::upgrade) {
            inbound.tell_identity(node);
        }
    }

    pub(crate) fn add_inbound(&self, connection: &Arc<Inbound>) {
        let mut inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        inbound.retain(|known| known.strong_count() > 0);
        inbound.push(Arc::downgrade(connection));
    }

    pub(crate) fn tell(&self, event: PeerEvent) {
        // Without a reader nobody wants to know.
        let _ = self.events.send(event);
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<PeerEvent> {
        self.events.subscribe()
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.read().nodes.get(&node).copied()
    }

    pub(crate) fn set_address(self: &Arc<Self>, node: NodeId, address: SocketAddr) {
        let unused = {
            let mut routes = self.write();
            let before = routes.nodes.insert(node, address);
            let link = self.link_to(&mut routes, address);
            link.expected.store(node.0, Ordering::Relaxed);
            link.pinned.store(true, Ordering::Relaxed);
            link.nudged.notify_one();
            before.filter(|&before| before != address).and_then(|before| routes.release(before))
        };
        if let Some(link) = unused {
            link.close();
        }
    }

    pub(crate) fn forget(&self, node: NodeId) {
        let unused = {
            let mut routes = self.write();
            routes.nodes.remove(&node).and_then(|address| routes.release(address))
        };
        if let Some(link) = unused {
            link.close();
        }
    }

    /// Dials again now if a pause is being made.
    pub(crate) fn nudge(&self, address: SocketAddr) {
        if let Some(link) = self.read().links.get(&address)
            && link.open().is_none()
        {
            link.nudged.notify_one();
        }
    }

    /// The link to a destination, and which node must answer there.
    pub(crate) fn link(
        self: &Arc<Self>,
        to: Destination,
    ) -> Result<(Arc<Link>, Option<NodeId>), PeerError> {
        let (address, wanted) = {
            let routes = self.read();
            let (address, wanted) = match to {
                Destination::Address(address) => (address, None),
                Destination::Node(node) => {
                    let address = routes.nodes.get(&node).copied();
                    (address.ok_or(PeerError::UnknownNode { node })?, Some(node))
                }
            };
            if let Some(link) = routes.links.get(&address) {
                return Ok((link.clone(), wanted));
            }
            (address, wanted)
        };
        if self.stop.is_cancelled() {
            return Err(PeerError::Closed);
        }
        Ok((self.link_to(&mut self.write(), address), wanted))
    }

    /// The second copy of a message, where a simulated network puts one on its way.
    pub(crate) fn second(
        &self,
        link: &Arc<Link>,
        wanted: Option<NodeId>,
        (lane, body): (Lane, &Bytes),
    ) -> Option<Second> {
        let after = self.surroundings().network()?.sends_again(link.address)?;
        let (link, body) = (link.clone(), body.clone());
        let (tasks, runtime) = (self.tasks.clone(), self.runtime.clone());
        Some(Second { link, wanted, lane, body, after, tasks, runtime })
    }

    pub(crate) fn is_connected(&self, to: Destination) -> bool {
        let routes = self.read();
        let address = match to {
            Destination::Address(address) => Some(address),
            Destination::Node(node) => routes.nodes.get(&node).copied(),
        };
        address.and_then(|address| routes.links.get(&address)?.open()).is_some_and(|dialled| {
            let remote = dialled.remote.load(Ordering::Relaxed);
            let right = !matches!(to, Destination::Node(node) if remote != 0 && remote != node.0);
            right && dialled.established.load(Ordering::Acquire)
        })
    }

    /// The most bytes that wait in each lane of any connection.
    pub(crate) fn most_unsent(&self) -> [usize; Lane::ALL.len()] {
        let inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        let inbound = inbound.iter().filter_map(Weak::upgrade).map(|it| it.unsent());
        let routes = self.read();
        let dialled = routes.links.values().filter_map(|link| Some(link.open()?.outbox.unsent()));
        inbound.chain(dialled).fold(Default::default(), |most, of_one| {
            std::array::from_fn(|lane| of_one[lane].max(most[lane]))
        })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Takes a link out of the table when its task ends.
    pub(crate) fn remove(&self, link: &Arc<Link>) {
        let mut routes = self.write();
        if routes.links.get(&link.address).is_some_and(|known| Arc::ptr_eq(known, link)) {
            routes.links.remove(&link.address);
        }
    }

    /// Fails the requests of a connection whose deadlines come, for as long as it takes requests.
    pub(crate) fn watch_deadlines(&self, link: &Arc<Link>, dialled: &Arc<Dialled>) {
        let (link, waiting) = (link.clone(), dialled.waiting.clone());
        let dialled = Arc::downgrade(dialled);
        self.tasks.spawn_on(
            waiting.watch(move |done| {
                if let Some(dialled) = dialled.upgrade() {
                    done(Err(link.too_late(&dialled)));
                }
            }),
            &self.runtime,
        );
    }

    /// Closes everything and waits for the last task.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        let mut links: Vec<_> = {
            let mut routes = self.write();
            routes.nodes.clear();
            routes.links.drain().map(|(_, link)| link).collect()
        };
        // In an order of their own, the same in every run.
        links.sort_unstable_by_key(|link| link.address);
        links.iter().for_each(|link| link.close());
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn link_to(self: &Arc<Self>, routes: &mut Routes, address: SocketAddr) -> Arc<Link> {
        if let Some(link) = routes.links.get(&address) {
            return link.clone();
        }
        let link = Arc::new(Link::new(address, &self.limits, self.stop.child_token()));
        routes.links.insert(address, link.clone());
        self.tasks.spawn_on(dialler::keep(self.clone(), link.clone()), &self.runtime);
        link
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Routes {
    /// Gives up a member's link; returned to be closed unless another member is said to be there.
    fn release(&mut self, address: SocketAddr) -> Option<Arc<Link>> {
        if self.nodes.values().any(|&known| known == address) {
            return None;
        }
        self.links.remove(&address)
    }
}

/// Accepts connections until the transport stops.
pub(crate) async fn accept(shared: Arc<Shared>, mut listener: Listener) {
    let handshaking = Arc::new(Semaphore::new(shared.limits.unauthenticated));
    let connections = Arc::new(Semaphore::new(shared.limits.connections));
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = shared.stop.cancelled() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let permits =
            (handshaking.clone().try_acquire_owned(), connections.clone().try_acquire_owned());
        let (Ok(handshaking), Ok(connection)) = permits else {
            tracing::warn!(%remote, "closing a connection: too many");
            continue;
        };
        let shared_by_connection = shared.clone();
        shared.tasks.spawn(async move {
            inbound::serve(shared_by_connection, stream, remote, handshaking).await;
            drop(connection);
        });
    }
}
