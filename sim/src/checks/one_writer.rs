//! G3 one writer: each term of a shard has one writer, terms never go back, and no two disks tell the same offset differently. Pure.

use std::collections::BTreeMap;

use holm_core::{NodeId, Offset, ShardId, Term};

use super::finding::{Finding, Promise};
use super::logs::Logs;
use crate::history::{History, OperationId, SeenBatch};

/// Looks at every copy of every shard, and at who answered.
pub(super) fn check(history: &History, logs: &Logs<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((shard, node), copy) in &logs.copies {
        terms_that_go_back(*shard, *node, copy, &mut findings);
        forks(*shard, *node, copy, logs, &mut findings);
    }
    two_writers(history, logs, &mut findings);
    findings
}

/// A batch under an older term behind one of a newer: a deposed writer was let in.
fn terms_that_go_back(
    shard: ShardId,
    node: NodeId,
    copy: &[&SeenBatch],
    findings: &mut Vec<Finding>,
) {
    for pair in copy.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        if after.term < before.term {
            let what = format!(
                "node {node} holds a batch of term {} behind one of term {}",
                after.term, before.term
            );
            findings.push(Finding::new(Promise::OneWriter, what).at(shard, after.first));
        }
    }
}

/// The first offset at which this copy tells something else than the first copy that was read.
fn forks(
    shard: ShardId,
    node: NodeId,
    copy: &[&SeenBatch],
    logs: &Logs<'_>,
    findings: &mut Vec<Finding>,
) {
    let placed = copy
        .iter()
        .flat_map(|batch| batch.placed().map(move |(offset, record)| (offset, batch.term, record)));
    for (offset, term, record) in placed {
        let Some(entry) = logs.at(shard, offset) else { continue };
        if entry.term == term && entry.record == record {
            continue;
        }
        let what = format!(
            "node {node} holds `{}` of {} (term {term}), another node holds `{}` of {} (term {})",
            record.command, record.entity, entry.record.command, entry.record.entity, entry.term
        );
        findings.push(Finding::new(Promise::OneWriter, what).of(&record.entity).at(shard, offset));
        return;
    }
}

/// Two nodes that answered as the first to handle a command, both under one term of a shard.
fn two_writers(history: &History, logs: &Logs<'_>, findings: &mut Vec<Finding>) {
    let mut writers: BTreeMap<(ShardId, Term), (NodeId, OperationId)> = BTreeMap::new();
    for (id, operation) in (0..).map(OperationId).zip(history.operations()) {
        let Some(place) = operation.told.place() else { continue };
        // A read leaves no record, and a recorded answer may be given by any later leader.
        if operation.call.reads || place.replayed {
            continue;
        }
        let Some(term) = term_at(logs, place.shard, place.offset) else { continue };
        let (writer, first) = *writers.entry((place.shard, term)).or_insert((place.served_by, id));
        if writer != place.served_by {
            let what =
                format!("nodes {writer} and {} both wrote under term {term}", place.served_by);
            let finding = Finding::new(Promise::OneWriter, what).of(&operation.call.entity);
            findings.push(finding.at(place.shard, place.offset).by([first, id]));
        }
    }
}

fn term_at(logs: &Logs<'_>, shard: ShardId, offset: Offset) -> Option<Term> {
    let term = logs.at(shard, offset)?.term;
    (term != Term::ZERO).then_some(term)
}
