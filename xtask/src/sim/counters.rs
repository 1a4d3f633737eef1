//! What a batch of runs reached, summed up: a situation that was never reached is a promise that was never tried.

use std::collections::BTreeMap;

use serde_json::Value;

/// Runs from which on every situation must have been reached.
const LARGE_BATCH: u64 = 100;

/// What every large batch reaches.
const SITUATIONS: [&str; 23] = [
    "process killed",
    "power lost",
    "power lost everywhere",
    "disk lost",
    "node isolated",
    "one-way partition",
    "partial partition",
    "flapping network",
    "connections reset",
    "poor network",
    "slow node",
    "paused node",
    "clock jump",
    "disk full",
    "slow disk",
    "failed sync",
    "node joined",
    "node left",
    "rolling restart",
    "answered",
    "answered from the record of an earlier try",
    "outcome unknown",
    "surely not applied",
];

/// The sums of a batch.
#[derive(Debug, Default)]
pub(super) struct Counters {
    runs: u64,
    simulated_ms: u64,
    operations: u64,
    slowest_recovery_ms: u64,
    sums: BTreeMap<String, u64>,
}

impl Counters {
    pub(super) fn add(&mut self, summary: &Value) {
        self.runs += 1;
        self.simulated_ms += summary["simulated_ms"].as_u64().unwrap_or(0);
        self.operations += summary["operations"].as_u64().unwrap_or(0);
        let recovered = summary["recovered_ms"].as_u64().unwrap_or(0);
        self.slowest_recovery_ms = self.slowest_recovery_ms.max(recovered);
        for (name, count) in summary["counts"].as_object().into_iter().flatten() {
            *self.sums.entry(name.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }

    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    pub(super) fn simulated_ms(&self) -> u64 {
        self.simulated_ms
    }

    /// Prints the sums; false when the batch was large and yet something was never reached.
    pub(super) fn print(&self) -> bool {
        println!(
            "{} operations; slowest recovery {:.1} s",
            self.operations,
            self.slowest_recovery_ms as f64 / 1_000.0
        );
        for (name, sum) in &self.sums {
            println!("{sum:>12}  {name}");
        }
        let never: Vec<&str> = SITUATIONS
            .into_iter()
            .filter(|name| self.sums.get(*name).is_none_or(|sum| *sum == 0))
            .collect();
        if self.runs < LARGE_BATCH || never.is_empty() {
            return true;
        }
        println!("never reached in {} runs: {}", self.runs, never.join(", "));
        false
    }
}
