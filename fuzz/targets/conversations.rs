//! A block of the index of conversations.

#![no_main]

holm_fuzz::target!(
    holm_persistence::fuzzing::conversations,
    holm_persistence::fuzzing::conversations_seeds
);
