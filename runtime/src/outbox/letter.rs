//! The letter: one reaction as it was read from the log, and the envelopes that it leads to.
//!
//! Everything in an envelope but its deadline follows from the reaction's place in the log. So whoever delivers it again, on whatever node and after
//! whatever crash, sends the same command under the same key, and it takes effect once (promise G2).

use bytes::Bytes;
use holm_core::{
    CommandEnvelope, CommandId, CorrelationId, EntityAddress, IdempotencyKey, Offset,
    SeededEntropy, ShardId, Timestamp,
};
use holm_persistence::{Batch, StoredRecord};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::answered::{Said, Written};

/// Where a reaction stands in the log of its shard: the offset of its record, and which of the record's reactions it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) index: u16,
}

/// One reaction and what is known about its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) place: Place,
    pub(crate) sender: EntityAddress,
    /// When the command that led to it was handled.
    at: Timestamp,
    /// The command that led to it.
    cause: CommandId,
    correlation: CorrelationId,
    pub(crate) to: EntityAddress,
    pub(crate) command: Box<str>,
    payload: Bytes,
    pub(crate) due: Option<Timestamp>,
    /// The sender's command that takes the answer.
    pub(crate) answered: Option<Box<str>>,
}

/// What a key stands for, besides the place.
const COMMAND: u8 = 0;
const ANSWER: u8 = 1;

impl Letter {
    /// The command itself.
    pub(crate) fn envelope(&self, shard: ShardId, deadline: Timestamp) -> CommandEnvelope {
        let (key, id) = self.named(shard, COMMAND);
        CommandEnvelope {
            address: self.to.clone(),
            command: String::from(&*self.command).into(),
            payload: self.payload.clone(),
            key,
            id,
            correlation: self.correlation,
            causation: self.cause.causes(),
            deadline,
        }
    }

    /// What the sender is told about it; none when nobody waits for it.
    pub(crate) fn answer(
        &self,
        shard: ShardId,
        said: &Said,
        deadline: Timestamp,
    ) -> Option<CommandEnvelope> {
        let command = self.answered.clone()?;
        let (key, id) = self.named(shard, ANSWER);
        let written = Written { by: self.to.id().into(), said: said.clone() };
        Some(CommandEnvelope {
            address: self.sender.clone(),
            command: String::from(command).into(),
            payload: written.encoded().expect("an answer holds bytes and texts only"),
            key,
            id,
            correlation: self.correlation,
            causation: self.named(shard, COMMAND).1.causes(),
            deadline,
        })
    }

    /// The id of the command itself.
    pub(crate) fn command_id(&self, shard: ShardId) -> CommandId {
        self.named(shard, COMMAND).1
    }

    /// The id of the command that tells the sender about it; none when nobody waits for it.
    pub(crate) fn answer_id(&self, shard: ShardId) -> Option<CommandId> {
        self.answered.is_some().then(|| self.named(shard, ANSWER).1)
    }

    fn named(&self, shard: ShardId, step: u8) -> (IdempotencyKey, CommandId) {
        let Place { offset, index } = self.place;
        let key = IdempotencyKey::of_reaction(shard, offset, index, step);
        let seed = XxHash3_64::oneshot(&key.digest().to_le_bytes());
        (key, CommandId::generate(self.at, &mut SeededEntropy::new(seed)))
    }
}

/// The lane of an entity: what is delivered to one entity goes one after the other. Two entities that meet in a lane only wait for each other.
pub(crate) fn lane_of(address: &EntityAddress) -> u64 {
    XxHash3_64::oneshot_with_seed(
        XxHash3_64::oneshot(address.entity_type().as_bytes()),
        address.id().as_bytes(),
    )
}

/// The reactions of a batch after the offset `after`.
pub(crate) fn letters_of(batch: &Batch, after: Offset) -> Result<Vec<Letter>, String> {
    let mut letters = Vec::new();
    if batch.has_reactions() && batch.last() > after {
        for stored in batch.records().filter(|stored| stored.offset > after) {
            open(&stored, &mut letters)?;
        }
    }
    Ok(letters)
}

/// The reactions of one record.
pub(crate) fn letters_in(stored: &StoredRecord) -> Result<Vec<Letter>, String> {
    let mut letters = Vec::new();
    open(stored, &mut letters)?;
    Ok(letters)
}

/// The reaction at one place.
pub(crate) fn letter_at(batch: &Batch, place: Place) -> Result<Letter, String> {
    let Place { offset, index } = place;
    let mut letters = Vec::new();
    if let Some(stored) = batch.record(offset) {
        open(&stored, &mut letters)?;
    }
    let found = letters.into_iter().nth(usize::from(index));
    found.ok_or_else(|| format!("there is no reaction {index} at offset {offset}"))
}

fn open(stored: &StoredRecord, letters: &mut Vec<Letter>) -> Result<(), String> {
    let unreadable = |reason: String| format!("the record at offset {}: {reason}", stored.offset);
    let record = stored.decode().map_err(|error| unreadable(error.to_string()))?;
    if record.reactions.is_empty() {
        return Ok(());
    }
    let address = |entity_type, id| {
        EntityAddress::new(entity_type, id).map_err(|error| unreadable(error.to_string()))
    };
    let sender = address(record.entity_type, record.entity_id)?;
    for (reaction, index) in record.reactions.iter().zip(0..) {
        letters.push(Letter {
            place: Place { offset: stored.offset, index },
            sender: sender.clone(),
            at: record.at,
            cause: record.id,
            correlation: record.correlation,
            to: address(reaction.entity_type, reaction.entity_id)?,
            command: reaction.command.into(),
            // Copied: a letter that waits must not keep its whole batch in memory.
            payload: Bytes::copy_from_slice(reaction.payload),
            due: reaction.due,
            answered: reaction.answered.map(Into::into),
        });
    }
    Ok(())
}
