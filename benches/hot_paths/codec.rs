//! Writing a record into a batch, reading it back, and finding the shard of an entity.

use std::hint::black_box;

use holm_core::{
    CausationId, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Offset, SeededEntropy,
    SequenceNumber, ShardId, Term, Timestamp, shard_of,
};
use holm_persistence::{Batch, BatchBuilder, Record, StoredEvent, StoredVerdict};

/// Records of one batch here.
const BATCH: u64 = 64;

/// One of the 64 records of a batch, its share of header and checksum included.
pub(crate) fn written() -> super::Path {
    Box::new(|times| {
        for _ in 0..times.div_ceil(BATCH) {
            black_box(batch());
        }
    })
}

/// One of the 64 records of a batch, verified and decoded.
pub(crate) fn read() -> super::Path {
    let bytes = batch().bytes().clone();
    Box::new(move |times| {
        for _ in 0..times.div_ceil(BATCH) {
            let batch = Batch::parse(bytes.clone()).expect("it was just written");
            for stored in batch.records() {
                black_box(stored.decode().expect("it was just written"));
            }
        }
    })
}

/// The shard of one entity.
pub(crate) fn shard() -> super::Path {
    let address = EntityAddress::new("account", "customer-4711").expect("a well-formed address");
    Box::new(move |times| {
        for _ in 0..times {
            black_box(shard_of(black_box(&address), 64));
        }
    })
}

fn batch() -> Batch {
    let mut entropy = SeededEntropy::new(1);
    let mut open = BatchBuilder::new(ShardId(0), Term(1), Offset(1));
    for step in 0..BATCH {
        let event =
            StoredEvent { name: "MoneyDeposited", schema_version: 1, payload: b"0123456789" };
        let record = Record {
            entity_type: "account",
            entity_id: "customer-4711",
            previous: Offset(step),
            base: SequenceNumber(step),
            at: Timestamp::from_millis(1_700_000_000_000),
            command: "deposit",
            id: CommandId(1 << 100),
            correlation: CorrelationId(1 << 100),
            causation: CausationId(1 << 100),
            key: IdempotencyKey::generate(&mut entropy),
            fingerprint: 1 << 60,
            events: vec![event],
            verdict: StoredVerdict::Accepted(b"01234567"),
            reactions: Vec::new(),
        };
        open.push(&record).expect("it is short");
    }
    open.finish()
}
