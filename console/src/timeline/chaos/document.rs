//! The report of a campaign: the document of `--json`.

use serde::{Deserialize, Serialize};

use super::fault::Shape;
use super::followers::FollowersDocument;
use super::resources::NodeResources;
use super::transfers::TransfersDocument;
use crate::ledger::{OrderVerdict, Verdict};
use crate::timeline::{ProbeKind, Waits};

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundDocument {
    /// From 1.
    pub nth: u32,
    /// What was done.
    pub fault: Shape,
    /// To whom.
    pub nodes: Vec<String>,
    /// How many shards they led.
    pub led_shards: u32,
    /// From the fault until every shard had answered a probe through the others, while the fault lasted. Absent where that was not to be expected.
    pub all_serving_ms: Option<f64>,
    /// The same for each of the shards that the nodes led.
    pub unavailable: Option<Waits>,
    /// How long the fault lasted.
    pub held_ms: f64,
    /// From its end until every member was up and every shard had answered a probe again.
    pub healed_ms: Option<f64>,
    /// Probes that were answered with an error.
    pub probe_errors: u32,
    /// The first of those errors.
    pub first_probe_error: Option<String>,
    /// Commands of the load that were given up.
    pub failed_commands: u64,
    /// Acknowledged so far, and found.
    pub acknowledged: u64,
    /// Checks that did not hold; the round is good when there is none.
    pub problems: Vec<String>,
}

/// What was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What would have been done.
    pub fault: Shape,
    /// How many rounds of it.
    pub rounds: u32,
    /// Why not.
    pub reason: String,
}

/// The rounds of one fault together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultSummary {
    /// Which.
    pub fault: Shape,
    /// How many rounds.
    pub rounds: u32,
    /// From the fault until every shard answered a probe.
    pub all_serving: Option<Waits>,
    /// From its end until every shard answered a probe and every member was up.
    pub healed: Option<Waits>,
}

/// A whole campaign.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CampaignDocument {
    /// The seed of its schedule.
    pub seed: u64,
    /// How many nodes it ran against.
    pub nodes: u32,
    /// Commands per second of the load; zero without one.
    pub load: u32,
    /// What every shard was asked.
    pub probed: ProbeKind,
    /// Every shard had to answer a probe within so many seconds.
    pub within_s: u64,
    /// How many rounds were planned.
    pub planned: u32,
    /// The rounds that were carried out.
    pub rounds: Vec<RoundDocument>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// The rounds by fault.
    pub faults: Vec<FaultSummary>,
    /// Over all rounds: from the fault until every shard answered a probe.
    pub all_serving: Option<Waits>,
    /// Over all rounds: from the end of the fault until everything was well.
    pub healed: Option<Waits>,
    /// Probes that were answered with an error, over all rounds.
    pub probe_errors: u32,
    /// Commands of the load that were given up, over all rounds.
    pub failed_commands: u64,
    /// The ledger against the logs, read from their beginning at the end.
    pub ledger: Option<Verdict>,
    /// The order of what callers saw.
    pub order: Option<OrderVerdict>,
    /// What the readers saw that followed, with `--followers`.
    pub followers: Option<FollowersDocument>,
    /// What became of the transfers, with `--transfers`.
    pub transfers: Option<TransfersDocument>,
    /// How many processes the nodes were meanwhile: one that is started again is another.
    pub processes: u32,
    /// What each of them used that lived long enough to be judged, for six rounds.
    pub resources: Vec<NodeResources>,
    /// Checks that did not hold.
    pub problems: Vec<String>,
    /// True when every check held.
    pub holds: bool,
}

impl CampaignDocument {
    /// Adds up the rounds and says whether everything held.
    pub(super) fn add_up(&mut self) {
        let mut shapes: Vec<_> = self.rounds.iter().map(|round| round.fault).collect();
        shapes.sort();
        shapes.dedup();
        self.faults = shapes
            .into_iter()
            .map(|fault| {
                let of: Vec<_> = self.rounds.iter().filter(|round| round.fault == fault).collect();
                FaultSummary {
                    fault,
                    rounds: u32::try_from(of.len()).unwrap_or(u32::MAX),
                    all_serving: waits(of.iter().filter_map(|round| round.all_serving_ms)),
                    healed: waits(of.iter().filter_map(|round| round.healed_ms)),
                }
            })
            .collect();
        self.all_serving = waits(self.rounds.iter().filter_map(|round| round.all_serving_ms));
        self.healed = waits(self.rounds.iter().filter_map(|round| round.healed_ms));
        self.probe_errors = self.rounds.iter().map(|round| round.probe_errors).sum();
        self.failed_commands = self.rounds.iter().map(|round| round.failed_commands).sum();
        for round in &self.rounds {
            for problem in &round.problems {
                self.problems.push(format!("round {} ({}): {problem}", round.nth, round.fault));
            }
        }
        self.holds = self.problems.is_empty();
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "made from microseconds"
)]
fn waits(ms: impl Iterator<Item = f64>) -> Option<Waits> {
    Waits::of(ms.map(|ms| (ms * 1_000.0) as u64).collect())
}
