//! G6 atomic: a batch is whole or absent, and nobody ever saw the middle of a command. Pure.

use std::collections::BTreeMap;

use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId};

use super::finding::{Finding, Promise};
use super::logs::Logs;
use crate::history::{History, OperationId};

/// Compares the copies' batches, and the sequence numbers that answers name with the ends of records.
pub(super) fn check(history: &History, logs: &Logs<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    torn_batches(logs, &mut findings);
    seen_halves(history, logs, &mut findings);
    findings
}

/// A batch that begins at the same offset on two nodes and does not end at the same one: one of them holds a part.
fn torn_batches(logs: &Logs<'_>, findings: &mut Vec<Finding>) {
    let mut ends: BTreeMap<(ShardId, Offset), Offset> = BTreeMap::new();
    for ((shard, node), copy) in &logs.copies {
        for batch in copy {
            let end = *ends.entry((*shard, batch.first)).or_insert(batch.next());
            if end != batch.next() {
                let what = format!(
                    "a batch ends before offset {} on node {node} and before {end} on another",
                    batch.next()
                );
                findings.push(Finding::new(Promise::Atomic, what).at(*shard, batch.first));
            }
        }
    }
}

/// An answer that names a sequence number in the middle of a record: somebody saw some of a command's events and not all.
fn seen_halves(history: &History, logs: &Logs<'_>, findings: &mut Vec<Finding>) {
    let ends: BTreeMap<&EntityAddress, Vec<SequenceNumber>> = logs
        .entities()
        .map(|(entity, entries)| {
            (entity, entries.iter().map(|entry| entry.record.last_sequence()).collect())
        })
        .collect();
    for (id, operation) in (0..).map(OperationId).zip(history.operations()) {
        let Some(place) = operation.told.place() else { continue };
        let Some(ends) = ends.get(&operation.call.entity) else { continue };
        let last = ends.last().copied().unwrap_or_default();
        let inside = place.sequence.0 > 0 && place.sequence < last;
        if inside && ends.binary_search(&place.sequence).is_err() {
            let what =
                format!("an answer names event {}, in the middle of a command", place.sequence);
            let finding = Finding::new(Promise::Atomic, what).of(&operation.call.entity);
            findings.push(finding.at(place.shard, place.offset).by([id]));
        }
    }
}
