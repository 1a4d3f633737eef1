//! Long ways between nodes: a proxy that holds back what it forwards.
//!
//! While it lasts, the kernel leads every connection that a victim begins to the others, or they to it, to a port of this process (a rule of address
//! translation), and tells where it was to go. Connections that stood before would keep their short way, so they are reset; their successors go the
//! long one. Each direction of a connection is delayed by an amount of its own and each piece by some more, seldom by much more. Within a connection the order
//! stays, as TCP keeps it; but connections overtake each other, so that what two of them carry arrives in another order than it was sent.
//!
//! Gossip (UDP) keeps its short way: it is a hint, and the lossy network takes from it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use holm::{Entropy as _, SeededEntropy};
use nix::sys::socket::{getsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Most of the delay of one direction of one connection.
const MOST_DELAY_MS: u64 = 40;

/// Most that one piece is delayed beyond it.
const MOST_JITTER_MS: u64 = 20;

/// One piece in so many is held back for [`HICCUP`] more: about as long as a packet that was lost and sent again.
const HICCUP_ONCE_IN: u64 = 200;
const HICCUP: Duration = Duration::from_millis(200);

/// Bytes of a piece, and pieces on their way in one direction. A sender who is faster waits, as before a full window.
const PIECE_BYTES: usize = 16 * 1024;
const PIECES: usize = 256;

/// The proxy; it ends, and breaks its connections, when it is dropped.
#[derive(Debug)]
pub(crate) struct Detour {
    port: u16,
    delayed: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Detour {
    /// Opens it. The delays are drawn from the seed.
    pub(crate) fn open(seed: u64) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let listener = TcpListener::from_std(listener).context("the proxy cannot listen")?;
        let delayed = Arc::new(AtomicU64::new(0));
        let proxy = accept(listener, SeededEntropy::new(seed), Arc::clone(&delayed));
        Ok(Self { port, delayed, task: tokio::spawn(proxy) })
    }

    /// Pieces that arrived late so far. None: the kernel led nobody here.
    pub(crate) fn delayed(&self) -> u64 {
        self.delayed.load(Ordering::Relaxed)
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, mut entropy: SeededEntropy, delayed: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A connection that could not be taken is one that its sender begins again.
            accepted = listener.accept() => if let Ok((near, _)) = accepted {
                let seeds = [entropy.next_u64(), entropy.next_u64()];
                connections.spawn(forward(near, seeds, Arc::clone(&delayed)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Connects to where the connection was to go, and carries both directions until both have ended or one is broken.
async fn forward(near: TcpStream, seeds: [u64; 2], delayed: Arc<AtomicU64>) -> anyhow::Result<()> {
    let far = TcpStream::connect(original_destination(&near)?).await?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    let [there, back] = seeds.map(Way::new);
    tokio::try_join!(
        carry(from_near, to_far, there, &delayed),
        carry(from_far, to_near, back, &delayed)
    )?;
    Ok(())
}

fn original_destination(stream: &TcpStream) -> anyhow::Result<SocketAddr> {
    let address = getsockopt(stream, sockopt::OriginalDst).context("where it was to go")?;
    let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Ok(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
}

/// When each piece of one direction arrives.
#[derive(Debug)]
struct Way {
    entropy: SeededEntropy,
    delay: Duration,
    last: Option<Instant>,
}

impl Way {
    fn new(seed: u64) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        let delay = Duration::from_millis(1 + entropy.below(MOST_DELAY_MS));
        Self { entropy, delay, last: None }
    }

    /// The arrival of what is sent now: never before what was sent earlier.
    fn arrival(&mut self, now: Instant) -> Instant {
        let mut arrival =
            now + self.delay + Duration::from_millis(self.entropy.below(MOST_JITTER_MS + 1));
        if self.entropy.below(HICCUP_ONCE_IN) == 0 {
            arrival += HICCUP;
        }
        let arrival = self.last.map_or(arrival, |last| arrival.max(last));
        self.last = Some(arrival);
        arrival
    }
}

/// Carries one direction to its end.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut way: Way,
    delayed: &AtomicU64,
) -> std::io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let read = async {
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let length = from.read(&mut piece).await?;
            piece.truncate(length);
            // An empty piece is the end, which arrives late like everything else.
            let sent = sender.send((way.arrival(Instant::now()), piece)).await;
            if length == 0 || sent.is_err() {
                return Ok(());
            }
        }
    };
    let write = async {
        while let Some((arrival, piece)) = receiver.recv().await {
            sleep_until(arrival).await;
            if piece.is_empty() {
                break;
            }
            to.write_all(&piece).await?;
            delayed.fetch_add(1, Ordering::Relaxed);
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_keeps_its_order_and_two_ways_do_not_keep_theirs() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let now = runtime.block_on(async { Instant::now() });
        let (mut one, mut other) = (Way::new(1), Way::new(2));
        let mut overtaken = 0;
        for n in 0..10_000 {
            let sent = now + Duration::from_millis(n);
            let before = one.last;
            let arrival = one.arrival(sent);
            assert!(arrival > sent && before.is_none_or(|before| before <= arrival));
            overtaken += usize::from(other.arrival(sent + Duration::from_millis(1)) < arrival);
        }
        assert!(overtaken > 100, "{overtaken}");
    }

    #[tokio::test(start_paused = true)]
    async fn everything_arrives_late_whole_and_in_order() {
        let (mut sender, from) = tokio::io::duplex(64);
        let (to, mut receiver) = tokio::io::duplex(64);
        let began = Instant::now();
        let delayed = AtomicU64::new(0);
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = sent.clone();
        tokio::spawn(async move { sender.write_all(&sent).await });
        let mut arrived = Vec::new();
        let (carried, read) = tokio::join!(
            carry(from, to, Way::new(7), &delayed),
            receiver.read_to_end(&mut arrived)
        );
        carried.unwrap();
        read.unwrap();
        assert!(arrived == expected, "{} bytes of {}", arrived.len(), expected.len());
        assert!(began.elapsed() >= Way::new(7).delay);
        assert!(delayed.load(Ordering::Relaxed) > 1);
    }
}
