//! `holm kill` and its siblings: do something to one node, watch what the cluster makes of it, and say what was checked.
//!
//! Three witnesses are heard, none of them the node in question: the pictures that the other nodes have of the cluster, probes that ask every
//! shard through the other nodes, and the load generator with its ledger. [`derive`] makes the timeline out of what they said; it is pure.

mod args;
pub mod chaos;
mod derive;
mod document;
mod probe;
mod settle;
mod show;
mod verbs;
mod watch;

pub use args::{ChaosArgs, KillArgs, NodeArgs, WatchArgs};
pub use chaos::run_chaos;
pub use document::{Moment, TimelineDocument, Waits};
pub use probe::ProbeKind;
pub use verbs::{Act, run};
