//! The checkers: from what was seen of a run to the promises that it broke. Pure functions, one file for each promise.
//!
//! They take a finished [`History`] and judge it against [`Rules`]. A [`Report`] names what was found and how much was looked at, so that a checker that
//! looked at nothing is not taken for one that found nothing. A checker never guesses: what it cannot decide is counted as undecided.

mod atomic;
mod bounded;
pub(crate) mod carried;
pub(crate) mod contained;
mod converged;
mod finding;
mod fold;
mod followed;
mod gap_free;
pub(crate) mod intentions;
mod linear;
pub(crate) mod logs;
mod nothing_lost;
mod once;
mod one_writer;
mod order;
mod register;
mod replies;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use holm_core::Limits;
use holm_runtime::Registry;
use serde::{Deserialize, Serialize};

pub use self::finding::{Finding, Promise};
pub(crate) use self::followed::{GROUP, SHARED, name_of};
pub use self::linear::{Linearized, Model, Seen, linearize};
use self::logs::Logs;
use crate::history::{History, Measure};

/// What a run has to be judged by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The limits that its nodes were given.
    pub limits: Limits,
    /// The entity types, for replaying their histories; none when they are not at hand.
    pub registry: Option<Registry>,
    /// How late after its deadline an answer may come: what a client's own machine needs.
    pub patience: Duration,
    /// Whether every fault was healed and the nodes had time: then all copies of a shard must be the same.
    pub healed: bool,
    /// The groups of subscribers that have read everything, by their number among the followers: each event must have been given to them.
    pub caught_up: Vec<u64>,
    /// Whether the policy has carried out everything: then each event that it reacts to must have had its effect.
    pub carried_out: bool,
    /// Steps that the search for a linearization may take, for each register.
    pub search_budget: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            registry: None,
            patience: Duration::from_secs(1),
            healed: false,
            caught_up: Vec::new(),
            carried_out: false,
            // A second at most; what is right takes a few steps for each operation.
            search_budget: 1_000_000,
        }
    }
}

/// Findings that are listed; the rest is counted.
const LISTED: usize = 100;

/// What the checkers say about a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Tries of clients that were looked at.
    pub operations: usize,
    /// Intentions: the tries of one key count once.
    pub intentions: usize,
    /// Of those, how many were answered by the entity.
    pub answered: usize,
    /// Records that were looked at, each counted once, on however many disks it stands.
    pub records: usize,
    /// Entities that have a history.
    pub entities: usize,
    /// Facts that subscribers were given.
    #[serde(default)]
    pub facts: usize,
    /// The most that any node held of each thing that is bounded and was looked at.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fullest: BTreeMap<Measure, u64>,
    /// Registers of which a linearization was searched and the search ended.
    pub searched: usize,
    /// Registers whose search used up its budget. They are not said to be right.
    pub undecided: usize,
    /// How many findings there are.
    pub found: usize,
    /// The first hundred.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether no promise was broken.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.found == 0
    }
}

/// Judges a history by every checker.
#[must_use]
pub fn judge(history: &History, rules: &Rules) -> Report {
    let logs = Logs::of(history);
    let intentions = intentions::of(history);
    let searched = register::check(&intentions, rules.search_budget);
    let mut findings = [
        nothing_lost::check(history, &logs),
        once::check(&intentions, &logs, &rules.limits),
        one_writer::check(history, &logs),
        gap_free::check(&logs),
        followed::check(history, &logs, &rules.caught_up),
        carried::check(&logs, &rules.limits, rules.carried_out),
        order::check(&intentions),
        searched.findings,
        atomic::check(history, &logs),
        contained::check(history, &logs),
        bounded::check(history, &logs, &rules.limits, rules.patience),
        rehearsed(rules, |registry| fold::check(history, &logs, registry)),
        rehearsed(rules, |registry| replies::check(&intentions, &logs, registry, &rules.limits)),
        if rules.healed { converged::check(&logs) } else { Vec::new() },
    ]
    .concat();
    findings.sort();
    let found = findings.len();
    findings.truncate(LISTED);
    Report {
        operations: history.operations().len(),
        intentions: intentions.len(),
        answered: intentions.iter().filter(|it| it.answered().is_some()).count(),
        records: logs.record_count(),
        entities: logs.entities().count(),
        facts: history.facts().len(),
        fullest: fullest(history),
        searched: searched.decided,
        undecided: searched.undecided,
        found,
        findings,
    }
}

fn fullest(history: &History) -> BTreeMap<Measure, u64> {
    let mut fullest = BTreeMap::new();
    for sample in history.samples() {
        let most: &mut u64 = fullest.entry(sample.measure).or_default();
        *most = sample.amount.max(*most);
    }
    fullest
}

/// What needs the entities themselves, when they are at hand.
fn rehearsed(rules: &Rules, check: impl FnOnce(&Registry) -> Vec<Finding>) -> Vec<Finding> {
    rules.registry.as_ref().map_or_else(Vec::new, check)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        if self.found > self.findings.len() {
            writeln!(f, "… and {} more", self.found - self.findings.len())?;
        }
        write!(
            f,
            "{} findings in {} operations ({} intentions, {} answered), {} records of {} entities, {} facts followed; {} registers searched, {} undecided",
            self.found,
            self.operations,
            self.intentions,
            self.answered,
            self.records,
            self.entities,
            self.facts,
            self.searched,
            self.undecided
        )
    }
}

#[cfg(test)]
pub(crate) mod tests;
