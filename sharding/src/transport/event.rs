//! What happens to connections, told to whoever wants to know.

use std::net::SocketAddr;

use holm_core::NodeId;

/// A connection that this process dialled came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerEvent {
    /// The handshake succeeded.
    Connected {
        /// Who answered; zero when it has no id yet.
        node: NodeId,
        /// Where.
        address: SocketAddr,
        /// Which start of the process.
        incarnation: u64,
    },
    /// The connection is gone.
    Lost {
        /// Who had answered there.
        node: NodeId,
        /// Where.
        address: SocketAddr,
        /// True when the process that was there is surely dead: its port refuses, or a newer start of it answers. False means "no idea".
        /// May follow an event with false for the same loss, when the certainty comes later.
        sure_dead: bool,
    },
}
