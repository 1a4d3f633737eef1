//! What a batch of runs reached, summed up: a situation that was never reached is a promise that was never tried.
//!
//! Which situations there are the simulator says itself: every run names all of them, also those that it did not meet.

use std::collections::BTreeMap;

use serde_json::Value;

/// Simulated seconds from which on every situation must have been reached: some eighty usual worlds, or four hundred short ones. The rarest, a bit that
/// flips in a log, comes in one usual world of twelve.
const LARGE_BATCH_SECONDS: u64 = 4_500;

/// Of a hundred registers, how many may be left undecided: what the search gives up is not proved.
const UNDECIDED_PERCENT: u64 = 1;

/// The sums of a batch.
#[derive(Debug, Default)]
pub(super) struct Counters {
    runs: u64,
    simulated_ms: u64,
    operations: u64,
    records: u64,
    searched: u64,
    undecided: u64,
    slowest_recovery_ms: u64,
    sums: BTreeMap<String, u64>,
    /// The most that any node held of each thing that has a limit.
    fullest: BTreeMap<String, u64>,
}

impl Counters {
    pub(super) fn add(&mut self, summary: &Value) {
        let number = |name: &str| summary[name].as_u64().unwrap_or(0);
        self.runs += 1;
        self.simulated_ms += number("simulated_ms");
        self.operations += number("operations");
        self.records += number("records");
        self.searched += number("searched");
        self.undecided += number("undecided");
        self.slowest_recovery_ms = self.slowest_recovery_ms.max(number("recovered_ms"));
        for (name, most) in summary["fullest"].as_object().into_iter().flatten() {
            let known = self.fullest.entry(name.clone()).or_default();
            *known = most.as_u64().unwrap_or(0).max(*known);
        }
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

    /// Prints the sums; false when something was never reached, and the batch was large or known to reach everything.
    pub(super) fn print(&self, expect_all: bool) -> bool {
        println!(
            "{} operations, {} records; {} registers searched, {} undecided; slowest recovery {:.1} s",
            self.operations,
            self.records,
            self.searched,
            self.undecided,
            self.slowest_recovery_ms as f64 / 1_000.0
        );
        for (name, sum) in &self.sums {
            println!("{sum:>12}  {name}");
        }
        for (name, most) in &self.fullest {
            println!("{most:>12}  most {name}");
        }
        if !self.are_decided() {
            println!("more than {UNDECIDED_PERCENT} % of the registers are undecided");
            return false;
        }
        let never = self.never_reached();
        if never.is_empty() {
            return true;
        }
        println!("never reached in {} runs: {}", self.runs, never.join(", "));
        let small = self.simulated_ms < LARGE_BATCH_SECONDS * 1_000 && !expect_all;
        if small {
            println!(
                "that is too short to judge by: {LARGE_BATCH_SECONDS} s must reach everything"
            );
        }
        small
    }

    /// Whether nearly every search came to an end.
    fn are_decided(&self) -> bool {
        self.undecided * 100 <= (self.searched + self.undecided) * UNDECIDED_PERCENT
    }

    fn never_reached(&self) -> Vec<&str> {
        let never = self.sums.iter().filter(|(_, sum)| **sum == 0);
        never.map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Ten runs of so many seconds together.
    fn batch(seconds: u64, torn: u64) -> Counters {
        let mut counters = Counters::default();
        for run in 0..10 {
            let torn = if run == 0 { torn } else { 0 };
            let counts = json!({ "process killed": 1, "torn-tail": torn });
            counters.add(&json!({ "simulated_ms": seconds * 100, "counts": counts }));
        }
        counters
    }

    #[test]
    fn a_batch_whose_searches_are_given_up_fails() {
        let searches = |searched: u64, undecided: u64| {
            let mut counters = Counters::default();
            counters.add(&json!({ "searched": searched, "undecided": undecided, "counts": {} }));
            counters
        };
        assert!(searches(0, 0).print(false));
        assert!(searches(99, 1).print(false));
        assert!(!searches(98, 2).print(false));
    }

    #[test]
    fn a_large_batch_must_reach_everything_and_a_small_one_is_not_judged() {
        assert!(batch(LARGE_BATCH_SECONDS - 1, 0).print(false));
        assert!(!batch(LARGE_BATCH_SECONDS, 0).print(false));
        assert!(batch(LARGE_BATCH_SECONDS, 1).print(false));
        assert_eq!(batch(3, 0).never_reached(), ["torn-tail"]);
    }

    #[test]
    fn a_small_batch_that_is_known_to_reach_everything_must() {
        assert!(!batch(3, 0).print(true));
        assert!(batch(3, 1).print(true));
    }
}
