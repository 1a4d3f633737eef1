//! Keeping the steps of one flow within limits: the earliest stay, because what follows hangs on them. Pure.

use std::collections::BTreeMap;

use super::step::{FlowStep, StepOrder};

/// Steps of one flow that are kept. A flow with more is a loop or a batch job, and nobody reads on at ten thousand.
pub const MOST_FLOW_STEPS: usize = 10_000;

/// Bytes of one flow that are kept: 1.6 KiB for each of ten thousand steps.
pub const MOST_FLOW_BYTES: usize = 16 * 1024 * 1024;

/// Steps as they are found, in any order.
#[derive(Debug)]
pub struct Gathering {
    steps: BTreeMap<StepOrder, FlowStep>,
    bytes: usize,
    left_out: u64,
    most_steps: usize,
    most_bytes: usize,
}

/// What was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// In order of time.
    pub steps: Vec<FlowStep>,
    /// How many later ones were found and not kept.
    pub left_out: u64,
}

impl Default for Gathering {
    fn default() -> Self {
        Self::within(MOST_FLOW_STEPS, MOST_FLOW_BYTES)
    }
}

impl Gathering {
    /// Nothing yet, with limits of one's own.
    #[must_use]
    pub fn within(most_steps: usize, most_bytes: usize) -> Self {
        Self { steps: BTreeMap::new(), bytes: 0, left_out: 0, most_steps, most_bytes }
    }

    /// Takes one step; the latest are left out when it is one too many.
    pub fn take(&mut self, step: FlowStep) {
        self.bytes += step.weight();
        if let Some(same) = self.steps.insert(step.order(), step) {
            self.bytes -= same.weight();
        }
        while self.steps.len() > self.most_steps || self.bytes > self.most_bytes {
            let Some((_, latest)) = self.steps.pop_last() else { break };
            self.bytes -= latest.weight();
            self.left_out += 1;
        }
    }

    /// What was kept, and how much was not.
    #[must_use]
    pub fn finish(self) -> Gathered {
        Gathered { steps: self.steps.into_values().collect(), left_out: self.left_out }
    }
}
