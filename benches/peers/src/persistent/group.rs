//! The floor under a group commit: whatever waits is appended at once and synced once.

use crate::work::Plan;

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    super::journal::run(plan, usize::MAX)
}
