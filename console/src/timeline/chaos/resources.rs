//! What the nodes' processes use, looked at after each round, and whether it grows.
//!
//! A process is judged by itself: one that was started again is another. Its descriptors and threads must stay where they were after its first rounds.
//! Its memory may grow with the data: the caches of the database fill up to their bounds, and each entity that was touched is kept for a while.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Descriptors that a process may hold at the end beyond what it held after its first rounds: a connection more to each neighbour, probes and
/// audits that are under way.
const MORE_DESCRIPTORS: u64 = 48;

/// Threads beyond those after the first rounds: blocking work in the background comes and goes.
const MORE_THREADS: u64 = 16;

/// Memory beyond that after the first rounds, in KiB: the bounds of the caches of one node's database, and as much again for its entities.
const MORE_MEMORY_KIB: u64 = 256 * 1024;

/// Rounds that a process must have lived through to be judged: the first of them are its start.
const FEWEST_SAMPLES: usize = 6;

/// One look at one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// After which round.
    pub round: u32,
    /// Resident memory in KiB.
    pub memory_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// From the first rounds of a process to its last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// Early, the middle of the first third.
    pub from: u64,
    /// Late, the middle of the last third.
    pub to: u64,
}

/// What one process used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeResources {
    /// The node.
    pub node: String,
    /// The process.
    pub pid: u32,
    /// How many rounds it lived through.
    pub rounds: u32,
    /// Its memory in KiB.
    pub memory_kib: Growth,
    /// Its descriptors.
    pub descriptors: Growth,
    /// Its threads.
    pub threads: Growth,
}

/// All looks at all processes.
#[derive(Debug, Default)]
pub(super) struct Resources {
    samples: BTreeMap<(String, u32), Vec<Sample>>,
}

impl Resources {
    /// Looks at a process. A process that ended meanwhile, or a system without `/proc`, gives nothing.
    pub(super) fn look(&mut self, round: u32, node: &str, pid: u32) {
        if let Some(sample) = read(round, pid) {
            self.samples.entry((node.to_owned(), pid)).or_default().push(sample);
        }
    }

    /// How many processes were looked at, also those that did not live long enough to be judged.
    pub(super) fn processes(&self) -> u32 {
        u32::try_from(self.samples.len()).unwrap_or(u32::MAX)
    }

    /// What every process used, those that lived long enough to be judged.
    pub(super) fn summary(&self) -> Vec<NodeResources> {
        let long = self.samples.iter().filter(|(_, samples)| samples.len() >= FEWEST_SAMPLES);
        long.map(|((node, pid), samples)| NodeResources {
            node: node.clone(),
            pid: *pid,
            rounds: u32::try_from(samples.len()).unwrap_or(u32::MAX),
            memory_kib: growth(samples, |it| it.memory_kib),
            descriptors: growth(samples, |it| it.descriptors),
            threads: growth(samples, |it| it.threads),
        })
        .collect()
    }
}

impl NodeResources {
    /// What grew beyond its bound.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let bounds = [
            ("descriptors", self.descriptors, MORE_DESCRIPTORS),
            ("threads", self.threads, MORE_THREADS),
            ("KiB of memory", self.memory_kib, MORE_MEMORY_KIB),
        ];
        let beyond = bounds.into_iter().filter(|(_, growth, more)| growth.to > growth.from + more);
        beyond
            .map(|(what, growth, more)| {
                format!(
                    "{} (pid {}) held {} {what} after its first rounds and {} after its last ones; {more} more are allowed",
                    self.node, self.pid, growth.from, growth.to
                )
            })
            .collect()
    }
}

fn growth(samples: &[Sample], of: impl Fn(&Sample) -> u64) -> Growth {
    let third = (samples.len() / 3).max(1);
    let middle = |part: &[Sample]| {
        let mut values: Vec<_> = part.iter().map(&of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    Growth { from: middle(&samples[..third]), to: middle(&samples[samples.len() - third..]) }
}

fn read(round: u32, pid: u32) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Sample { round, memory_kib: number("VmRSS:")?, descriptors, threads: number("Threads:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of which this was seen after its rounds: memory, descriptors and threads.
    fn used(seen: impl Fn(u64) -> [u64; 3]) -> NodeResources {
        let mut resources = Resources::default();
        let samples = (0..30).map(|nth| {
            let [memory_kib, descriptors, threads] = seen(nth.into());
            Sample { round: nth + 1, memory_kib, descriptors, threads }
        });
        resources.samples.insert(("a".into(), 1), samples.collect());
        resources.summary().remove(0)
    }

    #[test]
    fn what_leaks_is_found_and_what_varies_is_not() {
        const USUAL_KIB: u64 = 100_000;
        let varying = used(|nth| [USUAL_KIB + nth % 5 * 40_000, 100 + nth % 7, 9 + nth % 3]);
        assert_eq!(varying.problems(), Vec::<String>::new());
        let found = |what: &str, seen: fn(u64) -> [u64; 3]| {
            let problems = used(seen).problems();
            assert!(problems.len() == 1 && problems[0].contains(what), "{what}: {problems:?}");
        };
        found("115 descriptors after", |nth| [USUAL_KIB, 100 + 3 * nth, 9]);
        found("14 threads after", |nth| [USUAL_KIB, 100, 9 + nth]);
        // Sixteen MiB in a round, as when each left its answers behind.
        found("KiB of memory after", |nth| [USUAL_KIB + nth * 16 * 1024, 100, 9]);
    }

    #[test]
    fn a_process_is_looked_at() {
        let mut resources = Resources::default();
        for round in 1..=6 {
            resources.look(round, "me", std::process::id());
        }
        let summary = resources.summary();
        // Only Linux has /proc; elsewhere nothing is judged.
        assert!(summary.is_empty() || summary[0].memory_kib.to > 0);
    }
}
