//! Planted violations: each spoils a right history in one way, and names the promise that it breaks.
//!
//! A violation that finds nothing to spoil in a history says so; the test counts that each was planted often enough.

pub(super) mod cursed;
mod given;
mod stored;
mod told;

use holm_core::{Entropy, Offset, ShardId};

use self::cursed::{break_out, come_back, have_a_double, lock_up, outlive_a_term, slander};
use self::given::{
    alone_twice, end_too_early, invent_a_fact, leave_out_a_fact, misname_a_fact, stop_handling,
};
use self::stored::{
    agree_on_a_lie, break_a_chain, double_a_key, drop_a_batch, fork_a_copy, go_back_a_term,
    leave_one_behind, lose_the_end, skip_a_number, spoil_a_snapshot, tear_a_batch,
};
use self::told::{
    alter_a_reply, answer_differently, answer_from_another, claim_to_be_first, deny_a_success,
    hold_too_much, invent_a_value, let_wait, misplace_an_answer, read_the_future, read_the_past,
    see_half, turn_a_rejection, write_from_two_nodes,
};
use super::right::Parts;
use crate::checks::Promise;
use crate::history::{Operation, Place, SeenRecord, Told};

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

pub(super) const VIOLATIONS: [Violation; 37] = [
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
    violation("a fact is left out", Promise::Followed, leave_out_a_fact),
    violation("a fact comes that never happened", Promise::Followed, invent_a_fact),
    violation("a fact has another name", Promise::Followed, misname_a_fact),
    violation("who follows alone is given a fact twice", Promise::Followed, alone_twice),
    violation("the last fact never comes", Promise::Followed, end_too_early),
    violation("the shared projection stopped early", Promise::Followed, stop_handling),
    violation("an innocent is called broken", Promise::Contained, slander),
    violation("somebody is in quarantine for nothing", Promise::Contained, lock_up),
    violation("something is stored behind a quarantine", Promise::Contained, break_out),
    violation("who was found broken answers", Promise::Contained, come_back),
    violation("who cannot be replayed outlives a term", Promise::Contained, outlive_a_term),
    violation("who cannot be replayed is on two nodes", Promise::Contained, have_a_double),
    violation("nobody answers", Promise::Bounded, let_wait),
    violation("a node holds more than it may", Promise::Bounded, hold_too_much),
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
