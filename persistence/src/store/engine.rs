//! The engine of a store: its database behind one writer at a time, with a guard around every call into it.
//!
//! A panic in the database becomes an error that names the directory. The first failure of a write or of a read of the log is kept: from then on
//! nothing that the database says is trusted.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::{Mutex, MutexGuard};

use super::database::{Changes, Database, Derived, Tree, TreeView, damaged};
use super::disk::DiskPoint;
use super::error::StoreError;
use super::medium::Medium;
use super::options::StoreOptions;

/// Keys removed under one hold of the writers' lock, which stops the committer too.
const REMOVED_AT_A_TIME: usize = 64;

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
        let writing = self.writing.lock();
        let written = self.guarded("writing derived data", || {
            self.database.apply(Tree::Derived(derived), changes)
        });
        // To the committer, when it waits: whoever writes much in small pieces would have the lock again before it wakes up.
        MutexGuard::unlock_fair(writing);
        written
    }

    /// Removes the first `most` keys of a range of derived data; true when there are more.
    pub(super) fn remove_first(
        &self,
        derived: Derived,
        range: (&[u8], &[u8]),
        most: usize,
    ) -> Result<bool, StoreError> {
        let range = || range.0..range.1;
        let keys = self.read_derived(derived, |tree| tree.keys(range(), most))?;
        let Some(last) = keys.last().cloned() else { return Ok(false) };
        for keys in keys.chunks(REMOVED_AT_A_TIME) {
            self.write_derived(derived, keys.iter().map(|key| (key.clone(), None)).collect())?;
        }
        // In a damaged database a key can be where a visit finds it and a removal does not; who removes until nothing is left would never end.
        self.read_derived(derived, |tree| match tree.keys(range(), 1)?.first() {
            Some(next) if next <= &last => Err(damaged("a key that was removed is still there")),
            next => Ok(next.is_some()),
        })
    }

    fn exclusive<T>(
        &self,
        during: &'static str,
        write: impl FnOnce() -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let _writing = self.writing.lock();
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::ops::ControlFlow;

    use super::super::database::{KeyRange, Order, Visit};
    use super::*;

    /// What a damaged database was seen to do: a visit sees these keys, whatever is removed.
    #[derive(Debug)]
    struct Stuck(&'static [&'static str]);

    impl Database for Stuck {
        fn get(&self, _: Tree, _: &[u8]) -> sled::Result<Option<sled::IVec>> {
            Ok(None)
        }

        fn visit(&self, _: Tree, _: KeyRange<'_>, _: Order, visit: Visit<'_>) -> sled::Result<()> {
            let mut keys = self.0.iter().cycle();
            while let Some(key) = keys.next()
                && let ControlFlow::Continue(()) = visit((*key).into(), b"".into())
            {}
            Ok(())
        }

        fn apply(&self, _: Tree, _: Changes) -> sled::Result<()> {
            Ok(())
        }

        fn flush(&self) -> sled::Result<()> {
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn engine(keys: &'static [&'static str]) -> Engine {
        let (writing, broken) = (Mutex::default(), OnceLock::new());
        Engine { dir: "data".into(), database: Box::new(Stuck(keys)), writing, broken }
    }

    #[test]
    fn pages_in_a_circle_end_a_visit() {
        let engine = engine(&["a", "b", "c"]);
        let keys = engine.read("reading", |tree| tree.keys("a".."z", 3)).unwrap();
        assert_eq!(keys.len(), 3, "so far they are in order");
        let error = engine.read("reading", |tree| tree.pairs("a".."z")).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("out of order"), "{error}");
    }

    #[test]
    fn a_key_that_stays_ends_a_removal() {
        let error =
            engine(&["a", "b", "c"]).remove_first(Derived::Index, (b"a", b"z"), 2).unwrap_err();
        assert!(error.to_string().contains("still there"), "{error}");
    }
}
