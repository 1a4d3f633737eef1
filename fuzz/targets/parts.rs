//! The parts of an entry as the database gives them.

#![no_main]

holm_fuzz::target!(holm_persistence::fuzzing::parts, holm_persistence::fuzzing::parts_seeds);
