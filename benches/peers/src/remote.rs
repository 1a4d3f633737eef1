//! Remote: whoever is asked lives in another process of this machine, and every ask and every answer goes over loopback.
//!
//! The other process is this program once more. It starts what is asked, prints where, and ends when the process that asks is gone. Without the feature
//! `remote` only Holm and the floor take part: the network of ractor changes what it does in one process. Those of kameo and of coerce are in a program of
//! their own, `benches/peers-remote`, whose Cargo.toml says why; they take part when that is told.

#[cfg(feature = "remote")]
mod free_port;
mod holm;
mod other_process;
#[cfg(feature = "remote")]
mod ractor;
mod tcp;

use crate::peers::{Peer, Peers, Run};
use crate::work::REMOTE_IN_FLIGHT;

/// The table.
pub(crate) const PEERS: Peers = Peers {
    flag: "--remote",
    in_flight: &REMOTE_IN_FLIGHT,
    all: &[
        Peer {
            name: "holm",
            version: env!("CARGO_PKG_VERSION"),
            work: "a read by a client: routed, answered under the lease",
            run: Run::Here(holm::reads),
            serve: Some(holm::serve),
        },
        Peer {
            name: "holm-command",
            version: env!("CARGO_PKG_VERSION"),
            work: "a command by a client: once by its key, answered when it is synced to the disk",
            run: Run::Here(holm::commands),
            serve: Some(holm::serve),
        },
        #[cfg(feature = "remote")]
        Peer {
            name: "ractor",
            version: "0.16.5",
            work: "ractor_cluster, one connection; nothing stored",
            run: Run::Here(ractor::run),
            serve: Some(ractor::serve),
        },
        Peer {
            name: "kameo",
            version: "0.22.2",
            work: "its swarm, dialled over QUIC, encrypted; nothing stored",
            run: Run::Elsewhere(|options| options.elsewhere.as_deref()),
            serve: None,
        },
        Peer {
            name: "coerce",
            version: "0.8.11",
            work: "actors found in its cluster of two nodes; nothing stored",
            run: Run::Elsewhere(|options| options.elsewhere.as_deref()),
            serve: None,
        },
        Peer {
            name: "tcp",
            version: "",
            work: "the floor: frames sent back over one connection of tokio, no actors",
            run: Run::Here(tcp::run),
            serve: Some(tcp::serve),
        },
    ],
    foot: FOOT,
};

const FOOT: &str = if cfg!(feature = "remote") {
    "Two processes, loopback, not replicated. kameo and coerce take part with `--elsewhere PATH`, the program of benches/peers-remote. actix has no network."
} else {
    "Two processes, loopback, not replicated. ractor takes part with `--features remote`, kameo and coerce with `--elsewhere PATH`, the program of \
     benches/peers-remote. actix has no network."
};
