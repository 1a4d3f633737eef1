//! The simulated network: connections that keep the order of their bytes, and everything that goes wrong with them.
//!
//! A connection is two streams of packets. What is sent on one arrives after a drawn latency and never before what was sent earlier. While a direction is
//! cut its packets wait, as TCP's do, and go on when it is whole again; when that takes too long the connection breaks. A host whose process has
//! ended refuses connections and resets the old ones; a host without power says nothing at all. The bytes of a connection arrive once; a whole message may
//! be put on its way twice, which those who send are told when they ask.

mod connection;
mod counts;
mod ending;
mod state;
mod stream;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_core::Entropy;
use holm_persistence::Pending;
use holm_sharding::{Connection, Listening, Network};

use connection::{Conn, ConnId, Packet, Side};
pub use counts::Counts;
use state::{Listener, State};
use stream::{Connecting, SimulatedListener};

/// A machine with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u8);

impl Host {
    /// The address at which its process listens.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, self.0], 7_000))
    }

    fn at(address: SocketAddr) -> Self {
        match address.ip() {
            std::net::IpAddr::V4(ip) => Self(ip.octets()[3]),
            std::net::IpAddr::V6(_) => Self(0),
        }
    }
}

/// How a direction between two hosts behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// The least latency.
    pub least: Duration,
    /// The most.
    pub most: Duration,
    /// How many packets in a thousand are lost and sent again.
    pub lost_in_thousand: u64,
    /// How many messages in a thousand are put on their way twice.
    pub twice_in_thousand: u64,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            least: Duration::from_micros(200),
            most: Duration::from_micros(900),
            lost_in_thousand: 0,
            twice_in_thousand: 0,
        }
    }
}

/// The network of one world. Clones share it.
#[derive(Clone)]
pub struct Wires(Arc<Mutex<State>>);

impl Wires {
    /// A network without hosts. When `deaths_are_seen`, processes learn for certain that another one was killed; of a machine without power nobody knows.
    #[must_use]
    pub fn new(seed: u64, deaths_are_seen: bool) -> Self {
        Self(Arc::new(Mutex::new(State::new(seed, deaths_are_seen))))
    }

    /// The network as the next process on a host sees it.
    #[must_use]
    pub fn attach(&self, host: Host, life: u64) -> Arc<dyn Network> {
        self.lock().hosts.insert(host, life);
        Arc::new(Attached { wires: self.clone(), host, life })
    }

    /// The process on a host has ended: its port refuses, its connections are reset.
    pub fn end_process(&self, host: Host) {
        self.lock().end_process(host, true);
    }

    /// The machine is off: nothing answers.
    pub fn power_off(&self, host: Host) {
        let mut state = self.lock();
        state.end_process(host, false);
        state.hosts.remove(&host);
    }

    /// Nothing gets from one host to another any more.
    pub fn cut(&self, from: Host, to: Host) {
        self.lock().cut.insert((from, to));
    }

    /// Everything gets through again, as well as ever.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.cut.clear();
        state.quality.clear();
        state.release();
    }

    /// Undoes a [`Wires::cut`].
    pub fn join(&self, from: Host, to: Host) {
        let mut state = self.lock();
        state.cut.remove(&(from, to));
        state.release();
    }

    /// How packets get from one host to another from now on; none is as usual.
    pub fn set_quality(&self, from: Host, to: Host, quality: Option<Quality>) {
        let mut state = self.lock();
        match quality {
            Some(quality) => state.quality.insert((from, to), quality),
            None => state.quality.remove(&(from, to)),
        };
    }

    /// Breaks one of the connections between two hosts.
    pub fn reset_one(&self, one: Host, other: Host) -> bool {
        let mut state = self.lock();
        let between: Vec<ConnId> = state
            .connections
            .iter()
            .filter(|(_, conn)| conn.is_between(one, other))
            .map(|(id, _)| *id)
            .collect();
        if between.is_empty() {
            return false;
        }
        let nth = usize::try_from(state.entropy.below(between.len() as u64)).unwrap_or_default();
        state.break_both(between[nth], io::ErrorKind::ConnectionReset);
        true
    }

    /// Lets everything arrive that is due.
    pub fn advance(&self, now: Duration) {
        self.lock().advance(now);
    }

    /// What was carried so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network as one process sees it.
struct Attached {
    wires: Wires,
    host: Host,
    life: u64,
}

impl Network for Attached {
    fn connect(&self, to: SocketAddr) -> Pending<io::Result<Connection>> {
        let mut state = self.wires.lock();
        let target = Host::at(to);
        state.last += 1;
        let id = ConnId(state.last);
        state.connections.insert(id, Conn::new(self.host, target));
        state.send(id, Side::Acceptor, Packet::Open);
        drop(state);
        Box::pin(Connecting::new(self.wires.clone(), id))
    }

    fn listen(&self, at: SocketAddr) -> io::Result<Box<dyn Listening>> {
        let mut state = self.wires.lock();
        if at != self.host.address() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        if state.listeners.contains_key(&self.host) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listener = Listener { life: self.life, backlog: VecDeque::new(), waker: None };
        state.listeners.insert(self.host, listener);
        drop(state);
        Ok(Box::new(SimulatedListener::new(self.wires.clone(), self.host, self.life)))
    }

    fn sends_again(&self, to: SocketAddr) -> Option<Duration> {
        self.wires.lock().second_copy(self.host, Host::at(to))
    }

    fn handles_again(&self) {
        self.wires.lock().counts.twice += 1;
    }

    fn death_of(&self, at: SocketAddr) -> Option<Pending<()>> {
        let ending = self.wires.lock().ending_of(Host::at(at))?;
        Some(Box::pin(async move { ending.come().await }))
    }
}
