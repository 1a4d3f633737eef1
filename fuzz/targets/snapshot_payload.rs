//! State and window of keys in a snapshot.

#![no_main]

holm_fuzz::target!(
    holm_runtime::fuzzing::snapshot_payload,
    holm_runtime::fuzzing::snapshot_payload_seeds
);
