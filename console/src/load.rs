//! The load generator: a process of its own that drives the demo bank at a fixed rate and writes down what it was told.
//!
//! It is an open loop: each command has a planned send time that does not depend on answers, and its latency counts from there, so a cluster that
//! stalls cannot make its own figures look better. What was acknowledged goes to the [`ledger`](crate::ledger), a file that no node writes.

mod args;
pub(crate) mod bank;
pub(crate) mod door;
mod generator;
pub(crate) mod pacer;
mod report;
mod run;
mod verify;

pub use args::{LoadArgs, LoadCommand};
pub use report::LoadReport;
pub use run::run;
pub(crate) use verify::show as show_verdict;
pub use verify::{HttpRecords, audit};
