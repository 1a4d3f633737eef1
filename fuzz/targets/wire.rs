//! The vocabulary between processes.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::wire, holm_sharding::fuzzing::wire_seeds);
