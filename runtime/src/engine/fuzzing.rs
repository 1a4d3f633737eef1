//! The doors of the fuzz targets to what the engine reads out of a snapshot and out of the newest record of an entity. See [`crate::fuzzing`].

use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    CausationId, CommandEnvelope, CommandId, CorrelationId, FailureId, IdempotencyKey, NodeId,
    Offset, SequenceNumber, ShardId, Timestamp,
};
use holm_persistence::{Record, StoredRecord, StoredVerdict, decode, encode};

use super::again::{again, unwrapped};
use super::quarantine::{self, QUARANTINED, Release, Released, Sentence};
use super::repeats::recorded_answer;
use super::window::{Window, WindowBounds};
use crate::snapshot_payload::{self, Parts};

/// More keys than a long window needs for its table, and few enough that an input can pass the limit.
const BOUNDS: WindowBounds = WindowBounds { keys: 80, age: Duration::from_secs(100) };

/// The payload of a snapshot, as the store gives it: the state's bytes and the window of keys.
pub fn snapshot_payload(data: &[u8]) {
    let Ok(parts) = snapshot_payload::read(data) else { return };
    let taken_in = (Timestamp::from_millis(1_000_000), BOUNDS);
    let mut window = Window::from_entries(&parts.window, taken_in);
    let entries = window.entries();
    assert!(entries.len() <= BOUNDS.keys && entries.len() <= parts.window.len());
    let restored = Window::from_entries(&entries, taken_in);
    assert_eq!(restored.entries(), entries);
    window.find(7, taken_in.0, BOUNDS);
    let again = snapshot_payload::write(&Parts { window: entries, state: parts.state });
    assert!(snapshot_payload::read(&again.expect("a window and bytes")).is_ok());
}

/// Seeds of [`snapshot_payload`]: no key, a few, and more than the window holds.
#[must_use]
pub fn snapshot_payload_seeds() -> Vec<Vec<u8>> {
    let seed = |keys: u64| {
        let mut window = Window::default();
        for key in 0..keys {
            let digest = u128::from(key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060);
            let (offset, at) = (Offset(key + 1), Timestamp::from_millis(key * 900));
            window.remember(digest, offset, at, WindowBounds { keys: 1_000, ..BOUNDS });
        }
        let parts = Parts { window: window.entries(), state: b"state" };
        snapshot_payload::write(&parts).expect("a window and bytes")
    };
    [0, 3, 100].map(seed).to_vec()
}

/// What the first byte of an input says that the rest is.
mod kind {
    pub(super) const RECORD: u8 = 0;
    pub(super) const SENTENCE: u8 = 1;
    pub(super) const RELEASE: u8 = 2;
    pub(super) const RELEASED: u8 = 3;
    pub(super) const WRAPPED: u8 = 4;
    pub(super) const COUNT: u8 = 5;
}

/// The newest record of an entity, which may begin a quarantine or answer a repeated key; the sentence in one; a release and its reply; a command
/// of which an earlier try is to be looked for.
pub fn quarantine(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else { return };
    match kind % kind::COUNT {
        kind::RECORD => newest(bytes),
        kind::SENTENCE => newest(&record(QUARANTINED, bytes)),
        kind::RELEASE => _ = decode::<Release>(bytes),
        kind::WRAPPED => wrapped(bytes),
        _ => _ = decode::<Released>(bytes),
    }
}

fn newest(bytes: &[u8]) {
    let stored = StoredRecord { offset: Offset(7), bytes: Bytes::copy_from_slice(bytes) };
    if let Ok(Some(quarantine)) = quarantine::sentence(&stored) {
        assert_eq!(quarantine.offset, stored.offset);
        assert!(quarantine.reason.len() <= bytes.len(), "no byte comes from nowhere");
    }
    if let Ok(answer) =
        recorded_answer(&command(Bytes::new()), 77, &stored, (ShardId(3), NodeId(1)))
    {
        assert!(answer.replayed && answer.offset == stored.offset);
    }
}

fn command(payload: Bytes) -> CommandEnvelope {
    CommandEnvelope {
        address: "account/alice".parse().expect("a good address"),
        command: "deposit".into(),
        payload,
        key: IdempotencyKey::new("k1").expect("a good key"),
        id: CommandId(1),
        correlation: CorrelationId(2),
        causation: CausationId(3),
        deadline: Timestamp::from_millis(4),
    }
}

fn wrapped(bytes: &[u8]) {
    let Ok((inside, since)) = unwrapped(command(Bytes::copy_from_slice(bytes))) else { return };
    assert!(
        inside.payload.len() + inside.command.len() < bytes.len(),
        "no byte comes from nowhere"
    );
    let twice = unwrapped(again(inside.clone(), since)).expect("what was read can be written");
    assert_eq!(twice, (inside, since));
}

/// Seeds of [`quarantine`].
#[must_use]
pub fn quarantine_seeds() -> Vec<Vec<u8>> {
    let failure = FailureId(5);
    let sentence = Sentence { failure, reason: "a panic: no".into() };
    let sentence = encode(&sentence).expect("an id and a text").to_vec();
    let release = encode(&Release { failure }).expect("an id").to_vec();
    let released = [Released::Lifted, Released::WasFree, Released::Another { failure }];
    let released = released.map(|it| encode(&it).expect("a variant").to_vec());
    let mut seeds = vec![
        (kind::RECORD, record(QUARANTINED, &sentence)),
        (kind::RECORD, record("deposit", b"yes")),
        (kind::SENTENCE, sentence),
        (kind::RELEASE, release),
    ];
    seeds.extend(released.map(|it| (kind::RELEASED, it)));
    let inside = again(command(Bytes::from_static(b"five")), Offset(300));
    seeds.push((kind::WRAPPED, inside.payload.to_vec()));
    seeds.into_iter().map(|(kind, body)| [&[kind], &body[..]].concat()).collect()
}

fn record(command: &str, told: &[u8]) -> Vec<u8> {
    let record = Record {
        entity_type: "account",
        entity_id: "alice",
        previous: Offset(5),
        base: SequenceNumber(9),
        at: Timestamp::from_millis(1_700_000_000_000),
        command,
        id: CommandId(1),
        correlation: CorrelationId(2),
        causation: CausationId(3),
        key: IdempotencyKey::new("k1").expect("a good key"),
        fingerprint: 77,
        events: Vec::new(),
        verdict: StoredVerdict::Accepted(told),
        reactions: Vec::new(),
    };
    encode(&record).expect("a small record").to_vec()
}
