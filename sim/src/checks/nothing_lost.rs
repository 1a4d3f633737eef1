//! G1 durable: whatever a caller was told stands in the log, where and as it was told. Pure.
//!
//! A read is told something too: that the entity's history reached a sequence number. That much must be there as well.

use super::finding::{Finding, Promise};
use super::logs::{Entry, Logs};
use crate::history::{Content, History, Operation, OperationId, Place, Told};

/// Compares every answer with the record that it names.
pub(super) fn check(history: &History, logs: &Logs<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, operation) in history.operations().iter().enumerate() {
        let Some(place) = operation.told.place() else { continue };
        let problem = if operation.call.reads {
            missing_below_read(operation, place, logs)
        } else {
            altered_or_missing(operation, place, logs)
        };
        findings.extend(problem.map(|what| {
            Finding::new(Promise::Durable, what)
                .of(&operation.call.entity)
                .at(place.shard, place.offset)
                .by([OperationId(id)])
        }));
    }
    findings
}

fn altered_or_missing(operation: &Operation, place: &Place, logs: &Logs<'_>) -> Option<String> {
    let call = &operation.call;
    let Some(entry) = logs.at(place.shard, place.offset).filter(|entry| is_of(entry, operation))
    else {
        return Some(match logs.under((&call.entity, &call.key)) {
            [] => format!(
                "`{}` under key {} was acknowledged and stands nowhere",
                call.command, call.key
            ),
            [entry, ..] => format!(
                "`{}` under key {} was acknowledged here and stands in shard {} at {}",
                call.command, call.key, entry.shard, entry.offset
            ),
        });
    };
    let record = entry.record;
    if record.last_sequence() != place.sequence {
        return Some(format!(
            "the answer names sequence number {}, the record ends at {}",
            place.sequence,
            record.last_sequence()
        ));
    }
    let (rejected, told) = match &operation.told {
        Told::Accepted { reply, .. } => (false, reply),
        Told::Rejected { rejection, .. } => (true, rejection),
        Told::Open | Told::Failed { .. } => return None,
    };
    if record.rejected != rejected {
        return Some(format!("told {}, stored {}", verdict(rejected), verdict(record.rejected)));
    }
    (told.digest != Content::of(&record.verdict).digest)
        .then(|| format!("the {} is another one than the recorded", verdict(rejected)))
}

fn is_of(entry: &Entry<'_>, operation: &Operation) -> bool {
    entry.record.entity == operation.call.entity && entry.record.key == operation.call.key
}

fn missing_below_read(operation: &Operation, place: &Place, logs: &Logs<'_>) -> Option<String> {
    if place.offset.0 == 0 {
        let entity_is_new = place.sequence.0 == 0;
        return (!entity_is_new)
            .then(|| format!("a read names sequence number {} and no record", place.sequence));
    }
    let entry = logs.at(place.shard, place.offset);
    let Some(entry) = entry.filter(|entry| entry.record.entity == operation.call.entity) else {
        return Some("a read saw a record of this entity that is not there".to_owned());
    };
    let stored = entry.record.last_sequence();
    (stored != place.sequence).then(|| {
        format!("a read names sequence number {}, the record ends at {stored}", place.sequence)
    })
}

fn verdict(rejected: bool) -> &'static str {
    if rejected { "rejection" } else { "reply" }
}
