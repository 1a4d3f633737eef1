//! The death of a process on the same machine, by the word of the kernel.
//!
//! That a connection is reset and its port refuses is what a firewall does too, while the process behind it lives, answers others, and believes in its
//! lease. The kernel that runs both processes knows better. A node offers a socket under a name that no other machine, and no other network namespace,
//! can see. Who connects learns from the kernel, not from the peer, which process opened it, and follows that process by a descriptor (`pidfd`), which
//! becomes readable when its last thread has ended and never before. Nothing is said over the socket.
//!
//! A number that the kernel gives to another process between the two steps is harmless: that one's end comes after the peer's.

use std::io;
use std::net::SocketAddr;

use holm_persistence::Pending;
use tokio_util::sync::CancellationToken;

use crate::surroundings::Surroundings;

/// Resolves when the process that listens at `address`, in this start of it, is gone; none when it is on another machine, another user's, this process
/// itself, or of a system that has no such descriptors.
pub(crate) async fn of(
    surroundings: &Surroundings,
    address: SocketAddr,
    incarnation: u64,
) -> Option<Pending<()>> {
    match surroundings.network() {
        Some(network) => network.death_of(address),
        None => system::death_of(address, incarnation).await,
    }
}

/// Lets others follow this process, from this call on until it stops listening. Without it they go by its leases, as they do over a network.
pub(crate) fn offer(
    address: SocketAddr,
    incarnation: u64,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static + use<> {
    // Not in the future: who has greeted this process looks for its offer at once, and does not look again.
    let offered = system::offer(address, incarnation, stop);
    async move {
        match offered {
            Ok(offered) => offered.await,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(error) => {
                tracing::warn!(%address, %error, "no other process can follow this one, so its shards would be led again later");
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use holm_persistence::Pending;
    use rustix::process::{Pid, PidfdFlags, geteuid, getpid, pidfd_open};
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::net::{UnixListener, UnixStream};
    use tokio_util::sync::CancellationToken;

    /// Pause after a failed accept: usually the process is out of file descriptors.
    const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

    /// In the kernel's own name space (the leading zero), so that no file stays behind.
    fn name(address: SocketAddr, incarnation: u64) -> String {
        format!("\0holm/{address}/{incarnation}")
    }

    pub(super) fn offer(
        address: SocketAddr,
        incarnation: u64,
        stop: CancellationToken,
    ) -> io::Result<Pending<()>> {
        let listener = UnixListener::bind(name(address, incarnation))?;
        Ok(Box::pin(async move {
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    // Who connected has learnt what there is to learn.
                    accepted = listener.accept() => if accepted.is_err() {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    },
                }
            }
        }))
    }

    #[expect(
        deprecated,
        reason = "its successor is unsafe, for types that close what they lend; an OwnedFd does not"
    )]
    fn watched(process: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
        AsyncFd::with_interest(process, Interest::READABLE)
    }

    pub(super) async fn death_of(address: SocketAddr, incarnation: u64) -> Option<Pending<()>> {
        // A full queue of the other side is an error at once, not a wait.
        let socket = UnixStream::connect(name(address, incarnation)).await.ok()?;
        let opened_by = socket.peer_cred().ok()?;
        // Another user could have taken the name before the node did.
        if opened_by.uid() != geteuid().as_raw() {
            return None;
        }
        let process = Pid::from_raw(opened_by.pid()?)?;
        if process == getpid() {
            return None;
        }
        let process = pidfd_open(process, PidfdFlags::NONBLOCK).ok()?;
        let process = watched(process).ok()?;
        Some(Box::pin(async move {
            if process.readable().await.is_err() {
                // The runtime is going down, and knows nothing about the process.
                std::future::pending::<()>().await;
            }
        }))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::net::SocketAddr;

    use holm_persistence::Pending;
    use tokio_util::sync::CancellationToken;

    pub(super) fn offer(_: SocketAddr, _: u64, _: CancellationToken) -> io::Result<Pending<()>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) async fn death_of(_: SocketAddr, _: u64) -> Option<Pending<()>> {
        None
    }
}
