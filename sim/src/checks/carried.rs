//! G6 atomic and G2 once, of policies: each event that the policy reacts to has its effect at its target once, none is invented, and what one target is told
//! because of one shard comes in the order of its events. Pure.
//!
//! It is read off the histories alone: a write to a register stands in one log, and that a tally was told of it in another ([`crate::tally`]).

use std::collections::BTreeMap;

use holm_core::{Limits, Offset, ShardId};
use holm_persistence::decode;
use holm_runtime::Entity as _;

use super::finding::{Finding, Promise};
use super::logs::{Entry, Logs};
use super::once::remembered;
use crate::history::History;
use crate::register::Register;
use crate::tally::{Tally, TallyEvent, told_of_stored};

/// Where an event stands: what is told of it names this.
type Cause = (ShardId, Offset, u32);

/// Looks at everything that a policy did. `carried_out`: it had time for everything.
pub(super) fn check(logs: &Logs<'_>, limits: &Limits, carried_out: bool) -> Vec<Finding> {
    let (causes, effects) = (causes(logs), effects(logs));
    let mut findings = Vec::new();
    for (cause, told) in &effects {
        if causes.get(cause).is_none_or(|tally| *tally != told[0].record.entity.id()) {
            let what = format!("it was told of {}, of which nobody tells it", shown(cause));
            findings.push(finding(Promise::Atomic, &told[0], what));
        }
        for pair in told.windows(2) {
            let same_key = pair[0].record.key == pair[1].record.key;
            // "Once" ends with the window of the target's keys.
            if !same_key || remembered(&pair[0], &pair[1], logs, limits) {
                let earlier = pair[0].offset;
                let what = format!("it was told of {} at offset {earlier} already", shown(cause));
                findings.push(finding(Promise::Once, &pair[1], what));
            }
        }
    }
    findings.extend(out_of_order(&effects));
    if carried_out {
        for (cause, tally) in causes.iter().filter(|(cause, _)| !effects.contains_key(*cause)) {
            let what = format!("tally {tally} was never told of event {} of this", cause.2);
            findings.push(Finding::new(Promise::Atomic, what).at(cause.0, cause.1));
        }
    }
    findings
}

/// How many events are still without their effect.
pub(crate) fn left(history: &History) -> usize {
    let logs = Logs::of(history);
    let effects = effects(&logs);
    causes(&logs).keys().filter(|cause| !effects.contains_key(*cause)).count()
}

/// The events that a policy reacts to, each with the tally that is told.
fn causes(logs: &Logs<'_>) -> BTreeMap<Cause, String> {
    let mut causes = BTreeMap::new();
    for entry in of_type(logs, Register::TYPE) {
        for (index, event) in (0..).zip(&entry.record.events) {
            // What cannot be decoded is judged by the checker of replays.
            if let Ok(Some(tally)) = told_of_stored(event) {
                causes.insert((entry.shard, entry.offset, index), tally);
            }
        }
    }
    causes
}

/// What tallies were told, each with the records that say so, in the order of each tally.
fn effects<'a>(logs: &Logs<'a>) -> BTreeMap<Cause, Vec<Entry<'a>>> {
    let mut effects: BTreeMap<Cause, Vec<Entry<'a>>> = BTreeMap::new();
    for entry in of_type(logs, Tally::TYPE) {
        for event in &entry.record.events {
            if let Ok(TallyEvent::Told { shard, offset, index }) = decode(&event.payload) {
                effects.entry((ShardId(shard), Offset(offset), index)).or_default().push(entry);
            }
        }
    }
    effects
}

fn of_type<'a>(logs: &Logs<'a>, entity_type: &'static str) -> impl Iterator<Item = Entry<'a>> {
    let entities = logs.entities().filter(move |(it, _)| it.entity_type() == entity_type);
    entities.flat_map(|(_, entries)| entries.iter().copied())
}

/// Effects at one target because of one shard, the first of each: they stand as their causes do.
fn out_of_order(effects: &BTreeMap<Cause, Vec<Entry<'_>>>) -> Vec<Finding> {
    let mut last: BTreeMap<_, (Offset, &Cause)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (cause, told) in effects {
        let (first, target) = (told[0], (cause.0, &told[0].record.entity));
        match last.get(&target) {
            Some((offset, earlier)) if *offset > first.offset => {
                let what = format!("it was told of {} before {}", shown(cause), shown(earlier));
                findings.push(finding(Promise::Followed, &first, what));
            }
            _ => _ = last.insert(target, (first.offset, cause)),
        }
    }
    findings
}

fn shown((shard, offset, index): &Cause) -> String {
    format!("event {index} of offset {offset} of shard {shard}")
}

fn finding(promise: Promise, entry: &Entry<'_>, what: String) -> Finding {
    Finding::new(promise, what).of(&entry.record.entity).at(entry.shard, entry.offset)
}
