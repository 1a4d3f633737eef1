//! What stood on a disk: batches with their records, and snapshots, as one node had them.

use bytes::Bytes;
use holm_core::{
    EntityAddress, IdempotencyKey, NodeId, Offset, SequenceNumber, ShardId, Term, Timestamp,
};
use holm_persistence::{Batch, CodecError, Record, StoredRecord, StoredVerdict};
use serde::{Deserialize, Serialize};

use super::text;

/// One batch of a shard's log, as it stood on one node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenBatch {
    /// Whose disk.
    pub node: NodeId,
    /// The shard.
    pub shard: ShardId,
    /// The term under which it was made; zero when the source does not tell it.
    pub term: Term,
    /// The offset of its first record.
    pub first: Offset,
    /// Its records, in offset order.
    pub records: Vec<SeenRecord>,
}

/// The outcome of one command, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRecord {
    /// Whose history it continues.
    #[serde(with = "text::shown")]
    pub entity: EntityAddress,
    /// The offset of the entity's record before this one; zero for its first.
    pub previous: Offset,
    /// The entity's sequence number before the events.
    pub base: SequenceNumber,
    /// When the command was handled.
    pub at: Timestamp,
    /// The command's name.
    pub command: Box<str>,
    /// The key.
    #[serde(with = "text::shown")]
    pub key: IdempotencyKey,
    /// XXH3-64 of command name, a zero byte and payload.
    pub fingerprint: u64,
    /// What happened.
    pub events: Vec<SeenEvent>,
    /// Whether the entity refused.
    pub rejected: bool,
    /// The encoded reply or rejection.
    #[serde(with = "text::hex")]
    pub verdict: Bytes,
}

/// One event, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenEvent {
    /// Its name.
    pub name: Box<str>,
    /// The version of its schema.
    pub schema_version: u16,
    /// The event, encoded.
    #[serde(with = "text::hex")]
    pub payload: Bytes,
}

/// One event, as a subscriber was given it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFact {
    /// Whose: zero is the group of the durable subscription, the greatest number that of the shared projection; everybody else follows alone.
    pub follower: u64,
    /// The shard.
    pub shard: ShardId,
    /// The offset of its record.
    pub offset: Offset,
    /// Its place among the record's events.
    pub index: u32,
    /// To whom it happened.
    #[serde(with = "text::shown")]
    pub entity: EntityAddress,
    /// Its place in the history of that entity.
    pub sequence: SequenceNumber,
    /// The event's name.
    pub event: Box<str>,
}

/// One snapshot, as it stood on one node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSnapshot {
    /// Whose disk.
    pub node: NodeId,
    /// Whose state.
    #[serde(with = "text::shown")]
    pub entity: EntityAddress,
    /// After which event.
    pub sequence: SequenceNumber,
    /// The offset of the newest record that it holds.
    pub offset: Offset,
    /// When it was taken.
    pub at: Timestamp,
    /// The snapshot's payload.
    #[serde(with = "text::hex")]
    pub payload: Bytes,
}

impl SeenBatch {
    /// A verified batch, decoded. Events and verdicts share its memory.
    ///
    /// # Errors
    /// When a record cannot be decoded.
    pub fn of(node: NodeId, batch: &Batch) -> Result<Self, CodecError> {
        let records =
            batch.records().map(|stored| SeenRecord::of(&stored)).collect::<Result<_, _>>()?;
        Ok(Self { node, shard: batch.shard(), term: batch.term(), first: batch.first(), records })
    }

    /// The records with their offsets.
    pub fn placed(&self) -> impl Iterator<Item = (Offset, &SeenRecord)> {
        (0..).zip(&self.records).map(|(step, record)| (self.first.plus(step), record))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.first.plus(self.records.len() as u64)
    }
}

impl SeenRecord {
    fn of(stored: &StoredRecord) -> Result<Self, CodecError> {
        let record: Record<'_> = stored.decode()?;
        let entity = EntityAddress::new(record.entity_type, record.entity_id).map_err(|error| {
            CodecError::Decode { type_name: "EntityAddress", reason: error.to_string() }
        })?;
        let events = record.events.iter().map(|event| SeenEvent {
            name: event.name.into(),
            schema_version: event.schema_version,
            payload: stored.bytes.slice_ref(event.payload),
        });
        let (rejected, verdict) = match record.verdict {
            StoredVerdict::Accepted(reply) => (false, reply),
            StoredVerdict::Rejected(rejection) => (true, rejection),
        };
        Ok(Self {
            entity,
            previous: record.previous,
            base: record.base,
            at: record.at,
            command: record.command.into(),
            key: record.key.clone(),
            fingerprint: record.fingerprint,
            events: events.collect(),
            rejected,
            verdict: stored.bytes.slice_ref(verdict),
        })
    }

    /// The entity's sequence number after the events.
    #[must_use]
    pub fn last_sequence(&self) -> SequenceNumber {
        self.base.plus(self.events.len() as u64)
    }
}
