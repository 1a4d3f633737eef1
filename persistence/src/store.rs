//! The store: one data directory, one sled database, one tree for all logs, one committer thread, one real fsync per group.
//!
//! A log is a gap-free run of numbered entries; a shard's log is one, the cluster's log another. Only durable entries can be read.
//! The first failed write, flush or fsync poisons the store: nothing more is acknowledged until it was reopened and verified.
//! Everything that is not a log (indexes, snapshots) lies in trees of its own and is never waited for.

mod committer;
mod database;
mod disk;
mod engine;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod group;
mod inner;
mod keeper;
mod keys;
mod logs;
mod medium;
mod op;
mod options;
mod pump;
mod queue;
mod records;
mod release;
mod side_file;
mod simulated;
mod sled_database;
mod syncer;
mod tail_file;
#[cfg(test)]
mod tests;
mod troubles;
pub(crate) mod value;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use holm_core::NodeId;

use crate::space::DiskSpace;

pub(crate) use database::{Changes, Derived, TreeView};
pub use disk::{Disk, DiskPoint, FaultKind};
use engine::Engine;
pub use error::StoreError;
use inner::Inner;
use keeper::Keeper;
use medium::{Directory, Medium};
pub use op::{LogId, Op};
pub use options::StoreOptions;
pub use pump::{Commit, Pump};
use queue::Wake;
pub use release::{lock_file, open_sled};
pub use simulated::{Aftermath, Crash, Damage, SimulatedDisk, Spot};
use syncer::Syncer;
pub use troubles::IndexTrouble;
use troubles::IndexTroubles;

/// What is called when a commit is durable, or failed. Called on the committer thread: it must not block.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Who a data directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the directory was created; it never changes.
    pub directory: u128,
    /// Raised at each open.
    pub generation: u64,
    /// The cluster it belongs to and its node there, once known.
    pub membership: Option<Membership>,
}

/// The cluster that a data directory belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The cluster's id.
    pub cluster: u128,
    /// The node that this directory is.
    pub node: NodeId,
}

/// An opened data directory.
pub struct Store {
    inner: Arc<Inner>,
    /// None once it was joined, or when the store is pumped.
    committer: Mutex<Option<JoinHandle<()>>>,
    /// The lower half of the numbers that are drawn.
    numbers: AtomicU64,
    index_troubles: IndexTroubles,
}

impl Store {
    /// Opens or creates a data directory and verifies that everything that must be there is there.
    ///
    /// # Errors
    /// [`StoreError`] names the directory and what is wrong: in use, full, damaged, or entries missing.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        let medium: Box<dyn Medium> = Box::new(Directory::new(dir));
        let failed = |error| StoreError::io(dir, "starting a thread", &error);
        let keeper = Keeper::start().map_err(failed)?;
        let inner = Arc::new(Inner::open(medium, options, keeper, None)?);
        let syncer = Syncer::start_thread(&inner).map_err(failed)?;
        let committing = Arc::clone(&inner);
        let committer = thread::Builder::new()
            .name("holm-committer".to_owned())
            .spawn(move || committer::run(&committing, &syncer))
            .map_err(failed)?;
        Ok(Arc::new(Self::of(inner, Some(committer))))
    }

    /// Opens a data directory without threads: nothing is committed but by the pump.
    fn open_pumped(
        medium: Box<dyn Medium>,
        options: StoreOptions,
        wake: Wake,
    ) -> Result<(Arc<Self>, Pump), StoreError> {
        let keeper = Keeper::pumped(Arc::clone(&wake));
        let inner = Arc::new(Inner::open(medium, options, keeper, Some(wake))?);
        let pump = Pump::new(Arc::clone(&inner));
        Ok((Arc::new(Self::of(inner, None)), pump))
    }

    fn of(inner: Arc<Inner>, committer: Option<JoinHandle<()>>) -> Self {
        Self {
            inner,
            committer: Mutex::new(committer),
            numbers: AtomicU64::new(0),
            index_troubles: IndexTroubles::default(),
        }
    }

    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Who this directory is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let side = self.inner.lock_side();
        Identity {
            directory: side.directory,
            generation: side.generation,
            membership: side.membership,
        }
    }

    /// Remembers, durably, which cluster and node this directory is.
    ///
    /// # Errors
    /// When the side file cannot be written.
    pub fn set_membership(&self, cluster: u128, node: NodeId) -> Result<(), StoreError> {
        self.inner.write_side_file(|side| side.membership = Some(Membership { cluster, node }))
    }

    /// Queues changes; they become durable in the order of the calls, each call's changes together or not at all. `done` is called on the
    /// committer thread after the fsync and must not block; when the commit is refused at once, it is called on this thread.
    pub fn commit(&self, ops: Vec<Op>, done: Done) {
        if let Err((done, error)) = self.try_commit(ops, done) {
            committer::answer(done, Err(error));
        }
    }

    /// As [`Store::commit`], but gives the callback back when the commit is refused at once.
    pub(crate) fn try_commit(&self, ops: Vec<Op>, done: Done) -> Result<(), (Done, StoreError)> {
        self.inner.queue.push(ops, done)
    }

    /// The entry at `index`, verified; none when it is before the log's first or behind its last.
    ///
    /// # Errors
    /// [`StoreError::EntryDamaged`] when it must be there but is missing or altered.
    pub fn entry(&self, log: LogId, index: u64) -> Result<Option<Bytes>, StoreError> {
        if !self.extent(log).is_some_and(|(first, last)| (first..=last).contains(&index)) {
            return Ok(None);
        }
        self.with_engine(|engine| logs::read_entry(&self.inner.dir, engine, log, index)).map(Some)
    }

    /// The entries of a range in order, up to about `max_bytes` (at least one when there is one).
    ///
    /// # Errors
    /// As [`Store::entry`].
    pub fn entries(
        &self,
        log: LogId,
        from: u64,
        to_exclusive: u64,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let Some((first, last)) = self.extent(log) else { return Ok(Vec::new()) };
        let indices = from.max(first)..to_exclusive.min(last + 1);
        self.with_engine(|engine| {
            logs::read_entries(&self.inner.dir, engine, log, indices, max_bytes)
        })
    }

    /// The index of the first entry of a log; none when it is empty.
    #[must_use]
    pub fn first_index(&self, log: LogId) -> Option<u64> {
        self.extent(log).map(|(first, _)| first)
    }

    /// The index of the last durable entry of a log; none when it is empty.
    #[must_use]
    pub fn last_index(&self, log: LogId) -> Option<u64> {
        self.extent(log).map(|(_, last)| last)
    }

    /// The index up to which entries were purged; none when nothing was.
    #[must_use]
    pub fn purged_index(&self, log: LogId) -> Option<u64> {
        self.inner.with_logs(|logs| logs.purged(log))
    }

    /// The last durable entry of a log.
    ///
    /// # Errors
    /// As [`Store::entry`].
    pub fn last_entry(&self, log: LogId) -> Result<Option<(u64, Bytes)>, StoreError> {
        let Some(last) = self.last_index(log) else { return Ok(None) };
        Ok(self.entry(log, last)?.map(|entry| (last, entry)))
    }

    /// The logs that have entries, in order.
    #[must_use]
    pub fn log_ids(&self) -> Vec<LogId> {
        self.inner.with_logs(|logs| logs.extents.keys().copied().collect())
    }

    /// A small durable record written by [`Op::PutRecord`]; read from memory.
    ///
    /// # Errors
    /// When the store is closed or was not reopened since a failure.
    pub fn record(&self, log: LogId, name: &str) -> Result<Option<Bytes>, StoreError> {
        self.with_engine(|_| Ok(self.inner.with_logs(|logs| logs.records(log).get(name).cloned())))
    }

    /// Bytes that wait for the committer.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        self.inner.queue.bytes()
    }

    /// How many commits the newest group has.
    pub(crate) fn commits_at_once(&self) -> usize {
        self.inner.group_commits()
    }

    /// How many fdatasync calls on the database file have been made.
    #[must_use]
    pub fn fsyncs(&self) -> u64 {
        self.inner.options.disk.fsyncs()
    }

    /// How much space there is on its disk. Writes the figure `holm.disk.free` too.
    ///
    /// # Errors
    /// What the system says.
    pub fn space(&self) -> std::io::Result<DiskSpace> {
        let space = self.inner.medium.space()?;
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        metrics::gauge!("holm.disk.free").set(space.free_bytes as f64);
        Ok(space)
    }

    /// Why the store takes no writes; none while it is healthy.
    #[must_use]
    pub fn failure(&self) -> Option<StoreError> {
        self.inner.failure()
    }

    /// The indexes that were given up since this was last asked: damaged, ahead of their log, or not to be written. They are caches, so nobody waits for
    /// them; that they are built anew is for whoever looks after the node.
    #[must_use]
    pub fn take_index_troubles(&self) -> Vec<IndexTrouble> {
        self.index_troubles.take()
    }

    /// Opens the database again after a failure, in place, and verifies it. Does nothing while the store is healthy. Indexes of before
    /// answer [`StoreError::Reopened`] from then on.
    ///
    /// # Errors
    /// As [`Store::open`]; the store stays poisoned then.
    pub fn reopen(&self) -> Result<(), StoreError> {
        self.inner.reopen()
    }

    /// Waits for what is queued, then flushes, fsyncs and writes the side file. Later commits get [`StoreError::Closed`].
    ///
    /// # Errors
    /// When something could not be made durable.
    pub fn close(&self) -> Result<(), StoreError> {
        if !self.inner.queue.close(self.inner.closed()) {
            return Ok(());
        }
        keeper::join(self.committer.lock().unwrap_or_else(PoisonError::into_inner).take());
        if self.inner.keeper.pump() {
            Pump::new(Arc::clone(&self.inner)).drain();
        }
        self.inner.keeper.stop();
        let mut engine = self.inner.engine.write().unwrap_or_else(PoisonError::into_inner);
        let mut closed = Ok(());
        if let Some(engine) = engine.take() {
            closed = engine.make_durable(&self.inner.options);
            engine.close();
            closed = closed.and_then(|()| self.inner.write_side_file(|_| {}));
        }
        self.inner.unlock();
        closed
    }

    pub(crate) fn note_index_trouble(&self, log: LogId, reason: &str) {
        self.index_troubles.note(log, reason);
    }

    /// A number that no other call gets, in this process or in another one that has the directory open.
    pub(crate) fn draw_number(&self) -> u64 {
        // The generation is raised, durably, with every opening.
        let generation = self.inner.lock_side().generation;
        generation << 32 | self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes with every reopening: what was read before may be gone.
    pub(crate) fn opening(&self) -> u64 {
        self.inner.queue.opening()
    }

    /// Runs slow work on the keeper's thread; false when the store is closed.
    pub(crate) fn keep(&self, task: Box<dyn FnOnce() + Send>) -> bool {
        self.inner.keeper.run(task)
    }

    /// Runs the slow work on this thread when no other will; false when it has a thread, on which it may be waited for.
    pub(crate) fn keep_here(&self) -> bool {
        self.inner.keeper.pump()
    }

    /// Waits until what was queued is settled, and what its callbacks and tasks held on to is let go.
    pub(crate) fn settle(&self) {
        let (sender, settled) = std::sync::mpsc::channel();
        let committed = sender.clone();
        self.commit(Vec::new(), Box::new(move |_| drop(committed)));
        self.keep(Box::new(move || drop(sender)));
        if self.keep_here() {
            Pump::new(Arc::clone(&self.inner)).drain();
        }
        // Nothing is ever sent: it ends when both are gone.
        let _: Result<(), _> = settled.recv();
    }

    pub(crate) fn read_derived<T>(
        &self,
        derived: Derived,
        read: impl FnOnce(TreeView<'_>) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        self.with_engine(|engine| engine.read_derived(derived, read))
    }

    pub(crate) fn write_derived(
        &self,
        derived: Derived,
        changes: Changes,
    ) -> Result<(), StoreError> {
        self.with_engine(|engine| engine.write_derived(derived, changes))
    }

    /// Writes changes of a log's index, unless the store was opened again since `opening`: another index is there then.
    pub(crate) fn write_index(
        &self,
        log: LogId,
        opening: u64,
        changes: Changes,
    ) -> Result<(), StoreError> {
        // The engine cannot be replaced while it is borrowed here.
        self.with_engine(|engine| match self.opening() == opening {
            true => engine.write_derived(Derived::Index, changes),
            false => Err(StoreError::Reopened { log }),
        })
    }

    /// Whether conversations are indexed.
    pub(crate) fn correlation_index(&self) -> bool {
        self.inner.options.correlation_index
    }

    /// Removes the first `most` keys of a range of derived data; true when there are more.
    pub(crate) fn remove_first_derived(
        &self,
        derived: Derived,
        range: (&[u8], &[u8]),
        most: usize,
    ) -> Result<bool, StoreError> {
        self.with_engine(|engine| engine.remove_first(derived, range, most))
    }

    fn extent(&self, log: LogId) -> Option<(u64, u64)> {
        self.inner
            .with_logs(|logs| logs.extents.get(&log).map(|extent| (extent.first, extent.last)))
    }

    fn with_engine<T>(
        &self,
        call: impl FnOnce(&Engine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let engine = self.inner.engine.read().unwrap_or_else(PoisonError::into_inner);
        match engine.as_ref() {
            Some(engine) => call(engine),
            None => Err(self.inner.gone()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}
