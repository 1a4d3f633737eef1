//! A connection that a peer dialled: it asks, this process answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use holm_core::NodeId;
use holm_runtime::together;
use tokio::io::AsyncRead;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use crate::transport::assembly::Assembly;
use crate::transport::complaint::Complaint;
use crate::transport::frame::{Frame, FrameCodec, FrameError, Kind};
use crate::transport::greeting::Hail;
use crate::transport::handshake::{self, HandshakeError};
use crate::transport::outbox::{NotTaken, Outbox};
use crate::transport::second;
use crate::transport::shared::Shared;
use crate::transport::stream::Stream;
use crate::transport::{Lane, PeerInfo, PeerLimits, Responder};

/// Frames that are taken in one go before the writer and the other connections get their turn.
const FRAMES_A_TURN: usize = 256;

/// Bytes that a read may bring at once.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// The answering side of a connection.
#[derive(Debug)]
pub(crate) struct Inbound {
    outbox: Outbox,
    /// Requests that wait for their answers.
    answering: AtomicUsize,
    /// The peer does not read: the writer may be stuck in a write, and reading on would only make answers that are lost.
    deaf: CancellationToken,
    limits: PeerLimits,
    remote: SocketAddr,
}

impl Inbound {
    /// The lane for an answer of this length; none when it is too long for all.
    pub(crate) fn lane_for(&self, lane: Lane, bytes: usize) -> Option<Lane> {
        if bytes <= self.limits.message_bytes_on(lane) {
            return Some(lane);
        }
        (bytes <= self.limits.bulk_message_bytes).then_some(Lane::Bulk)
    }

    /// Sends the end of a request: its answer, or why it has none.
    pub(crate) fn finish(&self, kind: Kind, lane: Lane, correlation: u64, body: &[u8]) {
        if correlation != 0 {
            self.answering.fetch_sub(1, Ordering::Relaxed);
        }
        self.push(kind, lane, correlation, body);
    }

    pub(crate) fn unsent(&self) -> [usize; Lane::ALL.len()] {
        self.outbox.unsent()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.outbox.is_closed()
    }

    /// Writes what waits and closes.
    pub(crate) fn end(&self, reason: &str) {
        tracing::warn!(remote = %self.remote, reason, "closing the connection of a peer");
        self.outbox.end();
    }

    /// Tells the peer this process's id.
    pub(crate) fn tell_identity(&self, node: NodeId) {
        self.push(Kind::Identity, Lane::Control, 0, &node.0.to_le_bytes());
    }

    fn push(&self, kind: Kind, lane: Lane, correlation: u64, body: &[u8]) {
        if let Err(NotTaken::Full { allowed }) = self.outbox.push(kind, lane, correlation, body) {
            // It asks and does not read: nothing that it is sent would arrive.
            tracing::warn!(remote = %self.remote, ?lane, allowed, "closing the connection of a peer that does not read its answers");
            self.outbox.close();
            self.deaf.cancel();
        }
    }

    /// Counts a request in; false when too many wait.
    fn begin(&self) -> bool {
        let before = self.answering.fetch_add(1, Ordering::Relaxed);
        before < self.limits.requests_in_flight
    }
}

/// Serves a connection until it ends. `handshaking` is given back when the peer is known.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    mut stream: Stream,
    remote: SocketAddr,
    handshaking: OwnedSemaphorePermit,
) {
    let me = shared.credentials();
    let hail = match handshake::accept(&mut stream, &me).await {
        Ok(hail) => hail,
        Err(HandshakeError::Broken(_)) => return,
        Err(error) => {
            tracing::warn!(%remote, %error, "refused a connection");
            return;
        }
    };
    drop(handshaking);
    let inbound = Arc::new(Inbound {
        outbox: shared.limits.outbox(),
        answering: AtomicUsize::new(0),
        deaf: CancellationToken::new(),
        limits: shared.limits.clone(),
        remote,
    });
    shared.add_inbound(&inbound);
    if shared.credentials().identity.node != me.identity.node {
        inbound.tell_identity(shared.credentials().identity.node);
    }
    if let Some(listen) = hail.listen {
        // It lives: whoever waits to dial it again need not wait.
        shared.nudge(listen);
    }
    let closes = CloseOnDrop(inbound.clone());
    let (read, write) = stream.into_split();
    let mut frames = FramedRead::with_capacity(read, FrameCodec, READ_BYTES);
    let heard = AtomicBool::new(true);
    let ended = tokio::select! {
        biased;
        () = inbound.deaf.cancelled() => Err("it does not read its answers".to_owned()),
        read = read_requests(&shared, &inbound, hail, &mut frames, &heard) => read.map_err(|error| error.to_string()),
        written = inbound.outbox.drain_into(write, shared.limits.write_stall) => written.map_err(|error| error.to_string()),
        () = silence(&heard, &shared.limits) => Err("nothing was heard of the peer".to_owned()),
        () = shared.stop.cancelled() => Ok(()),
    };
    drop(closes);
    let Err(reason) = ended else { return };
    match frames.read_buffer().len() {
        0 => tracing::debug!(%remote, reason, "the connection of a peer ended"),
        // Whole frames are taken as they come: this is the beginning of one.
        bytes => {
            tracing::warn!(%remote, reason, bytes, "the connection of a peer ended within a frame");
        }
    }
}

/// Closes the outbox however the connection's task ends, also by a panic of the handler.
struct CloseOnDrop(Arc<Inbound>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.outbox.close();
    }
}

async fn read_requests(
    shared: &Shared,
    inbound: &Arc<Inbound>,
    hail: Hail,
    frames: &mut FramedRead<impl AsyncRead + Unpin, FrameCodec>,
    heard: &AtomicBool,
) -> Result<(), FrameError> {
    let mut from = PeerInfo {
        node: hail.identity.node,
        name: hail.identity.name,
        incarnation: hail.identity.incarnation,
        http: hail.identity.http,
        listen: hail.listen,
        remote: inbound.remote,
    };
    let mut assembly = Assembly::new(shared.limits.unfinished_bytes());
    while let Some(first) = frames.next().await {
        heard.store(true, Ordering::Relaxed);
        let mut take = |frame| take(shared, inbound, &mut from, &mut assembly, frame);
        match together(|| take_what_came(first, frames, &mut take)) {
            Ok(More::Waits) => {}
            Ok(More::MayBeThere) => tokio::task::yield_now().await,
            Ok(More::Never) => return Ok(()),
            Err(error) => {
                let reason = error.to_string();
                let complaint = Complaint::Unknown { reason: reason.clone() };
                inbound.finish(Kind::Error, Lane::Control, 0, &complaint.encode());
                inbound.end(&reason);
                // The writer ends the connection once the complaint is written.
                std::future::pending::<()>().await;
            }
        }
    }
    Ok(())
}

/// What is behind the frames of a turn.
enum More {
    /// Nothing yet.
    Waits,
    /// Perhaps something: the turn is over.
    MayBeThere,
    /// The connection ended.
    Never,
}

/// Takes this frame, and those that are there already.
fn take_what_came(
    first: Result<Frame, FrameError>,
    frames: &mut FramedRead<impl AsyncRead + Unpin, FrameCodec>,
    take: &mut impl FnMut(Frame) -> Result<(), FrameError>,
) -> Result<More, FrameError> {
    take(first?)?;
    for _ in 1..FRAMES_A_TURN {
        match frames.next().now_or_never() {
            Some(Some(frame)) => take(frame?)?,
            Some(None) => return Ok(More::Never),
            None => return Ok(More::Waits),
        }
    }
    Ok(More::MayBeThere)
}

fn take(
    shared: &Shared,
    inbound: &Arc<Inbound>,
    from: &mut PeerInfo,
    assembly: &mut Assembly,
    frame: Frame,
) -> Result<(), FrameError> {
    let Frame { kind, lane, correlation, .. } = frame;
    let handle = |from: &PeerInfo, body, respond| {
        shared.handler.handle(from, lane, body, respond);
        if second::is_second(correlation)
            && let Some(network) = shared.surroundings().network()
        {
            network.handles_again();
        }
    };
    match kind {
        Kind::Request if correlation != 0 => {
            let Some(body) = assembly.take(frame)? else { return Ok(()) };
            if inbound.begin() {
                let respond = Responder::to_request(inbound.clone(), lane, correlation);
                handle(from, body, respond);
            } else {
                let allowed = inbound.limits.requests_in_flight as u64;
                let complaint = Complaint::Overloaded { allowed };
                inbound.finish(Kind::Error, lane, correlation, &complaint.encode());
            }
        }
        Kind::Notice => {
            let Some(body) = assembly.take(frame)? else { return Ok(()) };
            handle(from, body, Responder::to_notice(inbound.clone(), lane));
        }
        Kind::Ping => inbound.push(Kind::Pong, Lane::Control, correlation, &[]),
        Kind::Identity => from.node = read_identity(&frame)?,
        kind => return Err(FrameError::Misplaced { kind }),
    }
    Ok(())
}

/// The id in an identity frame.
pub(crate) fn read_identity(frame: &Frame) -> Result<NodeId, FrameError> {
    let bytes = frame.body.as_ref().try_into();
    bytes
        .map(|bytes| NodeId(u64::from_le_bytes(bytes)))
        .map_err(|_| FrameError::Misplaced { kind: Kind::Identity })
}

/// Resolves when nothing was heard for as long as makes a peer dead. The dialler pings, so a living one is heard.
async fn silence(heard: &AtomicBool, limits: &PeerLimits) {
    let mut silent = Duration::ZERO;
    while silent < limits.dead_after {
        tokio::time::sleep(limits.ping_after).await;
        if heard.swap(false, Ordering::Relaxed) {
            silent = Duration::ZERO;
        } else {
            silent += limits.ping_after;
        }
    }
}
