//! Datagrams of gossip.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::gossip, holm_sharding::fuzzing::gossip_seeds);
