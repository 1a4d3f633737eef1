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
        /// True when the process that was there is dead as far as the network tells: its port refuses, or a newer start of it answers. False means "no idea".
        /// May follow an event with false for the same loss. A firewall that refuses looks the same, so nothing may be broken on this word.
        sure_dead: bool,
    },
    /// The process is gone, by the word of the system that both run on: not one of its threads will do anything any more. Comes once for each start of a
    /// process, beside the loss of the connection and in any order with it; never when the two are on different machines.
    Died {
        /// Who was there, by its own word; zero when it had no id.
        node: NodeId,
        /// Where.
        address: SocketAddr,
        /// Which start of the process.
        incarnation: u64,
    },
}
