//! The facts of the cluster log.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::facts, holm_sharding::fuzzing::facts_seeds);
