//! Recoveries: which entities are being brought back, which commands wait for them, and how many loads run at once.

use std::collections::{BTreeMap, VecDeque};

use holm_core::{AskError, CommandEnvelope, Limit, Offset, Outcome, SequenceNumber, Timestamp};
use holm_persistence::{ReadError, Snapshot, StoredRecord};

use super::ShardEngine;
use super::again::Doubted;
use super::ports::{LoadRequest, LoadTicket, Loaded, Output, UsableSnapshots, Wanted};
use super::quarantine;
use super::rehydrate::Rehydration;
use super::repeats::Repeat;
use super::slots::{self, SlotId};
use super::supervision::{Decision, Quarantine};
use super::window::WindowBounds;
use crate::failure::{Causes, FailedCommand, FailureFact, FailureKind};

/// Records of one page. 256 small records are some tens of KiB: one read, and memory stays bounded whatever the length of the history.
const PAGE_RECORDS: usize = 256;

/// All recoveries of a shard.
#[derive(Debug)]
pub(super) struct Recoveries<T> {
    /// In an order of its own, here and below: what is answered together is answered in the same order in every run.
    by_slot: BTreeMap<SlotId, Recovery<T>>,
    /// Those that wait for a permit, in order.
    queue: VecDeque<SlotId>,
    /// Those that wait until what they wrote before is durable.
    blocked: VecDeque<(Offset, SlotId)>,
    awaited: BTreeMap<LoadTicket, Awaited<T>>,
    running: usize,
    held: usize,
    last_ticket: u64,
}

#[derive(Debug)]
struct Recovery<T> {
    held: VecDeque<(CommandEnvelope, T)>,
    progress: Option<Rehydration>,
    snapshots: UsableSnapshots,
    /// Where the entity's chain of records ends, once that was read.
    end: Option<(Offset, SequenceNumber)>,
}

/// What a load is for.
#[derive(Debug)]
pub(super) enum Awaited<T> {
    Recovery(SlotId),
    Record(Repeat<T>),
    EarlierTry(Doubted<T>),
}

/// Everybody who waits for something to be read.
pub(super) struct Abandoned<T> {
    /// For their entity.
    pub(super) held: Vec<T>,
    /// For the word whether there was an earlier try.
    pub(super) doubted: Vec<T>,
    /// For the record of their earlier try.
    pub(super) repeats: Vec<Repeat<T>>,
}

impl<T> Recoveries<T> {
    pub(super) fn new() -> Self {
        Self {
            by_slot: BTreeMap::new(),
            queue: VecDeque::new(),
            blocked: VecDeque::new(),
            awaited: BTreeMap::new(),
            running: 0,
            held: 0,
            last_ticket: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_slot.len()
    }

    /// How many commands wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn issue(&mut self, awaited: Awaited<T>) -> LoadTicket {
        self.last_ticket += 1;
        let ticket = LoadTicket(self.last_ticket);
        self.awaited.insert(ticket, awaited);
        ticket
    }

    /// Every command that waits, for a shard that stops.
    pub(super) fn abandon(&mut self) -> Abandoned<T> {
        let held =
            std::mem::take(&mut self.by_slot).into_values().flat_map(|recovery| recovery.held);
        let held = held.map(|(_, reply)| reply).collect();
        let mut abandoned = Abandoned { held, doubted: Vec::new(), repeats: Vec::new() };
        for awaited in std::mem::take(&mut self.awaited).into_values() {
            match awaited {
                Awaited::Recovery(_) => {}
                Awaited::Record(repeat) => abandoned.repeats.push(repeat),
                Awaited::EarlierTry(doubted) => abandoned.doubted.push(doubted.reply),
            }
        }
        (self.running, self.held) = (0, 0);
        self.queue.clear();
        self.blocked.clear();
        abandoned
    }

    /// Those whose deadline passed while an earlier try was looked for.
    pub(super) fn late_doubts(&mut self, now: Timestamp) -> Vec<T> {
        let late = self.awaited.extract_if(.., |_, awaited| match awaited {
            Awaited::EarlierTry(doubted) => doubted.envelope.deadline < now,
            Awaited::Recovery(_) | Awaited::Record(_) => false,
        });
        late.filter_map(|(_, awaited)| match awaited {
            Awaited::EarlierTry(doubted) => Some(doubted.reply),
            Awaited::Recovery(_) | Awaited::Record(_) => None,
        })
        .collect()
    }

    /// The held commands whose deadline passed.
    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<T> {
        let mut expired = Vec::new();
        for recovery in self.by_slot.values_mut() {
            if recovery.held.iter().any(|(envelope, _)| envelope.deadline < now) {
                let held = std::mem::take(&mut recovery.held);
                for (envelope, reply) in held {
                    if envelope.deadline < now {
                        expired.push(reply);
                    } else {
                        recovery.held.push_back((envelope, reply));
                    }
                }
            }
        }
        self.held -= expired.len();
        expired
    }
}

impl<T> ShardEngine<T> {
    /// Brings an entity back, once everything that it wrote is durable.
    pub(super) fn recover(&mut self, slot: SlotId) {
        let head = self.slots.get(slot).head.max(self.abandoned);
        let (held, snapshots) = (VecDeque::new(), UsableSnapshots::All);
        let recovery = Recovery { held, progress: None, snapshots, end: None };
        self.recoveries.by_slot.insert(slot, recovery);
        if head > self.pipeline.durable() {
            self.recoveries.blocked.push_back((head, slot));
        } else {
            self.recoveries.queue.push_back(slot);
        }
    }

    /// Keeps a command until its entity is back.
    pub(super) fn hold(&mut self, slot: SlotId, envelope: CommandEnvelope, reply: T) {
        let (per_entity, per_shard) = (self.limits.held_commands, self.limits.mailbox_capacity);
        let recovery = self
            .recoveries
            .by_slot
            .get_mut(&slot)
            .expect("an entity without a state is recovering");
        let passed = if recovery.held.len() >= per_entity {
            Some((Limit::HeldCommands, per_entity))
        } else if self.recoveries.held >= per_shard {
            Some((Limit::MailboxCapacity, per_shard))
        } else {
            None
        };
        if let Some((limit, allowed)) = passed {
            let allowed = allowed as u64;
            return self.answer(reply, Err(AskError::Overloaded { limit, allowed }));
        }
        recovery.held.push_back((envelope, reply));
        self.recoveries.held += 1;
    }

    /// Starts as many recoveries as there are permits.
    pub(super) fn start_recoveries(&mut self) {
        let durable = self.pipeline.durable();
        while let Some((offset, slot)) = self.recoveries.blocked.front().copied() {
            if offset > durable {
                break;
            }
            self.recoveries.blocked.pop_front();
            self.recoveries.queue.push_back(slot);
        }
        while self.recoveries.running < self.limits.concurrent_recoveries.max(1) {
            let Some(slot) = self.recoveries.queue.pop_front() else { return };
            self.recoveries.running += 1;
            self.load_start(slot, UsableSnapshots::All);
        }
    }

    pub(super) fn handle_loaded(
        &mut self,
        now: Timestamp,
        ticket: LoadTicket,
        loaded: Result<Loaded, ReadError>,
    ) {
        match (self.recoveries.awaited.remove(&ticket), loaded) {
            // An answer that nobody waits for any more.
            (None, _) => {}
            (Some(Awaited::Record(repeat)), Ok(Loaded::Record(record))) => {
                self.record_loaded(repeat, Ok(record));
            }
            (Some(Awaited::Record(repeat)), Ok(_)) => self.record_loaded(repeat, Ok(None)),
            (Some(Awaited::Record(repeat)), Err(error)) => self.record_loaded(repeat, Err(error)),
            (Some(Awaited::EarlierTry(doubted)), loaded) => {
                let shard = self.shard;
                let found = loaded.and_then(|loaded| match loaded {
                    Loaded::Record(found) => Ok(found),
                    Loaded::Start { .. } | Loaded::More(_) => {
                        let reason = "the log answered another question".to_owned();
                        Err(ReadError::Store { shard, reason })
                    }
                });
                self.looked_for_earlier_try(now, doubted, found);
            }
            (Some(Awaited::Recovery(slot)), Ok(loaded)) => self.proceed(now, slot, &loaded),
            (Some(Awaited::Recovery(slot)), Err(error)) => {
                self.unreadable(now, slot, &error);
            }
        }
    }

    fn load_start(&mut self, slot: SlotId, snapshots: UsableSnapshots) {
        if let Some(recovery) = self.recoveries.by_slot.get_mut(&slot) {
            recovery.snapshots = snapshots;
        }
        self.load(slot, Wanted::Start { snapshots, page: PAGE_RECORDS });
    }

    fn load(&mut self, slot: SlotId, wanted: Wanted) {
        let address = self.address_of(slot);
        let ticket = self.recoveries.issue(Awaited::Recovery(slot));
        self.outputs.push_back(Output::Load(LoadRequest { ticket, address, wanted }));
    }

    fn proceed(&mut self, now: Timestamp, slot: SlotId, loaded: &Loaded) {
        // Keys that are read back count as used now: nobody can tell by how much the clocks that stored them were wrong.
        let (bounds, running) = (WindowBounds::of(&self.limits), self.running.at(now));
        let registry = self.registry.clone();
        let kind = registry.kind_at(self.slots.get(slot).kind);
        let Some(recovery) = self.recoveries.by_slot.get_mut(&slot) else { return };
        if let Loaded::Start { history, .. } | Loaded::More(history) = loaded {
            recovery.end = Some((history.head, history.highest));
        }
        match newest(loaded).map(quarantine::sentence) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(quarantine))) => return self.found_quarantined(now, slot, quarantine),
            Some(Err(reason)) => return self.recovery_failed(now, slot, &reason),
        }
        let (progress, history) = match loaded {
            Loaded::Record(_) => {
                let causes = Causes::from("the log answered another question");
                return self.recovery_failed(now, slot, &causes);
            }
            Loaded::More(history) => {
                (recovery.progress.take().ok_or_else(|| Causes::from("it did not begin")), history)
            }
            Loaded::Start { snapshot: None, history, .. } => {
                (Rehydration::from_nothing(kind), history)
            }
            Loaded::Start { snapshot: Some(snapshot), history, .. } => {
                match Rehydration::from_snapshot(kind, snapshot, history.head, (running, bounds)) {
                    Ok(progress) => (Ok(progress), history),
                    Err(causes) => return self.step_over(now, slot, snapshot, causes),
                }
            }
        };
        let replayed = progress.and_then(|mut progress| {
            let more = progress.replay(kind, history, (running, bounds))?;
            Ok((progress, more))
        });
        match replayed {
            Err(reason) => self.recovery_failed(now, slot, &reason),
            Ok((progress, false)) => self.complete(now, slot, progress),
            Ok((progress, true)) => {
                let after = progress.head;
                recovery.progress = Some(progress);
                self.load(slot, Wanted::More { after, page: PAGE_RECORDS });
            }
        }
    }

    /// A snapshot cannot be read: the one before it, or all events, must do (law N14).
    fn step_over(&mut self, now: Timestamp, slot: SlotId, snapshot: &Snapshot, causes: Causes) {
        let which = format!("the snapshot at sequence number {}", snapshot.sequence);
        self.report(now, FailureKind::SnapshotUnreadable, slot, &causes.within(&which));
        let next = match snapshot.sequence.0.checked_sub(1) {
            Some(below) => UsableSnapshots::UpTo(holm_core::SequenceNumber(below)),
            None => UsableSnapshots::None,
        };
        self.load_start(slot, next);
    }

    fn complete(&mut self, now: Timestamp, slot: SlotId, progress: Rehydration) {
        self.counters.activations += 1;
        self.counters.events_replayed += u64::from(progress.replayed);
        let entity = self.slots.get_mut(slot);
        entity.state = Some(progress.state);
        entity.window = progress.window;
        (entity.sequence, entity.head) = (progress.sequence, progress.head);
        entity.unsaved = progress.replayed;
        entity.snapshot_kib = slots::kib(progress.snapshot_bytes);
        self.recoveries.running -= 1;
        let Some(recovery) = self.recoveries.by_slot.remove(&slot) else { return };
        self.recoveries.held -= recovery.held.len();
        // A loop, so that thousands of held commands need no stack (law H10).
        for (envelope, reply) in recovery.held {
            if self.slots.get(slot).state.is_some() {
                self.execute(now, slot, &envelope, reply);
            } else {
                // One of them made the entity fail: what becomes of the rest follows from what became of the entity.
                self.dispatch(now, envelope, reply);
            }
        }
    }

    /// The log cannot be read: that is not the entity's doing, so it is not counted, and the next command may try again. Of a store that failed its callers hear that
    /// the shard is not there now, because it says nothing about the history: another replica may soon serve it.
    fn unreadable(&mut self, now: Timestamp, slot: SlotId, error: &ReadError) {
        let causes = Causes::of(error);
        let mut fact = self.fact(now, FailureKind::RecoveryFailed, slot, &causes);
        fact.command = self.first_held(slot);
        let told = match error {
            ReadError::Store { shard, reason } => AskError::Unavailable {
                shard: *shard,
                reason: format!("its log cannot be read: {reason}").into(),
                outcome: Outcome::NotApplied,
            },
            _ => self.not_recovered(slot, &causes),
        };
        self.give_up(now, slot, &told, (Decision::Stop, None), fact);
    }

    fn not_recovered(&self, slot: SlotId, causes: &Causes) -> AskError {
        let reason = causes.to_string().into();
        AskError::RecoveryFailed { address: self.address_of(slot), reason }
    }

    fn recovery_failed(&mut self, now: Timestamp, id: SlotId, causes: &Causes) {
        let running = self.running.at(now);
        let slot = self.slots.get(id);
        let subject = (slot.kind, &*slot.id);
        let supervision = self.registry.kind_at(slot.kind).recovery_supervision;
        let (decision, attempt) = self.supervisor.failed(subject, supervision, running);
        let mut fact = self.fact(now, FailureKind::RecoveryFailed, id, causes);
        (fact.attempt, fact.command) = (attempt, self.first_held(id));
        let end = self.recoveries.by_slot.get(&id).and_then(|recovery| recovery.end);
        // The same history would fail the same way: it is tried again when somebody asks, never in a circle.
        let decision = if decision == Decision::Again { Decision::Stop } else { decision };
        let told = self.not_recovered(id, causes);
        self.give_up(now, id, &told, (decision, end), fact);
    }

    /// The command that wanted the entity back: when that fails, it is the one that failed.
    fn first_held(&self, slot: SlotId) -> Option<FailedCommand> {
        let (first, _) = self.recoveries.by_slot.get(&slot)?.held.front()?;
        Some(FailedCommand::of(first))
    }

    /// The recovery ends, and those who waited for it hear so. The failure is told first, so that whoever hears of it can already wait until it is stored; only one
    /// that ends in quarantine is told later, when that is durable.
    fn give_up(
        &mut self,
        now: Timestamp,
        slot: SlotId,
        told: &AskError,
        (decision, end): (Decision, Option<(Offset, SequenceNumber)>),
        fact: FailureFact,
    ) {
        let held = self.end_recovery(slot);
        self.carry_out(now, slot, decision, end, fact);
        for (_, reply) in held {
            self.counters.failures += 1;
            self.answer(reply, Err(told.clone()));
        }
    }

    /// The log says that the entity is in quarantine.
    fn found_quarantined(&mut self, now: Timestamp, id: SlotId, quarantine: Quarantine) {
        let running = self.running.at(now);
        let slot = self.slots.get(id);
        self.supervisor.keep((slot.kind, &*slot.id), quarantine, running);
        let held = self.end_recovery(id);
        self.set_aside(id);
        for (envelope, reply) in held {
            self.dispatch(now, envelope, reply);
        }
    }

    /// Gives the permit back, and the commands that were held.
    fn end_recovery(&mut self, slot: SlotId) -> VecDeque<(CommandEnvelope, T)> {
        self.recoveries.running -= 1;
        let held = self.recoveries.by_slot.remove(&slot).map(|recovery| recovery.held);
        let held = held.unwrap_or_default();
        self.recoveries.held -= held.len();
        held
    }
}

/// The entity's newest record, where the first answer shows it.
fn newest(loaded: &Loaded) -> Option<&StoredRecord> {
    match loaded {
        Loaded::Start { newest: Some(newest), .. } => Some(newest),
        Loaded::Start { history, .. } => history.records.last(),
        Loaded::More(_) | Loaded::Record(_) => None,
    }
}
