//! Messages of a Raft group, and what it stores.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::raft, holm_sharding::fuzzing::raft_seeds);
