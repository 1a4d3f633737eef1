//! Remote: whoever is asked lives in another process of this machine, and every ask and every answer goes over loopback.
//!
//! The other process is this program once more. It starts what is asked, prints where, and ends when the process that asks is gone. Without the feature
//! `remote` only Holm and the floor take part: the network of ractor changes what it does in one process.

mod holm;
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
    "Two processes, loopback, not replicated. actix has no network; coerce's does not build with tokio-util 0.7.20 (E0283: its calls of `close` fit two encoders); \
     two nodes of kameo's did not connect as they were set up here (`dial failure`)."
} else {
    "Two processes, loopback, not replicated. ractor takes part with `--features remote`. actix has no network; coerce's does not build with tokio-util 0.7.20 \
     (E0283: its calls of `close` fit two encoders); two nodes of kameo's did not connect as they were set up here (`dial failure`)."
};
