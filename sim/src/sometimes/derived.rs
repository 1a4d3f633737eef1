//! The situations that can be read off a finished history. Pure.

use std::collections::{BTreeMap, BTreeSet};

use holm_core::{EntityAddress, NodeId, Offset, SequenceNumber, ShardId, Term};
use holm_runtime::Command;

use super::{Situation, Sometimes};
use crate::checks::SHARED;
use crate::checks::contained::{is_in_quarantine, is_not_replayed};
use crate::checks::intentions::{self, Intention};
use crate::checks::logs::Logs;
use crate::history::{History, Moment, Operation, Told};
use crate::register::Poison;

/// A command longer than this is a long one.
const LONG_COMMAND_BYTES: usize = 64 * 1024;

/// What a history met.
#[must_use]
pub fn derive(history: &History) -> Sometimes {
    let logs = Logs::of(history);
    let intentions = intentions::of(history);
    let mut met = Sometimes::new();
    let writers = writers(history, &logs);
    for intention in &intentions {
        tries(intention, &logs, &mut met);
        repeats(intention, &logs, &writers, &mut met);
    }
    for operation in history.operations() {
        single(operation, &mut met);
    }
    overlaps(history, &mut met);
    moves(history, &mut met);
    containment(history, &mut met);
    batches(history, &logs, &mut met);
    followed(history, &logs, &mut met);
    met
}

/// What subscribers were given.
fn followed(history: &History, logs: &Logs<'_>, met: &mut Sometimes) {
    let mut given = BTreeSet::new();
    let mut terms: BTreeMap<(u64, ShardId), Term> = BTreeMap::new();
    for fact in history.facts() {
        let again = !given.insert((fact.follower, fact.shard, fact.offset, fact.index));
        let situation = match fact.follower {
            SHARED => Situation::HandledAgain,
            _ => Situation::FactGivenAgain,
        };
        met.met_times(situation, again.into());
        let Some(entry) = logs.at(fact.shard, fact.offset) else { continue };
        let before = terms.insert((fact.follower, fact.shard), entry.term);
        let changed = before.is_some_and(|before| before != entry.term);
        met.met_times(Situation::FollowedAcrossTerms, changed.into());
    }
}

/// Who handled commands first under each term of each shard, as far as answers tell.
fn writers(history: &History, logs: &Logs<'_>) -> BTreeMap<(ShardId, Term), NodeId> {
    let first_answers = history.operations().iter().filter(|it| !it.call.reads);
    first_answers
        .filter_map(|operation| operation.told.place())
        .filter(|place| !place.replayed)
        .filter_map(|place| {
            let term = logs.at(place.shard, place.offset)?.term;
            Some(((place.shard, term), place.served_by))
        })
        .collect()
}

/// What became of the tries of one intention.
fn tries(intention: &Intention<'_>, logs: &Logs<'_>, met: &mut Sometimes) {
    let call = &intention.first().call;
    if call.reads {
        return;
    }
    let answered = intention.answered().is_some();
    let some = |fit: fn(&Told) -> bool| intention.tries.iter().any(|(_, it)| fit(&it.told));
    let records = logs.under((&call.entity, &call.key));
    let mine = |it: &&crate::checks::logs::Entry<'_>| {
        call.fingerprint.is_none_or(|mine| mine == it.record.fingerprint)
    };
    let stands = records.iter().any(|it| mine(&it));
    if some(Told::is_unknown) {
        met.met(match (answered, stands) {
            (true, _) => Situation::UnknownResolved,
            (false, true) => Situation::UnknownCommitted,
            (false, false) => Situation::UnknownAbsent,
        });
    }
    if answered && some(Told::surely_not_applied) {
        met.met(Situation::RefusedThenApplied);
    }
    if intention.surely_not_applied() && !records.is_empty() && !stands {
        met.met(Situation::KeyReuseRefused);
    }
    let mut answers: Vec<_> =
        intention.answers().map(|(_, operation, _)| interval(operation)).collect();
    answers.sort_unstable();
    let together = answers.windows(2).any(|pair| pair[1].0 <= pair[0].1);
    met.met_times(Situation::TwinsBothAnswered, u64::from(together));
}

/// What repeated answers tell.
fn repeats(
    intention: &Intention<'_>,
    logs: &Logs<'_>,
    writers: &BTreeMap<(ShardId, Term), NodeId>,
    met: &mut Sometimes,
) {
    for (_, operation, place) in intention.answers().filter(|(_, _, place)| place.replayed) {
        met.met_times(Situation::RetryMetFirstTry, u64::from(intention.tries.len() > 1));
        let rejected = matches!(operation.told, Told::Rejected { .. });
        met.met_times(Situation::RejectionRepeated, u64::from(rejected));
        let writer =
            logs.at(place.shard, place.offset).and_then(|it| writers.get(&(place.shard, it.term)));
        let elsewhere = writer.is_some_and(|writer| *writer != place.served_by);
        met.met_times(Situation::RepeatAfterFailover, u64::from(elsewhere));
    }
}

/// What one try tells by itself.
fn single(operation: &Operation, met: &mut Sometimes) {
    let call = &operation.call;
    match &operation.told {
        Told::Failed { limit, .. } => {
            met.met_times(Situation::LimitNamed, u64::from(limit.is_some()));
            let late = operation.completed.is_some_and(|at| at >= call.deadline);
            met.met_times(Situation::DeadlinePassed, u64::from(late));
            met.met_times(Situation::NotReplayed, is_not_replayed(&operation.told).into());
            met.met_times(Situation::InQuarantine, is_in_quarantine(&operation.told).into());
        }
        Told::Accepted { place, .. } | Told::Rejected { place, .. } => {
            met.met_times(Situation::AskedElsewhere, u64::from(place.served_by != call.asked));
            let nothing = call.reads && place.sequence == SequenceNumber::ZERO;
            met.met_times(Situation::ReadOfNothing, u64::from(nothing));
            let long = call.payload.length > LONG_COMMAND_BYTES;
            met.met_times(Situation::LongCommand, u64::from(long));
        }
        Told::Open => {}
    }
}

/// Commands that were on their way to one entity at once. Each is compared with the ones that began shortly before.
fn overlaps(history: &History, met: &mut Sometimes) {
    const NEIGHBOURS: usize = 8;
    let mut by_entity: BTreeMap<&EntityAddress, Vec<&Operation>> = BTreeMap::new();
    for operation in history.operations().iter().filter(|it| it.told.place().is_some()) {
        let operations = by_entity.entry(&operation.call.entity).or_default();
        for other in operations.iter().rev().take(NEIGHBOURS) {
            if interval(other).1 < operation.call.invoked {
                continue;
            }
            for (one, two) in [(operation, *other), (*other, operation)] {
                let wrote = !two.call.reads && matches!(two.told, Told::Accepted { .. });
                let read = one.call.reads && wrote;
                met.met_times(Situation::ReadDuringWrite, u64::from(read));
                let refused = matches!(one.told, Told::Rejected { .. }) && wrote;
                met.met_times(Situation::RejectedUnderConcurrency, u64::from(refused));
            }
        }
        operations.push(operation);
    }
}

/// Two answers of one shard, one right after the other, by two nodes, and the second command had been on its way when the first was answered.
fn moves(history: &History, met: &mut Sometimes) {
    let mut shards: BTreeMap<ShardId, Vec<(&Operation, NodeId)>> = BTreeMap::new();
    for operation in history.operations() {
        if let Some(place) = operation.told.place() {
            shards.entry(place.shard).or_default().push((operation, place.served_by));
        }
    }
    for answers in shards.values_mut() {
        answers.sort_by_key(|(operation, _)| operation.completed);
        let moved = answers.windows(2).filter(|pair| {
            let [(earlier, first), (later, second)] = [pair[0], pair[1]];
            first != second && Some(later.call.invoked) <= earlier.completed
        });
        met.met_times(Situation::LeadershipMoved, moved.count() as u64);
    }
}

/// A poisoned command that failed, and an answer of the same entity to somebody who asked afterwards.
fn containment(history: &History, met: &mut Sometimes) {
    let mut failed: BTreeMap<&EntityAddress, Moment> = BTreeMap::new();
    for operation in history.operations() {
        let entity = &operation.call.entity;
        if &*operation.call.command == Poison::NAME {
            if let (true, Some(at)) = (operation.told.surely_not_applied(), operation.completed) {
                failed.insert(entity, at);
            }
        } else if operation.told.place().is_some()
            && failed.get(entity).is_some_and(|at| operation.call.invoked > *at)
        {
            failed.remove(entity);
            met.met(Situation::PanicContained);
        }
    }
}

/// What stands in the logs.
fn batches(history: &History, logs: &Logs<'_>, met: &mut Sometimes) {
    let mut counted: BTreeSet<(ShardId, Offset)> = BTreeSet::new();
    for batch in history.batches().iter().filter(|it| counted.insert((it.shard, it.first))) {
        let entities: BTreeSet<_> = batch.records.iter().map(|record| &record.entity).collect();
        met.met_times(Situation::SeveralInOneBatch, u64::from(batch.records.len() > 1));
        met.met_times(Situation::EntitiesInOneBatch, u64::from(entities.len() > 1));
        for record in &batch.records {
            let (events, accepted) = (record.events.len(), !record.rejected);
            met.met_times(Situation::SeveralEvents, u64::from(events > 1));
            met.met_times(Situation::NoEvents, u64::from(accepted && events == 0));
        }
    }
    for (_, entries) in logs.shards() {
        let terms: BTreeSet<_> = entries.values().map(|entry| entry.term).collect();
        met.met_times(Situation::TermChanged, terms.len() as u64 - 1);
    }
    for (_, entries) in logs.entities() {
        let terms: BTreeSet<_> = entries.iter().map(|entry| entry.term).collect();
        met.met_times(Situation::HistoryAcrossTerms, u64::from(terms.len() > 1));
    }
    for snapshot in history.snapshots() {
        let last = logs.history_of(&snapshot.entity).last();
        let overtaken = last.is_some_and(|it| it.record.last_sequence() > snapshot.sequence);
        met.met_times(Situation::SnapshotOvertaken, u64::from(overtaken));
    }
}

fn interval(operation: &Operation) -> (Moment, Moment) {
    (operation.call.invoked, operation.completed.unwrap_or(Moment(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tests::right::right;
    use crate::sometimes::Source;

    /// The histories of the checkers' tests meet everything that a history can tell, but for what their little model has not: long commands,
    /// poison, curses, deadlines, and keys that are used for something else.
    #[test]
    fn right_histories_meet_what_their_model_has() {
        let mut batch = Sometimes::new();
        (0..60).for_each(|seed| batch.merge(&derive(&right(seed, 400).history())));
        let absent = [
            Situation::KeyReuseRefused,
            Situation::LongCommand,
            Situation::DeadlinePassed,
            Situation::PanicContained,
            Situation::NotReplayed,
            Situation::InQuarantine,
        ];
        assert_eq!(batch.missing(&[Source::History]), absent, "{batch}");
    }

    /// The others, each planted.
    #[test]
    fn the_rest_is_met_when_it_is_there() {
        let mut parts = right(3, 400);
        let answered = |it: &&mut Operation| it.told.place().is_some();
        let mut operations = parts.operations.iter_mut().filter(answered);
        operations.next().unwrap().call.payload.length = LONG_COMMAND_BYTES + 1;
        let poisoned = operations.next().unwrap();
        let entity = poisoned.call.entity.clone();
        let refused = |error: &str| Told::Failed {
            effect: holm_core::Outcome::NotApplied,
            limit: None,
            error: error.into(),
        };
        (poisoned.call.command, poisoned.told) = (Poison::NAME.into(), refused("poisoned"));
        assert!(operations.any(|it| it.call.entity == entity), "somebody asks later");
        let mut reused = parts
            .operations
            .iter()
            .rev()
            .find(|it| !it.call.reads && it.told.place().is_some())
            .unwrap()
            .clone();
        reused.call.fingerprint = Some(1);
        reused.call.payload.digest = 1;
        reused.told = refused("the key was used before");
        reused.completed = Some(reused.call.deadline);
        parts.operations.push(reused.clone());
        for error in ["cannot be recovered: a panic: …", "is in quarantine since failure …"] {
            parts.operations.push(Operation { told: refused(error), ..reused.clone() });
        }
        let met = derive(&parts.history());
        for situation in [
            Situation::KeyReuseRefused,
            Situation::LongCommand,
            Situation::DeadlinePassed,
            Situation::PanicContained,
            Situation::NotReplayed,
            Situation::InQuarantine,
        ] {
            assert!(met.count(situation) > 0, "{}\n{met}", situation.name());
        }
    }
}
