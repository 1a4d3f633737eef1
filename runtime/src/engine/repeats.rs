//! Repeated keys: the answer to a command that was handled before is read from its record in the log (promise G2).

use holm_core::{Answer, AskError, CommandEnvelope, Limit, NodeId, Offset, ShardId, Verdict};
use holm_persistence::{ReadError, StoredRecord, StoredVerdict};

use super::ShardEngine;
use super::ports::{LoadRequest, Output, Wanted};
use super::recovery::Awaited;

/// A command whose key was used before.
#[derive(Debug)]
pub(super) struct Repeat<T> {
    pub(super) envelope: CommandEnvelope,
    pub(super) reply: T,
    pub(super) offset: Offset,
}

impl<T> ShardEngine<T> {
    /// Answers a repeated key: from the log, once the first try is durable.
    pub(super) fn repeat(&mut self, repeat: Repeat<T>) {
        let allowed = self.limits.held_commands;
        if self.repeating >= allowed {
            let (limit, allowed) = (Limit::HeldCommands, allowed as u64);
            return self.answer(repeat.reply, Err(AskError::Overloaded { limit, allowed }));
        }
        self.repeating += 1;
        if repeat.offset > self.pipeline.durable() {
            self.pipeline.waiting_at(repeat.offset).repeats.push(repeat);
        } else {
            self.look_up(repeat);
        }
    }

    /// Asks for the record of a first try that is durable.
    pub(super) fn look_up(&mut self, repeat: Repeat<T>) {
        let (address, offset) = (repeat.envelope.address.clone(), repeat.offset);
        let ticket = self.recoveries.issue(Awaited::Record(repeat));
        let wanted = Wanted::Record { offset };
        self.outputs.push_back(Output::Load(LoadRequest { ticket, address, wanted }));
    }

    pub(super) fn record_loaded(
        &mut self,
        repeat: Repeat<T>,
        record: Result<Option<StoredRecord>, ReadError>,
    ) {
        self.repeating -= 1;
        let record = record.map_err(|error| error.to_string()).and_then(|record| {
            record.ok_or_else(|| format!("offset {} is missing", repeat.offset))
        });
        let answer = match record {
            Ok(record) => {
                let fingerprint = self.fingerprint(&repeat.envelope);
                recorded_answer(&repeat.envelope, fingerprint, &record, (self.shard, self.node))
            }
            // The first try took effect, but its record cannot be read now: the outcome stays open, never guessed.
            Err(reason) => Err(AskError::Interrupted { reason: reason.into() }),
        };
        self.counters.replayed += u64::from(answer.is_ok());
        self.answer(repeat.reply, answer);
    }
}

pub(super) fn recorded_answer(
    envelope: &CommandEnvelope,
    fingerprint: u64,
    stored: &StoredRecord,
    (shard, served_by): (ShardId, NodeId),
) -> Result<Answer, AskError> {
    let record = stored
        .decode()
        .map_err(|error| AskError::Interrupted { reason: error.to_string().into() })?;
    let same = record.key == envelope.key
        && record.entity_id == envelope.address.id()
        && record.fingerprint == fingerprint;
    if !same {
        return Err(AskError::KeyReused { address: envelope.address.clone() });
    }
    let verdict = match record.verdict {
        StoredVerdict::Accepted(bytes) => Verdict::Accepted(bytes::Bytes::copy_from_slice(bytes)),
        StoredVerdict::Rejected(bytes) => Verdict::Rejected(bytes::Bytes::copy_from_slice(bytes)),
    };
    Ok(Answer {
        verdict,
        sequence: record.last_sequence(),
        shard,
        offset: stored.offset,
        replayed: true,
        served_by,
    })
}
