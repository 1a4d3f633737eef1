//! The integration tests of the read side: a node with its log in memory, and views in files.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test with its line")]

mod crashes;
mod failures;
mod following;
mod kills;
mod management;
mod node;
mod rebuilding;
mod tally;
