//! The side file of a data directory.

#![no_main]

holm_fuzz::target!(
    holm_persistence::fuzzing::side_file,
    holm_persistence::fuzzing::side_file_seeds
);
