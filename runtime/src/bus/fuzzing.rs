//! The door of the fuzz target to what readers make of a record: facts, messages of topics, letters of the outbox, steps of a flow. See [`crate::fuzzing`].

use std::sync::LazyLock;

use bytes::Bytes;
use holm_core::{
    CausationId, CommandId, CorrelationId, IdempotencyKey, Offset, SequenceNumber, ShardId,
    Timestamp,
};
use holm_persistence::{Record, StoredEvent, StoredReaction, StoredRecord, StoredVerdict, encode};

use super::cloud_event::{CloudEvent, Publisher};
use super::fact::Fact;
use super::interest::Interest;
use super::tags::Tagger;
use super::topic::{TopicEvent, TopicLog, message_in};
use crate::entity::Entity as _;
use crate::flow::FlowStep;
use crate::outbox::letters_in;
use crate::registry::Registry;

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new().with_system_types());

/// A message with what messages have: texts, lists, choices, numbers.
type Message = (String, Vec<u8>, Option<Box<str>>, Result<u64, i32>);

/// A record, behind the checksum of its batch.
pub fn readers(data: &[u8]) {
    let stored = StoredRecord { offset: Offset(1), bytes: Bytes::copy_from_slice(data) };
    let Ok(record) = stored.decode() else { return };
    if let Ok(letters) = letters_in(&stored) {
        assert_eq!(letters.len(), record.reactions.len());
    }
    _ = FlowStep::of_record((ShardId(3), None), &stored, &record, record.correlation);
    let interests = [Interest::everything().and_programs(), Interest::everything().tag("a")];
    for interest in interests {
        let (mut facts, tagger) = (Vec::new(), Tagger::new(REGISTRY.clone()));
        let found = Fact::of_record(ShardId(3), &stored, &record, &interest, &tagger, &mut facts);
        if found.is_ok() {
            facts.iter().for_each(read);
        }
    }
}

fn read(fact: &Fact) {
    assert!(fact.sequence() > SequenceNumber::ZERO);
    _ = message_in::<Message>(fact);
    _ = message_in::<Vec<String>>(fact);
    let publisher = Publisher { cluster: "dev", namespace: "holm", registry: &REGISTRY };
    if let Ok(event) = CloudEvent::of(fact, publisher) {
        serde_json::to_string(&event).expect("an event that can be told");
    }
}

/// Seeds of [`readers`]: a message, one that is none, an event of another type, and reactions.
#[must_use]
pub fn readers_seeds() -> Vec<Vec<u8>> {
    let message: Message = ("hello".to_owned(), vec![1, 2], Some("x".into()), Ok(7));
    let published = |message: Vec<u8>| {
        encode(&TopicEvent::Published { message }).expect("a short message").to_vec()
    };
    let messages = [encode(&message).expect("a short message").to_vec(), b"none".to_vec()];
    let events = messages.map(published);
    let mut seeds: Vec<_> = events
        .iter()
        .map(|payload| {
            let event = StoredEvent { name: "Published", schema_version: 1, payload };
            record(TopicLog::TYPE, vec![event], Vec::new())
        })
        .collect();
    let event = StoredEvent { name: "Deposited", schema_version: 1, payload: &[1, 2, 3] };
    let reaction = StoredReaction {
        entity_type: "account",
        entity_id: "bob",
        command: "deposit",
        payload: &[4, 5],
        due: None,
        answered: Some("account.deposit.answered"),
    };
    seeds.push(record("account", vec![event; 2], vec![reaction]));
    seeds
}

fn record(
    entity_type: &str,
    events: Vec<StoredEvent<'_>>,
    reactions: Vec<StoredReaction<'_>>,
) -> Vec<u8> {
    let record = Record {
        entity_type,
        entity_id: "t/2",
        previous: Offset(5),
        base: SequenceNumber(9),
        at: Timestamp::from_millis(1_700_000_000_000),
        command: "publish",
        id: CommandId(1),
        correlation: CorrelationId(2),
        causation: CausationId(3),
        key: IdempotencyKey::new("k1").expect("a good key"),
        fingerprint: 77,
        events,
        verdict: StoredVerdict::Accepted(b"yes"),
        reactions,
    };
    encode(&record).expect("a small record").to_vec()
}
