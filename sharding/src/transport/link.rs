//! A connection that this process dials: kept up, with requests queued while it is first made and failed at once while the peer is away.
//!
//! Life of a link: *open* (a queue that takes requests, before and while a connection stands), *down* (the last attempt failed; requests fail at once,
//! the next attempt comes after a pause), *closed*. When a connection is lost, the next attempt follows at once: if the port
//! refuses, the process is surely dead, and that is told before any detector could suspect it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use holm_core::{Limit, NodeId, Outcome};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::transport::frame::Kind;
use crate::transport::outbox::{NotTaken, Outbox};
use crate::transport::second;
use crate::transport::waiting::{NotWaiting, Waiting};
use crate::transport::{Lane, PeerError, PeerLimits, RefusalCode};

/// Called exactly once with the answer.
pub(crate) type Done = Box<dyn FnOnce(Result<Bytes, PeerError>) + Send>;

/// The way to one address.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: Mutex<State>,
    /// Ends a pause between attempts.
    pub(crate) nudged: Notify,
    pub(crate) stop: CancellationToken,
    /// A member: kept connected also when nobody asks.
    pub(crate) pinned: AtomicBool,
    /// Which node should be there; zero when anybody may.
    pub(crate) expected: AtomicU64,
    /// Something was sent since the last look.
    pub(crate) used: AtomicBool,
    /// Tells cut notices apart.
    notices: AtomicU64,
    limits: PeerLimits,
}

enum State {
    Open(Arc<Dialled>),
    Down(Why),
    Closed,
}

/// Why a link is down.
#[derive(Debug, Clone)]
pub(crate) struct Why {
    pub(crate) reason: Box<str>,
    pub(crate) sure_dead: bool,
    pub(crate) refused: Option<RefusalCode>,
}

impl Why {
    pub(crate) fn error(&self, address: SocketAddr) -> PeerError {
        match self.refused {
            Some(code) => PeerError::Refused { address, code, reason: self.reason.clone() },
            None => PeerError::NotConnected {
                address,
                reason: self.reason.clone(),
                sure_dead: self.sure_dead,
            },
        }
    }
}

/// One connection, from before it stands until it is lost.
pub(crate) struct Dialled {
    pub(crate) outbox: Outbox,
    pub(crate) waiting: Arc<Waiting<Done>>,
    /// The handshake succeeded: what was queued may have been sent.
    pub(crate) established: AtomicBool,
    /// Who answered; zero while nobody did or it has no id.
    pub(crate) remote: AtomicU64,
}

impl Dialled {
    /// The handshake succeeded; what waits will be sent now.
    ///
    /// Not what came to its deadline before: that was called not sent. The flag is raised first. Whoever takes an expired request out of the table and then
    /// finds the flag down did so before the table is asked here, and the request is not sent.
    pub(crate) fn establish(&self) {
        self.established.store(true, Ordering::Release);
        self.outbox.forget_requests(|id| self.waiting.holds(id));
    }

    /// Fails everything that waits.
    pub(crate) fn fail(&self, error: &PeerError) {
        self.outbox.close();
        for done in self.waiting.close() {
            done(Err(error.clone()));
        }
    }
}

impl Link {
    /// A link whose first attempt is yet to be made. Requests are queued from now on.
    pub(crate) fn new(address: SocketAddr, limits: &PeerLimits, stop: CancellationToken) -> Self {
        Self {
            address,
            state: Mutex::new(State::Open(Arc::new(dialled(limits)))),
            nudged: Notify::new(),
            stop,
            pinned: AtomicBool::new(false),
            expected: AtomicU64::new(0),
            used: AtomicBool::new(true),
            notices: AtomicU64::new(0),
            limits: limits.clone(),
        }
    }

    /// The queue that takes requests at this moment.
    pub(crate) fn open(&self) -> Option<Arc<Dialled>> {
        match &*self.lock() {
            State::Open(dialled) => Some(dialled.clone()),
            State::Down(_) | State::Closed => None,
        }
    }

    /// A new queue that takes requests, unless the link was closed.
    pub(crate) fn reopen(&self) -> Option<Arc<Dialled>> {
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return None;
        }
        let dialled = Arc::new(dialled(&self.limits));
        *state = State::Open(dialled.clone());
        Some(dialled)
    }

    /// Requests fail at once from now on, those in the queue too.
    pub(crate) fn go_down(&self, why: Why) {
        let error = why.error(self.address);
        let mut state = self.lock();
        if matches!(*state, State::Closed) {
            return;
        }
        let before = std::mem::replace(&mut *state, State::Down(why));
        drop(state);
        if let State::Open(dialled) = before {
            dialled.fail(&error);
        }
    }

    /// The link is of no use any more.
    pub(crate) fn close(&self) {
        self.stop.cancel();
        let before = std::mem::replace(&mut *self.lock(), State::Closed);
        if let State::Open(dialled) = before {
            let sent = dialled.established.load(Ordering::Acquire);
            let lost = PeerError::Lost { address: self.address };
            dialled.fail(if sent { &lost } else { &PeerError::Closed });
        }
    }

    /// Sends a request; `done` is called in any case.
    pub(crate) fn request(
        &self,
        wanted: Option<NodeId>,
        (lane, body): (Lane, &[u8]),
        deadline: Duration,
        done: Done,
    ) {
        let dialled = match self.ready(wanted, lane, body) {
            Ok(dialled) => dialled,
            Err(error) => return done(Err(error)),
        };
        let was_established = dialled.established.load(Ordering::Acquire);
        let id = match dialled.waiting.add(Instant::now() + deadline, done) {
            Ok(id) => id,
            Err(NotWaiting::Full(done)) => {
                return done(Err(self.overloaded(self.limits.requests_in_flight)));
            }
            Err(NotWaiting::Closed(done)) => return done(Err(self.not_sent())),
        };
        // Its deadline may have come already, and it may have been called not sent.
        let is_wanted = || was_established || dialled.waiting.holds(id);
        let pushed = dialled.outbox.push_wanted((Kind::Request, lane), id, body, is_wanted);
        if let Err(not_taken) = pushed
            && let Some(done) = dialled.waiting.take(id)
        {
            done(Err(match not_taken {
                NotTaken::Full { allowed } => self.overloaded(allowed),
                NotTaken::Closed => self.not_sent(),
            }));
        }
    }

    /// Sends a message that has no answer.
    pub(crate) fn notify(
        &self,
        wanted: Option<NodeId>,
        lane: Lane,
        body: &[u8],
    ) -> Result<(), PeerError> {
        let dialled = self.ready(wanted, lane, body)?;
        let number = self.notices.fetch_add(1, Ordering::Relaxed);
        dialled.outbox.push(Kind::Notice, lane, number, body).map_err(|not_taken| match not_taken {
            NotTaken::Full { allowed } => self.overloaded(allowed),
            NotTaken::Closed => self.not_sent(),
        })
    }

    /// Sends a second copy of a message, wherever the connection is by now. Nobody asks what becomes of it.
    pub(crate) fn send_second(
        &self,
        wanted: Option<NodeId>,
        (kind, lane): (Kind, Lane),
        body: &[u8],
    ) {
        let Ok(dialled) = self.ready(wanted, lane, body) else { return };
        let number = self.notices.fetch_add(1, Ordering::Relaxed);
        let _ = dialled.outbox.push(kind, lane, second::correlation_of(number), body);
    }

    /// What a request that waited too long is told.
    pub(crate) fn too_late(&self, dialled: &Dialled) -> PeerError {
        let sent = dialled.established.load(Ordering::Acquire);
        let outcome = if sent { Outcome::Unknown } else { Outcome::NotApplied };
        PeerError::Deadline { address: self.address, outcome }
    }

    /// The queue for a message, when it may go there.
    fn ready(
        &self,
        wanted: Option<NodeId>,
        lane: Lane,
        body: &[u8],
    ) -> Result<Arc<Dialled>, PeerError> {
        let allowed = self.limits.message_bytes_on(lane);
        if body.len() > allowed {
            return Err(PeerError::TooLarge { allowed, actual: body.len() });
        }
        self.used.store(true, Ordering::Relaxed);
        let dialled = match &*self.lock() {
            State::Open(dialled) => dialled.clone(),
            State::Down(why) => return Err(why.error(self.address)),
            State::Closed => return Err(PeerError::Closed),
        };
        let remote = dialled.remote.load(Ordering::Relaxed);
        match wanted {
            Some(wanted) if remote != 0 && remote != wanted.0 => {
                Err(self.somebody_else(NodeId(remote), wanted))
            }
            _ => Ok(dialled),
        }
    }

    /// What a message for one node is told when another one answers at its address.
    pub(crate) fn somebody_else(&self, found: NodeId, wanted: NodeId) -> PeerError {
        PeerError::Refused {
            address: self.address,
            code: RefusalCode::Identity,
            reason: format!("node {found} answers here, not node {wanted}").into(),
        }
    }

    fn overloaded(&self, allowed: usize) -> PeerError {
        let allowed = allowed as u64;
        PeerError::Overloaded { address: self.address, limit: Limit::RequestsInFlight, allowed }
    }

    /// The connection went while the message was being queued; it was not.
    fn not_sent(&self) -> PeerError {
        let reason = "the connection was just lost".into();
        PeerError::NotConnected { address: self.address, reason, sure_dead: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is replaced as a whole; a panic cannot leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dialled(limits: &PeerLimits) -> Dialled {
    Dialled {
        outbox: limits.outbox(),
        waiting: Arc::new(Waiting::new(limits.requests_in_flight)),
        established: AtomicBool::new(false),
        remote: AtomicU64::new(0),
    }
}
