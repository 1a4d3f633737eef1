//! The shard engine: a plain state machine that decides everything about one leadership of one shard.
//!
//! It does no I/O, reads no clock, starts no thread and knows neither tokio nor actix. Inputs come by method, each with the present time where it
//! matters; what is to be done comes out of [`ShardEngine::poll_output`], in order. `T` is where an answer goes; the engine never looks into it.
//!
//! Invariants:
//! - Nothing that depends on an event leaves before the event is durable: no answer, no read that saw it, no snapshot (G1, G5).
//! - Records get their offsets in the order in which commands were executed; an entity's records form a chain (G4).
//! - What cannot be recorded is taken back by dropping the entity and reading it from the log again; nothing is ever undone in memory.
//! - After a failed write the engine is over. It never guesses what was stored: a new engine reads it (G3).
//!
//! Not here: retries, threads, timeouts of the log, and any decision about who leads.

mod again;
mod anticipation;
mod confirm;
mod containment;
mod dead_letters;
mod ending;
mod execute;
mod figures;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod pipeline;
mod ports;
mod quarantine;
mod recovery;
mod rehydrate;
mod repeats;
mod rest;
mod running_handler;
mod running_time;
mod slots;
mod supervision;
mod tally;
mod window;

use std::collections::VecDeque;

use holm_core::{
    Answer, AskError, CommandEnvelope, EntityAddress, Limits, NodeId, Offset, Outcome,
    SeededEntropy, ShardId, Term, Timestamp,
};
use holm_persistence::{AppendError, ReadError};

pub(crate) use self::again::{AGAIN, again};
use self::confirm::Confirmations;
use self::containment::LastStep;
use self::dead_letters::DeadLetters;
use self::pipeline::{Parked, Pipeline};
pub use self::ports::{
    ConfirmToken, Counters, EngineOptions, LoadRequest, LoadTicket, Loaded, Output,
    UsableSnapshots, Wanted,
};
pub(crate) use self::quarantine::{QUARANTINED, RELEASE};
pub use self::quarantine::{Release, Released};
use self::recovery::{Abandoned, Recoveries};
use self::running_handler::RunningHandler;
pub use self::running_handler::{Run, Sight};
use self::running_time::RunningTime;
use self::slots::{SlotId, Slots};
use self::supervision::Supervisor;
use self::tally::Tally;
pub use self::tally::Timing;
use crate::pieces::Pieces;
use crate::registry::{Registry, Scratch};

/// The engine of one shard. See the module's description.
#[derive(Debug)]
pub struct ShardEngine<T> {
    shard: ShardId,
    term: Term,
    node: NodeId,
    registry: Registry,
    limits: Limits,
    entropy: SeededEntropy,
    /// Names failures; apart from the randomness that handlers see, which a failure must not change.
    names: SeededEntropy,
    running: RunningTime,
    handler: RunningHandler,
    phase: Phase,
    slots: Slots,
    pipeline: Pipeline<T>,
    recoveries: Recoveries<T>,
    supervisor: Supervisor,
    dead: DeadLetters,
    /// The command that a handler saw last.
    last_step: Option<LastStep>,
    /// The newest record of any entity that left memory with records on their way: nobody is read from the log before it is there.
    abandoned: Offset,
    confirmations: Confirmations<T>,
    /// Commands that wait for the record of an earlier try.
    repeating: usize,
    scratch: Scratch,
    pieces: Pieces,
    fingerprinted: Vec<u8>,
    counters: Counters,
    tally: Tally,
    outputs: VecDeque<Output<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Everything new is turned away; what was begun is finished.
    Draining,
    /// Nothing is left; everything new is turned away.
    Drained,
    /// A write failed or the leadership ended: everything is turned away.
    Over {
        reason: Box<str>,
    },
}

impl<T> ShardEngine<T> {
    /// An engine for a shard that was just opened. No entity is in memory.
    #[must_use]
    pub fn new(options: EngineOptions) -> Self {
        let EngineOptions {
            shard,
            term,
            last,
            node,
            registry,
            limits,
            anticipated_turns,
            entropy_seed,
        } = options;
        Self {
            shard,
            term,
            node,
            registry,
            entropy: SeededEntropy::new(entropy_seed),
            // Two leaderships of one shard never give the same name, whatever their seeds are.
            names: SeededEntropy::new(!entropy_seed ^ term.0.rotate_left(32)),
            running: RunningTime::default(),
            handler: RunningHandler::default(),
            phase: Phase::Serving,
            slots: Slots::new(),
            pipeline: Pipeline::new((shard, term, node), last, &limits, anticipated_turns),
            supervisor: Supervisor::new(limits.troubled_entities),
            dead: DeadLetters::default(),
            last_step: None,
            abandoned: Offset::ZERO,
            limits,
            recoveries: Recoveries::new(),
            confirmations: Confirmations::new(),
            repeating: 0,
            scratch: Scratch::default(),
            pieces: Pieces::default(),
            fingerprinted: Vec::new(),
            counters: Counters::default(),
            tally: Tally::default(),
            outputs: VecDeque::new(),
        }
    }

    /// A command. It is answered exactly once, sooner or later.
    pub fn submit(&mut self, now: Timestamp, envelope: CommandEnvelope, reply: T) {
        if !matches!(self.phase, Phase::Serving) {
            return self.refuse_service(reply);
        }
        if envelope.deadline < now {
            let outcome = Outcome::NotApplied;
            return self.undeliverable(&envelope, AskError::DeadlinePassed { outcome }, reply);
        }
        self.last_step = None;
        self.pipeline.command_came();
        match self.live(now, &envelope) {
            // By far the most, and by reference: an envelope is long.
            Some(slot) => self.execute(now, slot, &envelope, reply),
            None => self.dispatch(now, envelope, reply),
        }
        if self.pipeline.has_something_to_send() {
            self.send_batches(0);
        }
    }

    /// What was asked for by [`Output::Load`].
    pub fn loaded(
        &mut self,
        now: Timestamp,
        ticket: LoadTicket,
        loaded: Result<Loaded, ReadError>,
    ) {
        self.last_step = None;
        self.handle_loaded(now, ticket, loaded);
        self.start_recoveries();
        self.send_batches(0);
        self.note_drained();
    }

    /// The oldest batch on its way is durable.
    pub fn durable(&mut self, now: Timestamp) {
        let Some(waiting) = self.pipeline.complete() else { return };
        for parked in waiting.parked {
            if parked.unconfirmed {
                self.confirmations.add(parked);
            } else {
                self.unpark(now, parked);
            }
        }
        self.outputs.extend(waiting.reacting.map(Output::React));
        for (address, snapshot) in waiting.snapshots {
            self.outputs.push_back(Output::SaveSnapshot(address, snapshot));
        }
        self.outputs.extend(waiting.facts.into_iter().map(Output::failure));
        for slot in waiting.resting {
            self.rest_by_wish(now, slot);
        }
        for repeat in waiting.repeats {
            self.look_up(repeat);
        }
        for doubted in waiting.doubted {
            self.look(doubted);
        }
        self.start_recoveries();
        self.send_batches(0);
        self.note_drained();
    }

    /// The oldest batch on its way was not acknowledged: its outcome is unknown or it is fenced. Everything after the last durable offset is
    /// forgotten, and so is this engine: parked callers are told to ask again with the same key, which is safe (G2).
    pub fn failed(&mut self, error: &AppendError) {
        self.end(&error.to_string());
    }

    /// The leadership ended.
    pub fn depose(&mut self) {
        self.end("this node no longer leads the shard");
    }

    /// The answer to [`Output::Confirm`]. Reads are only answered while the term holds (G5).
    pub fn confirmed(
        &mut self,
        now: Timestamp,
        token: ConfirmToken,
        result: Result<(), AppendError>,
    ) {
        let mut reads = self.confirmations.answered(token);
        match result {
            Ok(()) => reads.drain(..).for_each(|read| self.unpark(now, read)),
            Err(error) => {
                let reason: Box<str> = error.to_string().into();
                for reply in reads.drain(..).filter_map(|read| read.reply) {
                    let (shard, reason) = (self.shard, reason.clone());
                    let outcome = Outcome::NotApplied;
                    self.answer(reply, Err(AskError::Unavailable { shard, reason, outcome }));
                }
            }
        }
        self.confirmations.use_again(reads);
        self.note_drained();
    }

    /// The mailbox is drained: what is open may go to the log, when that is free: when it works on `batches_at_once` of a shard and fewer are on their way. With
    /// so many it never waits for the shard; more would only be smaller than they could be. True when it is held back for callers who were just answered: then
    /// this must be called again soon, whether or not something comes.
    pub fn flush(&mut self, batches_at_once: usize) -> bool {
        let held_back = self.send_batches(batches_at_once.max(1));
        if let Some(token) = self.confirmations.ask() {
            self.outputs.push_back(Output::Confirm(token));
        }
        held_back
    }

    /// True when reads wait and nobody was asked to confirm them: [`ShardEngine::flush`] asks.
    #[must_use]
    pub fn wants_confirmation(&self) -> bool {
        self.confirmations.is_unasked()
    }

    /// The open batch was held back for long enough, whoever has not come.
    pub fn stop_waiting(&mut self) {
        self.pipeline.stop_waiting();
    }

    /// Time passed: deadlines and idle entities are looked at.
    pub fn tick(&mut self, now: Timestamp) {
        // Looked at in every tick, so that what passes in between counts.
        let running = self.running.at(now);
        self.supervisor.tick(running);
        self.tell_dead_letters(now);
        let (mut unknown, mut doubted) = (Vec::new(), Vec::new());
        let late = |parked: &Parked<T>| parked.deadline < now;
        for waiting in self.pipeline.all_waiting() {
            let parked = waiting.parked.iter_mut().filter(|parked| late(parked));
            unknown.extend(parked.filter_map(|parked| parked.reply.take()));
            let late = waiting.repeats.extract_if(.., |repeat| repeat.envelope.deadline < now);
            let late: Vec<_> = late.map(|repeat| repeat.reply).collect();
            self.repeating -= late.len();
            unknown.extend(late);
            let late = waiting.doubted.extract_if(.., |doubted| doubted.envelope.deadline < now);
            doubted.extend(late.map(|doubted| doubted.reply));
        }
        doubted.extend(self.recoveries.late_doubts(now));
        self.repeating -= doubted.len();
        let mut not_applied = self.recoveries.expired(now);
        not_applied.extend(doubted);
        let reads = self.confirmations.all().filter(|read| late(read));
        not_applied.extend(reads.filter_map(|read| read.reply.take()));
        for (replies, outcome) in [(unknown, Outcome::Unknown), (not_applied, Outcome::NotApplied)]
        {
            for reply in replies {
                self.answer(reply, Err(AskError::DeadlinePassed { outcome }));
            }
        }
        if self.phase == Phase::Serving {
            self.rest_idle(now);
        }
        self.note_drained();
    }

    /// Turns everything new away and finishes what was begun; [`Output::Drained`] says when nothing is left.
    pub fn drain(&mut self) {
        if self.phase != Phase::Serving {
            return;
        }
        self.phase = Phase::Draining;
        let Abandoned { held, mut doubted, repeats } = self.recoveries.abandon();
        for waiting in self.pipeline.all_waiting() {
            doubted.extend(waiting.doubted.drain(..).map(|doubted| doubted.reply));
        }
        self.repeating -= doubted.len() + repeats.len();
        let repeats = repeats.into_iter().map(|repeat| repeat.reply);
        held.into_iter().chain(doubted).chain(repeats).for_each(|reply| self.turn_away(reply));
        self.pipeline.stop_anticipating();
        self.flush(usize::MAX);
        self.note_drained();
    }

    /// Shows other threads which handler runs.
    pub fn sight(&self) -> Sight {
        self.handler.sight()
    }

    /// True when the shell should not submit more until the log has caught up.
    #[must_use]
    #[inline]
    pub fn is_saturated(&self) -> bool {
        self.pipeline.is_saturated()
    }

    /// The next thing to be done.
    #[inline]
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    /// A full batch goes in any case; one that is not goes when fewer than `free_below` are on their way.
    fn send_batches(&mut self, free_below: usize) -> bool {
        let (counters, outputs) = (&mut self.counters, &mut self.outputs);
        self.pipeline.advance(free_below, &mut |batch| {
            counters.batches += 1;
            counters.batch_bytes += batch.bytes().len() as u64;
            outputs.push_back(Output::Append(batch));
        })
    }

    fn note_drained(&mut self) {
        let empty =
            self.pipeline.is_empty() && self.confirmations.is_empty() && self.repeating == 0;
        if self.phase == Phase::Draining && empty {
            self.phase = Phase::Drained;
            self.outputs.push_back(Output::Drained);
        }
    }

    fn unpark(&mut self, now: Timestamp, parked: Parked<T>) {
        let rejected = matches!(parked.answer.verdict, holm_core::Verdict::Rejected(_));
        self.tally.count(parked.command, rejected, parked.begun, now);
        if let Some(reply) = parked.reply {
            self.answer(reply, Ok(parked.answer));
        }
    }

    #[cold]
    fn refuse_service(&mut self, reply: T) {
        let Phase::Over { reason } = &self.phase else { return self.turn_away(reply) };
        let (shard, reason, outcome) = (self.shard, reason.clone(), Outcome::NotApplied);
        self.answer(reply, Err(AskError::Unavailable { shard, reason, outcome }));
    }

    fn turn_away(&mut self, reply: T) {
        let (shard, leader) = (self.shard, None);
        self.answer(reply, Err(AskError::Moved { shard, leader }));
    }

    fn answer(&mut self, reply: T, answer: Result<Answer, AskError>) {
        self.outputs.push_back(Output::Answer(reply, answer));
    }

    fn address_of(&self, slot: SlotId) -> EntityAddress {
        let slot = self.slots.get(slot);
        let entity_type = self.registry.kind_at(slot.kind).name();
        EntityAddress::new(entity_type, &*slot.id).expect("it was taken from an address")
    }
}
