//! The ledger: what the stored progress says, what it does not say yet, and when the next step is worth storing.
//!
//! A reaction that is found and done between two steps is never mentioned. While a shard is idle nothing is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holm_core::{Offset, Timestamp};

use super::letter::Place;
use super::progress::{Advance, Open};

/// How long something may be done and not be stored as done: so much is delivered again after a crash.
const STEP_EVERY: Duration = Duration::from_millis(100);

/// Records after which a step is stored even when there was no reaction, so that a take-over reads no more than these.
const STEP_RECORDS: u64 = 10_000;

/// Reactions that one step opens or closes at most: some 32 bytes each, which is far below what a command may have.
const STEP_ENTRIES: usize = 1_024;

/// Reactions that one step gives up at most, for the same reason.
const STEP_REASONS: usize = 64;

/// Bytes of the reason for giving one up.
pub(super) const REASON_BYTES: usize = 256;

/// See the module's description.
#[derive(Debug)]
pub(super) struct Ledger {
    version: u64,
    scanned: Offset,
    /// Open in the stored progress.
    known: BTreeSet<Place>,
    /// Open, and not in the stored progress.
    fresh: BTreeSet<Place>,
    /// Open in the stored progress, and done.
    gone: BTreeSet<Place>,
    given_up: BTreeMap<Place, Box<str>>,
    changed: Option<Timestamp>,
    step: Option<Advance>,
    failures: u32,
}

impl Ledger {
    pub(super) fn new(
        version: u64,
        scanned: Offset,
        known: impl IntoIterator<Item = Place>,
    ) -> Self {
        Self {
            version,
            scanned,
            known: known.into_iter().collect(),
            fresh: BTreeSet::new(),
            gone: BTreeSet::new(),
            given_up: BTreeMap::new(),
            changed: None,
            step: None,
            failures: 0,
        }
    }

    pub(super) fn opened(&mut self, now: Timestamp, place: Place) {
        self.fresh.insert(place);
        self.changed.get_or_insert(now);
    }

    pub(super) fn closed(&mut self, now: Timestamp, place: Place) {
        self.given_up.remove(&place);
        if self.known.remove(&place) {
            self.gone.insert(place);
        } else {
            self.fresh.remove(&place);
        }
        self.changed.get_or_insert(now);
    }

    pub(super) fn given_up(&mut self, now: Timestamp, place: Place, reason: Box<str>) {
        self.given_up.insert(place, reason);
        self.changed.get_or_insert(now);
    }

    /// What seems to have changed later than now changed by a clock that was ahead.
    pub(super) fn clock_went_back(&mut self, now: Timestamp) {
        self.changed = self.changed.map(|since| since.min(now));
    }

    /// When a step will be worth storing.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.step.is_some() { None } else { self.changed.map(|since| since.plus(STEP_EVERY)) }
    }

    /// The next step, when it is time for one, or one is needed at once, and none is under way. `open` describes an open reaction.
    pub(super) fn next_step(
        &mut self,
        now: Timestamp,
        scanned: Offset,
        at_once: bool,
        open: impl Fn(&Place) -> Option<Open>,
    ) -> Option<Advance> {
        let unsaid = scanned.0.saturating_sub(self.scanned.0);
        let due = self.due().is_some_and(|due| due <= now) || unsaid >= STEP_RECORDS || at_once;
        if self.step.is_some() || !due {
            return None;
        }
        let mut step = Advance { version: self.version, scanned, ..Advance::default() };
        while step.opened.len() < STEP_ENTRIES
            && let Some(place) = self.fresh.pop_first()
        {
            if let Some(open) = open(&place) {
                step.opened.push((place, open));
                self.known.insert(place);
            }
        }
        if let Some(unsaid) = self.fresh.first() {
            // What is not said to be open must be found again.
            step.scanned = Offset(unsaid.offset.0.saturating_sub(1)).max(self.scanned);
        }
        while step.closed.len() < STEP_ENTRIES
            && let Some(place) = self.gone.pop_first()
        {
            step.closed.push(place);
        }
        let known = &self.known;
        let mut sayable = self.given_up.extract_if(.., |place, _| known.contains(place));
        step.given_up = sayable.by_ref().take(STEP_REASONS).collect();
        drop(sayable);
        let more = !(self.fresh.is_empty() && self.gone.is_empty() && self.given_up.is_empty());
        self.changed = if more { self.changed } else { None };
        self.step = Some(step.clone());
        Some(step)
    }

    /// The step that is not known to be stored yet.
    pub(super) fn under_way(&self) -> Option<Advance> {
        self.step.clone()
    }

    /// The step could not be stored; says how often in a row before.
    pub(super) fn failed(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures - 1
    }

    /// The step is stored; gives the reactions that are durably given up by it.
    pub(super) fn stored(&mut self) -> Vec<Place> {
        let Some(step) = self.step.take() else { return Vec::new() };
        (self.version, self.scanned, self.failures) = (self.version + 1, step.scanned, 0);
        step.given_up.into_iter().map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_while_the_clock_was_ahead_is_stored_soon() {
        let right = Timestamp::from_millis(1_000_000);
        let mut ledger = Ledger::new(0, Offset::ZERO, []);
        ledger
            .opened(right.plus(Duration::from_secs(3_600)), Place { offset: Offset(1), index: 0 });
        ledger.clock_went_back(right);
        assert_eq!(ledger.due(), Some(right.plus(STEP_EVERY)));
        // What changed before that waits no longer than it did.
        ledger.clock_went_back(right.plus(Duration::from_millis(50)));
        assert_eq!(ledger.due(), Some(right.plus(STEP_EVERY)));
    }
}
