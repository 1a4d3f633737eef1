//! The doors of the fuzz targets to what a store reads from its directory. See [`crate::fuzzing`].

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use sled::IVec;

use super::keys;
use super::logs::Logs;
use super::records::Records;
use super::side_file::{Extent, Reach, SideFile};
use super::tail_file;
use super::{LogId, value};
use crate::fuzzing::{both_ways, with_checksum};

const LOG: LogId = LogId(3);

/// The parts of an entry, as the database gives them: each with the length of its value (u16) before it; keys are right, in order or not.
pub fn parts(data: &[u8]) {
    let Some((repair, bytes)) = with_checksum(data) else { return };
    let mut rest = &bytes[..];
    let mut parts = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([head[0], head[1]])).min(after.len());
        let (value, after) = after.split_at(length);
        let key = keys::part_key(LOG, 7, u16::from(head[2]));
        let mut value = value.to_vec();
        if repair {
            value::repair_checksum(&key, &mut value);
        }
        parts.push((IVec::from(&key[..]), IVec::from(value)));
        rest = after;
    }
    if let Ok(entry) = value::join(&parts) {
        assert!(entry.len() <= bytes.len(), "no byte comes from nowhere");
    }
    keys::parse_key(&bytes);
}

/// Seeds of [`parts`]: an entry of one part, one of two.
#[must_use]
pub fn parts_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for length in [0, 5, value::MAX_PAYLOAD_BYTES + 3] {
        let mut bytes = Vec::new();
        let key_of = |part| keys::part_key(LOG, 7, part);
        value::cut(&vec![9; length], &mut Vec::new(), key_of, |key, value| {
            let length = u16::try_from(value.len()).expect("a part is below 64 KiB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.push(key[13]);
            bytes.extend_from_slice(&value);
        });
        seeds.extend(both_ways(&bytes));
    }
    seeds
}

/// The named records of a log, such as a vote or a term.
pub fn named_records(data: &[u8]) {
    let Some((repair, mut bytes)) = with_checksum(data) else { return };
    if repair {
        value::repair_checksum(&keys::record_key(LOG), &mut bytes);
    }
    if let Ok(records) = Records::unseal(LOG, IVec::from(bytes)) {
        let records = BTreeMap::from([(LOG, records.into())]);
        let logs = Logs { extents: BTreeMap::new(), records };
        logs.purged(LOG);
        let expected = Reach { extent: Some(Extent { first: 1, last: 9 }), records: 1 };
        let _ = logs.verify(Path::new("data"), &BTreeMap::from([(LOG, expected)]));
    }
}

/// Seeds of [`named_records`].
#[must_use]
pub fn named_records_seeds() -> Vec<Vec<u8>> {
    let mut records = Records::default();
    let mut seeds = Vec::new();
    for (name, record) in [("shard.term", &b"12345678"[..]), (super::logs::PURGED_RECORD, &[0; 8])]
    {
        records.put(name, Bytes::from_static(record));
        let (_, sealed) = records.seal(LOG, &mut Vec::new());
        seeds.extend(both_ways(&sealed));
    }
    seeds
}

/// The side file.
pub fn side_file(data: &[u8]) {
    let Some((repair, bytes)) = with_checksum(data) else { return };
    let Ok(mut text) = String::from_utf8(bytes) else { return };
    if repair {
        let end = text.rfind("crc32c ").unwrap_or(text.len());
        text.truncate(end);
        text = format!("{text}crc32c {:08x}\n", crc32c::crc32c(text.as_bytes()));
    }
    if let Ok(side) = SideFile::parse(&text) {
        assert_eq!(SideFile::parse(&side.text()).as_ref(), Ok(&side), "it can be written again");
        verify(&side.logs);
    }
}

/// Seeds of [`side_file`].
#[must_use]
pub fn side_file_seeds() -> Vec<Vec<u8>> {
    let mut side = SideFile::new(0xabc);
    let mut seeds = both_ways(side.text().as_bytes()).to_vec();
    side.membership = Some(super::Membership { cluster: 7, node: holm_core::NodeId(2) });
    side.logs = reaches();
    seeds.extend(both_ways(side.text().as_bytes()));
    seeds
}

/// One slot of the tail file.
pub fn tail_file(data: &[u8]) {
    let Some((repair, mut bytes)) = with_checksum(data) else { return };
    if repair && bytes.len() > 8 {
        let checksum = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
    if let Some(slot) = tail_file::parse_slot(&bytes) {
        let mut again = Vec::new();
        tail_file::write_slot(&mut again, slot.epoch, 1, slot.logs.clone().into_iter());
        let again = tail_file::parse_slot(&again);
        assert_eq!(again.map(|again| again.logs).as_ref(), Some(&slot.logs));
        verify(&slot.logs);
    }
}

/// Seeds of [`tail_file`].
#[must_use]
pub fn tail_file_seeds() -> Vec<Vec<u8>> {
    let mut slot = Vec::new();
    tail_file::write_slot(&mut slot, 4, 9, reaches().into_iter());
    both_ways(&slot).to_vec()
}

fn reaches() -> BTreeMap<LogId, Reach> {
    let reach = |last, records| Reach { extent: Some(Extent { first: 1, last }), records };
    BTreeMap::from([
        (LogId(0), reach(12, 2)),
        (LOG, reach(5, 0)),
        (LogId::CLUSTER, Reach::default()),
    ])
}

/// What is asked for is compared with logs that hold something else.
fn verify(expected: &BTreeMap<LogId, Reach>) {
    let extents = BTreeMap::from([(LOG, Extent { first: 3, last: 6 })]);
    let logs = Logs { extents, records: BTreeMap::new() };
    let _ = logs.verify(Path::new("data"), expected);
}
