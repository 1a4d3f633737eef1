//! The local cluster: a supervisor that runs real node processes and a load generator, and the verbs that act on them.
//!
//! `holm dev` is the supervisor. It is the only one who starts, stops, pauses and kills the processes; `holm kill`, `holm restart` and their
//! siblings ask it over a socket ([`control`]), so that it always knows what was intended. Nothing outlives it: each child is a process
//! group of its own, is told by the kernel when the supervisor dies ([`tether`]), and is killed and reaped when it ends.

pub mod args;
mod await_ready;
pub mod control;
mod detach;
mod logs;
pub(crate) mod paths;
mod ports;
pub(crate) mod process;
pub(crate) mod screen;
pub mod state;
mod supervisor;
pub mod tether;
pub(crate) mod verbs;

pub use args::{DevArgs, Domain};
pub use paths::DevPaths;
pub use verbs::{present_nodes, run};
