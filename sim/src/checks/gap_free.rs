//! G4 gap-free: offsets of a shard and sequence numbers of an entity start at 1 and have no gap and no double; chains are unbroken. Pure.

use std::collections::BTreeMap;

use holm_core::{EntityAddress, NodeId, Offset, SequenceNumber, ShardId};

use super::finding::{Finding, Promise};
use super::logs::Logs;
use crate::history::SeenBatch;

/// Looks at every copy of every shard and at the history of every entity.
pub(super) fn check(logs: &Logs<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((shard, node), copy) in &logs.copies {
        offsets(*shard, *node, copy, &mut findings);
    }
    for (shard, entries) in logs.shards() {
        chains(shard, entries.values().map(|entry| (entry.offset, entry.record)), &mut findings);
    }
    two_shards(logs, &mut findings);
    findings
}

/// After a gap the checker goes on from what it saw, so that one hole is one finding.
fn offsets(shard: ShardId, node: NodeId, copy: &[&SeenBatch], findings: &mut Vec<Finding>) {
    let mut expected = Offset(1);
    for batch in copy {
        if batch.first != expected {
            let what = format!(
                "on node {node} a batch begins at offset {} where {expected} should follow",
                batch.first
            );
            findings.push(Finding::new(Promise::GapFree, what).at(shard, batch.first));
        }
        expected = batch.next();
    }
}

fn chains<'a>(
    shard: ShardId,
    records: impl Iterator<Item = (Offset, &'a crate::history::SeenRecord)>,
    findings: &mut Vec<Finding>,
) {
    let mut heads: BTreeMap<&EntityAddress, (Offset, SequenceNumber)> = BTreeMap::new();
    for (offset, record) in records {
        let (head, sequence) = heads.get(&record.entity).copied().unwrap_or_default();
        let mut report = |what| {
            let finding = Finding::new(Promise::GapFree, what).of(&record.entity);
            findings.push(finding.at(shard, offset));
        };
        if record.base != sequence {
            report(format!(
                "the record begins after event {}, the history ends at {sequence}",
                record.base
            ));
        }
        if record.previous != head {
            report(format!(
                "the record follows offset {}, the entity's last is {head}",
                record.previous
            ));
        }
        heads.insert(&record.entity, (offset, record.last_sequence()));
    }
}

/// An entity hashes to one shard for ever; in two it would have two histories.
fn two_shards(logs: &Logs<'_>, findings: &mut Vec<Finding>) {
    for (entity, entries) in logs.entities() {
        let home = entries[0].shard;
        if let Some(stray) = entries.iter().find(|entry| entry.shard != home) {
            let what = format!("the entity has records in shards {home} and {}", stray.shard);
            let finding = Finding::new(Promise::GapFree, what).of(entity);
            findings.push(finding.at(stray.shard, stray.offset));
        }
    }
}
