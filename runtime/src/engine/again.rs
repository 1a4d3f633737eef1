//! Again: a delivery that may have been taken before, long enough ago for its key to be forgotten.
//!
//! The window of an entity is bounded, its log is not. Whoever delivers what is stored and cannot know whether an earlier try arrived wraps the command. The
//! shard then looks through the records of its conversation for one with its key: when there is one, its answer is given again, and when there is none, the
//! command is handled as any other, the window included. So a delivery takes effect once, however many commands came to the entity since its first
//! try (promise G2). What the index of conversations does not know, because it is switched off or was switched on later, is bounded by the window.

use holm_core::{AskError, CommandEnvelope, Limit, Offset, Outcome, Timestamp};
use holm_persistence::{ReadError, StoredRecord, decode, encode};
use serde::{Deserialize, Serialize};

use super::ShardEngine;
use super::execute::too_large;
use super::ports::{LoadRequest, Output, Wanted};
use super::recovery::Awaited;
use super::repeats::Repeat;

/// The command that wraps another one. It goes the way of every command, and the shard unwraps it.
pub(crate) const AGAIN: &str = "holm-again";

/// What is wrapped; address, key, ids and deadline are those of the wrapping.
#[derive(Debug, Serialize, Deserialize)]
struct Wrapped {
    command: Box<str>,
    payload: Vec<u8>,
    /// No try can stand before this offset of the receiver's log.
    since: Offset,
}

/// A command that waits until the log was looked through.
#[derive(Debug)]
pub(super) struct Doubted<T> {
    pub(super) envelope: CommandEnvelope,
    pub(super) reply: T,
    since: Offset,
}

/// Wraps a command of which an earlier try may have arrived, at `since` or behind it in the log of its receiver.
pub(crate) fn again(envelope: CommandEnvelope, since: Offset) -> CommandEnvelope {
    let (command, payload) = (Box::from(&*envelope.command), envelope.payload.to_vec());
    let payload = encode(&Wrapped { command, payload, since });
    let payload = payload.expect("a name, bytes and a number can be encoded");
    CommandEnvelope { command: AGAIN.into(), payload, ..envelope }
}

/// The command inside, and where a look begins.
pub(super) fn unwrapped(envelope: CommandEnvelope) -> Result<(CommandEnvelope, Offset), AskError> {
    let Wrapped { command, payload, since } = decode(&envelope.payload).map_err(|error| {
        let (command, reason) = (AGAIN.into(), error.to_string().into());
        AskError::Undecodable { command, reason }
    })?;
    let command = String::from(command).into();
    Ok((CommandEnvelope { command, payload: payload.into(), ..envelope }, since))
}

impl<T> ShardEngine<T> {
    /// Looks in the log whether an earlier try of the command inside was recorded, once all that was executed until now is there: the window may forget meanwhile.
    pub(super) fn look_for_earlier_try(&mut self, wrapped: CommandEnvelope, reply: T) {
        let (envelope, since) = match self.unwrap(wrapped.clone()) {
            Ok(unwrapped) => unwrapped,
            Err(error) => return self.undeliverable(&wrapped, error, reply),
        };
        let allowed = self.limits.held_commands;
        if self.repeating >= allowed {
            let (limit, allowed) = (Limit::HeldCommands, allowed as u64);
            return self.answer(reply, Err(AskError::Overloaded { limit, allowed }));
        }
        self.repeating += 1;
        let doubted = Doubted { envelope, reply, since };
        match self.pipeline.last_waiting() {
            Some(waiting) => waiting.doubted.push(doubted),
            None => self.look(doubted),
        }
    }

    /// What is inside, when its entity could be asked that.
    fn unwrap(&self, wrapped: CommandEnvelope) -> Result<(CommandEnvelope, Offset), AskError> {
        let (envelope, since) = unwrapped(wrapped)?;
        let (actual, allowed) = (envelope.payload.len(), self.limits.command_bytes);
        if actual > allowed {
            return Err(too_large(Limit::CommandBytes, allowed, actual));
        }
        let kind = self.registry.kind_index(envelope.address.entity_type())?;
        self.registry.kind_at(kind).command(&envelope.command)?;
        Ok((envelope, since))
    }

    pub(super) fn look(&mut self, doubted: Doubted<T>) {
        let Doubted { envelope, since, .. } = &doubted;
        let wanted = Wanted::EarlierTry {
            correlation: envelope.correlation,
            key: envelope.key.digest(),
            since: *since,
            deadline: envelope.deadline,
        };
        let address = envelope.address.clone();
        let ticket = self.recoveries.issue(Awaited::EarlierTry(doubted));
        self.outputs.push_back(Output::Load(LoadRequest { ticket, address, wanted }));
    }

    /// The record of the earlier try, or none.
    pub(super) fn looked_for_earlier_try(
        &mut self,
        now: Timestamp,
        Doubted { envelope, reply, .. }: Doubted<T>,
        found: Result<Option<StoredRecord>, ReadError>,
    ) {
        let error = match found {
            Ok(Some(record)) => {
                let offset = record.offset;
                let repeat = Repeat { envelope, reply, offset };
                return self.record_loaded(repeat, Ok(Some(record)));
            }
            Ok(None) => {
                self.repeating -= 1;
                return self.dispatch(now, envelope, reply);
            }
            Err(error) => error,
        };
        self.repeating -= 1;
        let reason = format!("its log cannot be read: {error}").into();
        let told = match error {
            ReadError::Store { shard, .. } => {
                AskError::Unavailable { shard, reason, outcome: Outcome::NotApplied }
            }
            // What is damaged may be the very record: a person must look.
            _ => AskError::RecoveryFailed { address: envelope.address, reason },
        };
        self.answer(reply, Err(told));
    }
}
