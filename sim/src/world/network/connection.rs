//! One connection: what has arrived at each of its sides, what is stalled, and who still holds it.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::Host;

/// Bytes that may be under way or unread in one direction; the writer waits beyond it. A socket's buffers, roughly.
const WINDOW_BYTES: usize = 256 * 1024;

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId(pub(super) u64);

/// The two sides of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Dialler,
    Acceptor,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

/// What travels.
#[derive(Debug)]
pub(super) enum Packet {
    /// May I?
    Open,
    /// You may.
    Opened,
    Bytes(Bytes),
    /// Nothing more comes.
    End,
    Reset(io::ErrorKind),
}

impl Packet {
    pub(super) fn len(&self) -> usize {
        if let Self::Bytes(bytes) = self { bytes.len() } else { 0 }
    }
}

/// A connection.
pub(super) struct Conn {
    dialler: End,
    acceptor: End,
}

struct End {
    host: Host,
    /// Whether the other side has said that it stands.
    open: bool,
    /// Whether its owner still holds it.
    held: bool,
    /// What arrived and was not read.
    arrived: VecDeque<Bytes>,
    /// The other side sends nothing more.
    ended: bool,
    /// This side said that it sends nothing more.
    end_sent: bool,
    failed: Option<io::ErrorKind>,
    /// Bytes sent to this side that were not read yet.
    unread: usize,
    /// When the last packet to this side arrives.
    last_arrival: Duration,
    /// Packets to this side that cannot get through, and since when.
    stalled: Vec<Packet>,
    stalled_since: Option<Duration>,
    reader: Option<Waker>,
    /// Of this side's owner, waiting for room towards the other side.
    writer: Option<Waker>,
}

impl End {
    fn new(host: Host, open: bool) -> Self {
        Self {
            host,
            open,
            held: true,
            arrived: VecDeque::new(),
            ended: false,
            end_sent: false,
            failed: None,
            unread: 0,
            last_arrival: Duration::ZERO,
            stalled: Vec::new(),
            stalled_since: None,
            reader: None,
            writer: None,
        }
    }

    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// What a read brings.
pub(super) enum Read {
    Some,
    End,
    Failed(io::ErrorKind),
    Nothing,
}

impl Conn {
    pub(super) fn new(from: Host, to: Host) -> Self {
        // Nobody holds the acceptor's side before it is accepted.
        let acceptor = End { held: false, ..End::new(to, false) };
        Self { dialler: End::new(from, false), acceptor }
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Dialler => &self.dialler,
            Side::Acceptor => &self.acceptor,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Dialler => &mut self.dialler,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    pub(super) fn host(&self, side: Side) -> Host {
        self.end(side).host
    }

    pub(super) fn is_between(&self, one: Host, other: Host) -> bool {
        let hosts = (self.dialler.host, self.acceptor.host);
        hosts == (one, other) || hosts == (other, one)
    }

    pub(super) fn is_held(&self, side: Side) -> bool {
        self.end(side).held
    }

    pub(super) fn has_ended(&self, side: Side) -> bool {
        self.end(side).end_sent || self.end(side).failed.is_some()
    }

    /// Nobody holds it, so nobody will ask for it.
    pub(super) fn is_done(&self) -> bool {
        !self.dialler.held && !self.acceptor.held
    }

    pub(super) fn accept(&mut self) {
        self.acceptor.held = true;
        self.acceptor.open = true;
    }

    /// None while the attempt is under way.
    pub(super) fn attempt(&mut self, waker: &Waker) -> Option<Result<(), io::ErrorKind>> {
        if let Some(kind) = self.dialler.failed {
            return Some(Err(kind));
        }
        if self.dialler.open {
            return Some(Ok(()));
        }
        self.dialler.reader = Some(waker.clone());
        None
    }

    /// When a packet to this side arrives that takes until `at`: never before an earlier one.
    pub(super) fn arrival(&mut self, to: Side, at: Duration) -> Duration {
        let end = self.end_mut(to);
        end.last_arrival = end.last_arrival.max(at);
        end.last_arrival
    }

    pub(super) fn stall(&mut self, to: Side, packet: Packet, now: Duration) {
        let end = self.end_mut(to);
        end.stalled.push(packet);
        end.stalled_since.get_or_insert(now);
    }

    pub(super) fn take_stalled(&mut self, to: Side) -> Vec<Packet> {
        let end = self.end_mut(to);
        end.stalled_since = None;
        std::mem::take(&mut end.stalled)
    }

    pub(super) fn stalled_since(&self) -> Option<Duration> {
        match (self.dialler.stalled_since, self.acceptor.stalled_since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// A packet arrives; false when nobody is there to take it.
    pub(super) fn take(&mut self, side: Side, packet: Packet) -> bool {
        let end = self.end_mut(side);
        if !end.held {
            return false;
        }
        match packet {
            Packet::Opened => end.open = true,
            Packet::Bytes(bytes) => end.arrived.push_back(bytes),
            Packet::End => end.ended = true,
            Packet::Open | Packet::Reset(_) => {}
        }
        end.wake();
        true
    }

    pub(super) fn fail(&mut self, side: Side, kind: io::ErrorKind) {
        let end = self.end_mut(side);
        end.failed.get_or_insert(kind);
        end.stalled.clear();
        end.stalled_since = None;
        end.wake();
    }

    pub(super) fn let_go(&mut self, side: Side) {
        let end = self.end_mut(side);
        end.held = false;
        end.arrived.clear();
    }

    /// Reads into `buffer` what has arrived.
    pub(super) fn read(
        &mut self,
        side: Side,
        buffer: &mut tokio::io::ReadBuf<'_>,
        waker: &Waker,
    ) -> Read {
        let end = self.end_mut(side);
        let before = buffer.filled().len();
        while let Some(bytes) = end.arrived.front_mut() {
            let length = bytes.len().min(buffer.remaining());
            if length == 0 {
                break;
            }
            buffer.put_slice(&bytes[..length]);
            bytes.advance(length);
            if bytes.is_empty() {
                end.arrived.pop_front();
            }
        }
        let read = buffer.filled().len() - before;
        if read > 0 {
            end.unread -= read;
            if let Some(writer) = self.end_mut(side.other()).writer.take() {
                writer.wake();
            }
            return Read::Some;
        }
        if let Some(kind) = end.failed {
            return Read::Failed(kind);
        }
        if end.ended {
            return Read::End;
        }
        end.reader = Some(waker.clone());
        Read::Nothing
    }

    /// How many bytes this side may send now; an error when it may send no more.
    pub(super) fn room(&mut self, side: Side, waker: &Waker) -> Result<usize, io::ErrorKind> {
        let unread = self.end(side.other()).unread;
        let end = self.end_mut(side);
        if let Some(kind) = end.failed {
            return Err(kind);
        }
        if end.end_sent {
            return Err(io::ErrorKind::BrokenPipe);
        }
        let room = WINDOW_BYTES.saturating_sub(unread);
        if room == 0 {
            end.writer = Some(waker.clone());
        }
        Ok(room)
    }

    pub(super) fn note_sent(&mut self, from: Side, length: usize) {
        self.end_mut(from.other()).unread += length;
    }

    /// True the first time.
    pub(super) fn note_end(&mut self, side: Side) -> bool {
        !std::mem::replace(&mut self.end_mut(side).end_sent, true)
    }
}
