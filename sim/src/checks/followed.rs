//! G8 followed: a subscriber is given what is stored and nothing else, in the order of each shard, and nothing is left out. Pure.
//!
//! Whoever follows alone gets one event after the other. Of a group every member may be given something again, but what its members were given of a shard,
//! taken together, is at every moment everything up to some place: what nobody was given before is the next one. So it is with what members of a shared
//! projection have handled.

use std::collections::{BTreeMap, BTreeSet};

use holm_core::{Offset, ShardId};
use holm_runtime::SYSTEM_PREFIX;

use super::finding::{Finding, Promise};
use super::logs::Logs;
use crate::history::{History, SeenFact};

/// The numbers of the groups among the followers: of the durable subscription, and of the shared projection, where what counts is that a record was handled.
pub(crate) const GROUP: u64 = 0;
pub(crate) const SHARED: u64 = u64::MAX;

/// A place of one event: offset and place in its record.
type Place = (Offset, u32);

/// Looks at every fact that a subscriber was given. `caught_up`: the groups that have read everything.
pub(super) fn check(history: &History, logs: &Logs<'_>, caught_up: &[u64]) -> Vec<Finding> {
    let events: BTreeMap<ShardId, BTreeSet<Place>> =
        logs.shards().map(|(shard, entries)| (shard, events(entries.values()))).collect();
    let mut findings = Vec::new();
    let mut passed: BTreeMap<(u64, ShardId), Place> = BTreeMap::new();
    for fact in history.facts() {
        let place = (fact.offset, fact.index);
        if !stands(fact, logs) {
            let what = format!(
                "{} was given `{}`, which does not stand there",
                name_of(fact.follower),
                fact.event
            );
            findings.push(finding(fact, what));
            continue;
        }
        let before = passed.get(&(fact.follower, fact.shard)).copied();
        let Some(of_shard) = events.get(&fact.shard) else { continue };
        match before {
            // Who begins alone may begin anywhere; the group begins at the beginning.
            None if is_group(fact.follower) => {
                if let Some(left_out) = of_shard.first().filter(|first| **first < place) {
                    findings.push(left_out_before(fact, *left_out));
                }
            }
            None => {}
            Some(before) if place <= before => {
                if !is_group(fact.follower) {
                    let what = format!("{} was given this again", name_of(fact.follower));
                    findings.push(finding(fact, what));
                }
                continue;
            }
            Some(before) => {
                let next = of_shard
                    .range((std::ops::Bound::Excluded(before), std::ops::Bound::Unbounded))
                    .next();
                if let Some(left_out) = next.filter(|next| **next < place) {
                    findings.push(left_out_before(fact, *left_out));
                }
            }
        }
        passed.insert((fact.follower, fact.shard), place);
    }
    for group in caught_up {
        for (shard, of_shard) in &events {
            let last = of_shard.last().copied();
            if last > passed.get(&(*group, *shard)).copied() {
                let what =
                    format!("{} has read everything, and not the last events", name_of(*group));
                let at = last.map_or(Offset::ZERO, |place| place.0);
                findings.push(Finding::new(Promise::Followed, what).at(*shard, at));
            }
        }
    }
    findings
}

const fn is_group(follower: u64) -> bool {
    matches!(follower, GROUP | SHARED)
}

/// How findings call a follower.
pub(crate) fn name_of(follower: u64) -> String {
    match follower {
        GROUP => "the durable subscription".to_owned(),
        SHARED => "the shared projection".to_owned(),
        alone => format!("follower {alone}"),
    }
}

fn events<'a, 'b: 'a>(
    entries: impl Iterator<Item = &'a super::logs::Entry<'b>>,
) -> BTreeSet<Place> {
    let of_users = entries.filter(|it| !it.record.entity.entity_type().starts_with(SYSTEM_PREFIX));
    of_users
        .flat_map(|entry| {
            (0u32..).zip(&entry.record.events).map(|(index, _)| (entry.offset, index))
        })
        .collect()
}

/// Whether this very event stands in the log.
fn stands(fact: &SeenFact, logs: &Logs<'_>) -> bool {
    logs.at(fact.shard, fact.offset).is_some_and(|entry| {
        let record = entry.record;
        let event = record.events.get(fact.index as usize);
        record.entity == fact.entity
            && record.base.plus(u64::from(fact.index) + 1) == fact.sequence
            && event.is_some_and(|event| event.name == fact.event)
    })
}

fn left_out_before(fact: &SeenFact, left_out: Place) -> Finding {
    let (offset, index) = left_out;
    let what = format!(
        "{} was given this, and not event {index} of offset {offset} before it",
        name_of(fact.follower)
    );
    finding(fact, what)
}

fn finding(fact: &SeenFact, what: String) -> Finding {
    Finding::new(Promise::Followed, what).of(&fact.entity).at(fact.shard, fact.offset)
}
