//! A slot of the tail file.

#![no_main]

holm_fuzz::target!(
    holm_persistence::fuzzing::tail_file,
    holm_persistence::fuzzing::tail_file_seeds
);
