//! Commands, events, states and answers in bincode.

#![no_main]

holm_fuzz::target!(holm_runtime::fuzzing::payloads, holm_runtime::fuzzing::payloads_seeds);
