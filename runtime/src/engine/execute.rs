//! One command: find its entity, run it on the state, put the record into the open batch, park the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use holm_core::{
    Answer, AskError, CommandEnvelope, Limit, Offset, Outcome, SequenceNumber, Timestamp, Verdict,
};
use holm_persistence::{Record, StoredVerdict};
use twox_hash::XxHash3_64;

use super::ShardEngine;
use super::again::AGAIN;
use super::containment::LastStep;
use super::pipeline::Parked;
use super::quarantine::RELEASE;
use super::repeats::Repeat;
use super::slots::SlotId;
use super::tally::CommandIndex;
use super::window::WindowBounds;
use crate::context::Facts;
use crate::failure::{Causes, FailedCommand, FailureKind};
use crate::panic_text;
use crate::registry::{Executed, Fault, PayloadLimits, emptied};

/// One command that went well.
#[derive(Clone, Copy)]
struct Run {
    now: Timestamp,
    id: SlotId,
    index: CommandIndex,
    deadline: Timestamp,
    executed: Executed,
}

impl Run {
    fn parked<T>(self, answer: Answer, reply: T) -> Parked<T> {
        let Self { now: begun, index: command, deadline, .. } = self;
        Parked { reply: Some(reply), deadline, begun, command, answer, unconfirmed: false }
    }
}

impl<T> ShardEngine<T> {
    /// The entity of a command that can be run at once. None says nothing: [`ShardEngine::dispatch`] finds out why.
    #[inline]
    pub(super) fn live(&mut self, now: Timestamp, envelope: &CommandEnvelope) -> Option<SlotId> {
        if &*envelope.command == AGAIN || envelope.payload.len() > self.limits.command_bytes {
            return None;
        }
        let kind = self.registry.known_kind(envelope.address.entity_type())?;
        let slot = self.slots.find_and_use(kind, envelope.address.id(), now)?;
        self.slots.get(slot).state.is_some().then_some(slot)
    }

    /// Finds the entity, wakes it up when it is at rest, and runs the command or holds it.
    pub(super) fn dispatch(&mut self, now: Timestamp, envelope: CommandEnvelope, reply: T) {
        if &*envelope.command == AGAIN {
            return self.look_for_earlier_try(envelope, reply);
        }
        let (actual, allowed) = (envelope.payload.len(), self.limits.command_bytes);
        if actual > allowed {
            return self.answer(reply, Err(too_large(Limit::CommandBytes, allowed, actual)));
        }
        let kind = match self.registry.kind_index(envelope.address.entity_type()) {
            Ok(kind) => kind,
            Err(error) => return self.undeliverable(&envelope, error, reply),
        };
        let id = envelope.address.id();
        if let Some(slot) = self.slots.find_and_use(kind, id, now) {
            if self.slots.get(slot).state.is_some() {
                return self.execute(now, slot, &envelope, reply);
            }
            return self.hold(slot, envelope, reply);
        }
        let (envelope, reply) = match self.admit(now, kind, envelope, reply) {
            Some(admitted) => admitted,
            None => return,
        };
        let id = envelope.address.id();
        if !self.make_room(now) {
            let (limit, allowed) = (Limit::LiveEntities, self.limits.live_entities as u64);
            return self.answer(reply, Err(AskError::Overloaded { limit, allowed }));
        }
        let slot = self.slots.insert(kind, id, now);
        self.recover(slot);
        self.hold(slot, envelope, reply);
        self.start_recoveries();
    }

    /// Whether a command may bring its entity back; when not, it is answered.
    fn admit(
        &mut self,
        now: Timestamp,
        kind: u16,
        envelope: CommandEnvelope,
        reply: T,
    ) -> Option<(CommandEnvelope, T)> {
        if &*envelope.command == RELEASE {
            return self.release(now, kind, envelope, reply);
        }
        // A command that does not exist wakes nobody up.
        if let Err(error) = self.registry.kind_at(kind).command(&envelope.command) {
            self.undeliverable(&envelope, error, reply);
            return None;
        }
        match self.held_back(now, kind, &envelope) {
            None => Some((envelope, reply)),
            Some(error) => {
                self.answer(reply, Err(error));
                None
            }
        }
    }

    /// Runs a command on a live entity.
    pub(super) fn execute(
        &mut self,
        now: Timestamp,
        id: SlotId,
        envelope: &CommandEnvelope,
        reply: T,
    ) {
        if envelope.deadline < now {
            let outcome = Outcome::NotApplied;
            return self.undeliverable(envelope, AskError::DeadlinePassed { outcome }, reply);
        }
        let slot = self.slots.get_mut(id);
        let (index, command) = match self.registry.kind_at(slot.kind).find(&envelope.command) {
            Ok(found) => found,
            Err(_) if &*envelope.command == RELEASE => {
                return self.release_live(now, id, envelope, reply);
            }
            Err(error) => return self.undeliverable(envelope, error, reply),
        };
        let index = CommandIndex { kind: slot.kind, command: index };
        let reads = command.reads();
        if !reads {
            let (bounds, running) = (WindowBounds::of(&self.limits), self.running.at(now));
            if let Some(offset) = slot.window.find(envelope.key.digest(), running, bounds) {
                return self.repeat(Repeat { envelope: envelope.clone(), reply, offset });
            }
        }
        self.last_step = Some(LastStep::of(id, index, envelope));
        let facts = Facts {
            entity_id: &slot.id,
            sequence: slot.sequence,
            now,
            id: envelope.id,
            correlation: envelope.correlation,
            causation: envelope.causation,
            key: &envelope.key,
        };
        let limits = PayloadLimits::of(&self.limits);
        let state = slot.state.as_mut().expect("only live entities execute");
        let (entropy, scratch) = (&mut self.entropy, &mut self.scratch);
        self.handler.begins(index);
        let executed = catch_unwind(AssertUnwindSafe(|| {
            command.execute(state, &envelope.payload, facts, entropy, limits, scratch)
        }));
        self.handler.ends();
        match executed {
            Ok(Ok(executed)) => {
                let run = Run { now, id, index, deadline: envelope.deadline, executed };
                if reads { self.answer_read(run, reply) } else { self.record(run, envelope, reply) }
            }
            Ok(Err(fault)) => self.refuse(now, id, envelope, fault, reply),
            Err(panic) => {
                self.fail_entity(now, id, envelope, &panic_text(&*panic).into(), reply);
            }
        }
    }

    /// Puts what happened into the open batch and parks the answer with it.
    fn record(&mut self, run: Run, envelope: &CommandEnvelope, reply: T) {
        let Run { now, id, executed, .. } = run;
        let fingerprint = self.fingerprint(envelope);
        let (bounds, running) = (WindowBounds::of(&self.limits), self.running.at(now));
        let slot = self.slots.get_mut(id);
        let spare = self.scratch.spare_events();
        let bytes = &self.scratch.verdict[..];
        let entity_type = self.registry.kind_at(slot.kind).name();
        let record = Record {
            entity_type,
            entity_id: &slot.id,
            previous: slot.head,
            base: slot.sequence,
            at: now,
            command: &envelope.command,
            id: envelope.id,
            correlation: envelope.correlation,
            causation: envelope.causation,
            key: envelope.key.clone(),
            fingerprint,
            events: self.scratch.stored_events(spare),
            verdict: match executed {
                Executed::Accepted { .. } => StoredVerdict::Accepted(bytes),
                Executed::Rejected => StoredVerdict::Rejected(bytes),
            },
            reactions: self.scratch.stored_reactions(entity_type, &slot.id),
        };
        let (base, sequence) = (slot.sequence, record.last_sequence());
        let offset = match self.pipeline.push(&record) {
            Ok(offset) => offset,
            Err(error) => return self.fail_entity(now, id, envelope, &Causes::of(&error), reply),
        };
        let emptied = emptied(record.events);
        self.scratch.use_again(emptied);
        (slot.sequence, slot.head) = (sequence, offset);
        slot.window.remember(envelope.key.digest(), offset, running, bounds);
        let events = sequence.0 - base.0;
        slot.unsaved = slot.unsaved.saturating_add(u32::try_from(events).unwrap_or(u32::MAX));
        self.counters.commands += 1;
        self.counters.events += events;
        let answer = self.answer_at(executed, sequence, offset);
        let waiting = self.pipeline.waiting_at(offset);
        waiting.parked.push(run.parked(answer, reply));
        if executed == (Executed::Accepted { passivate: true }) {
            waiting.resting.push(id);
        }
        self.snapshot_when_due(now, id, base);
    }

    /// A read waits for the batch whose state it saw, and for the word that the term still held afterwards. A batch that leaves later than the read is that word.
    fn answer_read(&mut self, run: Run, reply: T) {
        self.counters.reads += 1;
        let slot = self.slots.get(run.id);
        let (sequence, head) = (slot.sequence, slot.head);
        let answer = self.answer_at(run.executed, sequence, head);
        let parked = run.parked(answer, reply);
        self.park_read(head, parked);
    }

    /// Lets a read wait that saw the entity as its record at `head` left it.
    #[inline]
    pub(super) fn park_read(&mut self, head: Offset, mut parked: Parked<T>) {
        if head > self.pipeline.durable() {
            parked.unconfirmed = self.pipeline.has_left(head);
            self.pipeline.waiting_at(head).parked.push(parked);
        } else {
            self.confirmations.add(parked);
        }
    }

    pub(super) fn answer_at(
        &mut self,
        executed: Executed,
        sequence: SequenceNumber,
        offset: Offset,
    ) -> Answer {
        let bytes = self.pieces.keep(&self.scratch.verdict);
        let verdict = match executed {
            Executed::Accepted { .. } => Verdict::Accepted(bytes),
            Executed::Rejected => {
                self.counters.rejections += 1;
                Verdict::Rejected(bytes)
            }
        };
        let (shard, served_by) = (self.shard, self.node);
        Answer { verdict, sequence, shard, offset, replayed: false, served_by }
    }

    fn refuse(
        &mut self,
        now: Timestamp,
        id: SlotId,
        envelope: &CommandEnvelope,
        fault: Fault,
        reply: T,
    ) {
        match fault {
            Fault::Undecodable(reason) => {
                let (command, reason) = ((*envelope.command).into(), reason.into());
                self.undeliverable(envelope, AskError::Undecodable { command, reason }, reply);
            }
            Fault::TooLarge { limit, allowed, actual, spoiled } => {
                self.answer(reply, Err(too_large(limit, allowed, actual)));
                if spoiled {
                    self.restart(id);
                }
            }
            Fault::Unencodable { reason, .. } => {
                self.fail_entity(now, id, envelope, &reason.into(), reply);
            }
        }
    }

    /// The entity failed: this command gets an error, the entity becomes what its supervision says, nobody else notices (promise G7).
    fn fail_entity(
        &mut self,
        now: Timestamp,
        id: SlotId,
        envelope: &CommandEnvelope,
        causes: &Causes,
        reply: T,
    ) {
        self.counters.failures += 1;
        let running = self.running.at(now);
        let slot = self.slots.get(id);
        let subject = (slot.kind, &*slot.id);
        let supervision = self.registry.kind_at(slot.kind).supervision;
        let (decision, attempt) = self.supervisor.failed(subject, supervision, running);
        let end = (slot.head, slot.sequence);
        let mut fact = self.fact(now, FailureKind::Panicked, id, causes);
        fact.attempt = attempt;
        fact.command = Some(FailedCommand::of(envelope));
        // The fact first: whoever hears of the failure finds it told.
        self.carry_out(now, id, decision, Some(end), fact);
        let (address, command) = (envelope.address.clone(), (*envelope.command).into());
        let reason = causes.to_string().into();
        self.answer(reply, Err(AskError::EntityFailed { address, command, reason }));
    }

    /// Drops the state, which may hold what was never recorded, and brings the entity back from the log.
    pub(super) fn restart(&mut self, id: SlotId) {
        let slot = self.slots.get_mut(id);
        slot.state = None;
        slot.window = super::window::Window::default();
        self.recover(id);
        self.start_recoveries();
    }

    /// XXH3-64 of command name, a zero byte and payload.
    pub(super) fn fingerprint(&mut self, envelope: &CommandEnvelope) -> u64 {
        self.fingerprinted.clear();
        self.fingerprinted.extend_from_slice(envelope.command.as_bytes());
        self.fingerprinted.push(0);
        self.fingerprinted.extend_from_slice(&envelope.payload);
        XxHash3_64::oneshot(&self.fingerprinted)
    }
}

pub(super) fn too_large(limit: Limit, allowed: usize, actual: usize) -> AskError {
    AskError::TooLarge { limit, allowed: allowed as u64, actual: actual as u64 }
}
