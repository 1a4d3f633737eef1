//! Who takes part.

mod actix;
mod coerce;
mod holm;
mod kameo;
mod ractor;

use crate::measure::Measured;
use crate::work::Plan;

/// One library, asked in one way.
pub(crate) struct Contender {
    /// As in the table.
    pub(crate) name: &'static str,
    /// As in `Cargo.lock`.
    pub(crate) version: &'static str,
    /// What an ask is there.
    pub(crate) work: &'static str,
    pub(crate) run: fn(&Plan) -> anyhow::Result<Measured>,
}

/// Everybody. The first is what the others are compared with.
pub(crate) const ALL: [Contender; 9] = [
    Contender {
        name: "holm",
        version: env!("CARGO_PKG_VERSION"),
        work: "a read through EntityRef: encoded, answered under the lease",
        run: holm::reads,
    },
    Contender {
        name: "holm-near",
        version: env!("CARGO_PKG_VERSION"),
        work: "the same read by callers on the threads of the entities",
        run: holm::near,
    },
    Contender {
        name: "holm-command",
        version: env!("CARGO_PKG_VERSION"),
        work: "a command: encoded, recorded once by key, log in memory",
        run: holm::commands,
    },
    Contender {
        name: "actix",
        version: "0.13.5",
        work: "one actor each, over one arbiter per core",
        run: actix::run,
    },
    Contender {
        name: "actix-near",
        version: "0.13.5",
        work: "the same by callers on the arbiters",
        run: actix::near,
    },
    Contender {
        name: "kameo",
        version: "0.22.2",
        work: "one actor each, bounded mailboxes",
        run: kameo::run,
    },
    Contender { name: "ractor", version: "0.16.5", work: "one actor each", run: ractor::run },
    Contender {
        name: "coerce",
        version: "0.8.11",
        work: "one actor each, local",
        run: coerce::run,
    },
    Contender {
        name: "channel",
        version: "",
        work: "the floor: one tokio task per core, mpsc and oneshot, no actors",
        run: channel::run,
    },
];

mod channel;

/// A runtime of tokio as a service has it: a worker per core.
fn in_tokio<F: Future<Output = anyhow::Result<Measured>>>(work: F) -> anyhow::Result<Measured> {
    tokio::runtime::Runtime::new()?.block_on(work)
}
