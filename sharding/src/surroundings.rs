//! What lies around a process of a cluster: its network, its clock, its chance, and where it waits for the disk. The real ones unless others are given.
//!
//! A simulation gives its own, and everything else of this crate runs as it is. Nothing here is asked for more often than once for a connection,
//! an election or a read of the disk.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holm_core::{Clock, Entropy, OsEntropy, SeededEntropy, SystemClock};
use holm_persistence::Pending;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection: bytes in order, both ways, until it breaks.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that was made or accepted.
pub type Connection = Box<dyn Duplex>;

/// A network on which processes listen and connect.
pub trait Network: Send + Sync + 'static {
    /// Connects to whoever listens at an address. [`io::ErrorKind::ConnectionRefused`] means that surely nobody does.
    fn connect(&self, to: SocketAddr) -> Pending<io::Result<Connection>>;

    /// Begins to listen; with port 0 at a port of the network's choice.
    ///
    /// # Errors
    /// When the address is taken.
    fn listen(&self, at: SocketAddr) -> io::Result<Box<dyn Listening>>;

    /// Whether a message that leaves for an address is put on its way a second time, and how long after the first. What carries bytes in order never does
    /// that; a simulation may.
    fn sends_again(&self, to: SocketAddr) -> Option<Duration> {
        let _ = to;
        None
    }

    /// The process handles a message that was put on its way a second time.
    fn handles_again(&self) {}

    /// Resolves when the process that listens at an address now is gone for certain; none where nobody could know.
    fn death_of(&self, at: SocketAddr) -> Option<Pending<()>> {
        let _ = at;
        None
    }
}

/// A process's end of an address. Nobody listens any more when it is dropped.
pub trait Listening: Send {
    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// The next connection and where it comes from.
    fn accept(&mut self) -> futures::future::BoxFuture<'_, io::Result<(Connection, SocketAddr)>>;
}

/// The surroundings of one process.
#[derive(Clone)]
pub struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    simulated: Option<Simulated>,
}

#[derive(Clone)]
struct Simulated {
    network: Arc<dyn Network>,
    entropy: Arc<Mutex<SeededEntropy>>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock), simulated: None }
    }
}

impl Surroundings {
    /// The surroundings of a process in a simulation: everything runs on one thread, all chance comes from the seed, and there is no gossip.
    #[must_use]
    pub fn simulated(clock: Arc<dyn Clock>, network: Arc<dyn Network>, seed: u64) -> Self {
        let entropy = Arc::new(Mutex::new(SeededEntropy::new(seed)));
        Self { clock, simulated: Some(Simulated { network, entropy }) }
    }

    /// The network, when it is not the system's.
    pub(crate) fn network(&self) -> Option<&Arc<dyn Network>> {
        self.simulated.as_ref().map(|simulated| &simulated.network)
    }

    /// A source of its own for whoever draws often.
    pub(crate) fn seeded(&self) -> SeededEntropy {
        match &self.simulated {
            None => SeededEntropy::from_os(),
            Some(_) => SeededEntropy::new(self.draw()),
        }
    }

    /// 64 random bits, fit for ids and nonces.
    pub(crate) fn draw(&self) -> u64 {
        match &self.simulated {
            None => OsEntropy.next_u64(),
            Some(Simulated { entropy, .. }) => {
                entropy.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
            }
        }
    }

    /// Runs what waits for the disk where waiting harms nobody.
    pub(crate) async fn wait_for_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.simulated.is_some() {
            // There is no disk to wait for, and no other thread.
            tokio::task::yield_now().await;
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
    }
}

impl Entropy for Surroundings {
    fn next_u64(&mut self) -> u64 {
        self.draw()
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("simulated", &self.simulated.is_some()).finish()
    }
}
