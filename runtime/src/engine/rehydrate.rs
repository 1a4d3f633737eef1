//! Rebuilding one entity: the newest readable snapshot, then the records after it, page by page, so that memory stays bounded.
//!
//! What does not fit together is an error, never a guess: a gap in the chain of records, a sequence number that does not follow, an event that
//! nobody can read, a panic in `apply`. It concerns this entity alone (promise G7, law E13).

use std::panic::{AssertUnwindSafe, catch_unwind};

use holm_core::{Offset, SequenceNumber, Timestamp};
use holm_persistence::{History, Record, Snapshot};

use super::quarantine::unreadable_record;
use super::window::{Window, WindowBounds};
use crate::failure::Causes;
use crate::registry::{Kind, State};
use crate::{panic_text, snapshot_payload};

/// An entity on its way back to life.
#[derive(Debug)]
pub(super) struct Rehydration {
    pub(super) state: State,
    pub(super) window: Window,
    pub(super) sequence: SequenceNumber,
    pub(super) head: Offset,
    /// Events replayed so far; all of them came after the snapshot.
    pub(super) replayed: u32,
    /// Bytes of the snapshot that it began with.
    pub(super) snapshot_bytes: usize,
}

impl Rehydration {
    /// Begins with nothing.
    pub(super) fn from_nothing(kind: &Kind) -> Result<Self, Causes> {
        let state = guarded(|| Ok(kind.entity.fresh()))?;
        Ok(Self {
            state,
            window: Window::default(),
            sequence: SequenceNumber::ZERO,
            head: Offset::ZERO,
            replayed: 0,
            snapshot_bytes: 0,
        })
    }

    /// Begins with a snapshot. `log_head` is the entity's newest record: a snapshot from after it is of another history.
    pub(super) fn from_snapshot(
        kind: &Kind,
        snapshot: &Snapshot,
        log_head: Offset,
        window: (Timestamp, WindowBounds),
    ) -> Result<Self, Causes> {
        if snapshot.offset > log_head {
            let at = snapshot.offset;
            let reason =
                format!("it reflects offset {at}, the entity's newest record is {log_head}");
            return Err(reason.into());
        }
        let parts =
            snapshot_payload::read(&snapshot.payload).map_err(|error| Causes::of(&error))?;
        let decoded = || kind.entity.decode_state(parts.state).map_err(|error| Causes::of(&error));
        let state = guarded(decoded)?;
        Ok(Self {
            state,
            window: Window::from_entries(&parts.window, window),
            sequence: snapshot.sequence,
            head: snapshot.offset,
            replayed: 0,
            snapshot_bytes: snapshot.payload.len(),
        })
    }

    /// Applies a page of records. True when there are more to come.
    pub(super) fn replay(
        &mut self,
        kind: &Kind,
        history: &History,
        window: (Timestamp, WindowBounds),
    ) -> Result<bool, Causes> {
        for stored in &history.records {
            let record = stored
                .decode()
                .map_err(|error| Causes::of(&error).within(&unreadable_record(stored)))?;
            self.apply(kind, stored.offset, &record, window)?;
        }
        if history.more && history.records.is_empty() {
            return Err("the log promised more records and gave none".into());
        }
        if !history.more && self.head != history.head {
            let (ours, newest) = (self.head, history.head);
            let reason = format!("the records end at offset {ours}, the newest is {newest}");
            return Err(reason.into());
        }
        Ok(history.more)
    }

    fn apply(
        &mut self,
        kind: &Kind,
        offset: Offset,
        record: &Record<'_>,
        window: (Timestamp, WindowBounds),
    ) -> Result<(), Causes> {
        if record.previous != self.head || record.base != self.sequence {
            let reason = format!(
                "the record at offset {offset} follows offset {} and sequence number {}, but the history ends at {} and {}",
                record.previous, record.base, self.head, self.sequence
            );
            return Err(reason.into());
        }
        let state = &mut self.state;
        guarded(|| {
            for (step, event) in record.events.iter().enumerate() {
                kind.entity.apply(state, event).map_err(|error| {
                    let number = record.base.plus(step as u64 + 1);
                    Causes::of(&error).within(&format!("event {number} cannot be read"))
                })?;
            }
            Ok(())
        })?;
        let (at, bounds) = window;
        self.window.remember(record.key.digest(), offset, at, bounds);
        (self.sequence, self.head) = (record.last_sequence(), offset);
        self.replayed =
            self.replayed.saturating_add(record.events.len().try_into().unwrap_or(u32::MAX));
        Ok(())
    }
}

/// Runs code of the entity; a panic is an error.
fn guarded<R>(code: impl FnOnce() -> Result<R, Causes>) -> Result<R, Causes> {
    catch_unwind(AssertUnwindSafe(code))
        .unwrap_or_else(|panic| Err(Causes::from(panic_text(&*panic)).within("a panic")))
}
