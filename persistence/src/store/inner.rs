//! The inside of an opened store: what its callers, its committer and its keeper share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::LogId;
use super::committer;
use super::engine::Engine;
use super::error::StoreError;
use super::keeper::Keeper;
use super::logs::Logs;
use super::medium::{Lock, Medium};
use super::options::StoreOptions;
use super::queue::{Job, Queue, Wake};
use super::side_file::{Extent, Reach, SideFile};
use super::tail_file::TailFile;

pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) medium: Box<dyn Medium>,
    pub(super) options: StoreOptions,
    pub(super) engine: RwLock<Option<Engine>>,
    pub(super) queue: Queue,
    pub(super) keeper: Keeper,
    pub(super) side: Mutex<SideFile>,
    logs: RwLock<Logs>,
    tail: Mutex<TailFile>,
    /// The epoch of the side file, readable while that is locked.
    epoch: AtomicU64,
    side_file_due: AtomicBool,
    since_side_file: AtomicU64,
    /// Commits of the newest group.
    group_commits: AtomicUsize,
    /// Held for as long as the directory is ours.
    lock: Mutex<Option<Lock>>,
}

impl Inner {
    pub(super) fn open(
        medium: Box<dyn Medium>,
        options: StoreOptions,
        keeper: Keeper,
        wake: Option<Wake>,
    ) -> Result<Self, StoreError> {
        let dir = medium.dir().to_owned();
        let lock = medium.lock()?;
        let mut side = read_or_create_side_file(&*medium)?;
        let (tail, newer) = TailFile::open(&*medium, side.epoch)
            .map_err(|error| StoreError::io(&dir, "opening the tail file", &error))?;
        let expected = farther(side.logs.clone(), newer);
        // An earlier process may have met a failed fsync and ended: what it could not write would be read back from the cache, taken for durable, and lost with
        // the power.
        if medium.has_database() {
            forget_cached_pages(&*medium);
        }
        let (engine, logs) = open_verified(&*medium, &options, &expected)?;
        side.generation += 1;
        side.epoch += 1;
        side.logs = logs.reaches();
        side.write(&*medium)?;
        let inner = Self {
            dir,
            medium,
            engine: RwLock::new(Some(engine)),
            queue: Queue::new(options.queue_bytes, wake),
            keeper,
            options,
            epoch: AtomicU64::new(side.epoch),
            side: Mutex::new(side),
            logs: RwLock::new(logs),
            tail: Mutex::new(tail),
            side_file_due: AtomicBool::new(false),
            since_side_file: AtomicU64::new(0),
            group_commits: AtomicUsize::new(0),
            lock: Mutex::new(Some(lock)),
        };
        inner.write_tail()?;
        Ok(inner)
    }

    /// Waits for the commits of the next group; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Job>> {
        self.queue.take(self.options.group_bytes, self.options.group_ops)
    }

    /// As [`Inner::take`], without waiting.
    pub(super) fn try_take(&self) -> Option<Vec<Job>> {
        self.queue.try_take(self.options.group_bytes, self.options.group_ops)
    }

    /// The commits of a group that may be begun before the one ahead of it is durable.
    pub(super) fn take_behind(&self) -> Option<Vec<Job>> {
        self.queue.try_take_behind(self.options.group_bytes, self.options.group_ops)
    }

    /// Remembers how many commits share a sync.
    pub(super) fn note_group(&self, commits: usize) {
        self.group_commits.store(commits, Ordering::Relaxed);
    }

    /// How many commits shared the newest sync.
    pub(super) fn group_commits(&self) -> usize {
        self.group_commits.load(Ordering::Relaxed)
    }

    /// The durable state of all logs.
    pub(super) fn logs(&self) -> Logs {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn with_logs<T>(&self, look: impl FnOnce(&Logs) -> T) -> T {
        look(&self.logs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for less than before, durably, before logs get shorter. The side file stays locked until the guard is dropped.
    pub(super) fn expect_less(
        &self,
        lessen: impl FnOnce(&Logs) -> Logs,
    ) -> Result<MutexGuard<'_, SideFile>, StoreError> {
        let mut side = self.lock_side();
        let less = lessen(&self.logs());
        side.epoch += 1;
        side.logs = less.reaches();
        side.write(&*self.medium)?;
        self.epoch.store(side.epoch, Ordering::Release);
        self.set_logs(less);
        Ok(side)
    }

    /// Takes in the state of the logs after a durable group.
    pub(super) fn advance(&self, after: Logs, appended: u64) -> Result<(), StoreError> {
        let known = self.with_logs(|before| {
            before.extents.len() >= after.extents.len()
                && before.records.len() >= after.records.len()
        });
        self.set_logs(after);
        self.write_tail()?;
        let since = self.since_side_file.fetch_add(appended, Ordering::Relaxed) + appended;
        if since >= self.options.side_file_every || !known {
            self.side_file_due.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// True once each time the side file is due.
    pub(super) fn take_side_file_due(&self) -> bool {
        self.side_file_due.swap(false, Ordering::AcqRel)
    }

    /// Writes the side file as the logs are now, and whatever `change` changes in it.
    pub(super) fn write_side_file(
        &self,
        change: impl FnOnce(&mut SideFile),
    ) -> Result<(), StoreError> {
        let mut side = self.lock_side();
        self.since_side_file.store(0, Ordering::Relaxed);
        let mut next = side.clone();
        next.logs = self.with_logs(Logs::reaches);
        change(&mut next);
        next.write(&*self.medium)?;
        self.epoch.store(next.epoch, Ordering::Release);
        *side = next;
        Ok(())
    }

    /// Refuses everything from now on; what waits gets the error.
    pub(super) fn poison(&self, error: &StoreError) {
        let reason = error.to_string();
        tracing::error!(dir = %self.dir.display(), %reason, "the store takes no more writes");
        let poisoned = StoreError::Poisoned { dir: self.dir.clone(), reason };
        for job in self.queue.refuse(poisoned.clone()) {
            committer::answer(job.done, Err(poisoned.clone()));
        }
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        let broken = engine.as_ref().and_then(|engine| engine.broken().cloned());
        self.queue.refused().or(broken)
    }

    /// Opens the database again and verifies that everything acknowledged is there.
    pub(super) fn reopen(&self) -> Result<(), StoreError> {
        let Some(failure) = self.failure() else { return Ok(()) };
        if matches!(failure, StoreError::Closed { .. }) {
            return Err(failure);
        }
        if self.queue.refused().is_none()
            && let Some(failure) = self.failure()
        {
            self.poison(&failure);
        }
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have opened it meanwhile, and closing it again would take what was begun since; or closed it, and the directory may be another's.
        let is_whole = engine.as_ref().is_some_and(|engine| engine.broken().is_none());
        match self.queue.refused() {
            None if is_whole => return Ok(()),
            Some(closed @ StoreError::Closed { .. }) => return Err(closed),
            _ => {}
        }
        if let Some(old) = engine.take() {
            old.close();
        }
        forget_cached_pages(&*self.medium);
        let (opened, logs) = open_verified(&*self.medium, &self.options, &self.logs().reaches())?;
        self.set_logs(logs);
        self.write_side_file(|side| {
            side.generation += 1;
            side.epoch += 1;
        })?;
        self.write_tail()?;
        *engine = Some(opened);
        self.queue.accept();
        tracing::info!(dir = %self.dir.display(), "the store was reopened and verified");
        Ok(())
    }

    /// Lets others open the directory.
    pub(super) fn unlock(&self) {
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Why there is no engine.
    pub(super) fn gone(&self) -> StoreError {
        self.queue.refused().unwrap_or_else(|| self.closed())
    }

    pub(super) fn closed(&self) -> StoreError {
        StoreError::Closed { dir: self.dir.clone() }
    }

    pub(super) fn poisoned(&self) -> StoreError {
        let reason = "it was queued before the failure".to_owned();
        StoreError::Poisoned { dir: self.dir.clone(), reason }
    }

    fn write_tail(&self) -> Result<(), StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = self.epoch.load(Ordering::Acquire);
        let reaches = self.with_logs(Logs::reaches);
        tail.write(epoch, reaches.into_iter())
            .map_err(|error| StoreError::io(&self.dir, "writing the tail file", &error))
    }
}

impl Inner {
    pub(super) fn lock_side(&self) -> MutexGuard<'_, SideFile> {
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_logs(&self, logs: Logs) {
        *self.logs.write().unwrap_or_else(PoisonError::into_inner) = logs;
    }
}

fn forget_cached_pages(medium: &dyn Medium) {
    if let Err(error) = medium.forget_cached_pages() {
        tracing::warn!(%error, "the page cache of the database could not be dropped");
    }
}

/// The side file comes before the database, so a database alone is not a new directory but a spoiled one.
fn read_or_create_side_file(medium: &dyn Medium) -> Result<SideFile, StoreError> {
    if let Some(side) = SideFile::read(medium)? {
        return Ok(side);
    }
    if medium.has_database() {
        return Err(StoreError::SideFileMissing { dir: medium.dir().to_owned() });
    }
    let side = SideFile::new(medium.draw_identity());
    side.write(medium)?;
    Ok(side)
}

fn open_verified(
    medium: &dyn Medium,
    options: &StoreOptions,
    expected: &BTreeMap<LogId, Reach>,
) -> Result<(Engine, Logs), StoreError> {
    let dir = medium.dir();
    let engine = Engine::open(medium, options)?;
    let verified = Logs::find(dir, &engine).and_then(|logs| {
        logs.verify(dir, expected)?;
        Ok(logs)
    });
    match verified {
        Ok(logs) => Ok((engine, logs)),
        Err(error) => {
            engine.close();
            Err(error)
        }
    }
}

/// Of two expectations of the same epoch the farther one counts, because logs only grew in it.
fn farther(
    mut side: BTreeMap<LogId, Reach>,
    tail: BTreeMap<LogId, Reach>,
) -> BTreeMap<LogId, Reach> {
    for (log, newer) in tail {
        let reach = side.entry(log).or_default();
        reach.records = reach.records.max(newer.records);
        reach.extent = match (reach.extent, newer.extent) {
            (Some(side), Some(tail)) => Some(Extent { last: side.last.max(tail.last), ..side }),
            (side, tail) => side.or(tail),
        };
    }
    side
}
