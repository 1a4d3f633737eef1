//! The floor of whoever syncs each command by itself, as a store without a group commit does.

use crate::work::Plan;

pub(super) fn run(plan: &Plan) -> anyhow::Result<Vec<f64>> {
    super::journal::run(plan, 1)
}
