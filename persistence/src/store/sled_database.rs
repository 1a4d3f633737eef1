//! The opened sled database: its trees, and a handle of its own for the fsync.
//!
//! sled is used as it was measured to be safe: no background flush, a bounded cache, values of at most 32 KiB, and `flush` followed by a real
//! `fdatasync`, because sled's flush on Linux is a `sync_file_range`. Its segments are 4 MiB instead of 512 KiB for one reason: a message longer
//! than a quarter of a segment goes to a side file that sled never syncs, and a leaf of 17 values of 32 KiB is such a message.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use sled::{Batch, Db, IVec};

use super::database::{Changes, Database, Derived, KeyRange, Order, Tree, Visit};
use super::release::open_sled;

/// Bytes of a sled segment: the quarter, 1 MiB, is twice the longest leaf of the log tree (17 values of 32 KiB).
const SEGMENT_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct SledDatabase {
    db: Db,
    log: sled::Tree,
    derived: [sled::Tree; 3],
    file: File,
}

impl SledDatabase {
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> sled::Result<Self> {
        remove_unfinished_snapshots(dir)?;
        let config = sled::Config::default()
            .path(dir)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let db = open_sled(&config)?;
        let log = db.open_tree("log")?;
        let derived = [db.open_tree("index")?, db.open_tree("snapshots")?, db.open_tree("trims")?];
        let file = open_and_sync(dir)?;
        Ok(Self { db, log, derived, file })
    }

    fn tree(&self, tree: Tree) -> &sled::Tree {
        match tree {
            Tree::Log => &self.log,
            Tree::Derived(Derived::Index) => &self.derived[0],
            Tree::Derived(Derived::Snapshots) => &self.derived[1],
            Tree::Derived(Derived::Trims) => &self.derived[2],
        }
    }
}

impl Database for SledDatabase {
    fn get(&self, tree: Tree, key: &[u8]) -> sled::Result<Option<IVec>> {
        self.tree(tree).get(key)
    }

    fn visit(
        &self,
        tree: Tree,
        range: KeyRange<'_>,
        order: Order,
        visit: Visit<'_>,
    ) -> sled::Result<()> {
        let mut pairs = self.tree(tree).range::<&[u8], _>(range);
        let mut next = || match order {
            Order::Ascending => pairs.next(),
            Order::Descending => pairs.next_back(),
        };
        while let Some(pair) = next() {
            let (key, value) = pair?;
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, tree: Tree, Changes { pairs, separable }: Changes) -> sled::Result<()> {
        let tree = self.tree(tree);
        if separable {
            return apply_each(tree, pairs);
        }
        let mut batch = Batch::default();
        for (key, value) in pairs {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        tree.apply_batch(batch)
    }

    fn flush(&self) -> sled::Result<()> {
        self.db.flush().map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Applies changes without the mark that makes a batch atomic. sled writes that mark as a message of its own and seals its buffer around it, which costs a
/// small group a third of its time and all groups some writes.
fn apply_each(tree: &sled::Tree, pairs: Vec<(IVec, Option<IVec>)>) -> sled::Result<()> {
    for (key, value) in pairs {
        match value {
            Some(value) => tree.insert(key, value)?,
            None => tree.remove(key)?,
        };
    }
    Ok(())
}

/// sled writes its own snapshot under this name without truncating: what a crash left of a longer one would spoil it.
fn remove_unfinished_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Our own handle on the database file. The files that sled creates are fsynced by nobody else, nor are their names.
fn open_and_sync(dir: &Path) -> io::Result<File> {
    File::open(dir.join("conf"))?.sync_all()?;
    File::open(dir.join("blobs"))?.sync_all()?;
    let file = File::options().read(true).write(true).open(dir.join("db"))?;
    file.sync_all()?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}
