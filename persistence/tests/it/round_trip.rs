//! Property tests: records and batches come back as they were, and no flipped bit goes unseen.

use bytes::Bytes;
use holm_core::{
    CausationId, CommandId, CorrelationId, IdempotencyKey, Offset, SequenceNumber, ShardId, Term,
    Timestamp,
};
use holm_persistence::{
    Batch, BatchBuilder, Record, StoredEvent, StoredReaction, StoredRecord, StoredVerdict,
    borrow_decode, encode,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// The parts of a record that own what a record borrows.
#[derive(Debug, Clone)]
struct Owned {
    entity_type: String,
    entity_id: String,
    numbers: [u64; 4],
    ids: [u128; 3],
    command: String,
    key: String,
    events: Vec<(String, u16, Vec<u8>)>,
    accepted: bool,
    answer: Vec<u8>,
    reactions: Vec<OwnedReaction>,
}

/// All names of it, payload, time and the command that takes the answer.
type OwnedReaction = (String, Vec<u8>, Option<u64>, Option<String>);

impl Owned {
    fn record(&self) -> Record<'_> {
        let [previous, base, at, fingerprint] = self.numbers;
        Record {
            entity_type: &self.entity_type,
            entity_id: &self.entity_id,
            previous: Offset(previous),
            base: SequenceNumber(base),
            at: Timestamp::from_millis(at),
            command: &self.command,
            id: CommandId(self.ids[0]),
            correlation: CorrelationId(self.ids[1]),
            causation: CausationId(self.ids[2]),
            key: IdempotencyKey::new(&self.key).unwrap(),
            fingerprint,
            events: self
                .events
                .iter()
                .map(|(name, schema_version, payload)| StoredEvent {
                    name,
                    schema_version: *schema_version,
                    payload,
                })
                .collect(),
            verdict: if self.accepted {
                StoredVerdict::Accepted(&self.answer)
            } else {
                StoredVerdict::Rejected(&self.answer)
            },
            reactions: self
                .reactions
                .iter()
                .map(|(name, payload, due, answered)| StoredReaction {
                    entity_type: name,
                    entity_id: name,
                    command: name,
                    payload,
                    due: due.map(Timestamp::from_millis),
                    answered: answered.as_deref(),
                })
                .collect(),
        }
    }
}

fn records() -> impl Strategy<Value = Owned> {
    let events = vec(("[A-Z][a-z]{0,12}", any::<u16>(), vec(any::<u8>(), 0..40)), 0..5);
    let names = ("[a-z]{1,12}", "[^\\x00-\\x1f\\x7f-\\x9f]{1,20}", "[a-z_]{1,12}", "[!-~]{1,64}");
    let reactions = vec(
        ("[a-z]{0,9}", vec(any::<u8>(), 0..9), any::<Option<u64>>(), option::of("[a-z.]{0,9}")),
        0..3,
    );
    let outcome = (events, any::<bool>(), vec(any::<u8>(), 0..40), reactions);
    (names, any::<[u64; 4]>(), any::<[u128; 3]>(), outcome).prop_map(
        |(names, numbers, ids, (events, accepted, answer, reactions))| {
            let (entity_type, entity_id, command, key) = names;
            // The sum of base and events must not pass the end of the counter.
            let numbers = numbers.map(|number| number >> 1);
            Owned {
                entity_type,
                entity_id,
                numbers,
                ids,
                command,
                key,
                events,
                accepted,
                answer,
                reactions,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_back(owned in records()) {
        let record = owned.record();
        let stored = StoredRecord { offset: Offset(1), bytes: encode(&record).unwrap() };
        prop_assert_eq!(stored.decode().unwrap(), record.clone());
        // Who knows no reactions refuses a record that has some.
        let plain = borrow_decode::<Record<'_>>(&stored.bytes);
        prop_assert_eq!(plain.is_ok(), record.reactions.is_empty());
    }

    /// Promise G6: a record that was cut anywhere is none, unless the cut takes exactly what an older version did not know.
    #[test]
    fn a_torn_record_is_refused(owned in records(), cut: prop::sample::Index) {
        let mut record = owned.record();
        let bytes = encode(&record).unwrap();
        let cut = cut.index(bytes.len());
        let stored = StoredRecord { offset: Offset(1), bytes: bytes.slice(..cut) };
        record.reactions.clear();
        let plain = encode(&record).unwrap();
        prop_assert_eq!(stored.decode().is_ok(), cut == plain.len());
    }

    #[test]
    fn batches_come_back(
        owned in vec(records(), 1..6),
        shard: u32,
        term: u64,
        first in 1..u64::MAX >> 1,
    ) {
        let mut builder = BatchBuilder::new(ShardId(shard), Term(term), Offset(first));
        for owned in &owned {
            builder.push(&owned.record()).unwrap();
        }
        let written = builder.finish();
        let read = Batch::parse(written.bytes().clone()).unwrap();
        prop_assert_eq!((read.shard(), read.term()), (ShardId(shard), Term(term)));
        prop_assert_eq!(read.last(), Offset(first + owned.len() as u64 - 1));
        for ((stored, owned), offset) in read.records().zip(&owned).zip(first..) {
            prop_assert_eq!(stored.offset, Offset(offset));
            prop_assert_eq!(stored.decode().unwrap(), owned.record());
            prop_assert_eq!(read.record(stored.offset), Some(stored));
        }
        let reacts = owned.iter().any(|owned| !owned.reactions.is_empty());
        prop_assert_eq!(read.has_reactions(), reacts);
        prop_assert_eq!(read, written);
    }

    #[test]
    fn arbitrary_bytes_are_no_batch(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Batch::parse(Bytes::from(bytes)).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// Promise G6: a batch is whole or it is none, whatever became of its bytes.
    #[test]
    fn every_single_flipped_bit_is_seen(owned in vec(records(), 1..3)) {
        let mut builder = BatchBuilder::new(ShardId(1), Term(2), Offset(3));
        for owned in &owned {
            builder.push(&owned.record()).unwrap();
        }
        let whole = builder.finish().bytes().to_vec();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Batch::parse(bytes.into()).is_err(), "bit {}", bit);
        }
        for length in 0..whole.len() {
            prop_assert!(Batch::parse(whole[..length].to_vec().into()).is_err());
        }
    }
}
