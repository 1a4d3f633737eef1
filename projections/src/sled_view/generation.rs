//! One database of sled: opening it, applying a transaction, and making it last.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use holm_persistence::open_sled;
use parking_lot::{RwLock, RwLockReadGuard, RwLockUpgradableReadGuard};
use sled::{Db, Tree};
use tokio::time::Instant;

use super::overlay::{Row, RowError, SledTransaction, row_key};
use crate::shelf;
use crate::view::{ViewError, WriteError};

/// Memory for pages of one view.
const CACHE: u64 = 16 * 1_024 * 1_024;

/// A message longer than a quarter of a segment goes to a file that sled never syncs; a leaf of the longest values is half of that quarter.
const SEGMENT: usize = 4 * 1_024 * 1_024;

/// How old what was written becomes before a transaction syncs it.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// Made once it is somebody's. A database of sled that was damaged can open as an empty one; with this beside it, that is noticed.
const WRITTEN: &str = "holm-written";

pub(super) struct Generation {
    file: PathBuf,
    /// None after an error of the disk, after which sled does nothing any more until it is opened again. Readers hold it shared, a transaction alone while it
    /// is applied.
    opened: RwLock<Option<Opened>>,
}

struct Opened {
    tree: Tree,
    db: Db,
    /// Our own handle on the file: sled's flush is no sync.
    file: File,
    synced: Instant,
}

/// The rows of a view, at one moment.
#[derive(Debug)]
pub struct SledRows<'v> {
    tree: &'v Tree,
}

impl SledRows<'_> {
    /// The value under this key.
    ///
    /// # Errors
    /// [`RowError`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, RowError> {
        let value = self.tree.get(row_key(key.as_ref())).map_err(RowError::Store)?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// The rows whose keys begin so, in the order of their keys.
    pub fn scan(&self, prefix: &[u8]) -> impl Iterator<Item = Result<Row, RowError>> + use<'_> {
        let rows = self.tree.scan_prefix(row_key(prefix));
        rows.map(|row| match row {
            Ok((key, value)) => Ok((key[1..].to_vec(), value.to_vec())),
            Err(error) => Err(RowError::Store(error)),
        })
    }
}

impl shelf::Generation for Generation {
    fn open(file: PathBuf) -> Result<Self, ViewError> {
        let opened = Opened::open(&file)?;
        Ok(Self { file, opened: RwLock::new(Some(opened)) })
    }

    fn sync(&self) -> Result<(), ViewError> {
        let mut opened = self.opened.write();
        let Some(it) = opened.as_mut() else { return Err(closed()) };
        it.sync(&self.file).inspect_err(|_| *opened = None)
    }

    fn remove(file: &Path) -> io::Result<()> {
        match fs::remove_dir_all(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

impl Generation {
    /// Runs `work` on a transaction that is applied when it goes well. Readers wait only while it is applied.
    pub(super) fn transact<T>(
        &self,
        work: impl FnOnce(&mut SledTransaction<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        self.open_again()?;
        let opened = self.opened.upgradable_read();
        let (result, batch) = {
            let Some(it) = opened.as_ref() else { return Err(closed().into()) };
            let mut tx = SledTransaction::on(&it.tree);
            (work(&mut tx)?, tx.batch())
        };
        let Some(batch) = batch else { return Ok(result) };
        let mut opened = RwLockUpgradableReadGuard::upgrade(opened);
        let Some(it) = opened.as_mut() else { return Err(closed().into()) };
        let applied = it.tree.apply_batch(batch).map_err(|error| trouble(&error));
        let applied = applied.and_then(|()| match it.synced.elapsed() >= SYNC_EVERY {
            true => it.sync(&self.file),
            false => Ok(()),
        });
        if let Err(error) = applied {
            // Whether it was applied is not known; what is stored tells, once it is opened again.
            *opened = None;
            return Err(error.into());
        }
        Ok(result)
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&SledRows<'_>) -> Result<T, RowError>,
    ) -> Result<T, ViewError> {
        let opened = self.shared()?;
        let Some(it) = opened.as_ref() else { return Err(closed()) };
        Ok(read(&SledRows { tree: &it.tree })?)
    }

    /// As a transaction that changes nothing.
    pub(super) fn look<T>(
        &self,
        look: impl FnOnce(&SledTransaction<'_>) -> Result<T, ViewError>,
    ) -> Result<T, ViewError> {
        let opened = self.shared()?;
        let Some(it) = opened.as_ref() else { return Err(closed()) };
        look(&SledTransaction::on(&it.tree))
    }

    fn shared(&self) -> Result<RwLockReadGuard<'_, Option<Opened>>, ViewError> {
        self.open_again()?;
        Ok(self.opened.read())
    }

    /// After an error of the disk.
    fn open_again(&self) -> Result<(), ViewError> {
        if self.opened.read().is_some() {
            return Ok(());
        }
        let mut opened = self.opened.write();
        if opened.is_none() {
            *opened = Some(Opened::open(&self.file)?);
        }
        Ok(())
    }
}

impl Opened {
    fn open(path: &Path) -> Result<Self, ViewError> {
        // Some kinds of damage make sled panic.
        let opened = catch_unwind(AssertUnwindSafe(|| Self::try_open(path)));
        let broken = |reason: &str| {
            let path = path.display();
            let reason =
                format!("{path}: {reason}; without the folder it is built from the log again");
            ViewError::Broken { reason }
        };
        let opened = opened.map_err(|_| broken("its database is damaged"))?;
        let opened = opened.map_err(|error| match trouble(&error) {
            ViewError::Broken { reason } => broken(&reason),
            passing => passing,
        })?;
        if opened.tree.is_empty() && path.join(WRITTEN).exists() {
            return Err(broken("it was written, and is empty"));
        }
        Ok(opened)
    }

    fn try_open(path: &Path) -> sled::Result<Self> {
        fs::create_dir_all(path)?;
        // What a crash left of sled's own snapshot would spoil the next one.
        for entry in fs::read_dir(path)? {
            let left = entry?.path();
            if left.extension().is_some_and(|extension| extension == "generating") {
                fs::remove_file(left)?;
            }
        }
        let config = sled::Config::default()
            .path(path)
            .cache_capacity(CACHE)
            .segment_size(SEGMENT)
            .flush_every_ms(None);
        let db = open_sled(&config)?;
        let tree = db.open_tree("view")?;
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        for name in ["conf", "blobs", "db"] {
            File::open(path.join(name))?.sync_all()?;
        }
        File::open(path)?.sync_all()?;
        Ok(Self { tree, db, file, synced: Instant::now() })
    }

    fn sync(&mut self, path: &Path) -> Result<(), ViewError> {
        let synced = || -> sled::Result<()> {
            self.db.flush()?;
            self.file.sync_data()?;
            if !self.tree.is_empty() && !path.join(WRITTEN).exists() {
                File::create(path.join(WRITTEN))?.sync_all()?;
                File::open(path)?.sync_all()?;
            }
            Ok(())
        };
        synced().map_err(|error| trouble(&error))?;
        self.synced = Instant::now();
        Ok(())
    }
}

/// What an error of sled means for who wants to try again.
fn trouble(error: &sled::Error) -> ViewError {
    let reason = error.to_string();
    match error {
        sled::Error::Io(_) => ViewError::Passing { reason },
        _ => ViewError::Broken { reason },
    }
}

fn closed() -> ViewError {
    ViewError::Passing { reason: "it is closed, and is opened again".to_owned() }
}
