//! The simulated network: connections that keep the order of their bytes, and everything that goes wrong with them.
//!
//! A connection is two streams of packets. What is sent on one arrives after a drawn latency and never before what was sent earlier. While a direction is
//! cut its packets wait, as TCP's do, and go on when it is whole again; when that takes too long the connection breaks. A host whose process has
//! ended refuses connections and resets the old ones; a host without power says nothing at all.

mod connection;
mod stream;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use holm_core::{Entropy, SeededEntropy};
use holm_persistence::Pending;
use holm_sharding::{Connection, Listening, Network};

use connection::{Conn, ConnId, Packet, Side};
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
}

/// How long packets that cannot get through are sent again before the connection breaks.
const RETRANSMISSION: Duration = Duration::from_secs(15);

/// How a direction between two hosts behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    /// The least latency.
    pub least: Duration,
    /// The most.
    pub most: Duration,
    /// How many packets in a thousand are lost and sent again.
    pub lost_in_thousand: u64,
}

impl Default for Quality {
    fn default() -> Self {
        Self {
            least: Duration::from_micros(200),
            most: Duration::from_micros(900),
            lost_in_thousand: 0,
        }
    }
}

/// The time until a lost packet is sent again: TCP's least.
const SENT_AGAIN: Duration = Duration::from_millis(200);

/// The network of one world. Clones share it.
#[derive(Clone)]
pub struct Wires(Arc<Mutex<State>>);

pub(super) struct State {
    now: Duration,
    entropy: SeededEntropy,
    /// Hosts whose machine runs, and the number of the process on each.
    hosts: BTreeMap<Host, u64>,
    listeners: BTreeMap<Host, Listener>,
    connections: BTreeMap<ConnId, Conn>,
    last: u64,
    /// By the time of arrival, then by the order of sending.
    under_way: BTreeMap<(Duration, u64), (ConnId, Side, Packet)>,
    sent: u64,
    cut: BTreeSet<(Host, Host)>,
    quality: BTreeMap<(Host, Host), Quality>,
    usual: Quality,
    /// What was moved, for the trace.
    pub(super) counts: Counts,
}

/// What a network has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that arrived.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// A running digest of what arrived where and when.
    pub digest: u64,
    /// Connections that broke.
    pub broken: u64,
    /// Connections that were refused.
    pub refused: u64,
}

struct Listener {
    life: u64,
    backlog: VecDeque<(ConnId, Host)>,
    waker: Option<Waker>,
}

impl Wires {
    /// A network without hosts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            entropy: SeededEntropy::new(seed),
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            last: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            quality: BTreeMap::new(),
            usual: Quality::default(),
            counts: Counts::default(),
        })))
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

impl State {
    fn advance(&mut self, now: Duration) {
        self.now = now;
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (id, side, packet) = entry.remove();
            self.arrive(id, side, packet);
        }
        self.break_stale();
    }

    fn latency(&mut self, from: Host, to: Host) -> Duration {
        let quality = self.quality.get(&(from, to)).copied().unwrap_or(self.usual);
        let spread = quality.most.saturating_sub(quality.least).as_micros();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX).max(1);
        let mut latency = quality.least + Duration::from_micros(self.entropy.below(spread));
        if quality.lost_in_thousand > 0 {
            let mut again = SENT_AGAIN;
            while self.entropy.below(1_000) < quality.lost_in_thousand && again.as_secs() < 10 {
                latency += again;
                again *= 2;
            }
        }
        latency
    }

    /// Sends a packet towards one side of a connection.
    fn send(&mut self, id: ConnId, to: Side, packet: Packet) {
        let Some(conn) = self.connections.get(&id) else { return };
        let (from_host, to_host) = (conn.host(to.other()), conn.host(to));
        if self.cut.contains(&(from_host, to_host)) {
            let now = self.now;
            if let Some(conn) = self.connections.get_mut(&id) {
                conn.stall(to, packet, now);
            }
            return;
        }
        let latency = self.latency(from_host, to_host);
        let now = self.now;
        let Some(conn) = self.connections.get_mut(&id) else { return };
        let at = conn.arrival(to, now + latency);
        self.sent += 1;
        self.under_way.insert((at, self.sent), (id, to, packet));
    }

    /// What waited behind a cut that is gone is sent again.
    fn release(&mut self) {
        let ids: Vec<ConnId> = self.connections.keys().copied().collect();
        for id in ids {
            for side in [Side::Dialler, Side::Acceptor] {
                let Some(conn) = self.connections.get_mut(&id) else { continue };
                let (from, to) = (conn.host(side.other()), conn.host(side));
                if self.cut.contains(&(from, to)) {
                    continue;
                }
                for packet in conn.take_stalled(side) {
                    self.send(id, side, packet);
                }
            }
        }
    }

    /// Connections whose packets could not get through for too long.
    fn break_stale(&mut self) {
        let now = self.now;
        let stale: Vec<ConnId> = self
            .connections
            .iter()
            .filter(|(_, conn)| conn.stalled_since().is_some_and(|at| now - at > RETRANSMISSION))
            .map(|(id, _)| *id)
            .collect();
        for id in stale {
            self.break_both(id, io::ErrorKind::TimedOut);
        }
    }

    fn break_both(&mut self, id: ConnId, kind: io::ErrorKind) {
        if let Some(conn) = self.connections.get_mut(&id) {
            self.counts.broken += 1;
            conn.fail(Side::Dialler, kind);
            conn.fail(Side::Acceptor, kind);
        }
        self.forget_if_done(id);
    }

    fn arrive(&mut self, id: ConnId, side: Side, packet: Packet) {
        let Some(conn) = self.connections.get(&id) else { return };
        let (from, to) = (conn.host(side.other()), conn.host(side));
        if self.cut.contains(&(from, to)) {
            let now = self.now;
            if let Some(conn) = self.connections.get_mut(&id) {
                conn.stall(side, packet, now);
            }
            return;
        }
        if !self.hosts.contains_key(&to) {
            // Nobody hears it; the sender goes on sending until it gives up.
            let now = self.now;
            if let Some(conn) = self.connections.get_mut(&id) {
                conn.stall(side, packet, now);
            }
            return;
        }
        self.counts.note(self.now, from, to, &packet);
        match packet {
            Packet::Open => self.open(id),
            Packet::Reset(kind) => {
                if let Some(conn) = self.connections.get_mut(&id) {
                    conn.fail(side, kind);
                }
                self.forget_if_done(id);
            }
            packet => {
                let Some(conn) = self.connections.get_mut(&id) else { return };
                if !conn.take(side, packet) {
                    self.send(id, side.other(), Packet::Reset(io::ErrorKind::ConnectionReset));
                }
            }
        }
    }

    /// A connection attempt arrives at its host.
    fn open(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get(&id) else { return };
        let (from, to) = (conn.host(Side::Dialler), conn.host(Side::Acceptor));
        let life = self.hosts.get(&to).copied();
        match self.listeners.get_mut(&to).filter(|listener| Some(listener.life) == life) {
            Some(listener) => {
                listener.backlog.push_back((id, from));
                if let Some(waker) = listener.waker.take() {
                    waker.wake();
                }
                if let Some(conn) = self.connections.get_mut(&id) {
                    conn.accept();
                }
                self.send(id, Side::Dialler, Packet::Opened);
            }
            None => {
                self.counts.refused += 1;
                self.send(id, Side::Dialler, Packet::Reset(io::ErrorKind::ConnectionRefused));
            }
        }
    }

    fn end_process(&mut self, host: Host, tell: bool) {
        self.listeners.remove(&host);
        let ids: Vec<ConnId> = self.connections.keys().copied().collect();
        for id in ids {
            for side in [Side::Dialler, Side::Acceptor] {
                let Some(conn) = self.connections.get_mut(&id) else { continue };
                if conn.host(side) != host || !conn.is_held(side) {
                    continue;
                }
                conn.fail(side, io::ErrorKind::ConnectionAborted);
                conn.let_go(side);
                if tell {
                    self.send(id, side.other(), Packet::Reset(io::ErrorKind::ConnectionReset));
                }
            }
            self.forget_if_done(id);
        }
    }

    /// One side's owner dropped its end.
    fn let_go(&mut self, id: ConnId, side: Side) {
        let Some(conn) = self.connections.get_mut(&id) else { return };
        if !conn.is_held(side) {
            return;
        }
        conn.let_go(side);
        if !conn.has_ended(side) {
            self.send(id, side.other(), Packet::End);
        }
        self.forget_if_done(id);
    }

    fn forget_if_done(&mut self, id: ConnId) {
        if self.connections.get(&id).is_some_and(Conn::is_done) {
            self.connections.remove(&id);
        }
    }
}

impl Counts {
    fn note(&mut self, now: Duration, from: Host, to: Host, packet: &Packet) {
        let length = packet.len() as u64;
        self.packets += 1;
        self.bytes += length;
        // FNV-1a over what identifies the arrival: enough to tell two runs apart.
        for word in [now.as_micros() as u64, u64::from(from.0), u64::from(to.0), length] {
            self.digest = (self.digest ^ word).wrapping_mul(0x0100_0000_01B3);
        }
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
        let target = match to.ip() {
            std::net::IpAddr::V4(ip) => Host(ip.octets()[3]),
            std::net::IpAddr::V6(_) => Host(0),
        };
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
}
