//! Remote: whoever is asked lives in another process of this machine, and every ask and every answer goes over loopback.
//!
//! The other process is this program once more. It starts what is asked, prints where, and ends when the process that asks is gone. Without the feature
//! `remote` only Holm and the floor take part: the networks of the others are two hundred crates more, and they change what the
//! libraries do in one process.

mod holm;
#[cfg(feature = "remote")]
mod kameo;
mod other_process;
#[cfg(feature = "remote")]
mod ractor;
mod tcp;

use crate::peers::{Peer, Peers};

/// Asks in flight: one alone, what the other tables have, and enough to keep everything busy.
const IN_FLIGHT: [usize; 3] = [1, 64, 1_024];

/// The table.
pub(crate) const PEERS: Peers = Peers {
    flag: "--remote",
    in_flight: &IN_FLIGHT,
    all: &[
        Peer {
            name: "holm",
            version: env!("CARGO_PKG_VERSION"),
            work: "a read by a client: routed, answered under the lease",
            run: holm::reads,
            serve: Some(holm::serve),
        },
        Peer {
            name: "holm-command",
            version: env!("CARGO_PKG_VERSION"),
            work: "a command by a client: once by its key, answered when it is synced to the disk",
            run: holm::commands,
            serve: Some(holm::serve),
        },
        #[cfg(feature = "remote")]
        Peer {
            name: "ractor",
            version: "0.16.5",
            work: "ractor_cluster, one connection; nothing stored",
            run: ractor::run,
            serve: Some(ractor::serve),
        },
        #[cfg(feature = "remote")]
        Peer {
            name: "kameo",
            version: "0.22.2",
            work: "its feature remote: libp2p over TCP with noise, a stream for each ask; nothing stored",
            run: kameo::run,
            serve: Some(kameo::serve),
        },
        Peer {
            name: "tcp",
            version: "",
            work: "the floor: frames sent back over one connection of tokio, no actors",
            run: tcp::run,
            serve: Some(tcp::serve),
        },
    ],
    foot: FOOT,
};

const FOOT: &str = if cfg!(feature = "remote") {
    "Two processes, loopback, not replicated. actix is not here: it has no network."
} else {
    "Two processes, loopback, not replicated. ractor, kameo and coerce take part with `--features remote`; actix has no network."
};
