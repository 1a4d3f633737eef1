//! Putting entities to rest, and taking snapshots.
//!
//! Only an entity with nothing on its way to the log may go: what its state holds is then in the log, and the next command brings it back. Snapshots
//! are taken from the live state, but leave the engine only when everything in them is durable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use holm_core::{SequenceNumber, Timestamp};
use holm_persistence::Snapshot;

use super::ShardEngine;
use super::ports::Output;
use super::slots::{self, SlotId};
use crate::failure::{Causes, FailureKind};
use crate::panic_text;
use crate::snapshot_payload::{self, Parts};

/// Entities looked at for one that can make room. Those unused for longest have nothing on their way, so the first one nearly always fits; the
/// bound keeps a shard whose entities are all busy from searching all of them for each command.
const CANDIDATES: usize = 256;

/// Entities put to rest in one tick. A tick must not stall the shard: 1,000 rests with a snapshot each take some milliseconds.
const RESTS_PER_TICK: usize = 1_000;

/// A snapshot on passivation is worth its write when it spares a quarter of the replay that the periodic ones allow.
const WORTH_A_SNAPSHOT: u64 = 4;

/// Events that a periodic snapshot waits for, for each KiB of the one before it: some 6 KiB of log. So writing snapshots never costs more than
/// a fraction of what writing the events costs, however large the state and its window of keys are. An entity with less than a KiB does not wait.
const EVENTS_PER_KIB: u64 = 32;

/// Intervals after which a snapshot is taken all the same: what a recovery replays stays bounded (6,400 events by default).
const LONGEST_WAIT: u64 = 64;

impl<T> ShardEngine<T> {
    /// Makes sure that one more entity fits; false when all are busy.
    pub(super) fn make_room(&mut self, now: Timestamp) -> bool {
        if self.slots.len() < self.limits.live_entities {
            return true;
        }
        let mut candidates = self.slots.oldest_first().take(CANDIDATES);
        let Some(slot) = candidates.find(|slot| self.may_rest(*slot)) else { return false };
        drop(candidates);
        self.counters.passivations_limit += 1;
        self.put_to_rest(now, slot);
        true
    }

    /// Puts entities to rest that were not used for the idle timeout (law V1). Zero turns it off.
    pub(super) fn rest_idle(&mut self, now: Timestamp) {
        let timeout = u64::try_from(self.limits.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        if timeout == 0 {
            return;
        }
        let idle: Vec<_> = self
            .slots
            .oldest_first()
            .take_while(|slot| self.slots.get(*slot).idle_ms(now) >= timeout)
            .filter(|slot| self.may_rest(*slot))
            .take(RESTS_PER_TICK)
            .collect();
        for slot in idle {
            self.counters.passivations_idle += 1;
            self.put_to_rest(now, slot);
        }
    }

    /// Puts an entity to rest that asked for it, unless it was used again meanwhile (law E3).
    pub(super) fn rest_by_wish(&mut self, now: Timestamp, slot: SlotId) {
        if self.may_rest(slot) {
            self.counters.passivations_wish += 1;
            self.put_to_rest(now, slot);
        }
    }

    /// Takes a snapshot when this record's events reached or passed a multiple of the interval (laws T1, T2) and it is worth its size.
    pub(super) fn snapshot_when_due(&mut self, now: Timestamp, id: SlotId, base: SequenceNumber) {
        let every = self.limits.snapshot_every;
        let slot = self.slots.get(id);
        let (sequence, head) = (slot.sequence, slot.head);
        if sequence.0 / every == base.0 / every {
            return;
        }
        let unsaved = u64::from(slot.unsaved);
        let worth = u64::from(slot.snapshot_kib) * EVENTS_PER_KIB;
        if unsaved < worth.min(every.saturating_mul(LONGEST_WAIT)) {
            return;
        }
        if let Some(snapshot) = self.snapshot(now, id) {
            let address = self.address_of(id);
            self.pipeline.waiting_at(head).snapshots.push((address, snapshot));
        }
    }

    fn may_rest(&self, slot: SlotId) -> bool {
        let slot = self.slots.get(slot);
        slot.state.is_some() && slot.head <= self.pipeline.durable()
    }

    fn put_to_rest(&mut self, now: Timestamp, id: SlotId) {
        let unsaved = u64::from(self.slots.get(id).unsaved);
        if unsaved * WORTH_A_SNAPSHOT >= self.limits.snapshot_every
            && unsaved > 0
            && let Some(snapshot) = self.snapshot(now, id)
        {
            let address = self.address_of(id);
            self.outputs.push_back(Output::SaveSnapshot(address, snapshot));
        }
        self.slots.remove(id);
    }

    /// The present state as a snapshot. A failure is reported and does not stop the entity (law T11).
    fn snapshot(&mut self, at: Timestamp, id: SlotId) -> Option<Snapshot> {
        let slot = self.slots.get(id);
        let kind = self.registry.kind_at(slot.kind);
        let state = slot.state.as_ref()?;
        let written = catch_unwind(AssertUnwindSafe(|| {
            let mut encoded = Vec::new();
            kind.entity.encode_state(state, &mut encoded)?;
            let window = slot.window.entries();
            snapshot_payload::write(&Parts { window, state: &encoded })
        }));
        let failure = match written {
            Ok(Ok(payload)) => {
                let (sequence, offset) = (slot.sequence, slot.head);
                let slot = self.slots.get_mut(id);
                (slot.unsaved, slot.snapshot_kib) = (0, slots::kib(payload.len()));
                return Some(Snapshot { sequence, offset, at, payload: payload.into() });
            }
            Ok(Err(error)) => Causes::of(&error),
            Err(panic) => panic_text(&*panic).into(),
        };
        self.report(at, FailureKind::SnapshotFailed, id, &failure);
        None
    }
}
