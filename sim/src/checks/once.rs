//! G2 once: one key takes effect once within its window, every answer to it is the same, and `replayed` is the truth. Pure.
//!
//! Also that an error which promises "not applied" keeps its word: a key of which every try ended so stands nowhere.

use std::collections::BTreeMap;
use std::time::Duration;

use holm_core::{Limits, Offset, ShardId};

use super::finding::{Finding, Promise};
use super::intentions::Intention;
use super::logs::{Entry, Logs};
use crate::history::{Operation, OperationId, Place, Told};

/// Looks at every key of the log and at every answer.
pub(super) fn check(
    intentions: &[Intention<'_>],
    logs: &Logs<'_>,
    limits: &Limits,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, entries) in logs.keys() {
        doubled(entries, logs, limits, &mut findings);
    }
    for intention in intentions.iter().filter(|intention| !intention.first().call.reads) {
        different_answers(intention, &mut findings);
        foreign_record(intention, logs, &mut findings);
        applied_after_all(intention, logs, &mut findings);
    }
    findings
}

/// Two records of one key, the second made while the first had to be remembered.
fn doubled(entries: &[Entry<'_>], logs: &Logs<'_>, limits: &Limits, findings: &mut Vec<Finding>) {
    for pair in entries.windows(2) {
        let [first, second] = [pair[0], pair[1]];
        if remembered(&first, &second, logs, limits) {
            let record = second.record;
            let what = format!(
                "key {} took effect at offset {} already and again here",
                record.key, first.offset
            );
            let finding = Finding::new(Promise::Once, what).of(&record.entity);
            findings.push(finding.at(second.shard, second.offset));
        }
    }
}

/// Whether the window still held the first record's key when the second was made: by count, and by age at every record in between.
pub(super) fn remembered(
    first: &Entry<'_>,
    second: &Entry<'_>,
    logs: &Logs<'_>,
    limits: &Limits,
) -> bool {
    let history = logs.history_of(&first.record.entity);
    let after_first = history.partition_point(|entry| entry.offset <= first.offset);
    let up_to_second = history.partition_point(|entry| entry.offset <= second.offset);
    let between = &history[after_first.min(up_to_second)..up_to_second];
    let age = between
        .iter()
        .map(|entry| entry.record.at.since(first.record.at))
        .max()
        .unwrap_or(Duration::ZERO);
    between.len() <= limits.window_keys.max(1) && age < limits.window_age
}

/// Two answers that name the same record and are not the same, or both claim to be the first.
fn different_answers(intention: &Intention<'_>, findings: &mut Vec<Finding>) {
    let mut firsts: BTreeMap<(ShardId, Offset), (OperationId, &Operation, &Place)> =
        BTreeMap::new();
    for (id, operation, place) in intention.answers() {
        let Some(&(first_id, first, first_place)) = firsts.get(&(place.shard, place.offset)) else {
            firsts.insert((place.shard, place.offset), (id, operation, place));
            continue;
        };
        let problem = if !same_words(&first.told, &operation.told) {
            "two answers to one key differ"
        } else if place.sequence != first_place.sequence {
            "two answers to one key name different sequence numbers"
        } else if !place.replayed && !first_place.replayed {
            "two answers to one key both claim to be the first"
        } else {
            continue;
        };
        let finding =
            Finding::new(Promise::Once, format!("{problem} (key {})", operation.call.key));
        let finding = finding.of(&operation.call.entity).at(place.shard, place.offset);
        findings.push(finding.by([first_id, id]));
    }
}

fn same_words(one: &Told, other: &Told) -> bool {
    match (one, other) {
        (Told::Accepted { reply: one, .. }, Told::Accepted { reply: other, .. }) => one == other,
        (Told::Rejected { rejection: one, .. }, Told::Rejected { rejection: other, .. }) => {
            one == other
        }
        _ => false,
    }
}

/// An answer taken from the record of another command: the key was used with two payloads, and the second caller was told about the first.
fn foreign_record(intention: &Intention<'_>, logs: &Logs<'_>, findings: &mut Vec<Finding>) {
    for (id, operation, place) in intention.answers() {
        let Some(entry) = logs.at(place.shard, place.offset) else { continue };
        let (call, record) = (&operation.call, entry.record);
        let same_key = record.entity == call.entity && record.key == call.key;
        if same_key && !is_the_same_request(operation, entry) {
            let what =
                format!("key {} was used for another command, and answered from it", call.key);
            let finding = Finding::new(Promise::Once, what).of(&call.entity);
            findings.push(finding.at(place.shard, place.offset).by([id]));
        }
    }
}

fn applied_after_all(intention: &Intention<'_>, logs: &Logs<'_>, findings: &mut Vec<Finding>) {
    if !intention.surely_not_applied() {
        return;
    }
    let call = &intention.first().call;
    let stands = logs
        .under((&call.entity, &call.key))
        .iter()
        .find(|entry| is_the_same_request(intention.first(), entry));
    if let Some(entry) = stands {
        let what = format!(
            "`{}` under key {} was said not to be applied and stands here",
            call.command, call.key
        );
        let finding = Finding::new(Promise::Once, what).of(&call.entity);
        findings.push(finding.at(entry.shard, entry.offset).by(intention.ids()));
    }
}

/// By the fingerprint where the history knows it, else by the command's name alone.
fn is_the_same_request(operation: &Operation, entry: &Entry<'_>) -> bool {
    let call = &operation.call;
    entry.record.command == call.command
        && call.fingerprint.is_none_or(|fingerprint| fingerprint == entry.record.fingerprint)
}
