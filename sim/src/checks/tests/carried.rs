//! The checker of policies: what is right passes, and each way in which a policy may be wrong is found.

use bytes::Bytes;
use holm_core::{Limits, NodeId, Offset, SequenceNumber, ShardId, Term, Timestamp};
use holm_persistence::encode;

use crate::checks::carried::{check, left};
use crate::checks::logs::Logs;
use crate::checks::{Finding, Promise};
use crate::history::{History, SeenBatch, SeenEvent, SeenRecord};
use crate::register::RegisterEvent;
use crate::tally::TallyEvent;

/// What is written, at the offsets from 1. The first and the third are told to one and the same tally, the second to none.
const VALUES: [u64; 3] = [4, 5, 24];
const TALLY: &str = "tally/t1";

/// The registers' shard, and the tally's.
const SHARDS: [ShardId; 2] = [ShardId(0), ShardId(1)];

/// A history in which the tally was told of the writes at these offsets, each under a key.
fn told(told: &[(&str, u64)]) -> History {
    let written = VALUES.map(|value| record("register/r1", "w", &RegisterEvent::Written { value }));
    let told = told.iter().map(|(key, offset)| {
        let told = TallyEvent::Told { shard: SHARDS[0].0, offset: *offset, index: 0 };
        record(TALLY, key, &told)
    });
    let mut history = History::default();
    for (shard, records) in [(SHARDS[0], written.to_vec()), (SHARDS[1], told.collect())] {
        let (node, term) = (NodeId(1), Term(1));
        let batch = SeenBatch { node, shard, term, first: Offset(1), records };
        history.observe_batch(batch).unwrap();
    }
    history
}

fn record(entity: &str, key: &str, event: &impl serde::Serialize) -> SeenRecord {
    SeenRecord {
        entity: entity.parse().unwrap(),
        previous: Offset::ZERO,
        base: SequenceNumber::ZERO,
        at: Timestamp::from_millis(1),
        command: "a".into(),
        key: key.parse().unwrap(),
        fingerprint: 0,
        events: vec![SeenEvent {
            name: "e".into(),
            schema_version: 1,
            payload: encode(event).unwrap(),
        }],
        rejected: false,
        verdict: Bytes::new(),
    }
}

fn found(history: &History, limits: &Limits, carried_out: bool) -> Vec<Promise> {
    let findings = check(&Logs::of(history), limits, carried_out);
    findings.into_iter().map(|Finding { promise, .. }| promise).collect()
}

/// Promises G2 and G6: each write that is told of was told of once.
#[test]
fn what_was_told_once_passes() {
    let history = told(&[("a", 1), ("b", 3)]);
    assert_eq!((found(&history, &Limits::default(), true), left(&history)), (vec![], 0));
}

/// Promises G2, G6 and G8: one is missing, doubled under its key or another, invented, or before an earlier one.
#[test]
fn what_was_not_told_once_and_in_order_is_found() {
    for (what, history, promise) in [
        ("missing", told(&[("a", 1)]), Promise::Atomic),
        ("doubled", told(&[("a", 1), ("b", 3), ("c", 1)]), Promise::Once),
        ("under its key", told(&[("a", 1), ("b", 3), ("b", 3)]), Promise::Once),
        ("invented", told(&[("a", 1), ("c", 2), ("b", 3)]), Promise::Atomic),
        ("of nothing", told(&[("a", 1), ("b", 3), ("c", 9)]), Promise::Atomic),
        ("out of order", told(&[("b", 3), ("a", 1)]), Promise::Followed),
    ] {
        assert_eq!(found(&history, &Limits::default(), true), [promise], "{what}");
    }
}

/// While a policy has things to do, nothing is missing.
#[test]
fn what_is_on_its_way_is_not_missing() {
    let history = told(&[("a", 1)]);
    assert_eq!((found(&history, &Limits::default(), false), left(&history)), (vec![], 1));
}

/// Promise G2 ends with the window of keys.
#[test]
fn a_key_that_had_to_be_forgotten_may_take_effect_again() {
    let history = told(&[("a", 1), ("b", 3), ("a", 1)]);
    let mut limits = Limits::default();
    limits.window_keys = 1;
    assert_eq!(found(&history, &limits, true), []);
}
