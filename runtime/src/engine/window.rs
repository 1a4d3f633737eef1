//! The idempotency window of one entity: which keys were used, and at which offset the answer to each is recorded.
//!
//! It holds no answers, only offsets: the log is the truth, and a repeated key is rare enough to read it there. So a key takes 24 bytes, and a
//! window that begins with one place doubles as keys come: five take eight places. Bounded by count and by age (promise G2 states both). A short window is
//! searched by looking at all of it; a long one gets a hash table of its own.

use std::time::Duration;

use hashbrown::HashTable;
use holm_core::{Limits, Offset, Timestamp};

use crate::snapshot_payload::WindowEntry;

/// Up to so many keys (1.5 KiB) a search through all of them is as fast as a hash table, and needs none.
const SEARCHED: u16 = 64;

/// A ring of remembered keys, from old to new.
#[derive(Debug, Default)]
pub(super) struct Window {
    ring: Box<[Seen]>,
    /// The places in the ring, found by digest; none while the window is short.
    index: Option<Box<HashTable<u16>>>,
    start: u16,
    length: u16,
}

/// 96 of the digest's 128 bits are plenty: whoever acts on a match compares the whole key with the recorded one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    low: u64,
    offset: u64,
    high: u32,
    /// Seconds of the shard's time, rounded up, so that a key is remembered a little longer than said and never shorter.
    at: u32,
}

/// How much a window may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowBounds {
    pub(super) keys: usize,
    pub(super) age: Duration,
}

impl WindowBounds {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { keys: limits.window_keys, age: limits.window_age }
    }

    fn keys(self) -> u16 {
        // A window without any key would break promise G2 silently.
        u16::try_from(self.keys).unwrap_or(u16::MAX).max(1)
    }
}

impl Window {
    /// The offset of the record that used the key, unless it is too old to count.
    pub(super) fn find(
        &mut self,
        digest: u128,
        now: Timestamp,
        bounds: WindowBounds,
    ) -> Option<Offset> {
        self.forget_old(now, bounds.age);
        let (high, low) = halves(digest);
        let same = |seen: &Seen| seen.low == low && seen.high == high;
        let seen = if let Some(index) = &self.index {
            let place = index.find(low, |&place| same(&self.ring[usize::from(place)]))?;
            Some(&self.ring[usize::from(*place)])
        } else {
            let (older, newer) = self.halves_in_order();
            // From the newest: retries come soon.
            newer.iter().rev().chain(older.iter().rev()).find(|seen| same(seen))
        };
        seen.map(|seen| Offset(seen.offset))
    }

    /// Remembers a key; the oldest goes when there are too many.
    pub(super) fn remember(
        &mut self,
        digest: u128,
        offset: Offset,
        at: Timestamp,
        bounds: WindowBounds,
    ) {
        if self.length >= bounds.keys() {
            self.drop_oldest();
        }
        if usize::from(self.length) == self.ring.len() {
            self.grow(bounds.keys());
        }
        let (high, low) = halves(digest);
        let place = self.place(self.length);
        self.ring[place] = Seen { low, offset: offset.0, high, at: seconds(at) };
        self.length += 1;
        if let Some(index) = &mut self.index {
            index.insert_unique(low, short(place), |&other| self.ring[usize::from(other)].low);
        } else if self.length > SEARCHED {
            self.build_index();
        }
    }

    /// As it goes into a snapshot.
    pub(super) fn entries(&self) -> Vec<WindowEntry> {
        let (older, newer) = self.halves_in_order();
        let mut before = (0, 0);
        older
            .iter()
            .chain(newer)
            .map(|seen| {
                let (offset, at) =
                    (seen.offset.wrapping_sub(before.0), seen.at.wrapping_sub(before.1));
                before = (seen.offset, seen.at);
                WindowEntry { low: seen.low, high: seen.high, offset, at }
            })
            .collect()
    }

    /// As it comes from a snapshot. All its keys count as used at `now`: what the snapshot says is another shard's time.
    pub(super) fn from_entries(
        entries: &[WindowEntry],
        (now, bounds): (Timestamp, WindowBounds),
    ) -> Self {
        let (mut window, mut before) = (Self::default(), 0u64);
        for WindowEntry { low, high, offset, .. } in entries {
            before = before.wrapping_add(*offset);
            let digest = (u128::from(*high) << 64) | u128::from(*low);
            window.remember(digest, Offset(before), now, bounds);
        }
        window
    }

    fn forget_old(&mut self, now: Timestamp, age: Duration) {
        while self.length > 0 {
            let oldest = Timestamp::from_millis(u64::from(self.ring[self.place(0)].at) * 1_000);
            if now.since(oldest) <= age {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = short(self.place(0));
        if let Some(index) = &mut self.index {
            let low = self.ring[usize::from(oldest)].low;
            if let Ok(entry) = index.find_entry(low, |&place| place == oldest) {
                entry.remove();
            }
        }
        self.start = short(self.place(1));
        self.length -= 1;
    }

    fn grow(&mut self, most: u16) {
        let wanted = (usize::from(self.length) * 2).clamp(1, usize::from(most));
        let mut ring = Vec::with_capacity(wanted);
        let (older, newer) = self.halves_in_order();
        ring.extend_from_slice(older);
        ring.extend_from_slice(newer);
        ring.resize(wanted, Seen::default());
        (self.ring, self.start) = (ring.into_boxed_slice(), 0);
        if self.index.is_some() {
            self.build_index();
        }
    }

    fn build_index(&mut self) {
        let mut index = HashTable::with_capacity(self.ring.len());
        for step in 0..self.length {
            let place = self.place(step);
            // The digest is as random as any hash of it would be.
            let low = self.ring[place].low;
            index.insert_unique(low, short(place), |&other| self.ring[usize::from(other)].low);
        }
        self.index = Some(Box::new(index));
    }

    /// The remembered keys from old to new, in two slices where the ring wraps.
    fn halves_in_order(&self) -> (&[Seen], &[Seen]) {
        let (start, length) = (usize::from(self.start), usize::from(self.length));
        let before_wrap = length.min(self.ring.len() - start);
        (&self.ring[start..start + before_wrap], &self.ring[..length - before_wrap])
    }

    fn place(&self, step: u16) -> usize {
        if self.ring.is_empty() {
            return 0;
        }
        (usize::from(self.start) + usize::from(step)) % self.ring.len()
    }
}

fn short(place: usize) -> u16 {
    u16::try_from(place).expect("a ring is at most u16::MAX long")
}

fn halves(digest: u128) -> (u32, u64) {
    let high = u32::try_from((digest >> 64) & u128::from(u32::MAX)).expect("32 bits are left");
    let low = u64::try_from(digest & u128::from(u64::MAX)).expect("64 bits are left");
    (high, low)
}

fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGE: Duration = Duration::from_secs(100);

    proptest! {
        /// Promise G2, the bounded part: the window is the last `keys` keys that are not older than `age`, nothing else. Checked against a list.
        #[test]
        fn the_window_is_the_newest_keys_that_are_young_enough(
            keys in prop_oneof![1usize..9, 60usize..200],
            steps in prop::collection::vec((0u64..300, prop_oneof![9 => Just(0u64), 1 => 0u64..20]), 1..600),
        ) {
            let bounds = WindowBounds { keys, age: AGE };
            let (mut window, mut model) = (Window::default(), Vec::<(u128, u64, u64)>::new());
            let mut now = 0;
            for (offset, (key, passed)) in steps.into_iter().enumerate() {
                now += passed;
                let digest = u128::from(key + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060);
                let at = Timestamp::from_millis(now * 1_000);
                model.retain(|(_, _, at)| now - at <= 100);
                let expected = model.iter().rev().find(|seen| seen.0 == digest).map(|seen| Offset(seen.1));
                prop_assert_eq!(window.find(digest, at, bounds), expected);
                if expected.is_none() {
                    window.remember(digest, Offset(offset as u64 + 1), at, bounds);
                    model.push((digest, offset as u64 + 1, now));
                    if model.len() > keys {
                        model.remove(0);
                    }
                }
            }
            let present = Timestamp::from_millis(now * 1_000);
            let mut restored = Window::from_entries(&window.entries(), (present, bounds));
            prop_assert_eq!(restored.length, window.length);
            for (digest, offset, _) in &model {
                prop_assert_eq!(restored.find(*digest, Timestamp::from_millis(now * 1_000), bounds), Some(Offset(*offset)));
            }
        }
    }

    #[test]
    fn one_key_takes_one_entry() {
        let bounds = WindowBounds { keys: 128, age: AGE };
        let mut window = Window::default();
        window.remember(1, Offset(1), Timestamp::EPOCH, bounds);
        assert_eq!(window.ring.len(), 1);
        assert_eq!(size_of::<Seen>(), 24);
    }
}
