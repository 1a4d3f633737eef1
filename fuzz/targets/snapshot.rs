//! A snapshot behind its checksums.

#![no_main]

holm_fuzz::target!(holm_persistence::fuzzing::snapshot, holm_persistence::fuzzing::snapshot_seeds);
