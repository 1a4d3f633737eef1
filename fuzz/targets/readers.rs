//! What readers make of a record: facts, messages of topics, letters, steps.

#![no_main]

holm_fuzz::target!(holm_runtime::fuzzing::readers, holm_runtime::fuzzing::readers_seeds);
