//! A block of the index of heads.

#![no_main]

holm_fuzz::target!(holm_persistence::fuzzing::heads, holm_persistence::fuzzing::heads_seeds);
