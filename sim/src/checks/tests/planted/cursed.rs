//! Violations around an entity that cannot be replayed. The story itself is a right one: a relic is cursed, goes on in memory, is asked under the next
//! leader, and ends in quarantine.

use holm_core::{Entropy, NodeId, Offset, Outcome, SequenceNumber, ShardId, Term, Timestamp};
use holm_persistence::encode;
use holm_runtime::Command;

use super::any;
use crate::checks::contained::{QUARANTINED, is_in_quarantine};
use crate::checks::tests::right::{NODES, Parts};
use crate::checks::{GROUP, SHARED};
use crate::history::{
    Call, Content, Moment, Operation, Place, SeenBatch, SeenEvent, SeenFact, SeenRecord, Told,
};
use crate::relic::{Count, Curse, Lay, RelicEvent};

const SHARD: ShardId = ShardId(9);
const RELIC: &str = "relic/t0";

/// Where the curse stands.
const CURSE: Offset = Offset(2);

/// Adds the story to a history.
pub(in crate::checks::tests) fn haunt(parts: &mut Parts) {
    let laid = event("Laid", &RelicEvent::Laid {});
    let cursed = event("Cursed", &RelicEvent::Cursed { fresh: true });
    write::<Lay>(parts, &Lay {}, laid.clone(), 0);
    write::<Curse>(parts, &Curse {}, cursed, 1);
    write::<Lay>(parts, &Lay {}, laid, 1);
    for _ in 0..3 {
        refuse(parts, "relic/t0 cannot be recovered: a panic: a cursed event is replayed");
    }
    let record = SeenRecord { command: QUARANTINED.into(), ..record(parts, Vec::new(), 0) };
    store(parts, Term(2), record);
    refuse(parts, "relic/t0 is in quarantine since failure f: a cursed event is replayed");
}

/// Somebody whose history is well is called broken.
pub(super) fn slander(parts: &mut Parts, pick: &mut dyn Entropy) -> bool {
    haunt(parts);
    let broken = parts.operations.last().unwrap().told.clone();
    let well = |it: &Operation| it.call.reads && it.told.place().is_some();
    let Some(chosen) = any(&parts.operations, pick, well) else { return false };
    parts.operations[chosen].told = broken;
    true
}

/// The quarantine of somebody who is not cursed.
pub(super) fn lock_up(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    haunt(parts);
    change(parts, CURSE, |record| record.events[0].name = "Laid".into());
    parts.operations.retain(|it| !is_broken(it));
    true
}

/// Something is stored behind the quarantine.
pub(super) fn break_out(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    haunt(parts);
    let record = record(parts, vec![event("Laid", &RelicEvent::Laid {})], 2);
    store(parts, Term(2), record);
    true
}

/// Who was found broken is answered.
pub(super) fn come_back(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    haunt(parts);
    parts.operations.retain(|it| !is_in_quarantine(&it.told));
    let reply = Content::of(&encode(&2u64).unwrap());
    let last = parts.operations.len() - 1;
    let told = Told::Accepted { reply, place: place(3, 1) };
    ask(parts, Count::NAME, true, encode(&Count {}).unwrap().into(), told);
    last > 0
}

/// Another leader has replayed what cannot be replayed.
pub(super) fn outlive_a_term(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    haunt(parts);
    let after = |batch: &&mut SeenBatch| batch.shard == SHARD && batch.first > CURSE;
    parts.batches.iter_mut().filter(after).for_each(|batch| batch.term = Term(2));
    parts.operations.retain(|it| !is_broken(it));
    true
}

/// Two nodes have it in memory.
pub(super) fn have_a_double(parts: &mut Parts, _: &mut dyn Entropy) -> bool {
    haunt(parts);
    parts.operations.retain(|it| !is_broken(it));
    let reply = Content::of(&encode(&2u64).unwrap());
    let told = Told::Accepted { reply, place: place(3, 2) };
    ask(parts, Count::NAME, true, encode(&Count {}).unwrap().into(), told);
    true
}

fn is_broken(operation: &Operation) -> bool {
    operation.call.entity.to_string() == RELIC && operation.told.place().is_none()
}

fn change(parts: &mut Parts, at: Offset, change: impl Fn(&mut SeenRecord)) {
    let of_relic = |batch: &&mut SeenBatch| batch.shard == SHARD && batch.first == at;
    parts.batches.iter_mut().filter(of_relic).for_each(|batch| change(&mut batch.records[0]));
}

fn event(name: &str, event: &RelicEvent) -> SeenEvent {
    SeenEvent { name: name.into(), schema_version: 1, payload: encode(event).unwrap() }
}

fn place(offset: u64, node: u64) -> Place {
    Place {
        sequence: SequenceNumber(offset),
        shard: SHARD,
        offset: Offset(offset),
        replayed: false,
        served_by: NodeId(node),
    }
}

/// The next record of the relic.
fn record(parts: &Parts, events: Vec<SeenEvent>, reply: u64) -> SeenRecord {
    let before = stored(parts);
    SeenRecord {
        entity: RELIC.parse().unwrap(),
        previous: Offset(before),
        // Each record but the last has one event.
        base: SequenceNumber(before.min(3)),
        at: Timestamp::from_millis(before),
        command: Lay::NAME.into(),
        key: format!("relic-{before}").parse().unwrap(),
        fingerprint: 0,
        events,
        rejected: false,
        verdict: encode(&reply).unwrap(),
    }
}

fn stored(parts: &Parts) -> u64 {
    let copy = parts.batches.iter().filter(|it| it.shard == SHARD && it.node == NodeId(1));
    copy.count() as u64
}

fn store(parts: &mut Parts, term: Term, record: SeenRecord) {
    let first = Offset(stored(parts) + 1);
    let batch = |node| SeenBatch {
        node: NodeId(node),
        shard: SHARD,
        term,
        first,
        records: vec![record.clone()],
    };
    parts.batches.extend((1..=NODES).map(batch));
}

/// A command that is stored under the first term and answered by the first node.
fn write<C: Command>(parts: &mut Parts, command: &C, event: SeenEvent, reply: u64) {
    let payload = encode(command).unwrap();
    let offset = stored(parts) + 1;
    let given = |follower| SeenFact {
        follower,
        shard: SHARD,
        offset: Offset(offset),
        index: 0,
        entity: RELIC.parse().unwrap(),
        sequence: SequenceNumber(offset),
        event: event.name.clone(),
    };
    parts.facts.extend([given(GROUP), given(SHARED)]);
    let record = record(parts, vec![event], reply);
    let fingerprint = Call::fingerprint_of(C::NAME, &payload);
    let record = SeenRecord { command: C::NAME.into(), fingerprint, ..record };
    let reply = Content::of(&record.verdict);
    store(parts, Term(1), record);
    let told = Told::Accepted { reply, place: place(offset, 1) };
    ask(parts, C::NAME, false, payload.to_vec(), told);
}

fn refuse(parts: &mut Parts, error: &str) {
    let told = Told::Failed { effect: Outcome::NotApplied, limit: None, error: error.into() };
    ask(parts, Count::NAME, true, encode(&Count {}).unwrap().into(), told);
}

/// One after the other, behind all that the others asked.
fn ask(parts: &mut Parts, command: &str, reads: bool, payload: Vec<u8>, told: Told) {
    let of_relic = parts.operations.iter().filter(|it| it.call.entity.to_string() == RELIC);
    let writes = of_relic.clone().filter(|it| !it.call.reads).count();
    let now = 500_000 + 10 * parts.operations.len() as u64;
    let key = if reads { format!("look-{now}") } else { format!("relic-{writes}") };
    let call = Call {
        client: 0,
        asked: NodeId(1),
        entity: RELIC.parse().unwrap(),
        command: command.into(),
        reads,
        key: key.parse().unwrap(),
        fingerprint: Some(Call::fingerprint_of(command, &payload)),
        payload: Content::of(&payload),
        invoked: Moment(now),
        deadline: Moment(1_000_000),
    };
    parts.operations.push(Operation { call, completed: Some(Moment(now + 5)), told });
}
