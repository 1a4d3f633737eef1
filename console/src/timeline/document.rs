//! What one watched act comes to: the document of `--json`.

use serde::{Deserialize, Serialize};

use super::probe::ProbeKind;
use crate::ledger::Verdict;

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Milliseconds after the act.
    pub after_ms: f64,
    /// What kind of moment it is.
    pub kind: MomentKind,
    /// What happened.
    pub text: String,
}

/// What kind of moment it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentKind {
    /// The act itself.
    Act,
    /// Somebody noticed that something is missing.
    Noticed,
    /// Something was moved.
    Moved,
    /// Something is well again.
    Recovered,
}

/// How long callers waited, over the shards in question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// The shortest.
    pub min_ms: f64,
    /// The middle one.
    pub median_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// What the load generator saw between the act and the recovery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapCommands {
    /// Sent.
    pub sent: u64,
    /// Answered, rejections by an entity included.
    pub answered: u64,
    /// Given up.
    pub failed: u64,
    /// Still waiting when the watch ended.
    pub waiting: u64,
}

/// A watched act.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineDocument {
    /// `kill`, `restart`, `pause`, `resume`, `leave` or `join`.
    pub act: String,
    /// The node.
    pub node: String,
    /// Its process id at the act.
    pub pid: u32,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// How many shards there are.
    pub shards: u32,
    /// How many of them the node led before, or leads after.
    pub shards_moved: u32,
    /// What the probes asked of every shard.
    pub probed: ProbeKind,
    /// From the act until every shard had answered a probe; absent when that was not seen.
    pub all_serving_ms: Option<f64>,
    /// From the act until each of the moved shards answered a probe.
    pub unavailable: Option<Waits>,
    /// The longest wait of any probe of any shard, and probes that got no answer.
    pub longest_wait_ms: f64,
    /// Probes that were answered with an error.
    pub probe_errors: u32,
    /// The first of those errors.
    pub first_probe_error: Option<String>,
    /// The load meanwhile, when there was one.
    pub commands: Option<GapCommands>,
    /// The ledger's verdict, when there is a ledger.
    pub ledger: Option<Verdict>,
    /// False when something acknowledged is missing, doubled or out of sequence.
    pub holds: bool,
    /// True when the cluster came to where the act should have brought it, within the limit.
    pub settled: bool,
}

impl Waits {
    /// Of these waits in microseconds; none of none.
    #[must_use]
    pub fn of(mut waits_us: Vec<u64>) -> Option<Self> {
        waits_us.sort_unstable();
        let ms = |us: u64| us as f64 / 1_000.0;
        Some(Self {
            min_ms: ms(*waits_us.first()?),
            median_ms: ms(waits_us[waits_us.len() / 2]),
            max_ms: ms(*waits_us.last()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_of_some_shards() {
        let waits = Waits::of(vec![3_000, 1_000, 2_000]).unwrap();
        assert_eq!((waits.min_ms, waits.median_ms, waits.max_ms), (1.0, 2.0, 3.0));
        assert_eq!(Waits::of(Vec::new()), None);
    }
}
