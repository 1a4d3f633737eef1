//! The door of the fuzz target to what the entries of a shard's group mean. See [`crate::fuzzing`].

use bytes::Bytes;
use holm_core::{
    CausationId, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Offset, SequenceNumber,
    ShardId, Term, Timestamp,
};
use holm_persistence::{BatchBuilder, Record, StoredVerdict};

use super::follower::{accepted, read_trim, trim_payload};

/// The payload of an entry: a trim, or a batch that a replica at this place accepts or not.
pub fn shard_entry(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    match read_trim(&payload) {
        Some(Some(trim)) => {
            let again = trim_payload(&trim.address, trim.up_to).expect("an address and a number");
            assert_eq!(read_trim(&again).flatten(), Some(trim));
        }
        Some(None) => {}
        None => {
            if let Ok(batch) = accepted(ShardId(3), 2, &payload, Offset(6)) {
                assert_eq!((batch.shard(), batch.first()), (ShardId(3), Offset(7)));
            }
        }
    }
}

/// Seeds of [`shard_entry`]: two trims, and a batch that is in its place.
#[must_use]
pub fn shard_entry_seeds() -> Vec<Vec<u8>> {
    let address: EntityAddress = "account/alice".parse().expect("a good address");
    let trims = [SequenceNumber(7), SequenceNumber(u64::MAX)];
    let trims = trims.map(|up_to| trim_payload(&address, up_to).expect("a trim").to_vec());
    let mut batch = BatchBuilder::new(ShardId(3), Term(2), Offset(7));
    let record = Record {
        entity_type: "account",
        entity_id: "alice",
        previous: Offset::ZERO,
        base: SequenceNumber::ZERO,
        at: Timestamp::from_millis(5),
        command: "deposit",
        id: CommandId(1),
        correlation: CorrelationId(2),
        causation: CausationId(3),
        key: IdempotencyKey::new("k1").expect("a good key"),
        fingerprint: 0,
        events: Vec::new(),
        verdict: StoredVerdict::Accepted(b"yes"),
        reactions: Vec::new(),
    };
    batch.push(&record).expect("a small record");
    trims.into_iter().chain([batch.finish().bytes().to_vec()]).collect()
}
