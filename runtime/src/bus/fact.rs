//! A fact: one event as the log has it, with its place, its origin and its lineage.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use holm_core::{
    CausationId, CommandId, CorrelationId, EntityAddress, Offset, SequenceNumber, ShardId,
    Timestamp,
};
use holm_persistence::{Record, StoredEvent, StoredRecord};

use super::interest::Interest;
use super::tags::Tagger;
use crate::entity::{Entity, UpcastError};
use crate::registry::{Registry, read_event};

/// One event that happened. Cheap to clone: the facts of one record share its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    origin: Arc<Origin>,
    index: u32,
    name: Box<str>,
    schema_version: u16,
    payload: Bytes,
    notification: bool,
}

/// What the events of one command have in common.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    shard: ShardId,
    offset: Offset,
    address: EntityAddress,
    base: SequenceNumber,
    at: Timestamp,
    command: Box<str>,
    id: CommandId,
    correlation: CorrelationId,
    causation: CausationId,
}

/// Names a fact for ever, wherever it is read: the command that caused it, and which of its events it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FactId {
    /// The command.
    pub command: CommandId,
    /// The place among the command's events, from zero.
    pub index: u32,
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.command, self.index)
    }
}

impl Fact {
    /// The facts of a record that are of interest; an error when the record's address is none, or whether it is of interest is not known.
    pub(super) fn of_record(
        shard: ShardId,
        stored: &StoredRecord,
        record: &Record<'_>,
        interest: &Interest,
        tagger: &Tagger,
        into: &mut Vec<Self>,
    ) -> Result<(), String> {
        let mut origin = None;
        for (index, event) in (0u32..).zip(&record.events) {
            if !interest.wants_event(record, event, tagger)? {
                continue;
            }
            let origin = match &origin {
                Some(origin) => Arc::clone(origin),
                None => Arc::clone(origin.insert(Arc::new(Origin::of(shard, stored, record)?))),
            };
            into.push(Self {
                origin,
                index,
                name: event.name.into(),
                schema_version: event.schema_version,
                payload: stored.bytes.slice_ref(event.payload),
                notification: false,
            });
        }
        Ok(())
    }

    /// The fact without its payload: a notification.
    pub(super) fn without_payload(mut self) -> Self {
        (self.payload, self.notification) = (Bytes::new(), true);
        self
    }

    /// Whether it only says that something happened, without the event itself.
    #[must_use]
    pub fn is_notification(&self) -> bool {
        self.notification
    }

    /// Its name for ever.
    #[must_use]
    pub fn id(&self) -> FactId {
        FactId { command: self.origin.id, index: self.index }
    }

    /// The shard whose log it stands in.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.origin.shard
    }

    /// The offset of its record. The events of one command share it.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.origin.offset
    }

    /// Its place among the events of its record, from zero.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// To which entity it happened.
    #[must_use]
    pub fn address(&self) -> &EntityAddress {
        &self.origin.address
    }

    /// Its place in the history of that entity.
    #[must_use]
    pub fn sequence(&self) -> SequenceNumber {
        self.origin.base.plus(u64::from(self.index) + 1)
    }

    /// When its command was handled.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.origin.at
    }

    /// The event's name, as in `Withdrawn`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of the event's schema.
    #[must_use]
    pub fn schema_version(&self) -> u16 {
        self.schema_version
    }

    /// The event, encoded; empty in a notification.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The name of the command that caused it.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.origin.command
    }

    /// The command that caused it.
    #[must_use]
    pub fn command_id(&self) -> CommandId {
        self.origin.id
    }

    /// The conversation that it belongs to.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.origin.correlation
    }

    /// What caused the command.
    #[must_use]
    pub fn causation_id(&self) -> CausationId {
        self.origin.causation
    }

    /// The event itself, by way of the upcaster when it is of an older schema.
    ///
    /// # Errors
    /// When nobody can read it; also for a notification, which carries none, and for an event of another type.
    pub fn event<E: Entity>(&self) -> Result<E::Event, UpcastError> {
        read_event::<E>(&self.stored())
    }

    /// The event as JSON, when the registry knows its type.
    ///
    /// # Errors
    /// What the registry could not read.
    pub fn json(&self, registry: &Registry) -> Result<serde_json::Value, String> {
        let kind =
            registry.kind(self.address().entity_type()).map_err(|error| error.to_string())?;
        kind.entity.event_json(&self.stored())
    }

    fn stored(&self) -> StoredEvent<'_> {
        StoredEvent {
            name: &self.name,
            schema_version: self.schema_version,
            payload: &self.payload,
        }
    }
}

impl Origin {
    fn of(shard: ShardId, stored: &StoredRecord, record: &Record<'_>) -> Result<Self, String> {
        let address = EntityAddress::new(record.entity_type, record.entity_id)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            shard,
            offset: stored.offset,
            address,
            base: record.base,
            at: record.at,
            command: record.command.into(),
            id: record.id,
            correlation: record.correlation,
            causation: record.causation,
        })
    }
}
