//! A disk in memory that fails as disks do: for simulations, in which sled and threads cannot run.
//!
//! Each change of the database is written, then synced. What was written and not synced when the process ends is kept up to some point and lost
//! behind it, as in sled, whose file is a log of whole batches. What lies in the page cache survives a killed process and not a power cut; a write
//! that is cut by it may be torn. All chance comes from one seed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holm_core::{Entropy, SeededEntropy};
use sled::IVec;

use super::database::{Changes, Database, Derived, KeyRange, Order, Tree, Visit};
use super::error::StoreError;
use super::medium::{FixedFile, Lock, Medium};
use super::pump::Pump;
use super::{Store, StoreOptions};
use crate::space::DiskSpace;

/// One in so many writes to the page cache is written back by the system before the next.
const WRITTEN_BACK: u64 = 16;

/// What it says of its size, which is not counted: it is full when it is told to be.
const SIZE_BYTES: u64 = 1 << 40;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// It was killed: what it gave to the system is kept.
    Killed,
    /// The machine lost power: what was not synced may be lost, or torn.
    PowerLost,
}

/// What a crash met on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Something was written and not synced.
    pub unsynced: bool,
    /// A part of that is there, and a part is not.
    pub torn: bool,
}

/// What is done to a disk while nobody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit of one entry of a log is another.
    FlippedBit,
    /// The database is empty although everything else is there.
    Emptied,
    /// A new disk.
    Wiped,
}

/// A disk with one data directory. Clones share it; it outlives the stores that are opened on it.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    state: Mutex<State>,
}

struct State {
    entropy: SeededEntropy,
    /// Counts the processes: who belongs to an earlier one can neither read nor write any more.
    life: u64,
    locked: bool,
    files: BTreeMap<String, Vec<u8>>,
    fixed: BTreeMap<String, Fixed>,
    database: Option<Content>,
    full: bool,
    failing_syncs: u32,
}

#[derive(Default)]
struct Content {
    trees: [BTreeMap<IVec, IVec>; 4],
    /// What undoes each batch that was not synced, oldest first.
    unsynced: Vec<Undo>,
}

struct Undo {
    tree: usize,
    before: Vec<(IVec, Option<IVec>)>,
}

struct Fixed {
    cached: Vec<u8>,
    stored: Vec<u8>,
    /// Where the two differ: place and length.
    dirty: BTreeMap<usize, usize>,
}

impl SimulatedDisk {
    /// An empty disk. `dir` is only its name.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, seed: u64) -> Self {
        let state = State {
            entropy: SeededEntropy::new(seed),
            life: 0,
            locked: false,
            files: BTreeMap::new(),
            fixed: BTreeMap::new(),
            database: None,
            full: false,
            failing_syncs: 0,
        };
        Self(Arc::new(Shared { dir: dir.into(), state: Mutex::new(state) }))
    }

    /// Opens the data directory. Nothing is committed but by the pump; `wake` is called when there is something to do, and must not block.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(
        &self,
        options: StoreOptions,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<(Arc<Store>, Pump), StoreError> {
        let life = self.0.lock().life;
        Store::open_pumped(Box::new(Handle { shared: Arc::clone(&self.0), life }), options, wake)
    }

    /// Ends the process that has it open: whatever is still held of that process is dead.
    pub fn crash(&self, crash: Crash) -> Aftermath {
        let mut state = self.0.lock();
        state.life += 1;
        state.locked = false;
        state.failing_syncs = 0;
        let State { database, entropy, fixed, .. } = &mut *state;
        let mut met = Aftermath::default();
        if let Some(content) = database {
            met = content.lose_unsynced(entropy);
        }
        if crash == Crash::PowerLost {
            for file in fixed.values_mut() {
                met.torn |= file.lose_power(entropy);
            }
        }
        met
    }

    /// Damages what is stored; true when there was something to damage.
    pub fn damage(&self, damage: Damage) -> bool {
        let mut state = self.0.lock();
        match damage {
            Damage::Wiped => {
                state.files.clear();
                state.fixed.clear();
                state.database.take().is_some()
            }
            Damage::Emptied => {
                let emptied = state.database.as_mut();
                emptied.is_some_and(|content| !std::mem::take(content).trees[0].is_empty())
            }
            Damage::FlippedBit => {
                let State { database, entropy, .. } = &mut *state;
                database.as_mut().is_some_and(|content| content.flip_bit(entropy))
            }
        }
    }

    /// From now on the disk has no space left, or has it again.
    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// The next so many fsyncs fail.
    pub fn fail_syncs(&self, count: u32) {
        self.0.lock().failing_syncs = count;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn lose_unsynced(&mut self, entropy: &mut SeededEntropy) -> Aftermath {
        let unsynced = std::mem::take(&mut self.unsynced);
        let count = unsynced.len() as u64;
        let kept = entropy.below(count + 1);
        for undo in unsynced.into_iter().skip(usize::try_from(kept).unwrap_or(usize::MAX)).rev() {
            for (key, before) in undo.before.into_iter().rev() {
                match before {
                    Some(value) => self.trees[undo.tree].insert(key, value),
                    None => self.trees[undo.tree].remove(&key),
                };
            }
        }
        Aftermath { unsynced: count > 0, torn: 0 < kept && kept < count }
    }

    fn flip_bit(&mut self, entropy: &mut SeededEntropy) -> bool {
        let count = self.trees[0].len() as u64;
        if count == 0 {
            return false;
        }
        let nth = usize::try_from(entropy.below(count)).unwrap_or_default();
        let Some((_, value)) = self.trees[0].iter_mut().nth(nth) else { return false };
        let mut bytes = value.to_vec();
        let at = usize::try_from(entropy.below(bytes.len().max(1) as u64)).unwrap_or_default();
        let Some(byte) = bytes.get_mut(at) else { return false };
        *byte ^= 1 << entropy.below(8);
        *value = IVec::from(bytes);
        true
    }
}

impl Fixed {
    fn write_back(&mut self) {
        for (at, length) in std::mem::take(&mut self.dirty) {
            self.stored[at..at + length].copy_from_slice(&self.cached[at..at + length]);
        }
    }

    /// Each write that was not written back is there, or not, or in part; true when one is there in part.
    fn lose_power(&mut self, entropy: &mut SeededEntropy) -> bool {
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
}

/// What one process has of the disk.
#[derive(Clone)]
struct Handle {
    shared: Arc<Shared>,
    life: u64,
}

impl Handle {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shared.lock();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("the process that opened this has ended"))
        }
    }

    /// The state, when there is room to write.
    fn room(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state()?;
        if state.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(state) }
    }
}

/// Unlocks the directory when the process lets go of it.
struct Locked(Handle);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state() {
            state.locked = false;
        }
    }
}

impl Medium for Handle {
    fn dir(&self) -> &Path {
        &self.shared.dir
    }

    fn lock(&self) -> Result<Lock, StoreError> {
        let during = "locking";
        let mut state =
            self.state().map_err(|error| StoreError::io(&self.shared.dir, during, &error))?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(StoreError::InUse { dir: self.shared.dir.clone() });
        }
        drop(state);
        Ok(Box::new(Locked(self.clone())))
    }

    fn draw_identity(&self) -> u128 {
        self.shared.lock().entropy.next_u128()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state()?.files.get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.room()?.files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn open_fixed(&self, name: &str, length: usize) -> io::Result<Box<dyn FixedFile>> {
        let mut state = self.state()?;
        if !state.fixed.contains_key(name) {
            drop(state);
            state = self.room()?;
            let (cached, stored) = (vec![0; length], vec![0; length]);
            state.fixed.insert(name.to_owned(), Fixed { cached, stored, dirty: BTreeMap::new() });
        }
        Ok(Box::new(FixedHandle { handle: self.clone(), name: name.to_owned() }))
    }

    fn has_database(&self) -> bool {
        self.shared.lock().database.is_some()
    }

    fn open_database(&self, _cache_bytes: u64) -> sled::Result<Box<dyn Database>> {
        let mut state = self.state()?;
        if state.database.is_none() {
            drop(state);
            state = self.room()?;
            state.database = Some(Content::default());
        }
        Ok(Box::new(self.clone()))
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let free_bytes = if self.state()?.full { 0 } else { SIZE_BYTES };
        Ok(DiskSpace { free_bytes, usable_bytes: SIZE_BYTES })
    }

    fn forget_cached_pages(&self) -> io::Result<()> {
        self.state().map(drop)
    }
}

impl Database for Handle {
    fn get(&self, tree: Tree, key: &[u8]) -> sled::Result<Option<IVec>> {
        let state = self.state()?;
        Ok(state
            .database
            .as_ref()
            .and_then(|content| content.trees[number(tree)].get(key))
            .cloned())
    }

    fn visit(
        &self,
        tree: Tree,
        range: KeyRange<'_>,
        order: Order,
        visit: Visit<'_>,
    ) -> sled::Result<()> {
        if is_empty(range) {
            return Ok(());
        }
        let state = self.state()?;
        let Some(content) = &state.database else { return Ok(()) };
        let mut pairs = content.trees[number(tree)].range::<[u8], _>(range);
        let mut next = || match order {
            Order::Ascending => pairs.next(),
            Order::Descending => pairs.next_back(),
        };
        while let Some((key, value)) = next() {
            if let ControlFlow::Break(()) = visit(key.clone(), value.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, tree: Tree, changes: Changes) -> sled::Result<()> {
        let mut state = self.room()?;
        let content = state.database.get_or_insert_default();
        let tree = number(tree);
        let mut before = Vec::with_capacity(changes.pairs.len());
        for (key, value) in changes.pairs {
            let old = match value {
                Some(value) => content.trees[tree].insert(key.clone(), value),
                None => content.trees[tree].remove(&key),
            };
            before.push((key, old));
            if changes.separable {
                content.unsynced.push(Undo { tree, before: std::mem::take(&mut before) });
            }
        }
        if !before.is_empty() {
            content.unsynced.push(Undo { tree, before });
        }
        Ok(())
    }

    fn flush(&self) -> sled::Result<()> {
        Ok(self.state().map(drop)?)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        if state.failing_syncs > 0 {
            state.failing_syncs -= 1;
            return Err(io::Error::other("simulated input/output error"));
        }
        if let Some(content) = &mut state.database {
            content.unsynced.clear();
        }
        Ok(())
    }
}

struct FixedHandle {
    handle: Handle,
    name: String,
}

impl FixedFile for FixedHandle {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.handle.state()?;
        let (start, file) = place(at, state.fixed.get(&self.name), bytes.len())?;
        bytes.copy_from_slice(&file.cached[start..start + bytes.len()]);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = self.handle.state()?;
        let write_back = state.entropy.below(WRITTEN_BACK) == 0;
        let (start, _) = place(at, state.fixed.get(&self.name), bytes.len())?;
        let Some(file) = state.fixed.get_mut(&self.name) else { return Ok(()) };
        file.cached[start..start + bytes.len()].copy_from_slice(bytes);
        let dirty = file.dirty.entry(start).or_default();
        *dirty = bytes.len().max(*dirty);
        if write_back {
            file.write_back();
        }
        Ok(())
    }
}

fn place(at: u64, file: Option<&Fixed>, length: usize) -> io::Result<(usize, &Fixed)> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    file.filter(|file| start.saturating_add(length) <= file.cached.len())
        .map(|file| (start, file))
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn number(tree: Tree) -> usize {
    match tree {
        Tree::Log => 0,
        Tree::Derived(Derived::Index) => 1,
        Tree::Derived(Derived::Snapshots) => 2,
        Tree::Derived(Derived::Trims) => 3,
    }
}

/// Ranges that `BTreeMap` refuses with a panic.
fn is_empty(range: KeyRange<'_>) -> bool {
    match range {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start >= end,
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("dir", &self.shared.dir)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for FixedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedHandle").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
