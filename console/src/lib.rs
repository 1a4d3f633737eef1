//! What stands around a node: its management HTTP, a client of that HTTP, a whole node as a process, and the verbs of the program `holm`.
//!
//! Nothing below this crate knows it. Everything here reaches entities, logs and the cluster through the facade [`holm`] alone, so one
//! node and many look the same.

pub mod api_client;
pub mod bench;
pub mod cli;
pub mod dev;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod import;
pub mod ledger;
pub mod load;
pub mod management;
pub mod node;
pub mod output;
pub mod state_file;
pub mod timeline;
pub mod verbs;
pub mod views;
mod wall_clock;
