//! Every law on both stores.

use holm_persistence::conformance;

use crate::subjects::{Memory, Sled};

#[test]
fn the_log_in_memory_keeps_every_law() {
    conformance::run_all(|| Box::new(Memory::default()));
}

#[test]
fn the_log_over_sled_keeps_every_law() {
    conformance::run_all(|| Box::new(Sled::new()));
}

/// Law 10: a log without an index of conversations keeps every other law, and claims nothing.
#[test]
fn the_logs_keep_every_law_without_an_index_of_conversations() {
    conformance::run_all(|| Box::new(Memory::without_conversations()));
    conformance::run_all(|| Box::new(Sled::with_conversations(false)));
}
