//! The layout of a Raft entry, in the store and on the wire: kind (1 byte), term (u64, little endian), then the payload.
//!
//! The index is not part of it: the store's key and the append message's first index say it. Decoding shares the memory of its source,
//! so a batch is copied once on its way to the disk and not at all on its way out.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use holm_persistence::{decode, encode};
use openraft::EntryPayload;

use super::{Entry, LogId, Membership, Payload};

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 9;

/// The log id of an entry: with one leader per term, term and index are all of it.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The term under which an entry was appended.
pub(crate) fn term_of(id: &LogId) -> u64 {
    **id.committed_leader_id()
}

/// Encodes an entry for the store.
pub(crate) fn to_bytes(entry: &Entry) -> io::Result<Bytes> {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload_hint(entry));
    write(entry, &mut bytes)?;
    Ok(bytes.freeze())
}

/// Appends an encoded entry to `out`.
pub(crate) fn write(entry: &Entry, out: &mut impl BufMut) -> io::Result<()> {
    let kind = match &entry.payload {
        EntryPayload::Blank => BLANK,
        EntryPayload::Normal(_) => NORMAL,
        EntryPayload::Membership(_) => MEMBERSHIP,
    };
    out.put_u8(kind);
    out.put_u64_le(term_of(&entry.log_id));
    match &entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Normal(Payload(bytes)) => out.put_slice(bytes),
        EntryPayload::Membership(membership) => {
            out.put_slice(&encode(membership).map_err(io::Error::other)?);
        }
    }
    Ok(())
}

/// Reads an entry back.
pub(crate) fn from_bytes(index: u64, bytes: &Bytes) -> io::Result<Entry> {
    let payload = bytes.slice(HEADER_BYTES.min(bytes.len())..);
    let term = read_term(bytes).ok_or_else(|| invalid("an entry is too short"))?;
    let payload = match bytes[0] {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Payload(payload)),
        MEMBERSHIP => {
            EntryPayload::Membership(decode::<Membership>(&payload).map_err(io::Error::other)?)
        }
        _ => return Err(invalid("an entry is of a kind that this version does not know")),
    };
    Ok(Entry { log_id: log_id(term, index), payload })
}

/// The term inside the bytes of an entry.
pub(crate) fn read_term(bytes: &[u8]) -> Option<u64> {
    let term = bytes.get(1..HEADER_BYTES)?;
    Some(u64::from_le_bytes(term.try_into().ok()?))
}

/// About how many bytes of memory an entry holds.
pub(crate) fn payload_hint(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Payload(bytes)) => bytes.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(_) => 64,
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::EmptyNode;

    use super::*;

    #[test]
    fn every_kind_of_entry_survives_its_bytes() {
        let voters = BTreeSet::from([1_u64, 2, 3]);
        let nodes: BTreeMap<u64, EmptyNode> =
            [1, 2, 3, 4].map(|node| (node, EmptyNode::new())).into_iter().collect();
        let membership = Membership::new(vec![voters], nodes).unwrap();
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Payload(Bytes::from_static(b"batch"))),
            EntryPayload::Membership(membership),
        ] {
            let entry = Entry { log_id: log_id(7, 42), payload };
            let back = from_bytes(42, &to_bytes(&entry).unwrap()).unwrap();
            assert_eq!(back, entry);
        }
    }

    #[test]
    fn what_is_no_entry_is_an_error() {
        for bytes in [&b""[..], &b"\x01\x00"[..], &b"\x09\x00\x00\x00\x00\x00\x00\x00\x00"[..]] {
            assert!(from_bytes(1, &Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
