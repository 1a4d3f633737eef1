//! A disk in memory that fails as disks do: for simulations, in which sled and threads cannot run.
//!
//! Each change of the database is written, then synced. What was written and not synced when the process ends is kept up to some point and lost
//! behind it, as in sled, whose file is a log of whole batches. What lies in the page cache survives a killed process and not a power cut; a write
//! that is cut by it may be torn. All chance comes from one seed. What is on it, and what becomes of that, is in `content`.

mod content;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holm_core::{Entropy, SeededEntropy};
use sled::IVec;

use self::content::{Content, Fixed, INDEX, LOG, SNAPSHOTS, TRIMS, Undo, flip_bit};
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
    /// A sync had failed, and what it should have written counts as clean: no later sync writes it.
    pub dropped: bool,
}

/// What is done to a disk while nobody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// One bit is another.
    FlippedBit(Spot),
    /// The database is empty although everything else is there.
    Emptied,
    /// A new disk.
    Wiped,
}

/// Where a bit flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// In an entry of a log.
    Log,
    /// In an index, which is built from the log.
    Index,
    /// In a snapshot, which an older one or the log stands in for.
    Snapshot,
    /// In the side file.
    SideFile,
    /// In the tail file.
    TailFile,
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
            met = content.lose_unsynced(crash, entropy);
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
                emptied.is_some_and(|content| !std::mem::take(content).trees[LOG].is_empty())
            }
            Damage::FlippedBit(spot) => {
                let State { database, files, fixed, entropy, .. } = &mut *state;
                let mut in_tree =
                    |tree| database.as_mut().is_some_and(|content| content.flip_bit(tree, entropy));
                match spot {
                    Spot::Log => in_tree(LOG),
                    Spot::Index => in_tree(INDEX),
                    Spot::Snapshot => in_tree(SNAPSHOTS),
                    Spot::SideFile => {
                        files.values_mut().next().is_some_and(|bytes| flip_bit(bytes, entropy))
                    }
                    Spot::TailFile => {
                        fixed.values_mut().next().is_some_and(|file| file.flip_bit(entropy))
                    }
                }
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
            state.fixed.insert(name.to_owned(), Fixed::new(length));
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
        if let Some(content) = &mut self.state()?.database {
            content.forget_dropped();
        }
        Ok(())
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
        let fails = state.failing_syncs > 0;
        state.failing_syncs = state.failing_syncs.saturating_sub(1);
        if let Some(content) = &mut state.database {
            content.sync(!fails);
        }
        if fails { Err(io::Error::other("simulated input/output error")) } else { Ok(()) }
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
        Tree::Log => LOG,
        Tree::Derived(Derived::Index) => INDEX,
        Tree::Derived(Derived::Snapshots) => SNAPSHOTS,
        Tree::Derived(Derived::Trims) => TRIMS,
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
