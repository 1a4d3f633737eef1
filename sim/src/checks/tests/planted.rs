//! Planted violations: each spoils a right history in one way, and names the promise that it breaks.
//!
//! A violation that finds nothing to spoil in a history says so; the test counts that each was planted often enough.

use holm_core::{Entropy, NodeId, Offset, Outcome, SequenceNumber, ShardId, Term};
use holm_persistence::encode;

use super::right::{Parts, snapshot_of, written};
use crate::checks::Promise;
use crate::history::{Content, Moment, Operation, Place, SeenRecord, Told};
use crate::register::Register;

pub(super) struct Violation {
    pub(super) name: &'static str,
    pub(super) breaks: Promise,
    /// Spoils the history; false when there is nothing in it to spoil.
    pub(super) plant: fn(&mut Parts, &mut dyn Entropy) -> bool,
}

const fn violation(
    name: &'static str,
    breaks: Promise,
    plant: fn(&mut Parts, &mut dyn Entropy) -> bool,
) -> Violation {
    Violation { name, breaks, plant }
}

pub(super) const VIOLATIONS: [Violation; 24] = [
    violation("an acknowledged record is lost", Promise::Durable, lose_the_end),
    violation("one copy stays behind", Promise::Durable, leave_one_behind),
    violation("a reply is altered", Promise::Durable, alter_a_reply),
    violation("a rejection becomes a reply", Promise::Durable, turn_a_rejection),
    violation("an answer names another offset", Promise::Durable, misplace_an_answer),
    violation("a read saw what is not there", Promise::Durable, read_the_future),
    violation("a key takes effect twice", Promise::Once, double_a_key),
    violation("two answers to one key differ", Promise::Once, answer_differently),
    violation("two answers claim to be the first", Promise::Once, claim_to_be_first),
    violation("what was not applied is applied", Promise::Once, deny_a_success),
    violation("a key is answered from another command", Promise::Once, answer_from_another),
    violation("a term goes back", Promise::OneWriter, go_back_a_term),
    violation("two copies differ", Promise::OneWriter, fork_a_copy),
    violation("two nodes write under one term", Promise::OneWriter, write_from_two_nodes),
    violation("a batch is missing", Promise::GapFree, drop_a_batch),
    violation("a sequence number is skipped", Promise::GapFree, skip_a_number),
    violation("a chain is broken", Promise::GapFree, break_a_chain),
    violation("a read is stale", Promise::Linearizable, read_the_past),
    violation("a reply tells another value", Promise::Linearizable, invent_a_value),
    violation("a copy holds a part of a batch", Promise::Atomic, tear_a_batch),
    violation("a read saw half a command", Promise::Atomic, see_half),
    violation("nobody answers", Promise::Bounded, let_wait),
    violation("log and caller agree on a wrong reply", Promise::Deterministic, agree_on_a_lie),
    violation("a snapshot holds another state", Promise::Deterministic, spoil_a_snapshot),
];

/// One of the items for which `fit` holds.
fn any<T>(items: &[T], pick: &mut dyn Entropy, fit: impl Fn(&T) -> bool) -> Option<usize> {
    let fitting: Vec<_> = (0..items.len()).filter(|&it| fit(&items[it])).collect();
    let count = fitting.len() as u64;
    (count > 0).then(|| fitting[usize::try_from(pick.below(count)).unwrap()])
}

fn is_write(operation: &Operation) -> bool {
    !operation.call.reads && operation.told.place().is_some()
}

fn place_mut(told: &mut Told) -> &mut Place {
    match told {
        Told::Accepted { place, .. } | Told::Rejected { place, .. } => place,
        Told::Open | Told::Failed { .. } => panic!("an answered operation was chosen"),
    }
}

/// Changes the record at one place in every copy.
fn edit(parts: &mut Parts, (shard, offset): (ShardId, Offset), change: impl Fn(&mut SeenRecord)) {
    for batch in parts.batches.iter_mut().filter(|batch| batch.shard == shard) {
        if let Some(step) = offset.0.checked_sub(batch.first.0) {
            batch.records.get_mut(usize::try_from(step).unwrap()).map(&change);
        }
    }
}

/// One place of the log.
fn somewhere(
    parts: &Parts,
    pick: &mut dyn Entropy,
    fit: impl Fn(&SeenRecord) -> bool,
) -> Option<(ShardId, Offset)> {
    let batch = any(&parts.batches, pick, |batch| batch.records.iter().any(&fit))?;
    let batch = &parts.batches[batch];
    let step = any(&batch.records, pick, fit)?;
    Some((batch.shard, batch.first.plus(step as u64)))
}

fn lose_the_end(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(lost) = any(&parts.operations, pick, is_write) else { return false };
    let place = *parts.operations[lost].told.place().unwrap();
    parts.batches.retain(|batch| batch.shard != place.shard || batch.next() <= place.offset);
    parts.snapshots.clear();
    true
}

fn leave_one_behind(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    let last = parts.batches.iter().rposition(|batch| batch.node == NodeId(3) && batch.first.0 > 1);
    last.map(|last| parts.batches.remove(last)).is_some()
}

fn alter_a_reply(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let accepted = |it: &Operation| is_write(it) && matches!(it.told, Told::Accepted { .. });
    let Some(chosen) = any(&parts.operations, pick, accepted) else { return false };
    let Told::Accepted { reply, .. } = &mut parts.operations[chosen].told else { return false };
    *reply = Content::of(b"another");
    true
}

fn turn_a_rejection(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let rejected = |it: &Operation| matches!(it.told, Told::Rejected { .. });
    let Some(chosen) = any(&parts.operations, pick, rejected) else { return false };
    let told = &mut parts.operations[chosen].told;
    let Told::Rejected { rejection, place } = told.clone() else { return false };
    *told = Told::Accepted { reply: rejection, place };
    true
}

fn misplace_an_answer(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, is_write) else { return false };
    place_mut(&mut parts.operations[chosen].told).offset.0 += 1;
    true
}

fn read_the_future(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let read = |it: &Operation| it.call.reads && it.told.place().is_some();
    let Some(chosen) = any(&parts.operations, pick, read) else { return false };
    place_mut(&mut parts.operations[chosen].told).offset.0 += 10_000;
    true
}

fn double_a_key(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(place) = somewhere(parts, pick, |_| true) else { return false };
    let key = parts.batches.iter().find(|it| it.shard == place.0).unwrap().records[0].key.clone();
    let entity =
        parts.batches.iter().find(|it| it.shard == place.0).unwrap().records[0].entity.clone();
    // The first record's key, on a later record of the same entity.
    let later = somewhere(parts, pick, |record| record.entity == entity && record.key != key);
    let Some(later) = later else { return false };
    edit(parts, later, |record| record.key = key.clone());
    true
}

fn retried(parts: &Parts, pick: &mut dyn Entropy) -> Option<usize> {
    any(&parts.operations, pick, |it| is_write(it) && it.told.place().unwrap().replayed)
}

/// Another answered try of the same key.
fn sibling(parts: &Parts, of: usize) -> Option<usize> {
    let call = &parts.operations[of].call;
    let same = |it: &Operation| it.call.entity == call.entity && it.call.key == call.key;
    (0..parts.operations.len())
        .find(|&it| it != of && same(&parts.operations[it]) && is_write(&parts.operations[it]))
}

fn answer_differently(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = retried(parts, pick) else { return false };
    let Some(_) = sibling(parts, chosen) else { return false };
    let place = *parts.operations[chosen].told.place().unwrap();
    parts.operations[chosen].told = Told::Accepted { reply: Content::of(b"another"), place };
    true
}

fn claim_to_be_first(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = retried(parts, pick) else { return false };
    let Some(other) = sibling(parts, chosen) else { return false };
    place_mut(&mut parts.operations[chosen].told).replayed = false;
    place_mut(&mut parts.operations[other].told).replayed = false;
    true
}

fn deny_a_success(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, is_write) else { return false };
    let call = parts.operations[chosen].call.clone();
    for operation in &mut parts.operations {
        if operation.call.entity == call.entity && operation.call.key == call.key {
            operation.completed = Some(Moment(operation.call.invoked.0 + 1));
            operation.told = Told::Failed {
                effect: Outcome::NotApplied,
                limit: None,
                error: "overloaded".into(),
            };
        }
    }
    true
}

fn answer_from_another(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, is_write) else { return false };
    parts.operations[chosen].call.fingerprint = Some(42);
    true
}

fn go_back_a_term(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |batch| batch.first.0 == 1) else { return false };
    let (shard, next) = (parts.batches[chosen].shard, parts.batches[chosen].next());
    let mut batches = parts.batches.iter_mut().filter(|batch| batch.shard == shard);
    let follows = batches.any(|batch| batch.first == next);
    let first = parts.batches.iter_mut().filter(|it| it.shard == shard && it.first.0 == 1);
    first.for_each(|batch| batch.term = Term(1_000));
    follows
}

fn fork_a_copy(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |_| true) else { return false };
    let batch = &mut parts.batches[chosen];
    if pick.below(2) == 0 {
        batch.term = batch.term.next();
    } else {
        batch.records[0].fingerprint ^= 1;
    }
    true
}

fn write_from_two_nodes(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let first = |it: &Operation| is_write(it) && !it.told.place().unwrap().replayed;
    let Some(chosen) = any(&parts.operations, pick, first) else { return false };
    let place = *parts.operations[chosen].told.place().unwrap();
    let term_of = |place: Place| {
        let holds = |it: &&crate::history::SeenBatch| {
            it.shard == place.shard && (it.first..it.next()).contains(&place.offset)
        };
        parts.batches.iter().find(holds).map(|batch| batch.term)
    };
    let others = parts.operations.iter().filter(|it| first(it)).filter_map(|it| it.told.place());
    let mates = others.filter(|other| {
        other.shard == place.shard
            && other.offset != place.offset
            && term_of(**other) == term_of(place)
    });
    let has_mates = mates.count() > 0;
    place_mut(&mut parts.operations[chosen].told).served_by = NodeId(99);
    has_mates
}

fn drop_a_batch(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |_| true) else { return false };
    let (shard, first, next) =
        (parts.batches[chosen].shard, parts.batches[chosen].first, parts.batches[chosen].next());
    let follows = parts.batches.iter().any(|batch| batch.shard == shard && batch.first == next);
    parts.batches.retain(|batch| batch.shard != shard || batch.first != first);
    follows
}

fn skip_a_number(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(place) = somewhere(parts, pick, |_| true) else { return false };
    edit(parts, place, |record| record.base = record.base.next());
    true
}

fn break_a_chain(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(place) = somewhere(parts, pick, |record| record.previous.0 > 0) else { return false };
    edit(parts, place, |record| record.previous.0 -= 1);
    true
}

/// Moves a read behind the answer to a write that it does not see.
fn read_the_past(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let read = |it: &Operation| it.call.reads && it.told.place().is_some();
    let Some(chosen) = any(&parts.operations, pick, read) else { return false };
    let (entity, seen) = (
        parts.operations[chosen].call.entity.clone(),
        *parts.operations[chosen].told.place().unwrap(),
    );
    let newer = |it: &Operation| {
        is_write(it) && it.call.entity == entity && it.told.place().unwrap().offset > seen.offset
    };
    let Some(write) = any(&parts.operations, pick, newer) else { return false };
    let after = parts.operations[write].completed.unwrap();
    parts.operations[chosen].call.invoked = Moment(after.0 + 1);
    parts.operations[chosen].completed = Some(Moment(after.0 + 2));
    true
}

/// The log and the caller agree on a reply that no state explains; only the register's own search can find it.
fn invent_a_value(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let read = |it: &Operation| it.call.reads && it.told.place().is_some();
    let Some(chosen) = any(&parts.operations, pick, read) else { return false };
    let Told::Accepted { reply, .. } = &mut parts.operations[chosen].told else { return false };
    *reply = Content::of(&encode(&7u64).unwrap());
    true
}

/// The record and every answer tell the same value, which no handler ever said.
fn agree_on_a_lie(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let accepted = |it: &Operation| is_write(it) && matches!(it.told, Told::Accepted { .. });
    let Some(chosen) = any(&parts.operations, pick, accepted) else { return false };
    let place = *parts.operations[chosen].told.place().unwrap();
    let lie = encode(&7u64).unwrap();
    edit(parts, (place.shard, place.offset), |record| record.verdict = lie.clone());
    for operation in &mut parts.operations {
        let same = |it: &Place| (it.shard, it.offset) == (place.shard, place.offset);
        if is_write(operation) && operation.told.place().is_some_and(same) {
            let place = *operation.told.place().unwrap();
            operation.told = Told::Accepted { reply: Content::of(&lie), place };
        }
    }
    true
}

fn tear_a_batch(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |batch| batch.records.len() > 1) else {
        return false;
    };
    parts.batches[chosen].records.pop();
    true
}

fn see_half(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let several = |record: &SeenRecord| record.events.len() > 1;
    let Some((shard, offset)) = somewhere(parts, pick, several) else { return false };
    let holds = |it: &&crate::history::SeenBatch| {
        it.shard == shard && (it.first..it.next()).contains(&offset)
    };
    let batch = parts.batches.iter().find(holds).unwrap();
    let record = batch.records[usize::try_from(offset.0 - batch.first.0).unwrap()].clone();
    let read = |it: &Operation| {
        it.call.reads && it.call.entity == record.entity && it.told.place().is_some()
    };
    let Some(chosen) = any(&parts.operations, pick, read) else { return false };
    let place = place_mut(&mut parts.operations[chosen].told);
    (place.offset, place.sequence) = (offset, SequenceNumber(record.base.0 + 1));
    true
}

fn let_wait(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, |it| it.completed.is_some()) else {
        return false;
    };
    let operation = &mut parts.operations[chosen];
    operation.completed = Some(Moment(operation.call.deadline.0 + 2_000_000_000));
    true
}

fn spoil_a_snapshot(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.snapshots, pick, |_| true) else { return false };
    match pick.below(2) {
        0 => {
            parts.snapshots[chosen].payload =
                snapshot_of(&Register { value: 7, ..Register::default() })
        }
        // The log is another one than the one that the snapshot was taken from.
        _ => {
            let (entity, sequence) =
                (parts.snapshots[chosen].entity.clone(), parts.snapshots[chosen].sequence);
            let last = |record: &SeenRecord| {
                record.entity == entity
                    && record.last_sequence() == sequence
                    && record.base < sequence
            };
            let Some(place) = somewhere(parts, pick, last) else { return false };
            edit(parts, place, |record| {
                record.events.pop();
                record.events.push(written(7));
            });
        }
    }
    true
}
