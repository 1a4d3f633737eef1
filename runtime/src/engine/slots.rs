//! The live entities of a shard: slots in an arena, found by a hash table, in order of last use by links inside the slots.
//!
//! The arena grows by chunks, never by doubling, so that no half of it lies empty, and a slot never moves. Slots are named by their index.

use hashbrown::{DefaultHashBuilder, HashTable};
use holm_core::{Offset, SequenceNumber, Timestamp};
use std::hash::{BuildHasher, Hasher};

use super::window::Window;
use crate::registry::State;

/// Slots in one chunk: 128 x 96 bytes are 12 KiB, so that a shard with few entities stays small.
const CHUNK_SLOTS: usize = 128;

const NOBODY: u32 = u32::MAX;

/// The index of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotId(u32);

/// One live entity. What it takes beyond its state is held below 200 bytes: a test measures it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: Box<str>,
    /// None while the entity is being recovered.
    pub(super) state: Option<State>,
    pub(super) window: Window,
    pub(super) sequence: SequenceNumber,
    /// The offset of its newest record.
    pub(super) head: Offset,
    /// Events since the newest snapshot.
    pub(super) unsaved: u32,
    /// When it was last used: the low 32 bits of the milliseconds, which wrap every 49 days; see [`Slot::idle_ms`].
    used: u32,
    pub(super) kind: u16,
    /// Length of the newest snapshot, in whole KiB; longer ones than 64 MiB cannot be stored.
    pub(super) snapshot_kib: u16,
}

impl Slot {
    /// Milliseconds since it was last used. Right for as long as somebody looks at least once in 49 days; every tick does.
    pub(super) fn idle_ms(&self, now: Timestamp) -> u64 {
        u64::from(low_bits(now).wrapping_sub(self.used))
    }
}

/// The neighbours of a slot in the order of use. Apart from the slots, because a use changes those of four entities, and eight of these are in one line of memory.
#[derive(Debug, Clone, Copy)]
struct Links {
    newer: u32,
    older: u32,
}

/// A length in whole KiB, as a slot keeps it.
pub(super) fn kib(bytes: usize) -> u16 {
    u16::try_from(bytes / 1024).unwrap_or(u16::MAX)
}

/// All live entities of a shard.
#[derive(Debug)]
pub(super) struct Slots {
    chunks: Vec<Vec<Slot>>,
    /// Of each slot, vacant ones included.
    links: Vec<Links>,
    vacant: Vec<u32>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    newest: u32,
    oldest: u32,
    by_kind: Vec<u32>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            links: Vec::new(),
            vacant: Vec::new(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            newest: NOBODY,
            oldest: NOBODY,
            by_kind: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many entities there are of each kind that ever was here.
    pub(super) fn by_kind(&self) -> &[u32] {
        &self.by_kind
    }

    pub(super) fn get(&self, id: SlotId) -> &Slot {
        slot(&self.chunks, id.0)
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> &mut Slot {
        slot_mut(&mut self.chunks, id.0)
    }

    /// Finds an entity and marks it as used now.
    pub(super) fn find_and_use(&mut self, kind: u16, id: &str, now: Timestamp) -> Option<SlotId> {
        let hash = hash_of(&self.hasher, kind, id);
        let index = *self.table.find(hash, |&index| {
            let slot = slot(&self.chunks, index);
            slot.kind == kind && *slot.id == *id
        })?;
        if self.newest != index {
            self.unlink(index);
            self.link_newest(index);
        }
        slot_mut(&mut self.chunks, index).used = low_bits(now);
        Some(SlotId(index))
    }

    /// Adds an entity that is not there, without a state, as the one used last.
    pub(super) fn insert(&mut self, kind: u16, id: &str, now: Timestamp) -> SlotId {
        let slot_value = Slot {
            id: id.into(),
            state: None,
            window: Window::default(),
            sequence: SequenceNumber::ZERO,
            head: Offset::ZERO,
            unsaved: 0,
            used: low_bits(now),
            kind,
            snapshot_kib: 0,
        };
        let index = self.place(slot_value);
        let kinds = usize::from(kind) + 1;
        self.by_kind.resize(self.by_kind.len().max(kinds), 0);
        self.by_kind[usize::from(kind)] += 1;
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        let hash_at = |index: u32| {
            let slot = slot(chunks, index);
            hash_of(hasher, slot.kind, &slot.id)
        };
        self.table.insert_unique(hash_at(index), index, |&other| hash_at(other));
        self.link_newest(index);
        SlotId(index)
    }

    /// Takes an entity out of memory.
    pub(super) fn remove(&mut self, id: SlotId) {
        self.unlink(id.0);
        let slot = self.get(id);
        let hash = hash_of(&self.hasher, slot.kind, &slot.id);
        if let Ok(entry) = self.table.find_entry(hash, |&index| index == id.0) {
            entry.remove();
        }
        let kind = self.get(id).kind;
        self.by_kind[usize::from(kind)] -= 1;
        let slot = self.get_mut(id);
        (slot.id, slot.state, slot.window) = (Box::default(), None, Window::default());
        self.vacant.push(id.0);
    }

    /// The entities from the one unused for longest.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = SlotId> + '_ {
        std::iter::successors(some(self.oldest), |id| some(self.links[id.0 as usize].newer))
    }

    fn place(&mut self, value: Slot) -> u32 {
        if let Some(index) = self.vacant.pop() {
            *slot_mut(&mut self.chunks, index) = value;
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_SLOTS) {
            self.chunks.push(Vec::with_capacity(CHUNK_SLOTS));
        }
        let before = (self.chunks.len() - 1) * CHUNK_SLOTS;
        let chunk = self.chunks.last_mut().expect("a chunk was just made sure of");
        chunk.push(value);
        self.links.push(Links { newer: NOBODY, older: NOBODY });
        u32::try_from(before + chunk.len() - 1).expect("the limit on live entities is below 2^32")
    }

    fn link_newest(&mut self, index: u32) {
        let before = self.newest;
        self.links[index as usize] = Links { newer: NOBODY, older: before };
        match before {
            NOBODY => self.oldest = index,
            before => self.links[before as usize].newer = index,
        }
        self.newest = index;
    }

    fn unlink(&mut self, index: u32) {
        let Links { newer, older } = self.links[index as usize];
        match newer {
            NOBODY => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
        match older {
            NOBODY => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
    }
}

/// With a seed of this process, because whoever chooses ids must not be able to make many that meet. Kind and end of the text need no mark of their own: what is found
/// is compared.
#[inline]
fn hash_of(hasher: &DefaultHashBuilder, kind: u16, id: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(id.as_bytes());
    hasher.write_u16(kind);
    hasher.finish()
}

fn some(index: u32) -> Option<SlotId> {
    (index != NOBODY).then_some(SlotId(index))
}

fn slot(chunks: &[Vec<Slot>], index: u32) -> &Slot {
    let index = index as usize;
    &chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS]
}

fn slot_mut(chunks: &mut [Vec<Slot>], index: u32) -> &mut Slot {
    let index = index as usize;
    &mut chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS]
}

fn low_bits(now: Timestamp) -> u32 {
    u32::try_from(now.as_millis() & u64::from(u32::MAX)).expect("32 bits are left")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_slot_is_small() {
        let bytes = size_of::<Slot>() + size_of::<Links>();
        assert!(bytes <= 104, "{bytes}");
    }

    #[test]
    fn idle_time_survives_the_wrap() {
        let mut slots = Slots::new();
        let before = Timestamp::from_millis(u64::from(u32::MAX) - 10);
        let id = slots.insert(0, "a", before);
        assert_eq!(slots.get(id).idle_ms(Timestamp::from_millis(u64::from(u32::MAX) + 20)), 30);
    }

    proptest! {
        /// The slots behave like a list in order of use.
        #[test]
        fn slots_keep_the_order_of_use(steps in prop::collection::vec((0u8..3, 0u16..300), 1..600)) {
            let (mut slots, mut model) = (Slots::new(), Vec::<(u16, String)>::new());
            for (step, (what, number)) in steps.into_iter().enumerate() {
                let (kind, id) = (number % 3, format!("e{}", number / 3));
                let now = Timestamp::from_millis(step as u64);
                let known = model.iter().position(|(k, i)| *k == kind && *i == id);
                let found = slots.find_and_use(kind, &id, now);
                prop_assert_eq!(found.is_some(), known.is_some());
                if let Some(position) = known {
                    model.remove(position);
                }
                match (found, what) {
                    (Some(found), 0) => slots.remove(found),
                    (Some(_), _) => model.push((kind, id)),
                    (None, _) => {
                        slots.insert(kind, &id, now);
                        model.push((kind, id));
                    }
                }
                prop_assert_eq!(slots.len(), model.len());
                let order: Vec<_> = slots.oldest_first().map(|id| (slots.get(id).kind, slots.get(id).id.to_string())).collect();
                prop_assert_eq!(&order, &model);
            }
        }
    }
}
