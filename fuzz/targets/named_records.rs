//! The named records of a log, such as a vote or a term.

#![no_main]

holm_fuzz::target!(
    holm_persistence::fuzzing::named_records,
    holm_persistence::fuzzing::named_records_seeds
);
