//! Persistent: a command whose event is journaled before it is answered. How durable an answer is, each row says.
//!
//! Without the feature `persistent` only Holm and the floors take part: what coerce's persistence adds to each of its actors would be in the other tables too.

mod append;
#[cfg(feature = "persistent")]
mod coerce;
mod group;
mod holm;
mod journal;

use crate::peers::{Peer, Peers, Run};

/// Commands in flight: what the table of asks has, and enough to fill a batch.
const IN_FLIGHT: [usize; 2] = [64, 1_024];

/// The table.
pub(crate) const PEERS: Peers = Peers {
    flag: "--persistent",
    in_flight: &IN_FLIGHT,
    all: &[
        Peer {
            name: "holm",
            version: env!("CARGO_PKG_VERSION"),
            work: "survives a power cut: synced by sled, many commands at once; once by its key",
            run: Run::Here(holm::run),
            serve: None,
        },
        #[cfg(feature = "persistent")]
        Peer {
            name: "coerce",
            version: "0.8.11",
            work: "lost with the process: its journal in memory, nothing on a disk",
            run: Run::Here(coerce::run),
            serve: None,
        },
        Peer {
            name: "append",
            version: "",
            work: "survives a power cut: a floor, 128 bytes and an fdatasync for each command",
            run: Run::Here(append::run),
            serve: None,
        },
        Peer {
            name: "group",
            version: "",
            work: "survives a power cut: a floor, the same bytes, an fdatasync for all that wait",
            run: Run::Here(group::run),
            serve: None,
        },
    ],
    foot: FOOT,
};

const FOOT: &str = if cfg!(feature = "persistent") {
    "One process, not replicated, files on the disk of --data-dir. coerce's other journal is Redis, a server of its own, which is not started here. actix, kameo and \
     ractor have no journal."
} else {
    "One process, not replicated, files on the disk of --data-dir. coerce takes part with `--features persistent`; actix, kameo and ractor have no journal."
};
