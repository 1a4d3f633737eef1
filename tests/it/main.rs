//! The integration tests of the facade: what a service sees of Holm through `holm` alone. Those with real processes are the console's.
#![expect(clippy::unwrap_used, reason = "a step that fails, fails its test with its line")]

mod built;
mod cluster;
mod disk;
mod examples;
mod facts;
mod index;
mod panics;
mod policies;
mod single_node;
mod skipped;
mod stopping;
mod transfers;
