//! G9 bounded: nothing longer than its limit is stored or answered, what is too long gets an error that names the limit, and nobody waits for
//! ever. What nodes hold in memory, looked at now and then, stays within the table too. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::{Limit, Limits};
use holm_persistence::StoreOptions;
use holm_sharding::PeerLimits;

use super::finding::{Finding, Promise};
use super::logs::Logs;
use crate::history::{History, Measure, Moment, Operation, OperationId, Told};

/// Compares lengths and waiting times with the table of limits.
pub(super) fn check(
    history: &History,
    logs: &Logs<'_>,
    limits: &Limits,
    patience: Duration,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let end = end_of(history);
    for (id, operation) in (0..).map(OperationId).zip(history.operations()) {
        let problems = [
            too_long(operation, limits),
            wrong_refusal(operation, limits),
            waited_too_long(operation, end, patience),
        ];
        for what in problems.into_iter().flatten() {
            let finding = Finding::new(Promise::Bounded, what).of(&operation.call.entity);
            findings.push(finding.by([id]));
        }
    }
    for entry in logs.shards().flat_map(|(_, entries)| entries.values()) {
        let record = entry.record;
        let events: usize = record.events.iter().map(|event| event.payload.len()).sum();
        for (what, actual, allowed) in [
            ("events", events, limits.events_bytes),
            ("verdict", record.verdict.len(), limits.reply_bytes),
        ] {
            if actual > allowed {
                let what =
                    format!("the {what} of a record have {actual} bytes, {allowed} are allowed");
                let finding = Finding::new(Promise::Bounded, what).of(&record.entity);
                findings.push(finding.at(entry.shard, entry.offset));
            }
        }
    }
    findings.extend(held_too_much(history, limits));
    findings
}

/// The first time that a node held more of something than it may, for each node and each thing.
fn held_too_much(history: &History, limits: &Limits) -> impl Iterator<Item = Finding> {
    let mut over = BTreeMap::new();
    for sample in history.samples() {
        let allowed = allowed(sample.measure, limits);
        if sample.amount > allowed {
            over.entry((sample.node, sample.measure)).or_insert((*sample, allowed));
        }
    }
    over.into_values().map(|(sample, allowed)| {
        let (node, measure, amount, at) = (sample.node, sample.measure, sample.amount, sample.at);
        let what = format!("node {node} held {amount} {measure:?} at {at}, {allowed} are allowed");
        Finding::new(Promise::Bounded, what)
    })
}

fn allowed(measure: Measure, limits: &Limits) -> u64 {
    match measure {
        Measure::LiveEntities => limits.live_entities as u64,
        Measure::HeldCommands => limits.mailbox_capacity as u64,
        Measure::BatchesInFlight => limits.batches_in_flight.max(1) as u64,
        Measure::QueuedBytes => StoreOptions::default().queue_bytes,
        Measure::UnsentBytes => PeerLimits::default().lane_bytes as u64,
        Measure::UnsentBulkBytes => PeerLimits::default().bulk_lane_bytes as u64,
    }
}

fn too_long(operation: &Operation, limits: &Limits) -> Option<String> {
    let (reply, command) = match &operation.told {
        Told::Accepted { reply, .. } => (reply.length, operation.call.payload.length),
        Told::Rejected { rejection, .. } => (rejection.length, operation.call.payload.length),
        Told::Open | Told::Failed { .. } => return None,
    };
    if command > limits.command_bytes {
        return Some(format!(
            "a command of {command} bytes was taken, {} are allowed",
            limits.command_bytes
        ));
    }
    (reply > limits.reply_bytes)
        .then(|| format!("an answer has {reply} bytes, {} are allowed", limits.reply_bytes))
}

fn wrong_refusal(operation: &Operation, limits: &Limits) -> Option<String> {
    let length = operation.call.payload.length;
    let refused = matches!(&operation.told, Told::Failed { limit: Some(Limit::CommandBytes), .. });
    (refused && length <= limits.command_bytes)
        .then(|| format!("a command of {length} bytes was refused as too long"))
}

/// Every try ends by its deadline, give or take what the caller's own machine needs. What is open when the run ends had to be over by then too.
fn waited_too_long(operation: &Operation, end: Moment, patience: Duration) -> Option<String> {
    let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
    let deadline = operation.call.deadline;
    let latest = Moment(deadline.0.saturating_add(patience));
    match operation.completed {
        Some(at) if at > latest => {
            Some(format!("an answer came at {at}, the deadline was {deadline}"))
        }
        None if end > latest => {
            Some(format!("no answer at all by {end}, the deadline was {deadline}"))
        }
        Some(_) | None => None,
    }
}

/// The last moment that the history tells of.
fn end_of(history: &History) -> Moment {
    let moments = |operation: &Operation| operation.completed.max(Some(operation.call.invoked));
    history.operations().iter().filter_map(moments).max().unwrap_or_default()
}
