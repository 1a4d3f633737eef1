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
