//! G7 contained: whose history cannot be replayed is broken alone, says so, and stays as it is. Pure.
//!
//! The one history that cannot be replayed is that of a cursed relic ([`crate::relic`]). Where it was in memory when it was cursed it may go on, under that
//! leader and in that memory. Once it has left, nothing of it may be answered or stored any more but the record that puts it into quarantine. Nobody else
//! may say such things.

use std::collections::BTreeSet;

use holm_core::EntityAddress;
use holm_runtime::Entity as _;

use super::finding::{Finding, Promise};
use super::logs::{Entry, Logs};
use crate::history::{History, Moment, Operation, OperationId, SeenRecord, Told};
use crate::relic::{CURSED, Relic};

/// The command of the record that begins a quarantine. Holm stores it itself.
pub(crate) const QUARANTINED: &str = "holm-quarantine";

/// The command that lifts it.
const RELEASED: &str = "holm-release";

/// What the errors say. A wording that changes shows in the test below.
const NOT_REPLAYED: &str = "cannot be recovered: a panic";
const IN_QUARANTINE: &str = "is in quarantine since failure";

/// Whether a caller was told that an event panicked when it was replayed.
pub(crate) fn is_not_replayed(told: &Told) -> bool {
    matches!(told, Told::Failed { error, .. } if error.contains(NOT_REPLAYED))
}

/// Whether a caller was told that the entity is in quarantine.
pub(crate) fn is_in_quarantine(told: &Told) -> bool {
    matches!(told, Told::Failed { error, .. } if error.contains(IN_QUARANTINE))
}

/// Whether a record holds an event that cannot be replayed.
pub(super) fn is_cursed(record: &SeenRecord) -> bool {
    record.entity.entity_type() == Relic::TYPE
        && record.events.iter().any(|event| &*event.name == CURSED)
}

/// The first record of an entity that cannot be replayed.
pub(super) fn cursed_at<'a, 'b>(history: &'a [Entry<'b>]) -> Option<&'a Entry<'b>> {
    history.iter().find(|entry| is_cursed(entry.record))
}

/// Looks at everybody who was called broken, and at everybody who is.
pub(super) fn check(history: &History, logs: &Logs<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, operation) in broken(history) {
        let entity = &operation.call.entity;
        if cursed_at(logs.history_of(entity)).is_none() {
            let what = "is called broken, and its history can be replayed";
            findings.push(Finding::new(Promise::Contained, what).of(entity).by([id]));
        }
    }
    for (entity, entries) in logs.entities() {
        quarantined(entity, entries, &mut findings);
        let Some(curse) = cursed_at(entries) else { continue };
        stored_afterwards(entity, curse, entries, &mut findings);
        answered_afterwards(history, entity, curse, &mut findings);
    }
    findings
}

/// Those who heard that an entity is broken.
fn broken(history: &History) -> impl Iterator<Item = (OperationId, &Operation)> {
    let all = (0..).map(OperationId).zip(history.operations());
    all.filter(|(_, it)| is_not_replayed(&it.told) || is_in_quarantine(&it.told))
}

/// A quarantine has its reason before it, and behind it nothing but what lifts it.
fn quarantined(entity: &EntityAddress, entries: &[Entry<'_>], findings: &mut Vec<Finding>) {
    let begins = |entry: &Entry<'_>| &*entry.record.command == QUARANTINED;
    let Some(at) = entries.iter().position(begins) else { return };
    let mut found = |entry: &Entry<'_>, what: &str| {
        let finding = Finding::new(Promise::Contained, what).of(entity);
        findings.push(finding.at(entry.shard, entry.offset));
    };
    // Others may fail often enough to be put there; of a relic only this is known to fail.
    if entity.entity_type() == Relic::TYPE && cursed_at(&entries[..at]).is_none() {
        found(&entries[at], "was put into quarantine, and its history can be replayed");
    }
    if let Some(next) = entries.get(at + 1).filter(|next| &*next.record.command != RELEASED) {
        found(next, "is in quarantine, and its history goes on");
    }
}

/// Under another term somebody would have had to replay it.
fn stored_afterwards(
    entity: &EntityAddress,
    curse: &Entry<'_>,
    entries: &[Entry<'_>],
    findings: &mut Vec<Finding>,
) {
    let goes_on = entries.iter().find(|entry| {
        entry.offset > curse.offset
            && entry.term != curse.term
            && &*entry.record.command != QUARANTINED
    });
    if let Some(entry) = goes_on {
        let what = "goes on under another term, and its history cannot be replayed";
        let finding = Finding::new(Promise::Contained, what).of(entity);
        findings.push(finding.at(entry.shard, entry.offset));
    }
}

/// Only the memory in which it was cursed can answer, and not once somebody has found it broken.
fn answered_afterwards(
    history: &History,
    entity: &EntityAddress,
    curse: &Entry<'_>,
    findings: &mut Vec<Finding>,
) {
    let of_entity = |it: &Operation| it.call.entity == *entity;
    let found_broken = broken(history).filter(|(_, it)| of_entity(it));
    let found_broken: Option<Moment> = found_broken.filter_map(|(_, it)| it.completed).min();
    let mut servers = BTreeSet::new();
    for (id, operation) in (0..).map(OperationId).zip(history.operations()) {
        let Some(place) = operation.told.place().filter(|_| of_entity(operation)) else { continue };
        if place.offset >= curse.offset {
            servers.insert(place.served_by);
        }
        if found_broken.is_some_and(|at| operation.call.invoked > at) {
            let what = "answers, and was found broken before it was asked";
            findings.push(Finding::new(Promise::Contained, what).of(entity).by([id]));
        }
    }
    if servers.len() > 1 {
        let what = format!("is cursed, and yet answered by several nodes: {servers:?}");
        let finding = Finding::new(Promise::Contained, what).of(entity);
        findings.push(finding.at(curse.shard, curse.offset));
    }
}

#[cfg(test)]
mod tests {
    use holm_core::{AskError, FailureId};

    use super::*;

    #[test]
    fn the_words_are_those_of_the_errors() {
        let address: EntityAddress = "relic/t1".parse().unwrap();
        let reason = "a panic: a cursed event is replayed";
        let told = |error: AskError| Told::of(&Err(error));
        let failed = AskError::RecoveryFailed { address: address.clone(), reason: reason.into() };
        assert!(is_not_replayed(&told(failed)));
        let failure = FailureId::default();
        let set_aside =
            AskError::Quarantined { address: address.clone(), failure, reason: reason.into() };
        assert!(is_in_quarantine(&told(set_aside)));
        let unreadable = AskError::RecoveryFailed { address, reason: "the disk".into() };
        assert!(!is_not_replayed(&told(unreadable)));
    }
}
