//! The door of the fuzz target to what is decoded for a type that is known by its name only. See [`crate::fuzzing`].

use std::sync::LazyLock;

use holm_core::{
    CausationId, CommandId, CorrelationId, IdempotencyKey, Limits, SeededEntropy, SequenceNumber,
    Timestamp,
};
use holm_persistence::{StoredEvent, encode};
use serde::Serialize;

use super::{Executed, Kind, PayloadLimits, Registry, Scratch};
use crate::bus::group::{Attend, Group};
use crate::bus::topic::message_for;
use crate::context::Facts;
use crate::entity::{Command as _, Entity as _, NoRejection};

/// Holm's own types: their commands are the ones that every peer may send.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new().with_system_types());

/// What the second byte of an input says that the rest is.
mod what {
    pub(super) const COMMAND: u8 = 0;
    pub(super) const EVENT: u8 = 1;
    pub(super) const STATE: u8 = 2;
    pub(super) const ANSWER: u8 = 3;
    pub(super) const COUNT: u8 = 4;
}

/// A command, an event, a state or an answer in bincode: of which type, what it is, and which of that type's commands or events.
pub fn payloads(data: &[u8]) {
    let [kind, what, which, bytes @ ..] = data else { return };
    let kind = &REGISTRY.kinds[usize::from(*kind) % REGISTRY.kinds.len()];
    let which = usize::from(*which);
    match what % what::COUNT {
        what::COMMAND => command(kind, which % kind.commands.len(), bytes),
        what::EVENT => {
            let name = kind.events[which % kind.events.len()];
            event(kind, &StoredEvent { name, schema_version: 1, payload: bytes });
        }
        what::STATE => {
            if let Ok(state) = kind.entity.decode_state(bytes) {
                let mut again = Vec::new();
                kind.entity.encode_state(&state, &mut again).expect("what was read can be written");
                assert!(kind.entity.decode_state(&again).is_ok());
            }
        }
        _ => {
            _ = kind.commands[which % kind.commands.len()].reply_json(bytes);
            _ = kind.entity.rejection_json(bytes);
            _ = kind.entity.rejection_text(bytes);
        }
    }
}

/// Runs a command on an entity that nothing happened to yet. What it leaves must be readable.
fn command(kind: &Kind, which: usize, payload: &[u8]) {
    let key = IdempotencyKey::new("k1").expect("a good key");
    let facts = Facts {
        entity_id: "0-8",
        sequence: SequenceNumber::ZERO,
        now: Timestamp::from_millis(1_700_000_000_000),
        id: CommandId(1),
        correlation: CorrelationId(2),
        causation: CausationId(3),
        key: &key,
    };
    let limits = PayloadLimits::of(&Limits::default());
    let (mut state, mut scratch) = (kind.entity.fresh(), Scratch::default());
    let (command, mut entropy) = (&kind.commands[which], SeededEntropy::new(1));
    let executed = command.execute(&mut state, payload, facts, &mut entropy, limits, &mut scratch);
    let Ok(executed) = executed else { return };
    let read = match executed {
        Executed::Accepted { .. } => command.reply_json(&scratch.verdict),
        Executed::Rejected => kind.entity.rejection_json(&scratch.verdict),
    };
    read.expect("what an entity says can be read");
    let mut again = kind.entity.fresh();
    for stored in scratch.stored_events(Vec::new()) {
        kind.entity.apply(&mut again, &stored).expect("what was written can be read");
    }
}

fn event(kind: &Kind, stored: &StoredEvent<'_>) {
    let mut state = kind.entity.fresh();
    if kind.entity.apply(&mut state, stored).is_ok() {
        kind.entity.state_json(&state).expect("a state that can be shown");
    }
    _ = kind.entity.event_json(stored);
    _ = kind.entity.has_tag(stored, &["a".into()]);
}

/// Seeds of [`payloads`]: the same bytes as a command, an event, a state and an answer of each type.
#[must_use]
pub fn payloads_seeds() -> Vec<Vec<u8>> {
    let message = encoded(&message_for(&"hello").expect("a short message"));
    let mut seeds = Vec::new();
    for kind in 0..u8::try_from(REGISTRY.kinds.len()).expect("a handful of types") {
        for what in 0..what::COUNT {
            seeds.push([&[kind, what, 0][..], &message].concat());
        }
        let fresh = &REGISTRY.kinds[usize::from(kind)].entity;
        let mut state = vec![kind, what::STATE, 0];
        fresh.encode_state(&fresh.fresh(), &mut state).expect("a fresh state");
        seeds.push(state);
        seeds.push([&[kind, what::COMMAND, 1][..], &[0; 64]].concat());
    }
    for shards in [2, u32::MAX] {
        seeds.extend(claim(shards));
    }
    seeds.push([&[0, what::ANSWER, 0][..], &encoded(&Ok::<(), NoRejection>(()))].concat());
    seeds
}

/// A member of a durable subscription that says how many shards there are.
fn claim(shards: u32) -> Option<Vec<u8>> {
    let (start, holding, positions) = (Vec::new(), Vec::new(), Vec::new());
    let claim = Attend { member: 1, shards, start, holding, positions, leaving: false };
    let kind = REGISTRY.kinds.iter().position(|kind| kind.name == Group::TYPE)?;
    let which = REGISTRY.kinds[kind].commands.iter().position(|it| it.name() == Attend::NAME)?;
    let place = [u8::try_from(kind).ok()?, what::COMMAND, u8::try_from(which).ok()?];
    Some([&place[..], &encoded(&claim)].concat())
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    encode(value).expect("a short value").to_vec()
}
