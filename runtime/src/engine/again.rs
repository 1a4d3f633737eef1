//! Again: a delivery that may have been taken before, long enough ago for its key to be forgotten.
//!
//! The window of an entity is bounded, its log is not. Whoever delivers what is stored and cannot know whether an earlier try arrived wraps the command. The
//! shard then looks through the records of its conversation for one with its key: when there is one, its answer is given again, and when there is none, the
//! command is handled as any other, the window included. So a delivery takes effect once, however many commands came to the entity since its first
//! try (promise G2). What the index of conversations does not know, because it is switched off or was switched on later, is bounded by the window.

use holm_core::{AskError, CommandEnvelope, Limit, Outcome, Timestamp};
use holm_persistence::{ReadError, StoredRecord, decode, encode};
use serde::{Deserialize, Serialize};

use super::ShardEngine;
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
}

/// A command that waits until the log was looked through.
#[derive(Debug)]
pub(super) struct Doubted<T> {
    pub(super) envelope: CommandEnvelope,
    pub(super) reply: T,
}

/// Wraps a command of which an earlier try may have arrived.
pub(crate) fn again(envelope: CommandEnvelope) -> CommandEnvelope {
    let (command, payload) = (Box::from(&*envelope.command), envelope.payload.to_vec());
    let payload = encode(&Wrapped { command, payload }).expect("a name and bytes can be encoded");
    CommandEnvelope { command: AGAIN.into(), payload, ..envelope }
}

/// The command inside.
pub(crate) fn unwrapped(envelope: CommandEnvelope) -> Result<CommandEnvelope, AskError> {
    let undecodable = |reason: String| {
        let (command, reason) = (AGAIN.into(), reason.into());
        AskError::Undecodable { command, reason }
    };
    let Wrapped { command, payload } =
        decode(&envelope.payload).map_err(|error| undecodable(error.to_string()))?;
    if &*command == AGAIN {
        return Err(undecodable("it is wrapped twice".to_owned()));
    }
    Ok(CommandEnvelope {
        command: String::from(command).into(),
        payload: payload.into(),
        ..envelope
    })
}

impl<T> ShardEngine<T> {
    /// Looks in the log whether an earlier try of the command inside was recorded.
    pub(super) fn look_for_earlier_try(&mut self, wrapped: CommandEnvelope, reply: T) {
        let envelope = match unwrapped(wrapped.clone()) {
            Ok(envelope) => envelope,
            Err(error) => return self.undeliverable(&wrapped, error, reply),
        };
        let allowed = self.limits.held_commands;
        if self.repeating >= allowed {
            let (limit, allowed) = (Limit::HeldCommands, allowed as u64);
            return self.answer(reply, Err(AskError::Overloaded { limit, allowed }));
        }
        self.repeating += 1;
        let address = envelope.address.clone();
        let (correlation, key) = (envelope.correlation, envelope.key.digest());
        let ticket = self.recoveries.issue(Awaited::EarlierTry(Doubted { envelope, reply }));
        let wanted = Wanted::EarlierTry { correlation, key };
        self.outputs.push_back(Output::Load(LoadRequest { ticket, address, wanted }));
    }

    /// The record of the earlier try, or none. A try that is not durable yet is known to the window.
    pub(super) fn looked_for_earlier_try(
        &mut self,
        now: Timestamp,
        Doubted { envelope, reply }: Doubted<T>,
        found: Result<Option<StoredRecord>, ReadError>,
    ) {
        match found {
            Ok(Some(record)) => {
                let offset = record.offset;
                self.record_loaded(Repeat { envelope, reply, offset }, Ok(Some(record)));
            }
            Ok(None) => {
                self.repeating -= 1;
                self.dispatch(now, envelope, reply);
            }
            Err(error) => {
                self.repeating -= 1;
                let (shard, reason) = (self.shard, error.to_string().into());
                let outcome = Outcome::NotApplied;
                self.answer(reply, Err(AskError::Unavailable { shard, reason, outcome }));
            }
        }
    }
}
