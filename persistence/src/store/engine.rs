//! The engine of a store: its database behind one writer at a time, with a guard around every call into it.
//!
//! A panic in the database becomes an error that names the directory. The first failure of a write or of a read of the log is kept: from then on
//! nothing that the database says is trusted.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::database::{Changes, Database, Derived, Tree, TreeView};
use super::disk::DiskPoint;
use super::error::StoreError;
use super::medium::Medium;
use super::options::StoreOptions;

#[derive(Debug)]
pub(super) struct Engine {
    dir: PathBuf,
    database: Box<dyn Database>,
    /// One writer at a time. A failed write of sled wakes a waiting flush only when nobody else is writing.
    writing: Mutex<()>,
    broken: OnceLock<StoreError>,
}

impl Engine {
    pub(super) fn open(medium: &dyn Medium, options: &StoreOptions) -> Result<Self, StoreError> {
        let dir = medium.dir();
        let database =
            guard(dir, "opening the database", || medium.open_database(options.cache_bytes))?;
        let (writing, broken) = (Mutex::default(), OnceLock::new());
        let engine = Self { dir: dir.to_owned(), database, writing, broken };
        // What the database wrote while opening must not be lost behind what follows.
        engine.make_durable(options)?;
        Ok(engine)
    }

    /// Why the database can no longer be trusted; none while it can.
    pub(super) fn broken(&self) -> Option<&StoreError> {
        self.broken.get()
    }

    /// Applies changes of the log tree. They are readable at once, but durable only after [`Engine::make_durable`].
    pub(super) fn apply(&self, changes: Changes) -> Result<(), StoreError> {
        self.exclusive("writing", || self.database.apply(Tree::Log, changes))
    }

    /// Makes everything applied so far durable: the database's flush, then a real fsync.
    pub(super) fn make_durable(&self, options: &StoreOptions) -> Result<(), StoreError> {
        self.exclusive("flushing", || self.database.flush())?;
        let synced = options.disk.pass(DiskPoint::Fsync).and_then(|()| {
            options.disk.count_fsync();
            self.database.sync()
        });
        synced.map_err(|error| StoreError::io(&self.dir, "fsync", &error))
    }

    pub(super) fn read<T>(
        &self,
        during: &'static str,
        read: impl FnOnce(TreeView<'_>) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        self.guarded(during, || read(TreeView::new(&*self.database, Tree::Log)))
    }

    pub(super) fn read_derived<T>(
        &self,
        derived: Derived,
        read: impl FnOnce(TreeView<'_>) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        // Damage in derived data is no reason to distrust the log: the caller builds it anew.
        let tree = TreeView::new(&*self.database, Tree::Derived(derived));
        guard(&self.dir, "reading derived data", || read(tree))
    }

    pub(super) fn write_derived(
        &self,
        derived: Derived,
        changes: Changes,
    ) -> Result<(), StoreError> {
        self.exclusive("writing derived data", || {
            self.database.apply(Tree::Derived(derived), changes)
        })
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

/// Calls into the database; a panic becomes an error that names the directory.
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
