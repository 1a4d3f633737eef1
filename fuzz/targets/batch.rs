//! A batch as it is stored and sent, and the records in it.

#![no_main]

holm_fuzz::target!(holm_persistence::fuzzing::batch, holm_persistence::fuzzing::batch_seeds);
