//! Violations of what stands on the disks: logs, copies and snapshots.

use holm_core::{Entropy, NodeId, Term};
use holm_persistence::encode;

use super::{any, edit, is_write, somewhere};
use crate::checks::tests::right::{Parts, snapshot_of, written};
use crate::history::{Content, Operation, Place, SeenRecord, Told};
use crate::register::Register;

pub(super) fn lose_the_end(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(lost) = any(&parts.operations, pick, is_write) else { return false };
    let place = *parts.operations[lost].told.place().unwrap();
    parts.batches.retain(|batch| batch.shard != place.shard || batch.next() <= place.offset);
    parts.snapshots.clear();
    true
}

pub(super) fn leave_one_behind(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    let last = parts.batches.iter().rposition(|batch| batch.node == NodeId(3) && batch.first.0 > 1);
    last.map(|last| parts.batches.remove(last)).is_some()
}

pub(super) fn double_a_key(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
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

pub(super) fn go_back_a_term(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |batch| batch.first.0 == 1) else { return false };
    let (shard, next) = (parts.batches[chosen].shard, parts.batches[chosen].next());
    let mut batches = parts.batches.iter_mut().filter(|batch| batch.shard == shard);
    let follows = batches.any(|batch| batch.first == next);
    let first = parts.batches.iter_mut().filter(|it| it.shard == shard && it.first.0 == 1);
    first.for_each(|batch| batch.term = Term(1_000));
    follows
}

pub(super) fn fork_a_copy(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |_| true) else { return false };
    let batch = &mut parts.batches[chosen];
    if pick.below(2) == 0 {
        batch.term = batch.term.next();
    } else {
        batch.records[0].fingerprint ^= 1;
    }
    true
}

pub(super) fn drop_a_batch(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |_| true) else { return false };
    let (shard, first, next) =
        (parts.batches[chosen].shard, parts.batches[chosen].first, parts.batches[chosen].next());
    let follows = parts.batches.iter().any(|batch| batch.shard == shard && batch.first == next);
    parts.batches.retain(|batch| batch.shard != shard || batch.first != first);
    follows
}

pub(super) fn skip_a_number(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(place) = somewhere(parts, pick, |_| true) else { return false };
    edit(parts, place, |record| record.base = record.base.next());
    true
}

pub(super) fn break_a_chain(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(place) = somewhere(parts, pick, |record| record.previous.0 > 0) else { return false };
    edit(parts, place, |record| record.previous.0 -= 1);
    true
}

/// The record and every answer tell the same value, which no handler ever said.
pub(super) fn agree_on_a_lie(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
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

pub(super) fn tear_a_batch(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    let Some(chosen) = any(&parts.batches, pick, |batch| batch.records.len() > 1) else {
        return false;
    };
    parts.batches[chosen].records.pop();
    true
}

pub(super) fn spoil_a_snapshot(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
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
