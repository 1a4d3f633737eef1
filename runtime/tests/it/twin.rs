//! The twin run: the same seed and the same inputs give the same batches, byte for byte (promise G10).

use std::time::Duration;

use holm_core::{Entropy, Limits, SeededEntropy};

use crate::account::{Balance, Collect, Deposit, Look, Panic, PanicAt, Withdraw};
use crate::driver::Driver;

/// Promise G10: nothing but the inputs and the seed reaches what is stored, neither the order of a hash table nor a clock nor an address.
#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..20 {
        let (one, two) = (run(seed), run(seed));
        assert!(one.len() > 10, "the run is long enough to mean something");
        assert_eq!(one, two, "seed {seed}");
    }
    assert_ne!(run(1), run(2));
}

fn run(seed: u64) -> Vec<bytes::Bytes> {
    let mut entropy = SeededEntropy::new(seed);
    let mut limits = Limits::default();
    (limits.live_entities, limits.snapshot_every, limits.batch_bytes) = (5, 4, 2_000);
    let mut driver = Driver::new(limits);
    for step in 0..400 {
        let (id, key) = (format!("e{}", entropy.below(9)), format!("k{}", entropy.below(300)));
        let amount = entropy.below(20);
        match entropy.below(14) {
            0..5 => _ = driver.submit(&id, &Deposit { amount }, &format!("{key}-{step}")),
            5 => _ = driver.submit(&id, &Withdraw { amount }, &key),
            6 => _ = driver.submit(&id, &Collect { parts: amount }, &key),
            7 => _ = driver.submit(&id, &Look {}, &key),
            8 => _ = driver.submit(&id, &Panic { at: PanicAt::Reply }, &key),
            9 => _ = driver.submit(&id, &Balance {}, &key),
            10 => driver.flush(),
            11 => _ = driver.acknowledge(),
            12 => driver.tick(Duration::from_secs(amount)),
            _ => _ = driver.load(usize::try_from(amount).unwrap()),
        }
    }
    driver.settle();
    driver.trace
}
