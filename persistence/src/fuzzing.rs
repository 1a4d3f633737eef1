//! The doors of the fuzz targets into this crate: every decoder that reads a disk, and seeds made from real encodings.
//!
//! Compiled for tests and for fuzzing only. A checksum keeps random bytes out of what lies behind it, so the first byte of an input says whether
//! the checksum is put right first: half of all inputs go through the door that an attacker or a bug with a right checksum would take.

use bytes::Bytes;
use holm_core::{
    CausationId, CommandId, CorrelationId, IdempotencyKey, Offset, SequenceNumber, ShardId, Term,
    Timestamp,
};

use crate::batch::{self, Batch, BatchBuilder, StoredRecord};
use crate::codec;
use crate::entity_index::conversations::Block;
use crate::entity_index::heads;
use crate::record::{
    Record, RecordAddress, RecordHead, StoredEvent, StoredReaction, StoredVerdict,
};
use crate::snapshot_store;
pub use crate::store::fuzzing::{
    named_records, named_records_seeds, parts, parts_seeds, side_file, side_file_seeds, tail_file,
    tail_file_seeds,
};

/// Splits off the byte that says whether to put the checksum right.
pub(crate) fn with_checksum(data: &[u8]) -> Option<(bool, Vec<u8>)> {
    data.split_first().map(|(mode, rest)| (mode & 1 == 1, rest.to_vec()))
}

/// A seed that goes in as it is, and once more with its checksum put right.
pub(crate) fn both_ways(bytes: &[u8]) -> [Vec<u8>; 2] {
    [0, 1].map(|mode| [&[mode], bytes].concat())
}

/// A batch as it is stored and sent, and the records in it.
pub fn batch(data: &[u8]) {
    let Some((repair, mut bytes)) = with_checksum(data) else { return };
    if repair {
        batch::repair_checksum(&mut bytes);
    }
    let Ok(batch) = Batch::parse(Bytes::from(bytes)) else { return };
    assert!(batch.first() <= batch.last(), "a batch holds at least one record");
    let mut count = 0;
    for stored in batch.records() {
        assert_eq!(batch.record(stored.offset).as_ref(), Some(&stored));
        record(&stored.bytes);
        count += 1;
    }
    assert_eq!(count, batch.record_count());
    assert_eq!(batch.record(batch.last().next()), None);
}

/// Seeds of [`batch`].
#[must_use]
pub fn batch_seeds() -> Vec<Vec<u8>> {
    let mut builder = BatchBuilder::new(ShardId(3), Term(2), Offset(7));
    let key = IdempotencyKey::new("k1").expect("a good key");
    for record in [example(key.clone(), 0), example(key, 3)] {
        builder.push(&record).expect("a small record");
    }
    both_ways(builder.finish().bytes()).to_vec()
}

/// One record of a batch.
pub fn record(data: &[u8]) {
    let (address, head) = (RecordAddress::read(data), RecordHead::read(data));
    let stored = StoredRecord { offset: Offset(1), bytes: Bytes::copy_from_slice(data) };
    if let Ok(record) = stored.decode() {
        let address = address.expect("whoever reads the whole can read the beginning");
        let found = (record.entity_type, record.entity_id);
        assert_eq!((address.entity_type, address.entity_id), found);
        let head = head.expect("whoever reads the whole can read the beginning");
        assert_eq!((head.entity_type, head.entity_id), found);
        assert_eq!(head.correlation, record.correlation);
        let _ = record.key.digest();
        assert!(record.last_sequence().next() > record.base);
    }
}

/// Seeds of [`record`].
#[must_use]
pub fn record_seeds() -> Vec<Vec<u8>> {
    let keys =
        [IdempotencyKey::new("k1"), IdempotencyKey::new("k-0123456789abcdef0123456789abcdef")];
    let keys = keys.map(|key| key.expect("a good key"));
    keys.into_iter()
        .flat_map(|key| [0, 1, 3].map(|events| example(key.clone(), events)))
        .map(|record| codec::encode(&record).expect("a small record").to_vec())
        .collect()
}

/// A block of the index of conversations behind its checksum: run and first number as the key gives them, then the payload.
pub fn conversations(data: &[u8]) {
    let Some((key, payload)) = data.split_first_chunk::<16>() else { return };
    let (run, start) = (u64_of(&key[..8]), u64_of(&key[8..]));
    let Ok(block) = Block::read(Offset(run), start, payload) else { return };
    for fingerprint in [0, 1, (start >> 32) as u32, u32::MAX] {
        let mut before = None;
        for offset in block.offsets(Offset(run), fingerprint) {
            assert!((Offset(run)..=block.last).contains(&offset), "within its run");
            assert!(before.replace(offset) < Some(offset), "in order");
        }
    }
}

/// Seeds of [`conversations`].
#[must_use]
pub fn conversations_seeds() -> Vec<Vec<u8>> {
    let block = |run: u64, start: u64, last: u64, end: u64, numbers: &[u64]| {
        let head = [run, start, last, end];
        head.iter().chain(numbers).flat_map(|number| number.to_be_bytes()).collect()
    };
    vec![
        block(1, 0, 3, u64::MAX, &[0, (1 << 32) | 2, (7 << 32) | 1]),
        block(5, 1 << 32, 900, 2 << 32, &[(1 << 32) | 895, (1 << 32) | 4]),
        block(9, 0, 9, u64::MAX, &[]),
        block(9, 0, 8, u64::MAX, &[]),
    ]
}

/// A block of the index of heads behind its checksum: the length of the key that it begins at, that key, then the payload.
pub fn heads(data: &[u8]) {
    let Some((length, rest)) = data.split_first() else { return };
    let (start, payload) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(block) = heads::Block::read(start, Bytes::copy_from_slice(payload)) else { return };
    assert!(block.end().is_none_or(|end| start < end), "it goes forward");
    for entity in [start, payload, b"", b"account\0a"] {
        let within = start <= entity && block.end().is_none_or(|end| entity < end);
        assert!(block.head(entity).is_none() || within, "it says nothing of what it does not hold");
    }
}

/// Seeds of [`heads`].
#[must_use]
pub fn heads_seeds() -> Vec<Vec<u8>> {
    let block = |start: &[u8], end: &[u8], heads: &[(&[u8], u64)]| {
        let length = u8::try_from(start.len()).expect("a short key");
        [&[length], start, &heads::payload(end, heads)].concat()
    };
    let (a, b, c) = (&b"account\0a"[..], &b"account\0b"[..], &b"account\0c"[..]);
    vec![
        block(b"", b"", &[(a, 1), (b, 7)]),
        block(b"", b, &[(a, 3)]),
        block(b, b"", &[(b, 2), (c, u64::MAX)]),
        block(b, b"", &[(a, 2)]),
        block(a, c, &[(b, 2), (b, 3)]),
    ]
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("eight bytes"))
}

/// A snapshot as its parts give it, behind their checksums.
pub fn snapshot(data: &[u8]) {
    let _ = snapshot_store::read_joined(SequenceNumber(1), Bytes::copy_from_slice(data));
}

/// Seeds of [`snapshot`].
#[must_use]
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    vec![vec![0; 16], [&[1; 16][..], b"state"].concat(), vec![2; 15]]
}

fn example(key: IdempotencyKey, events: usize) -> Record<'static> {
    let event = StoredEvent { name: "Deposited", schema_version: 1, payload: &[1, 2, 3] };
    let reaction = StoredReaction {
        entity_type: "account",
        entity_id: "bob",
        command: "deposit",
        payload: &[4, 5],
        due: Some(Timestamp::from_millis(1_700_000_060_000)),
        answered: Some("account.deposit.answered"),
    };
    let verdict =
        if events == 0 { StoredVerdict::Rejected(b"no") } else { StoredVerdict::Accepted(b"yes") };
    Record {
        entity_type: "account",
        entity_id: "alice",
        previous: Offset(5),
        base: SequenceNumber(9),
        at: Timestamp::from_millis(1_700_000_000_000),
        command: "deposit",
        id: CommandId(1),
        correlation: CorrelationId(2),
        causation: CausationId(3),
        key,
        fingerprint: 77,
        events: vec![event; events],
        verdict,
        reactions: vec![reaction; events / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Door = (fn(&[u8]), fn() -> Vec<Vec<u8>>);

    /// Every seed and every beginning of it goes through its door.
    #[test]
    #[cfg_attr(
        miri,
        ignore = "sled's byte buffers keep to no model of aliasing: they reach their bytes through a pointer made for their header"
    )]
    fn seeds_and_their_beginnings_pass() {
        let doors: [Door; 9] = [
            (batch, batch_seeds),
            (record, record_seeds),
            (snapshot, snapshot_seeds),
            (conversations, conversations_seeds),
            (heads, heads_seeds),
            (parts, parts_seeds),
            (named_records, named_records_seeds),
            (side_file, side_file_seeds),
            (tail_file, tail_file_seeds),
        ];
        for (door, seeds) in doors {
            for seed in seeds() {
                let steps = (seed.len() / 300).max(1);
                (0..=seed.len()).step_by(steps).for_each(|end| door(&seed[..end]));
            }
        }
    }

    /// A history that no number counts is unreadable, instead of a panic in whoever adds it up.
    #[test]
    fn a_record_at_the_end_of_all_sequence_numbers_is_refused() {
        for (base, is_readable) in [(u64::MAX - 4, true), (u64::MAX - 3, false), (u64::MAX, false)]
        {
            let key = IdempotencyKey::new("k1").unwrap();
            let record = Record { base: SequenceNumber(base), ..example(key, 3) };
            let bytes = codec::encode(&record).unwrap();
            let stored = StoredRecord { offset: Offset(1), bytes };
            assert_eq!(stored.decode().is_ok(), is_readable, "{base}");
        }
    }

    /// A right checksum over offsets that no log reaches: refused, not counted over the end.
    #[test]
    fn a_batch_at_the_end_of_all_offsets_is_refused() {
        let mut bytes = batch_seeds()[1].clone();
        bytes[1 + 16..1 + 24].copy_from_slice(&u64::MAX.to_le_bytes());
        batch(&bytes);
        let mut whole = bytes[1..].to_vec();
        batch::repair_checksum(&mut whole);
        let parsed = Batch::parse(whole.into());
        assert_eq!(parsed, Err(crate::batch::CorruptBatch::Structure));
    }
}
