//! Writes well-formed batches: what the runtime does, without a runtime.

use std::collections::HashMap;

use holm_core::{
    CausationId, CommandId, CorrelationId, EntityAddress, IdempotencyKey, NodeId, Offset,
    SequenceNumber, ShardId, Term, Timestamp,
};

use super::{Subject, wait};
use crate::batch::{Batch, BatchBuilder};
use crate::record::{Record, StoredEvent, StoredVerdict};
use crate::shard_log::AppendError;

/// One command of a batch: whose it is, and how many events it persisted.
pub type Command<'a> = (&'a EntityAddress, usize);

/// The writer of one shard under one term; it knows where each entity's chain ends.
#[derive(Debug, Clone)]
pub struct Writer {
    shard: ShardId,
    term: Term,
    next: Offset,
    chains: HashMap<EntityAddress, (Offset, SequenceNumber)>,
    payload_bytes: usize,
    conversations: Option<u64>,
}

impl Writer {
    /// A writer that begins at the end of an empty log.
    #[must_use]
    pub fn new(shard: ShardId, term: Term) -> Self {
        let (next, chains) = (Offset(1), HashMap::new());
        Self { shard, term, next, chains, payload_bytes: 0, conversations: None }
    }

    /// Opens the shard of a subject and writes behind what is there, which must be empty.
    pub fn lead(subject: &mut dyn Subject, shard: ShardId) -> Self {
        let (term, opened) = subject.lead(shard);
        assert_eq!(opened.last, Offset::ZERO, "a fresh subject has an empty log");
        Self::new(shard, term)
    }

    /// The same writer under another term.
    #[must_use]
    pub fn at(mut self, term: Term) -> Self {
        self.term = term;
        self
    }

    /// Pads each event to so many bytes.
    #[must_use]
    pub fn padded(mut self, payload_bytes: usize) -> Self {
        self.payload_bytes = payload_bytes;
        self
    }

    /// Lets so many conversations take turns, each a record; without, each record is one of its own.
    #[must_use]
    pub fn in_conversations(mut self, conversations: u64) -> Self {
        self.conversations = Some(conversations);
        self
    }

    /// The conversation of the record at `offset`.
    #[must_use]
    pub fn conversation_of(&self, offset: Offset) -> CorrelationId {
        let number = self.conversations.map_or(offset.0, |conversations| offset.0 % conversations);
        CorrelationId(u128::from(number) + 1)
    }

    /// The term it writes under.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The offset that its next record will have.
    #[must_use]
    pub fn next(&self) -> Offset {
        self.next
    }

    /// The next batch.
    ///
    /// # Panics
    /// When a record cannot be encoded, which these always can.
    pub fn batch(&mut self, commands: &[Command<'_>]) -> Batch {
        let mut builder =
            BatchBuilder::new(self.shard, self.term, self.next).made_by(NodeId(self.term.0));
        for &(address, events) in commands {
            let (previous, base) = self.chains.get(address).copied().unwrap_or_default();
            let payloads: Vec<Vec<u8>> =
                (1..=events as u64).map(|step| self.payload(address, base.plus(step))).collect();
            let correlation = self.conversation_of(self.next);
            let record = record(address, previous, base, (self.next, correlation), &payloads);
            let offset = builder.push(&record).expect("a small record can be encoded");
            self.chains.insert(address.clone(), (offset, base.plus(events as u64)));
            self.next = offset.next();
        }
        builder.finish()
    }

    /// Appends the next batch and waits for it.
    ///
    /// # Errors
    /// As [`crate::ShardLog::append`].
    pub fn write(
        &mut self,
        subject: &dyn Subject,
        commands: &[Command<'_>],
    ) -> Result<(), AppendError> {
        let batch = self.batch(commands);
        wait(subject.log().append(batch))
    }

    fn payload(&self, address: &EntityAddress, sequence: SequenceNumber) -> Vec<u8> {
        let mut payload = payload_of(address, sequence);
        payload.resize(payload.len().max(self.payload_bytes), b'.');
        payload
    }
}

/// An address from its text.
///
/// # Panics
/// When the text is no address.
#[must_use]
pub fn address(text: &str) -> EntityAddress {
    text.parse().expect("the suite writes well-formed addresses")
}

/// What the event at a place in an entity's history holds (before padding): every event tells who and where it is.
#[must_use]
pub fn payload_of(address: &EntityAddress, sequence: SequenceNumber) -> Vec<u8> {
    format!("{address}#{sequence}").into_bytes()
}

fn record<'a>(
    address: &'a EntityAddress,
    previous: Offset,
    base: SequenceNumber,
    (offset, correlation): (Offset, CorrelationId),
    payloads: &'a [Vec<u8>],
) -> Record<'a> {
    let number = u128::from(offset.0);
    let event = |payload| StoredEvent { name: "Counted", schema_version: 3, payload };
    let key = IdempotencyKey::new(&format!("key-{offset}")).expect("a well-formed key");
    Record {
        entity_type: address.entity_type(),
        entity_id: address.id(),
        previous,
        base,
        at: Timestamp::from_millis(1_000 + offset.0),
        command: "count",
        id: CommandId(number),
        correlation,
        causation: CausationId(number + 2),
        key,
        fingerprint: offset.0 ^ 0xABCD,
        events: payloads.iter().map(|payload| event(&payload[..])).collect(),
        verdict: if payloads.is_empty() {
            StoredVerdict::Rejected(b"refused")
        } else {
            StoredVerdict::Accepted(b"done")
        },
        reactions: Vec::new(),
    }
}
