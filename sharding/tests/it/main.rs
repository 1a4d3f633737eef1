//! Integration tests of the cluster crate, on loopback and on ports that the system picks.

mod cluster;
mod connections;
mod gossip;
mod messages;
mod routing;
mod strangers;
mod support;
