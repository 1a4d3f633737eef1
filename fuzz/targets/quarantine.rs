//! The newest record of an entity, and what lifts a quarantine.

#![no_main]

holm_fuzz::target!(holm_runtime::fuzzing::quarantine, holm_runtime::fuzzing::quarantine_seeds);
