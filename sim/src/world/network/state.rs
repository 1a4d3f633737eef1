//! The state of the network: what is connected, what is under way, and what becomes of it as time passes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::task::Waker;
use std::time::Duration;

use holm_core::{Entropy as _, SeededEntropy};

use super::connection::{Conn, ConnId, Packet, Side};
use super::ending::Ending;
use super::{Counts, Host, Quality};

/// How long packets that cannot get through are sent again before the connection breaks.
const RETRANSMISSION: Duration = Duration::from_secs(15);

/// The time until a lost packet is sent again: TCP's least.
const SENT_AGAIN: Duration = Duration::from_millis(200);

/// The most by which the second copy of a message leaves after the first. Half of them leave at once.
const SECOND_WITHIN_MS: u64 = 1_500;

/// Everything that the network is.
pub(super) struct State {
    now: Duration,
    pub(super) entropy: SeededEntropy,
    /// Hosts whose machine runs, and the number of the process on each.
    pub(super) hosts: BTreeMap<Host, u64>,
    pub(super) listeners: BTreeMap<Host, Listener>,
    pub(super) connections: BTreeMap<ConnId, Conn>,
    pub(super) last: u64,
    /// By the time of arrival, then by the order of sending.
    under_way: BTreeMap<(Duration, u64), (ConnId, Side, Packet)>,
    sent: u64,
    /// The newest packet that arrived, between each two hosts.
    newest: BTreeMap<(Host, Host), u64>,
    pub(super) cut: BTreeSet<(Host, Host)>,
    pub(super) quality: BTreeMap<(Host, Host), Quality>,
    usual: Quality,
    /// What was moved, for the trace.
    pub(super) counts: Counts,
    /// The ends of the processes that run, for those that wait for them; none where nobody may know.
    endings: Option<BTreeMap<Host, Ending>>,
}

/// A port at which a process listens.
pub(super) struct Listener {
    pub(super) life: u64,
    pub(super) backlog: VecDeque<(ConnId, Host)>,
    pub(super) waker: Option<Waker>,
}

impl State {
    pub(super) fn new(seed: u64, deaths_are_seen: bool) -> Self {
        Self {
            now: Duration::ZERO,
            entropy: SeededEntropy::new(seed),
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            last: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            newest: BTreeMap::new(),
            cut: BTreeSet::new(),
            quality: BTreeMap::new(),
            usual: Quality::default(),
            counts: Counts::default(),
            endings: deaths_are_seen.then(BTreeMap::new),
        }
    }

    pub(super) fn advance(&mut self, now: Duration) {
        self.now = now;
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let number = entry.key().1;
            let (id, side, packet) = entry.remove();
            self.note_order(id, side, number);
            self.arrive(id, side, packet);
        }
        self.break_stale();
    }

    /// Whether a packet arrives behind one that was sent later: connections keep their own order and no other.
    fn note_order(&mut self, id: ConnId, side: Side, number: u64) {
        let Some(conn) = self.connections.get(&id) else { return };
        let way = (conn.host(side.other()), conn.host(side));
        let newest = self.newest.entry(way).or_default();
        self.counts.late += u64::from(number < *newest);
        *newest = number.max(*newest);
    }

    fn latency(&mut self, from: Host, to: Host) -> Duration {
        let quality = self.quality.get(&(from, to)).copied().unwrap_or(self.usual);
        let spread = quality.most.saturating_sub(quality.least).as_micros();
        let spread = u64::try_from(spread).unwrap_or(u64::MAX).max(1);
        let mut latency = quality.least + Duration::from_micros(self.entropy.below(spread));
        if quality.lost_in_thousand > 0 {
            let mut again = SENT_AGAIN;
            while self.entropy.below(1_000) < quality.lost_in_thousand && again.as_secs() < 10 {
                self.counts.lost += 1;
                latency += again;
                again *= 2;
            }
        }
        latency
    }

    /// How long after the first a second copy of a message leaves, when there is to be one.
    pub(super) fn second_copy(&mut self, from: Host, to: Host) -> Option<Duration> {
        let twice = self.quality.get(&(from, to)).map_or(0, |quality| quality.twice_in_thousand);
        if twice == 0 || self.entropy.below(1_000) >= twice {
            return None;
        }
        let later = self.entropy.below(2) * self.entropy.below(SECOND_WITHIN_MS);
        Some(Duration::from_millis(later))
    }

    /// Sends a packet towards one side of a connection.
    pub(super) fn send(&mut self, id: ConnId, to: Side, packet: Packet) {
        let Some(conn) = self.connections.get(&id) else { return };
        let (from_host, to_host) = (conn.host(to.other()), conn.host(to));
        if self.cut.contains(&(from_host, to_host)) {
            self.stall_under_way(id, to);
            self.stall(id, to, packet);
            return;
        }
        let latency = self.latency(from_host, to_host);
        let now = self.now;
        let Some(conn) = self.connections.get_mut(&id) else { return };
        let at = conn.arrival(to, now + latency);
        self.sent += 1;
        self.under_way.insert((at, self.sent), (id, to, packet));
    }

    /// A packet waits until it can get through.
    fn stall(&mut self, id: ConnId, to: Side, packet: Packet) {
        let now = self.now;
        if let Some(conn) = self.connections.get_mut(&id) {
            conn.stall(to, packet, now);
        }
    }

    /// What is under way to this side waits too: a connection keeps the order of its bytes, also around a cut.
    fn stall_under_way(&mut self, id: ConnId, to: Side) {
        let is_meant = |(conn, side, _): &(ConnId, Side, Packet)| (*conn, *side) == (id, to);
        let due: Vec<_> =
            self.under_way.iter().filter(|(_, way)| is_meant(way)).map(|(at, _)| *at).collect();
        for at in due {
            if let Some((_, _, packet)) = self.under_way.remove(&at) {
                self.stall(id, to, packet);
            }
        }
    }

    /// What waited behind a cut that is gone is sent again.
    pub(super) fn release(&mut self) {
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

    pub(super) fn break_both(&mut self, id: ConnId, kind: io::ErrorKind) {
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
        // Without its host nobody hears it; the sender goes on sending until it gives up.
        if self.cut.contains(&(from, to)) || !self.hosts.contains_key(&to) {
            self.stall(id, side, packet);
            self.stall_under_way(id, side);
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

    pub(super) fn end_process(&mut self, host: Host, tell: bool) {
        self.listeners.remove(&host);
        let ending = self.endings.as_mut().and_then(|endings| endings.remove(&host));
        if let (Some(ending), true) = (ending, tell) {
            ending.has_come();
        }
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

    /// The end of the process on a host, for whoever waits for it.
    pub(super) fn ending_of(&mut self, host: Host) -> Option<Ending> {
        if !self.listeners.contains_key(&host) {
            return None;
        }
        self.endings.as_mut().map(|endings| endings.entry(host).or_default().clone())
    }

    /// One side's owner dropped its end.
    pub(super) fn let_go(&mut self, id: ConnId, side: Side) {
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::ReadBuf;

    use super::*;

    const FROM: Host = Host(1);
    const TO: Host = Host(2);
    const ID: ConnId = ConnId(1);

    /// A network with one connection, whose latency varies from packet to packet.
    fn connected() -> State {
        let mut state = State::new(5, false);
        state.hosts.extend([(FROM, 1), (TO, 1)]);
        let mut conn = Conn::new(FROM, TO);
        conn.accept();
        state.connections.insert(ID, conn);
        let most = Duration::from_millis(50);
        let least = Duration::from_millis(1);
        let poor = Quality { least, most, lost_in_thousand: 200, ..Quality::default() };
        state.quality.insert((FROM, TO), poor);
        state
    }

    fn read(state: &mut State) -> Vec<u8> {
        let mut room = [0; 1_000];
        let mut buffer = ReadBuf::new(&mut room);
        let conn = state.connections.get_mut(&ID).unwrap();
        while let super::super::connection::Read::Some =
            conn.read(Side::Acceptor, &mut buffer, Waker::noop())
        {}
        buffer.filled().to_vec()
    }

    /// As on every byte stream. What met a cut on its way, or was sent into one, must not be overtaken by what found the way open.
    #[test]
    fn a_connection_keeps_the_order_of_its_bytes_around_cuts() {
        let mut state = connected();
        let mut draw = SeededEntropy::new(9);
        for step in 0..200_u8 {
            state.advance(Duration::from_millis(u64::from(step) * 7));
            if draw.below(3) == 0 && !state.cut.remove(&(FROM, TO)) {
                state.cut.insert((FROM, TO));
            }
            state.release();
            let conn = state.connections.get_mut(&ID).unwrap();
            conn.note_sent(Side::Dialler, 1);
            state.send(ID, Side::Acceptor, Packet::Bytes(Bytes::from(vec![step])));
        }
        state.cut.clear();
        state.release();
        state.advance(Duration::from_secs(60));
        assert_eq!(read(&mut state), (0..200).collect::<Vec<u8>>());
    }
}
