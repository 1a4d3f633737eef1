//! What is on a simulated disk: the database as it was written and as it was synced, and files of a fixed length.

use std::collections::BTreeMap;

use holm_core::{Entropy, SeededEntropy};
use sled::IVec;

use super::{Aftermath, Crash};

/// The places of the trees.
pub(super) const LOG: usize = 0;
pub(super) const INDEX: usize = 1;
pub(super) const SNAPSHOTS: usize = 2;
pub(super) const TRIMS: usize = 3;

#[derive(Default)]
pub(super) struct Content {
    pub(super) trees: [BTreeMap<IVec, IVec>; 4],
    /// What undoes each change that was not synced, oldest first.
    pub(super) unsynced: Vec<Undo>,
    /// A sync failed. The system took the pages that it could not write for clean ones: they are read back until they are forgotten, and no later sync
    /// writes them. What was written behind them cannot be found without them.
    dropped: bool,
}

pub(super) struct Undo {
    pub(super) tree: usize,
    pub(super) before: Vec<(IVec, Option<IVec>)>,
}

impl Content {
    /// A sync of everything that was written, or its failure.
    pub(super) fn sync(&mut self, succeeds: bool) {
        if !succeeds {
            self.dropped |= !self.unsynced.is_empty();
        } else if !self.dropped {
            self.unsynced.clear();
        }
    }

    /// The system forgets what it holds as clean, and reads the disk.
    pub(super) fn forget_dropped(&mut self) {
        if std::mem::take(&mut self.dropped) {
            self.undo_behind(0);
        }
    }

    /// The process ends, or the machine.
    pub(super) fn lose_unsynced(&mut self, crash: Crash, entropy: &mut SeededEntropy) -> Aftermath {
        let count = self.unsynced.len();
        let kept = usize::try_from(entropy.below(count as u64 + 1)).unwrap_or_default();
        let lost_pages = self.dropped && crash == Crash::PowerLost;
        let kept = if lost_pages { 0 } else { kept };
        let met = Aftermath {
            unsynced: count > 0,
            torn: 0 < kept && kept < count,
            dropped: self.dropped,
        };
        self.undo_behind(kept);
        if !self.dropped || lost_pages {
            self.dropped = false;
            self.unsynced.clear();
        }
        met
    }

    fn undo_behind(&mut self, kept: usize) {
        for undo in self.unsynced.drain(kept..).rev() {
            for (key, before) in undo.before.into_iter().rev() {
                match before {
                    Some(value) => self.trees[undo.tree].insert(key, value),
                    None => self.trees[undo.tree].remove(&key),
                };
            }
        }
    }

    /// Flips a bit of one value; false when there is none.
    pub(super) fn flip_bit(&mut self, tree: usize, entropy: &mut SeededEntropy) -> bool {
        let count = self.trees[tree].len() as u64;
        if count == 0 {
            return false;
        }
        let nth = usize::try_from(entropy.below(count)).unwrap_or_default();
        let Some((_, value)) = self.trees[tree].iter_mut().nth(nth) else { return false };
        let mut bytes = value.to_vec();
        let flipped = flip_bit(&mut bytes, entropy);
        *value = IVec::from(bytes);
        flipped
    }
}

/// Flips one bit; false when there is none.
pub(super) fn flip_bit(bytes: &mut [u8], entropy: &mut SeededEntropy) -> bool {
    let at = usize::try_from(entropy.below(bytes.len().max(1) as u64)).unwrap_or_default();
    let Some(byte) = bytes.get_mut(at) else { return false };
    *byte ^= 1 << entropy.below(8);
    true
}

pub(super) struct Fixed {
    pub(super) cached: Vec<u8>,
    stored: Vec<u8>,
    /// Where the two differ: place and length.
    pub(super) dirty: BTreeMap<usize, usize>,
}

impl Fixed {
    /// Nothing but zeros.
    pub(super) fn new(length: usize) -> Self {
        Self { cached: vec![0; length], stored: vec![0; length], dirty: BTreeMap::new() }
    }

    pub(super) fn write_back(&mut self) {
        for (at, length) in std::mem::take(&mut self.dirty) {
            self.stored[at..at + length].copy_from_slice(&self.cached[at..at + length]);
        }
    }

    /// Each write that was not written back is there, or not, or in part; true when one is there in part.
    pub(super) fn lose_power(&mut self, entropy: &mut SeededEntropy) -> bool {
        let mut torn = false;
        for (at, length) in std::mem::take(&mut self.dirty) {
            let kept = match entropy.below(3) {
                0 => 0,
                1 => length,
                _ => usize::try_from(entropy.below(length as u64 + 1)).unwrap_or_default(),
            };
            self.stored[at..at + kept].copy_from_slice(&self.cached[at..at + kept]);
            torn |= 0 < kept && kept < length;
        }
        self.cached.clone_from(&self.stored);
        torn
    }

    /// Flips a bit of what was written; false when nothing was. Most of such a file are zeros that mean nothing.
    pub(super) fn flip_bit(&mut self, entropy: &mut SeededEntropy) -> bool {
        self.write_back();
        let written = self.stored.iter().enumerate().filter(|(_, byte)| **byte != 0);
        let places: Vec<usize> = written.map(|(at, _)| at).collect();
        let nth = usize::try_from(entropy.below(places.len().max(1) as u64)).unwrap_or_default();
        let Some(at) = places.get(nth).copied() else { return false };
        self.stored[at] ^= 1 << entropy.below(8);
        self.cached.clone_from(&self.stored);
        true
    }
}
