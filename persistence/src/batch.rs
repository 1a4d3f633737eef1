//! The batch: one write to the log, holding consecutive records under one header and one checksum.
//!
//! Layout, little endian: format version (1 byte, now 1), flags (1 byte: bit 0 when a record has reactions), node (u16), shard (u32), term (u64),
//! offset of the first record (u64), number of records (u32), bytes of all records (u32), CRC32C of everything else (u32); then each record as its
//! length (u32) and its bytes.
//!
//! The flag is there so that whoever looks for reactions need not decode what has none. The node is the one whose engine ran the commands: who looks
//! back wants to know it, nothing is decided by it. Zero says nothing: what was written before nodes were told, and nodes whose number is above 65,535.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use holm_core::{EntityAddress, NodeId, Offset, ShardId, Term};

use crate::codec::{self, CodecError, MAX_ENCODED_BYTES};
use crate::record::{Record, RecordAddress};

/// Bytes before the first record.
pub const BATCH_HEADER_BYTES: usize = 36;

const FORMAT_VERSION: u8 = 1;
const FLAGS_AT: usize = 1;
const HAS_REACTIONS: u8 = 1;
const NODE_AT: usize = 2;
const CHECKSUM_AT: usize = 32;
const RECORD_LENGTH_BYTES: usize = 4;

/// A batch under construction.
#[derive(Debug)]
pub struct BatchBuilder {
    shard: ShardId,
    term: Term,
    first: Offset,
    records: u32,
    flags: u8,
    node: u16,
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose first record will have the offset `first`.
    #[must_use]
    pub fn new(shard: ShardId, term: Term, first: Offset) -> Self {
        Self {
            shard,
            term,
            first,
            records: 0,
            flags: 0,
            node: 0,
            bytes: vec![0; BATCH_HEADER_BYTES],
        }
    }

    /// Says which node makes it. A number that two bytes cannot hold is left out.
    #[must_use]
    pub fn made_by(mut self, node: NodeId) -> Self {
        self.node = u16::try_from(node.0).unwrap_or(0);
        self
    }

    /// Adds a record; returns its offset.
    ///
    /// # Errors
    /// When the record cannot be encoded or would be too long to be read back; the batch is then as before.
    pub fn push(&mut self, record: &Record<'_>) -> Result<Offset, CodecError> {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_LENGTH_BYTES]);
        let encoded = codec::encode_into(record, &mut self.bytes).and_then(|length| {
            // What is longer could be written, but never be read back.
            if length <= MAX_ENCODED_BYTES {
                Ok(length)
            } else {
                Err(CodecError::TooLong { length })
            }
        });
        match encoded {
            Ok(length) => {
                let length = u32::try_from(length).expect("an encoded value is below 4 GiB");
                self.bytes[length_at..length_at + RECORD_LENGTH_BYTES]
                    .copy_from_slice(&length.to_le_bytes());
            }
            Err(error) => {
                self.bytes.truncate(length_at);
                return Err(error);
            }
        }
        if !record.reactions.is_empty() {
            self.flags |= HAS_REACTIONS;
        }
        let offset = self.next_offset();
        self.records += 1;
        Ok(offset)
    }

    /// The offset that the next record will get.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.first.plus(u64::from(self.records))
    }

    /// True when no record was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes so far, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The finished batch.
    ///
    /// # Panics
    /// When no record was added: an empty batch would be an offset that nothing stands at.
    #[must_use]
    pub fn finish(mut self) -> Batch {
        assert!(self.records > 0, "a batch holds at least one record");
        let body = u32::try_from(self.bytes.len() - BATCH_HEADER_BYTES)
            .expect("a batch is closed long before 4 GiB");
        let header = &mut self.bytes[..BATCH_HEADER_BYTES];
        header[0] = FORMAT_VERSION;
        header[FLAGS_AT] = self.flags;
        header[NODE_AT..4].copy_from_slice(&self.node.to_le_bytes());
        header[4..8].copy_from_slice(&self.shard.0.to_le_bytes());
        header[8..16].copy_from_slice(&self.term.0.to_le_bytes());
        header[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        header[24..28].copy_from_slice(&self.records.to_le_bytes());
        header[28..32].copy_from_slice(&body.to_le_bytes());
        let checksum = checksum(&self.bytes);
        self.bytes[CHECKSUM_AT..BATCH_HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Batch {
            shard: self.shard,
            term: self.term,
            first: self.first,
            records: self.records,
            bytes: self.bytes.into(),
        }
    }
}

/// A batch whose header and checksum were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    shard: ShardId,
    term: Term,
    first: Offset,
    records: u32,
    bytes: Bytes,
}

impl Batch {
    /// Reads a batch from stored or received bytes and verifies it.
    ///
    /// # Errors
    /// [`CorruptBatch`] says what is wrong.
    pub fn parse(bytes: Bytes) -> Result<Self, CorruptBatch> {
        if bytes.len() < BATCH_HEADER_BYTES {
            return Err(CorruptBatch::Truncated {
                expected: BATCH_HEADER_BYTES,
                actual: bytes.len(),
            });
        }
        if bytes[0] != FORMAT_VERSION {
            return Err(CorruptBatch::Version { found: bytes[0] });
        }
        let expected = BATCH_HEADER_BYTES + u32_at(&bytes, 28) as usize;
        if bytes.len() != expected {
            return Err(CorruptBatch::Truncated { expected, actual: bytes.len() });
        }
        if checksum(&bytes) != u32_at(&bytes, CHECKSUM_AT) {
            return Err(CorruptBatch::Checksum);
        }
        let batch = Self {
            shard: ShardId(u32_at(&bytes, 4)),
            term: Term(u64_at(&bytes, 8)),
            first: Offset(u64_at(&bytes, 16)),
            records: u32_at(&bytes, 24),
            bytes,
        };
        batch.check_lengths()?;
        Ok(batch)
    }

    /// The shard whose log this is part of.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The term under which it was made.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The offset of the first record.
    #[must_use]
    pub fn first(&self) -> Offset {
        self.first
    }

    /// The offset of the last record.
    #[must_use]
    pub fn last(&self) -> Offset {
        Offset(self.first.0 + u64::from(self.records) - 1)
    }

    /// How many records it holds; at least one.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.records
    }

    /// True when a record in it has reactions.
    #[must_use]
    pub fn has_reactions(&self) -> bool {
        self.bytes[FLAGS_AT] & HAS_REACTIONS != 0
    }

    /// The node whose engine made it; none where the batch does not say.
    #[must_use]
    pub fn made_by(&self) -> Option<NodeId> {
        let node = u16::from_le_bytes([self.bytes[NODE_AT], self.bytes[NODE_AT + 1]]);
        (node != 0).then_some(NodeId(u64::from(node)))
    }

    /// The whole batch as it is stored.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records in offset order. They share the batch's memory.
    pub fn records(&self) -> impl Iterator<Item = StoredRecord> + '_ {
        (self.first.0..)
            .map(Offset)
            .zip(self.places())
            .map(|(offset, place)| self.at(offset, place))
    }

    /// The record at `offset`, or none when it is not in this batch. It is found from the first record on; who looks for many in one batch has its
    /// [`RecordPlaces`].
    #[must_use]
    pub fn record(&self, offset: Offset) -> Option<StoredRecord> {
        let place = self.places().nth(self.step_to(offset)?)?;
        Some(self.at(offset, place))
    }

    /// Whether the record at `offset` is in this batch.
    #[must_use]
    pub fn holds(&self, offset: Offset) -> bool {
        self.step_to(offset).is_some()
    }

    fn step_to(&self, offset: Offset) -> Option<usize> {
        let step = offset.0.checked_sub(self.first.0).filter(|step| *step < self.records.into())?;
        usize::try_from(step).ok()
    }

    /// Where the records are. Their lengths were checked when the batch was made.
    fn places(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = BATCH_HEADER_BYTES;
        (0..self.records).map(move |_| {
            let start = at + RECORD_LENGTH_BYTES;
            at = start + u32_at(&self.bytes, at) as usize;
            start..at
        })
    }

    fn at(&self, offset: Offset, place: Range<usize>) -> StoredRecord {
        StoredRecord { offset, bytes: self.bytes.slice(place) }
    }

    fn check_lengths(&self) -> Result<(), CorruptBatch> {
        // One beyond the last offset must be a number too.
        let end = self.first.0.checked_add(u64::from(self.records));
        if self.records == 0 || self.first == Offset::ZERO || end.is_none() {
            return Err(CorruptBatch::Structure);
        }
        let mut at = BATCH_HEADER_BYTES;
        for _ in 0..self.records {
            if self.bytes.len() - at < RECORD_LENGTH_BYTES {
                return Err(CorruptBatch::Structure);
            }
            let length = u32_at(&self.bytes, at) as usize;
            at += RECORD_LENGTH_BYTES;
            if self.bytes.len() - at < length {
                return Err(CorruptBatch::Structure);
            }
            at += length;
        }
        if at == self.bytes.len() { Ok(()) } else { Err(CorruptBatch::Structure) }
    }
}

/// A batch of which many records are looked for, in whatever order: each is found at once. It takes 16 bytes for each record of the batch.
#[derive(Debug)]
pub struct RecordPlaces {
    batch: Batch,
    places: Vec<Range<usize>>,
}

impl RecordPlaces {
    /// Goes through the batch once.
    #[must_use]
    pub fn of(batch: Batch) -> Self {
        let places = batch.places().collect();
        Self { batch, places }
    }

    /// The batch.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The record at `offset`, or none when it is not in this batch.
    #[must_use]
    pub fn record(&self, offset: Offset) -> Option<StoredRecord> {
        let place = self.places.get(self.batch.step_to(offset)?)?;
        Some(self.batch.at(offset, place.clone()))
    }
}

/// One record of a batch, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it stands in the log of its shard.
    pub offset: Offset,
    /// The encoded [`Record`].
    pub bytes: Bytes,
}

impl StoredRecord {
    /// The record, borrowing from the batch.
    ///
    /// # Errors
    /// When the bytes are no record: the batch was written by a newer version, because its checksum held.
    pub fn decode(&self) -> Result<Record<'_>, CodecError> {
        let (mut record, used): (Record<'_>, _) = codec::borrow_decode_prefix(&self.bytes)?;
        let type_name = std::any::type_name::<Record<'_>>();
        if used < self.bytes.len() {
            record.reactions = codec::borrow_decode(&self.bytes[used..])?;
            // Nobody writes an empty tail: these bytes are something else.
            if record.reactions.is_empty() {
                return Err(CodecError::LeftOver { type_name, bytes: self.bytes.len() - used });
            }
        }
        // One beyond its last event must be a number too: whoever reads a history counts that far.
        let end = (record.events.len() as u64 + 1).checked_add(record.base.0);
        if end.is_none() {
            let reason = "its events pass the last sequence number".to_owned();
            return Err(CodecError::Decode { type_name, reason });
        }
        Ok(record)
    }

    /// Whether it is a record of this entity; the rest of it is not looked at.
    ///
    /// # Errors
    /// When the bytes are no record.
    pub fn is_of(&self, address: &EntityAddress) -> Result<bool, CodecError> {
        let RecordAddress { entity_type, entity_id } = RecordAddress::read(&self.bytes)?;
        Ok(entity_id == address.id() && entity_type == address.entity_type())
    }

    /// The same record in memory of its own, so that it does not keep its batch alive.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { offset: self.offset, bytes: BytesMut::from(&self.bytes[..]).freeze() }
    }
}

fn checksum(batch: &[u8]) -> u32 {
    let before = crc32c::crc32c(&batch[..CHECKSUM_AT]);
    crc32c::crc32c_append(before, &batch[BATCH_HEADER_BYTES..])
}

/// Makes the checksum of changed bytes right again, so that what lies behind it is reached.
#[cfg(any(test, fuzzing))]
pub(crate) fn repair_checksum(bytes: &mut [u8]) {
    if bytes.len() >= BATCH_HEADER_BYTES {
        let checksum = checksum(bytes).to_le_bytes();
        bytes[CHECKSUM_AT..BATCH_HEADER_BYTES].copy_from_slice(&checksum);
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Why bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptBatch {
    /// There are fewer or more bytes than the header says.
    #[error("a batch of {expected} bytes has {actual}")]
    Truncated {
        /// What the header says.
        expected: usize,
        /// What is there.
        actual: usize,
    },
    /// It was written in a format that this version does not know.
    #[error("batch format {found} is unknown; this version reads format {FORMAT_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// The checksum does not fit the bytes.
    #[error("the checksum of a batch does not match")]
    Checksum,
    /// The checksum fits, but the lengths inside do not add up.
    #[error("the records of a batch do not add up to its length")]
    Structure,
}
