//! What nodes ask of each other.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::cluster, holm_sharding::fuzzing::cluster_seeds);
