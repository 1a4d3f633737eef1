//! A writing process is killed at random moments: each acknowledged batch is there, none is half there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use holm_core::{Entropy as _, Offset, SeededEntropy, SequenceNumber, ShardId};
use holm_persistence::conformance::payload_of;
use holm_persistence::{ShardLog as _, SledLog, Store, StoreOptions, entity_events};

use crate::child::{self, ENTITIES, Mode, entity};
use crate::subjects::{SHARDS, fast_directory};

const ROUNDS: u64 = 50;

/// Promise G1 on one node, laws 3, 4 and 6 of the log, law J22. The same directory is used in every round, so that recovery itself is killed too;
/// the parent looks into it after each.
#[test]
fn no_acknowledged_batch_is_lost_and_none_is_half_there() {
    let dir = fast_directory();
    let mut entropy = SeededEntropy::new(20_251);
    let mut acknowledged: BTreeMap<ShardId, Offset> = BTreeMap::new();
    let mut verified: BTreeMap<ShardId, Offset> = BTreeMap::new();
    let mut killed_before_first = 0;
    for round in 0..ROUNDS {
        let mut child = child::command(dir.path(), Mode::Pipelined, round).spawn().unwrap();
        let mut acknowledgements = child::acknowledgements(&mut child);
        // Every fifth child dies while it opens; the others at any moment of the writing.
        let mut seen = 0;
        if round % 5 != 4 {
            let first = acknowledgements.next().expect("the child writes");
            note(&mut acknowledged, first);
            seen = 1;
        }
        pause(Duration::from_micros(entropy.below(60_000)));
        child.kill().unwrap();
        for acknowledgement in acknowledgements {
            note(&mut acknowledged, acknowledgement);
            seen += 1;
        }
        child.wait().unwrap();
        killed_before_first += u64::from(seen == 0);
        verify(dir.path(), &acknowledged, &mut verified, round);
    }
    let total: u64 = acknowledged.values().map(|offset| offset.0).sum();
    println!(
        "{ROUNDS} kills, {killed_before_first} of them before the first batch, {total} records acknowledged, none missing"
    );
    assert!(total > ROUNDS, "the children wrote");
}

fn note(acknowledged: &mut BTreeMap<ShardId, Offset>, (shard, offset): (ShardId, Offset)) {
    let last = acknowledged.entry(shard).or_default();
    assert!(offset > *last, "acknowledgements of a shard come in order");
    *last = offset;
}

/// Reads what came since the last look, and every tenth time everything.
fn verify(
    dir: &Path,
    acknowledged: &BTreeMap<ShardId, Offset>,
    verified: &mut BTreeMap<ShardId, Offset>,
    round: u64,
) {
    let store = Store::open(dir, StoreOptions::default()).unwrap();
    let log = SledLog::start(store, SHARDS).unwrap();
    for shard in (0..SHARDS).map(ShardId) {
        let last = log.last_offset(shard).unwrap();
        let expected = acknowledged.get(&shard).copied().unwrap_or_default();
        assert!(last >= expected, "round {round}: shard {shard} ends at {last}, not {expected}");
        let seen = verified.insert(shard, last).unwrap_or_default();
        let thorough = round % 10 == 9;
        let mut next = if thorough { Offset(1) } else { seen.next() };
        while next <= last {
            for batch in log.read(shard, next, 1 << 20).unwrap() {
                assert_eq!(batch.first(), next, "round {round}: a gap in shard {shard}");
                next = batch.last().next();
            }
        }
        for number in 0..ENTITIES {
            if thorough || number == round % ENTITIES {
                verify_history(&log, shard, number, round);
            }
        }
    }
}

/// The history that the index leads to is whole: events 1 to the highest, each with what was written.
fn verify_history(log: &SledLog, shard: ShardId, number: u64, round: u64) {
    let address = entity(number);
    let all = SequenceNumber(u64::MAX);
    let found = entity_events(log, shard, &address, SequenceNumber(1), all, usize::MAX).unwrap();
    assert_eq!(found.events.len() as u64, found.highest.0, "round {round}: {address} in {shard}");
    for (event, sequence) in found.events.iter().zip(1..) {
        assert_eq!(event.sequence, SequenceNumber(sequence));
        assert!(event.payload.starts_with(&payload_of(&address, event.sequence)));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the moment of the kill is random on purpose; nothing is waited for"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
