//! Integration tests of the cluster crate, on loopback and on ports that the system picks.

#![allow(clippy::unwrap_used, reason = "a helper of a test that fails is a failed test")]

mod cluster;
mod connections;
mod deaths;
mod edges;
mod gossip;
mod log_lines;
mod messages;
mod routing;
mod strangers;
mod support;
