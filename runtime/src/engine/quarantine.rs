//! Quarantine in the log: an entity is in quarantine exactly when the newest record of its own chain says so.
//!
//! The shard writes that record itself, without events, through the same pipeline as every other. So it is fenced by the same term, survives what the
//! history survives, is found by the one read that must come before any handler runs, and no second truth has to be kept in step with it. Nothing else
//! is written into the chain until the record that lifts it. The handlers of the entity take no part, also not in lifting it.

use std::time::Duration;

use holm_core::{
    AskError, CausationId, CommandEnvelope, FailureId, IdempotencyKey, Offset, SequenceNumber,
    Timestamp,
};
use holm_persistence::{Record, StoredRecord, StoredVerdict, decode, encode};
use serde::{Deserialize, Serialize};

use super::pipeline::Parked;
use super::repeats::Repeat;
use super::slots::SlotId;
use super::supervision::{Admission, Quarantine};
use super::tally::CommandIndex;
use super::window::WindowBounds;
use super::{Output, ShardEngine};
use crate::failure::{Causes, FailureFact, Standing};
use crate::registry::Executed;

/// The command that lifts a quarantine. It goes the way of every command, and the shard carries it out.
pub(crate) const RELEASE: &str = "holm-release";

/// The command in the record that begins a quarantine.
pub(crate) const QUARANTINED: &str = "holm-quarantine";

/// While the record that begins a quarantine is on its way to the log.
const SOON: Duration = Duration::from_millis(50);

/// The payload of `holm-release`: it lifts the quarantine of this failure and of no other, so that a late retry does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The failure that began it.
    pub failure: FailureId,
}

/// The reply to [`Release`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Released {
    /// The entity takes commands again.
    Lifted,
    /// It is in no quarantine.
    WasFree,
    /// It is in quarantine for another failure.
    Another {
        /// That one.
        failure: FailureId,
    },
}

/// What a record says that begins a quarantine.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sentence {
    pub(super) failure: FailureId,
    pub(super) reason: Box<str>,
}

/// What is said of a record that cannot be read.
pub(super) fn unreadable_record(stored: &StoredRecord) -> String {
    format!("the record at offset {} cannot be read", stored.offset)
}

/// What the newest record of an entity says about it.
pub(super) fn sentence(newest: &StoredRecord) -> Result<Option<Quarantine>, Causes> {
    let unreadable = |causes: Causes| causes.within(&unreadable_record(newest));
    let record = newest.decode().map_err(|error| unreadable(Causes::of(&error)))?;
    if record.command != QUARANTINED {
        return Ok(None);
    }
    let StoredVerdict::Accepted(bytes) = record.verdict else {
        return Err(unreadable("a quarantine without a reason".into()));
    };
    let Sentence { failure, reason } =
        decode(bytes).map_err(|error| unreadable(Causes::of(&error)))?;
    let (offset, sequence) = (newest.offset, record.last_sequence());
    Ok(Some(Quarantine { failure, reason, offset, sequence }))
}

impl<T> ShardEngine<T> {
    /// Puts an entity into quarantine whose chain of records ends at `(head, sequence)`. The fact about it leaves when that is durable.
    pub(super) fn quarantine(
        &mut self,
        now: Timestamp,
        (kind, id): (u16, &str),
        (head, sequence): (Offset, SequenceNumber),
        fact: FailureFact,
    ) {
        let sentence = Sentence { failure: fact.id, reason: fact.causes.join(": ").into() };
        let told = encode(&sentence).expect("an id and a text can be encoded");
        let command = fact.command.as_ref();
        let record = Record {
            entity_type: self.registry.kind_at(kind).name(),
            entity_id: id,
            previous: head,
            base: sequence,
            at: now,
            command: QUARANTINED,
            id: command.map(|command| command.id).unwrap_or_default(),
            correlation: command.map(|command| command.correlation).unwrap_or_default(),
            causation: CausationId(fact.id.0),
            key: IdempotencyKey::new(&format!("quarantine-{}", fact.id))
                .expect("an id in text is short and printable"),
            fingerprint: 0,
            events: Vec::new(),
            verdict: StoredVerdict::Accepted(&told),
            reactions: Vec::new(),
        };
        let offset = match self.pipeline.push(&record) {
            Ok(offset) => offset,
            // It is no longer than any other record; if it does not fit all the same, the entity waits as long as it ever would.
            Err(error) => {
                let running = self.running.at(now);
                self.supervisor.wait((kind, id), Duration::from_secs(60), running);
                return self.outputs.push_back(Output::failure(fact.because(&error.to_string())));
            }
        };
        self.abandoned = self.abandoned.max(offset);
        self.pipeline.waiting_at(offset).facts.push(fact);
        let Sentence { failure, reason } = sentence;
        let quarantine = Quarantine { failure, reason, offset, sequence };
        let running = self.running.at(now);
        self.supervisor.keep((kind, id), quarantine, running);
    }

    /// What is said to a command for an entity that may not be brought back now; none when it may.
    pub(super) fn held_back(
        &mut self,
        now: Timestamp,
        kind: u16,
        envelope: &CommandEnvelope,
    ) -> Option<AskError> {
        let running = self.running.at(now);
        let address = || envelope.address.clone();
        match self.supervisor.admit((kind, envelope.address.id()), running) {
            Admission::Free => None,
            Admission::Later(retry_after) => {
                Some(AskError::Restarting { address: address(), retry_after })
            }
            Admission::Never(quarantine) if quarantine.offset > self.pipeline.durable() => {
                Some(AskError::Restarting { address: address(), retry_after: SOON })
            }
            Admission::Never(Quarantine { failure, reason, .. }) => Some(AskError::Quarantined {
                address: address(),
                failure: *failure,
                reason: reason.clone(),
            }),
        }
    }

    /// Lifts the quarantine of an entity that is known to be in it. Gives the command back when it is not: then the entity must be looked at first.
    pub(super) fn release(
        &mut self,
        now: Timestamp,
        kind: u16,
        envelope: CommandEnvelope,
        reply: T,
    ) -> Option<(CommandEnvelope, T)> {
        let running = self.running.at(now);
        let id = envelope.address.id();
        let quarantine = match self.supervisor.admit((kind, id), running) {
            Admission::Never(quarantine) => quarantine.clone(),
            Admission::Free | Admission::Later(_) => {
                // Whoever lifts a quarantine does not want to wait either.
                self.supervisor.forgive((kind, id));
                return Some((envelope, reply));
            }
        };
        if quarantine.offset > self.pipeline.durable() {
            let (address, retry_after) = (envelope.address, SOON);
            self.answer(reply, Err(AskError::Restarting { address, retry_after }));
            return None;
        }
        let release: Release = match decode(&envelope.payload) {
            Ok(release) => release,
            Err(error) => {
                let (command, reason) = ((*envelope.command).into(), error.to_string().into());
                self.answer(reply, Err(AskError::Undecodable { command, reason }));
                return None;
            }
        };
        let Quarantine { failure, offset, sequence, .. } = quarantine;
        if release.failure != failure {
            let at = (sequence, offset);
            self.answer_release(now, &envelope, at, &Released::Another { failure }, reply);
            return None;
        }
        self.lift(now, kind, &envelope, (offset, sequence), reply);
        None
    }

    fn lift(
        &mut self,
        now: Timestamp,
        kind: u16,
        envelope: &CommandEnvelope,
        (head, sequence): (Offset, SequenceNumber),
        reply: T,
    ) {
        let told = encode(&Released::Lifted).expect("a variant can be encoded");
        let fingerprint = self.fingerprint(envelope);
        let record = Record {
            entity_type: self.registry.kind_at(kind).name(),
            entity_id: envelope.address.id(),
            previous: head,
            base: sequence,
            at: now,
            command: RELEASE,
            id: envelope.id,
            correlation: envelope.correlation,
            causation: envelope.causation,
            key: envelope.key.clone(),
            fingerprint,
            events: Vec::new(),
            verdict: StoredVerdict::Accepted(&told),
            reactions: Vec::new(),
        };
        let offset = match self.pipeline.push(&record) {
            Ok(offset) => offset,
            Err(error) => {
                let (address, command) = (envelope.address.clone(), (*envelope.command).into());
                let reason = error.to_string().into();
                return self
                    .answer(reply, Err(AskError::EntityFailed { address, command, reason }));
            }
        };
        self.abandoned = self.abandoned.max(offset);
        self.supervisor.forgive((kind, envelope.address.id()));
        self.scratch.verdict.clear();
        self.scratch.verdict.extend_from_slice(&told);
        let answer = self.answer_at(Executed::Accepted { passivate: false }, sequence, offset);
        let parked = Parked {
            reply: Some(reply),
            deadline: envelope.deadline,
            begun: now,
            command: CommandIndex::NONE,
            answer,
            unconfirmed: false,
        };
        self.pipeline.waiting_at(offset).parked.push(parked);
    }

    /// [`RELEASE`] for an entity that is alive, so it is in no quarantine; a repeated one gets the recorded answer.
    pub(super) fn release_live(
        &mut self,
        now: Timestamp,
        id: SlotId,
        envelope: &CommandEnvelope,
        reply: T,
    ) {
        let (bounds, running) = (WindowBounds::of(&self.limits), self.running.at(now));
        let slot = self.slots.get_mut(id);
        if let Some(offset) = slot.window.find(envelope.key.digest(), running, bounds) {
            return self.repeat(Repeat { envelope: envelope.clone(), reply, offset });
        }
        let at = (slot.sequence, slot.head);
        self.answer_release(now, envelope, at, &Released::WasFree, reply);
    }

    /// An answer that changed nothing is a read: it waits for the word that the term still held.
    fn answer_release(
        &mut self,
        now: Timestamp,
        envelope: &CommandEnvelope,
        (sequence, head): (SequenceNumber, Offset),
        released: &Released,
        reply: T,
    ) {
        let told = encode(released).expect("a variant can be encoded");
        self.scratch.verdict.clear();
        self.scratch.verdict.extend_from_slice(&told);
        let answer = self.answer_at(Executed::Accepted { passivate: false }, sequence, head);
        let parked = Parked {
            reply: Some(reply),
            deadline: envelope.deadline,
            begun: now,
            command: CommandIndex::NONE,
            answer,
            unconfirmed: false,
        };
        self.park_read(head, parked);
    }

    /// The facts of quarantines that never became durable: the entities are as they were.
    pub(super) fn take_back(&mut self, facts: Vec<FailureFact>) {
        for mut fact in facts {
            fact.standing = Standing::Stopped;
            fact.severity = fact.kind.severity();
            self.outputs.push_back(Output::failure(fact));
        }
    }
}
