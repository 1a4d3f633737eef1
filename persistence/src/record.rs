//! The record: the whole outcome of one command, stored together or not at all (promise G6).

use holm_core::{
    CausationId, CommandId, CorrelationId, IdempotencyKey, Offset, SequenceNumber, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};

/// The events, the answer and the idempotency key of one command, as they stand in the log.
///
/// A record without events is the recorded answer of a command that changed nothing: a rejection, or a reply to a command that found
/// nothing to do. It is stored too, because the same key must give the same answer. Reads are not stored.
///
/// Records of one entity form a chain by [`Record::previous`], so that a history can be read without an index of every event.
///
/// Its reactions are an optional tail: a record without any has the bytes that it had before there were reactions. Only
/// [`crate::StoredRecord::decode`] reads the tail; a reader that does not know it finds bytes left over and refuses the record, never guesses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// The entity's type.
    pub entity_type: &'a str,
    /// The entity's id.
    pub entity_id: &'a str,
    /// The offset of this entity's record before this one; zero for its first.
    pub previous: Offset,
    /// The entity's sequence number before this record's events.
    pub base: SequenceNumber,
    /// When the command was handled.
    pub at: Timestamp,
    /// The command's name.
    pub command: &'a str,
    /// The command's id.
    pub id: CommandId,
    /// The conversation it belongs to.
    pub correlation: CorrelationId,
    /// What caused it.
    pub causation: CausationId,
    /// The key under which the answer is found again.
    pub key: IdempotencyKey,
    /// XXH3-64 of command name, a zero byte and payload: the same key with another fingerprint is a misuse of the key.
    pub fingerprint: u64,
    /// What happened.
    pub events: Vec<StoredEvent<'a>>,
    /// What the caller was told.
    pub verdict: StoredVerdict<'a>,
    /// What is to be sent because of it, in this order.
    #[serde(skip_deserializing, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<StoredReaction<'a>>,
}

impl Record<'_> {
    /// The entity's sequence number after this record's events.
    #[must_use]
    pub fn last_sequence(&self) -> SequenceNumber {
        self.base.plus(self.events.len() as u64)
    }
}

/// The address of a record, read without the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct RecordAddress<'a> {
    pub(crate) entity_type: &'a str,
    pub(crate) entity_id: &'a str,
}

impl<'a> RecordAddress<'a> {
    /// Reads the first two fields of an encoded [`Record`].
    pub(crate) fn read(record: &'a [u8]) -> Result<Self, CodecError> {
        codec::borrow_decode_prefix(record).map(|(address, _)| address)
    }
}

/// The beginning of a record up to its conversation, read without the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct RecordHead<'a> {
    pub(crate) entity_type: &'a str,
    pub(crate) entity_id: &'a str,
    pub(crate) previous: Offset,
    _base: SequenceNumber,
    _at: Timestamp,
    /// Passed over: that it is a text is looked at by who wants to read it.
    #[serde(borrow, with = "serde_bytes")]
    _command: &'a [u8],
    _id: CommandId,
    pub(crate) correlation: CorrelationId,
}

impl<'a> RecordHead<'a> {
    /// Reads the first eight fields of an encoded [`Record`].
    pub(crate) fn read(record: &'a [u8]) -> Result<Self, CodecError> {
        codec::borrow_decode_prefix(record).map(|(head, _)| head)
    }
}

/// One event as stored: always with its name and the version of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent<'a> {
    /// The event's name, as in `Withdrawn`.
    pub name: &'a str,
    /// The version of its schema, from 1.
    pub schema_version: u16,
    /// The event, encoded.
    #[serde(borrow, with = "serde_bytes")]
    pub payload: &'a [u8],
}

/// One command that is to be sent because of a record, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredReaction<'a> {
    /// The type of the entity that it is for.
    pub entity_type: &'a str,
    /// The id of the entity that it is for.
    pub entity_id: &'a str,
    /// The command's name.
    pub command: &'a str,
    /// The command, encoded.
    #[serde(borrow, with = "serde_bytes")]
    pub payload: &'a [u8],
    /// Not to be sent before this time; none: at once.
    pub due: Option<Timestamp>,
    /// The sender's command that takes the answer; none: nobody waits for it.
    pub answered: Option<&'a str>,
}

/// What the caller was told, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredVerdict<'a> {
    /// The encoded reply.
    Accepted(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
    /// The encoded rejection.
    Rejected(#[serde(borrow, with = "serde_bytes")] &'a [u8]),
}
