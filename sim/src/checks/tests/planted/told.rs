//! Violations of what callers were told: the logs are right, an answer is not.

use holm_core::{Entropy, NodeId, Outcome, SequenceNumber};
use holm_persistence::encode;

use super::{any, is_write, place_mut, somewhere};
use crate::checks::tests::right::Parts;
use crate::history::{Content, Moment, Operation, Place, SeenBatch, SeenRecord, Told};

pub(super) fn alter_a_reply(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let accepted = |it: &Operation| is_write(it) && matches!(it.told, Told::Accepted { .. });
    let Some(chosen) = any(&parts.operations, pick, accepted) else { return false };
    let Told::Accepted { reply, .. } = &mut parts.operations[chosen].told else { return false };
    *reply = Content::of(b"another");
    true
}

pub(super) fn turn_a_rejection(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let rejected = |it: &Operation| matches!(it.told, Told::Rejected { .. });
    let Some(chosen) = any(&parts.operations, pick, rejected) else { return false };
    let told = &mut parts.operations[chosen].told;
    let Told::Rejected { rejection, place } = told.clone() else { return false };
    *told = Told::Accepted { reply: rejection, place };
    true
}

pub(super) fn misplace_an_answer(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, is_write) else { return false };
    place_mut(&mut parts.operations[chosen].told).offset.0 += 1;
    true
}

pub(super) fn read_the_future(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let read = |it: &Operation| it.call.reads && it.told.place().is_some();
    let Some(chosen) = any(&parts.operations, pick, read) else { return false };
    place_mut(&mut parts.operations[chosen].told).offset.0 += 10_000;
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

pub(super) fn answer_differently(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = retried(parts, pick) else { return false };
    let Some(_) = sibling(parts, chosen) else { return false };
    let place = *parts.operations[chosen].told.place().unwrap();
    parts.operations[chosen].told = Told::Accepted { reply: Content::of(b"another"), place };
    true
}

pub(super) fn claim_to_be_first(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = retried(parts, pick) else { return false };
    let Some(other) = sibling(parts, chosen) else { return false };
    place_mut(&mut parts.operations[chosen].told).replayed = false;
    place_mut(&mut parts.operations[other].told).replayed = false;
    true
}

pub(super) fn deny_a_success(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
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

pub(super) fn answer_from_another(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, is_write) else { return false };
    parts.operations[chosen].call.fingerprint = Some(42);
    true
}

pub(super) fn write_from_two_nodes(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let first = |it: &Operation| is_write(it) && !it.told.place().unwrap().replayed;
    let Some(chosen) = any(&parts.operations, pick, first) else { return false };
    let place = *parts.operations[chosen].told.place().unwrap();
    let term_of = |place: Place| {
        let holds = |it: &&SeenBatch| {
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

/// Moves a read behind the answer to a write that it does not see.
pub(super) fn read_the_past(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
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
pub(super) fn invent_a_value(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let read = |it: &Operation| it.call.reads && it.told.place().is_some();
    let Some(chosen) = any(&parts.operations, pick, read) else { return false };
    let Told::Accepted { reply, .. } = &mut parts.operations[chosen].told else { return false };
    *reply = Content::of(&encode(&7u64).unwrap());
    true
}

pub(super) fn see_half(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let several = |record: &SeenRecord| record.events.len() > 1;
    let Some((shard, offset)) = somewhere(parts, pick, several) else { return false };
    let holds = |it: &&SeenBatch| it.shard == shard && (it.first..it.next()).contains(&offset);
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

pub(super) fn let_wait(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.operations, pick, |it| it.completed.is_some()) else {
        return false;
    };
    let operation = &mut parts.operations[chosen];
    operation.completed = Some(Moment(operation.call.deadline.0 + 2_000_000_000));
    true
}

/// One more than the table allows, of any of the things that are looked at.
pub(super) fn hold_too_much(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.samples, pick, |_| true) else { return false };
    parts.samples[chosen].amount += 1;
    true
}
