//! The opened sled database: its trees, its own handle for the fsync, and a guard around every call into sled.
//!
//! sled is used as it was measured to be safe: no background flush, a bounded cache, values of at most 32 KiB, and `flush` followed by a real
//! `fdatasync`, because sled's flush on Linux is a `sync_file_range`. Its segments are 4 MiB instead of 512 KiB for one reason: a message longer
//! than a quarter of a segment goes to a side file that sled never syncs, and a leaf of 17 values of 32 KiB is such a message.

use std::fs::{self, File};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sled::{Batch, Db, Tree};

use super::disk::DiskPoint;
use super::error::StoreError;
use super::options::StoreOptions;

/// Bytes of a sled segment: the quarter, 1 MiB, is twice the longest leaf of the log tree (17 values of 32 KiB).
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

/// How long a reopening waits for sled's last background work to let go of the file; it takes milliseconds.
const RELEASE_ATTEMPTS: u32 = 500;
const RELEASE_PAUSE: Duration = Duration::from_millis(10);

/// The derived data in trees of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derived {
    Index,
    Snapshots,
    Trims,
}

#[derive(Debug)]
pub(super) struct Engine {
    dir: PathBuf,
    db: Db,
    log: Tree,
    derived: [Tree; 3],
    file: File,
    /// One writer at a time. A failed write of sled wakes a waiting flush only when nobody else is writing.
    writing: Mutex<()>,
    broken: OnceLock<StoreError>,
}

impl Engine {
    pub(super) fn open(dir: &Path, options: &StoreOptions) -> Result<Self, StoreError> {
        let during = "opening the database";
        remove_unfinished_snapshots(dir)
            .map_err(|error| StoreError::io(dir, "preparing the directory", &error))?;
        let config = sled::Config::default()
            .path(dir)
            .cache_capacity(options.cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let (db, log, derived) = guard(dir, during, || {
            let db = open_when_released(&config)?;
            let log = db.open_tree("log")?;
            let derived =
                [db.open_tree("index")?, db.open_tree("snapshots")?, db.open_tree("trims")?];
            Ok((db, log, derived))
        })?;
        let file = open_and_sync(dir).map_err(|error| StoreError::io(dir, during, &error))?;
        let (writing, broken) = (Mutex::default(), OnceLock::new());
        let engine = Self { dir: dir.to_owned(), db, log, derived, file, writing, broken };
        // What sled wrote while opening must not be lost behind what follows.
        engine.make_durable(options)?;
        Ok(engine)
    }

    /// Why sled can no longer be trusted; none while it can.
    pub(super) fn broken(&self) -> Option<&StoreError> {
        self.broken.get()
    }

    /// Applies changes of the log tree atomically. They are readable at once, but durable only after [`Engine::make_durable`].
    pub(super) fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.exclusive("writing", || self.log.apply_batch(batch))
    }

    /// Makes everything applied so far durable: sled's flush, then a real fsync.
    pub(super) fn make_durable(&self, options: &StoreOptions) -> Result<(), StoreError> {
        self.exclusive("flushing", || self.db.flush().map(drop))?;
        let synced = options.disk.pass(DiskPoint::Fsync).and_then(|()| {
            options.disk.count_fsync();
            self.file.sync_data()
        });
        synced.map_err(|error| StoreError::io(&self.dir, "fsync", &error))
    }

    pub(super) fn read<T>(
        &self,
        during: &'static str,
        read: impl FnOnce(&Tree) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        self.guarded(during, || read(&self.log))
    }

    pub(super) fn read_derived<T>(
        &self,
        derived: Derived,
        read: impl FnOnce(&Tree) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        // Damage in derived data is no reason to distrust the log: the caller builds it anew.
        guard(&self.dir, "reading derived data", || read(&self.derived[derived as usize]))
    }

    pub(super) fn write_derived(&self, derived: Derived, batch: Batch) -> Result<(), StoreError> {
        self.exclusive("writing derived data", || self.derived[derived as usize].apply_batch(batch))
    }

    fn exclusive<T>(
        &self,
        during: &'static str,
        write: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.guarded(during, write)
    }

    fn guarded<T>(
        &self,
        during: &'static str,
        call: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        if let Some(error) = self.broken.get() {
            return Err(error.clone());
        }
        guard(&self.dir, during, call).inspect_err(|error| {
            // The first reason is kept; a second one is its consequence.
            let _ = self.broken.set(error.clone());
        })
    }

    /// Closes the database. sled flushes when dropped and panics when that fails.
    pub(super) fn close(self) {
        let dir = self.dir.clone();
        let closed = guard(&dir, "closing the database", || {
            drop(self);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }
}

/// Calls into sled; a panic becomes an error that names the directory.
fn guard<T>(
    dir: &Path,
    during: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| StoreError::sled(dir, during, &error)),
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            let reason = format!("sled panicked: {}", text.as_deref().unwrap_or("no message"));
            Err(StoreError::Damaged { dir: dir.to_owned(), during, reason })
        }
    }
}

/// Opens the database; waits when it is still locked. Only this process can hold the lock, because the directory's own lock is ours: it is
/// sled's background work of a database that was just closed.
fn open_when_released(config: &sled::Config) -> sled::Result<Db> {
    let (never, pause) = (Mutex::new(()), Condvar::new());
    for _ in 0..RELEASE_ATTEMPTS {
        match config.open() {
            Err(sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                let waiting = never.lock().unwrap_or_else(PoisonError::into_inner);
                drop(pause.wait_timeout(waiting, RELEASE_PAUSE));
            }
            other => return other,
        }
    }
    config.open()
}

/// sled writes its own snapshot under this name without truncating: what a crash left of a longer one would spoil it.
fn remove_unfinished_snapshots(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Our own handle on the database file. The files that sled creates are fsynced by nobody else, nor are their names.
fn open_and_sync(dir: &Path) -> std::io::Result<File> {
    File::open(dir.join("conf"))?.sync_all()?;
    File::open(dir.join("blobs"))?.sync_all()?;
    let file = File::options().read(true).write(true).open(dir.join("db"))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}
