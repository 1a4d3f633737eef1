//! After every fault is healed, all copies of a shard are the same: nobody stays behind, and what was acknowledged is on each disk (G1). Pure.

use std::collections::BTreeMap;

use holm_core::{NodeId, Offset, ShardId};

use super::finding::{Finding, Promise};
use super::logs::Logs;

/// Compares how far the copies of each shard reach. That they tell the same up to there is for the checker of one writer.
pub(super) fn check(logs: &Logs<'_>) -> Vec<Finding> {
    let mut ends: BTreeMap<ShardId, Vec<(NodeId, Offset)>> = BTreeMap::new();
    for ((shard, node), copy) in &logs.copies {
        let end = copy.last().map_or(Offset(1), |batch| batch.next());
        ends.entry(*shard).or_default().push((*node, end));
    }
    let mut findings = Vec::new();
    for (shard, copies) in ends {
        let furthest = copies.iter().map(|(_, end)| *end).max().unwrap_or_default();
        for (node, end) in copies.into_iter().filter(|(_, end)| *end < furthest) {
            let what = format!(
                "node {node} ends before offset {end}, another before {furthest}, and all is healed"
            );
            findings.push(Finding::new(Promise::Durable, what).at(shard, end));
        }
    }
    findings
}
