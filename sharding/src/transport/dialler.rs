//! The task of a link: dials, runs the connection, notices its loss, dials again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use holm_core::{Entropy, NodeId, SeededEntropy};
use tokio::io::AsyncRead;
use tokio::time::Instant;
use tokio_util::codec::FramedRead;
use tokio_util::task::AbortOnDropHandle;

use crate::transport::assembly::Assembly;
use crate::transport::complaint::Complaint;
use crate::transport::death;
use crate::transport::frame::{FrameCodec, FrameError, Kind};
use crate::transport::greeting::Hail;
use crate::transport::handshake::{self, HandshakeError};
use crate::transport::inbound::{READ_BYTES, read_identity};
use crate::transport::link::{Dialled, Link, Why};
use crate::transport::shared::Shared;
use crate::transport::stream::Stream;
use crate::transport::{Lane, PeerError, PeerEvent, PeerLimits};

/// A process that dies may take a connection into its backlog a moment before its port closes. So an attempt that breaks is repeated this often
/// before it counts, after [`BROKEN_PAUSE`] each.
const BROKEN_ATTEMPTS: u32 = 3;
const BROKEN_PAUSE: Duration = Duration::from_millis(5);

/// A connection that ends before this is not worth an attempt at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// Frames taken in one go before the writer gets its turn.
const FRAMES_A_TURN: usize = 256;

/// Who was there before.
#[derive(Debug, Clone, Copy)]
struct Before {
    node: NodeId,
    incarnation: u64,
    told_dead: bool,
}

/// Keeps a link up until it is closed, or until nobody uses it.
pub(crate) async fn keep(shared: Arc<Shared>, link: Arc<Link>) {
    let stop = link.stop.clone();
    tokio::select! {
        biased;
        () = keep_up(&shared, &link) => {}
        () = stop.cancelled() => {}
    }
    shared.remove(&link);
    link.close();
}

async fn keep_up(shared: &Arc<Shared>, link: &Arc<Link>) {
    let mut entropy = shared.surroundings().seeded();
    let mut pause = shared.limits.back_off_least;
    let mut before: Option<Before> = None;
    let mut followed: Option<Followed> = None;
    let mut broken = 0;
    let mut short_lives = 0;
    if let Some(dialled) = link.open() {
        shared.watch_deadlines(link, &dialled);
    }
    loop {
        match attempt(shared, link).await {
            Ok((stream, hail)) => {
                (pause, broken) = (shared.limits.back_off_least, 0);
                let Some(dialled) = open_for(shared, link, &hail) else { return };
                greet(shared, link, &mut before, &hail);
                if !followed.as_ref().is_some_and(|it| it.follows(&hail)) {
                    followed = Followed::begin(shared, link.address, &hail).await;
                }
                let began = Instant::now();
                run(shared, link, &dialled, &hail, followed.as_ref(), stream).await;
                dialled.fail(&PeerError::Lost { address: link.address });
                shared.tell(lost(link, before, false));
                short_lives = if began.elapsed() < SHORT_LIFE { short_lives + 1 } else { 0 };
                let Some(dialled) = link.reopen() else { return };
                shared.watch_deadlines(link, &dialled);
                if short_lives <= 1 {
                    continue;
                }
                link.go_down(why("its connections do not last"));
            }
            Err(Failure { broken: true, .. }) if broken < BROKEN_ATTEMPTS => {
                broken += 1;
                tokio::time::sleep(BROKEN_PAUSE).await;
                continue;
            }
            Err(failure) => {
                report(shared, link, &mut before, &failure.why);
                link.go_down(failure.why);
            }
        }
        broken = 0;
        let unused = !link.used.swap(false, Ordering::Relaxed);
        if unused && !link.pinned.load(Ordering::Relaxed) && pause >= shared.limits.back_off_most {
            return;
        }
        tokio::select! {
        biased;
            () = tokio::time::sleep(jittered(pause, &mut entropy)) => pause = (pause * 2).min(shared.limits.back_off_most),
            () = link.nudged.notified() => pause = shared.limits.back_off_least,
        }
    }
}

/// From half of the pause to one and a half of it, so that many that lost the same peer do not return at once.
fn jittered(pause: Duration, entropy: &mut SeededEntropy) -> Duration {
    let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX / 2).max(1);
    Duration::from_micros(micros / 2 + entropy.below(micros))
}

/// A process whose end is waited for, from its first connection on and over all that follow.
struct Followed {
    incarnation: u64,
    /// The id that it gave: with its greeting, or when it got one. Zero before that. What others expect at its address is not its id.
    node: Arc<AtomicU64>,
    /// Ends the waiting when the link ends, or when another start of the process is followed.
    task: AbortOnDropHandle<()>,
}

impl Followed {
    /// None when its end cannot be known, or concerns nobody: who does not listen leads nothing and succeeds nobody.
    async fn begin(shared: &Arc<Shared>, address: SocketAddr, hail: &Hail) -> Option<Self> {
        let incarnation = hail.identity.incarnation;
        shared.credentials().listen?;
        let death = death::of(shared.surroundings(), address, incarnation).await?;
        let node = Arc::new(AtomicU64::new(hail.identity.node.0));
        let (shared, given) = (shared.clone(), node.clone());
        let runtime = shared.runtime().clone();
        let task = shared.tasks.clone().spawn_on(
            async move {
                death.await;
                let node = NodeId(given.load(Ordering::Relaxed));
                tracing::debug!(%address, %node, incarnation, "the process of a peer has ended");
                shared.tell(PeerEvent::Died { node, address, incarnation });
            },
            &runtime,
        );
        Some(Self { incarnation, node, task: AbortOnDropHandle::new(task) })
    }

    /// Whether it is this process. The number of the start alone does not tell: where the disk was emptied, they are counted from the first again.
    fn follows(&self, hail: &Hail) -> bool {
        self.incarnation == hail.identity.incarnation && !self.task.is_finished()
    }
}

struct Failure {
    why: Why,
    /// The connection stood and broke in the handshake.
    broken: bool,
}

fn why(reason: impl Into<Box<str>>) -> Why {
    Why { reason: reason.into(), sure_dead: false, refused: None }
}

async fn attempt(shared: &Shared, link: &Link) -> Result<(Stream, Hail), Failure> {
    let plain = |why| Failure { why, broken: false };
    let near = shared.near_end(link.address);
    let connect = Stream::connect(shared.surroundings(), link.address, near);
    let mut stream = match tokio::time::timeout(shared.limits.connect_timeout, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let sure_dead = error.kind() == io::ErrorKind::ConnectionRefused;
            return Err(plain(Why { sure_dead, ..why(error.to_string()) }));
        }
        Err(_) => return Err(plain(why("no answer to the attempt to connect"))),
    };
    match handshake::dial(&mut stream, &shared.credentials()).await {
        Ok(hail) => Ok((stream, hail)),
        Err(error) => {
            let refused = match &error {
                HandshakeError::RefusedByPeer { code, .. }
                | HandshakeError::RefusedHere { code, .. } => Some(*code),
                HandshakeError::TimedOut(_) | HandshakeError::Broken(_) => None,
            };
            let broken = matches!(error, HandshakeError::Broken(_));
            Err(Failure { why: Why { refused, ..why(error.to_string()) }, broken })
        }
    }
}

/// The queue that goes with a new connection: the one that requests wait in, unless they wait for somebody else.
fn open_for(shared: &Arc<Shared>, link: &Arc<Link>, hail: &Hail) -> Option<Arc<Dialled>> {
    let expected = NodeId(link.expected.load(Ordering::Relaxed));
    let found = hail.identity.node;
    if expected.0 != 0 && found.0 != 0 && expected != found {
        if let Some(dialled) = link.open() {
            dialled.fail(&link.somebody_else(found, expected));
        }
        tracing::warn!(address = %link.address, %expected, %found, "another node answers at a member's address");
    } else if let Some(dialled) = link.open() {
        return Some(dialled);
    }
    let dialled = link.reopen()?;
    shared.watch_deadlines(link, &dialled);
    Some(dialled)
}

/// Tells who came, and that who was there before is gone when it is another start.
fn greet(shared: &Shared, link: &Link, before: &mut Option<Before>, hail: &Hail) {
    let (node, incarnation) = (hail.identity.node, hail.identity.incarnation);
    if let Some(earlier) = before
        && earlier.incarnation != incarnation
        && !earlier.told_dead
    {
        shared.tell(lost(link, *before, true));
    }
    *before = Some(Before { node, incarnation, told_dead: false });
    tracing::debug!(address = %link.address, %node, name = hail.identity.name, "connected to a peer");
    shared.tell(PeerEvent::Connected { node, address: link.address, incarnation });
}

/// Logs a failed attempt once per reason, and tells a sure death once.
fn report(shared: &Shared, link: &Link, before: &mut Option<Before>, why: &Why) {
    match why.refused {
        Some(code) => {
            tracing::warn!(address = %link.address, %code, reason = %why.reason, "refused");
        }
        None => tracing::debug!(address = %link.address, reason = %why.reason, "cannot connect"),
    }
    if !why.sure_dead {
        return;
    }
    let earlier = before.get_or_insert(Before {
        node: NodeId(link.expected.load(Ordering::Relaxed)),
        incarnation: 0,
        told_dead: false,
    });
    if !std::mem::replace(&mut earlier.told_dead, true) {
        shared.tell(lost(link, *before, true));
    }
}

fn lost(link: &Link, before: Option<Before>, sure_dead: bool) -> PeerEvent {
    let known = before.map_or(NodeId::ZERO, |before| before.node);
    // The id may have come after the handshake.
    let expected = NodeId(link.expected.load(Ordering::Relaxed));
    let node = if known == NodeId::ZERO { expected } else { known };
    PeerEvent::Lost { node, address: link.address, sure_dead }
}

/// Runs a connection until it ends.
async fn run(
    shared: &Shared,
    link: &Link,
    dialled: &Dialled,
    hail: &Hail,
    followed: Option<&Followed>,
    stream: Stream,
) {
    dialled.remote.store(hail.identity.node.0, Ordering::Relaxed);
    dialled.establish();
    let said = shared.credentials().identity.node;
    let (read, write) = stream.into_split();
    let heard = AtomicBool::new(true);
    let ended = tokio::select! {
        biased;
        read = read_answers(shared, link, dialled, hail, followed, read, &heard) => read.map_err(|error| error.to_string()),
        written = dialled.outbox.drain_into(write, shared.limits.write_stall) => written.map_err(|error| error.to_string()),
        reason = keep_alive(dialled, &heard, &shared.limits) => Err(reason.to_owned()),
        () = tell_new_identity(shared, dialled, said) => Ok(()),
    };
    if let Err(reason) = ended {
        tracing::debug!(address = %link.address, reason, "the connection to a peer ended");
    }
}

/// Pings, and resolves when the peer is silent for too long.
async fn keep_alive(dialled: &Dialled, heard: &AtomicBool, limits: &PeerLimits) -> &'static str {
    let began = Instant::now();
    let mut silent = Duration::ZERO;
    while silent < limits.dead_after {
        let sent = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // A full control lane is traffic enough.
        let _ = dialled.outbox.push(Kind::Ping, Lane::Control, sent, &[]);
        tokio::time::sleep(limits.ping_after).await;
        silent = if heard.swap(false, Ordering::Relaxed) {
            Duration::ZERO
        } else {
            silent + limits.ping_after
        };
    }
    "nothing was heard of the peer"
}

/// Tells the peer when this process gets another id than it gave in the handshake.
async fn tell_new_identity(shared: &Shared, dialled: &Dialled, said: NodeId) {
    let mut node = shared.node.subscribe();
    let mut told = said;
    loop {
        let now = *node.borrow_and_update();
        if now != told {
            told = now;
            let _ = dialled.outbox.push(Kind::Identity, Lane::Control, 0, &now.0.to_le_bytes());
        }
        if node.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn read_answers(
    shared: &Shared,
    link: &Link,
    dialled: &Dialled,
    hail: &Hail,
    followed: Option<&Followed>,
    read: impl AsyncRead + Unpin,
    heard: &AtomicBool,
) -> Result<(), FrameError> {
    let began = Instant::now();
    let mut assembly = Assembly::new(shared.limits.unfinished_bytes());
    let mut frames = FramedRead::with_capacity(read, FrameCodec, READ_BYTES);
    let mut taken = 0;
    while let Some(frame) = frames.next().await {
        heard.store(true, Ordering::Relaxed);
        let frame = frame?;
        let (kind, correlation) = (frame.kind, frame.correlation);
        match kind {
            Kind::Response => {
                if let Some(body) = assembly.take(frame)?
                    && let Some(done) = dialled.waiting.take(correlation)
                {
                    done(Ok(body));
                }
            }
            Kind::Error => {
                let complaint = Complaint::decode(&frame.body);
                if correlation == 0 {
                    tracing::warn!(address = %link.address, ?complaint, "a peer ends the connection");
                } else if let Some(done) = dialled.waiting.take(correlation) {
                    done(Err(complaint.into_error(link.address)));
                }
            }
            Kind::Pong => {
                let sent = Duration::from_micros(correlation);
                let rtt = began.elapsed().saturating_sub(sent);
                metrics::histogram!("holm_cluster_peer_rtt_seconds", "peer" => hail.identity.name.clone())
                    .record(rtt.as_secs_f64());
            }
            Kind::Identity => {
                let node = read_identity(&frame)?;
                dialled.remote.store(node.0, Ordering::Relaxed);
                if let Some(followed) = followed {
                    followed.node.store(node.0, Ordering::Relaxed);
                }
                let incarnation = hail.identity.incarnation;
                shared.tell(PeerEvent::Connected { node, address: link.address, incarnation });
            }
            kind => return Err(FrameError::Misplaced { kind }),
        }
        taken += 1;
        if taken % FRAMES_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
