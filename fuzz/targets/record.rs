//! One record of a batch.

#![no_main]

holm_fuzz::target!(holm_persistence::fuzzing::record, holm_persistence::fuzzing::record_seeds);
