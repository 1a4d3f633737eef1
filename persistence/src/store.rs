//! The store: one data directory, one sled database, one tree for all logs, one committer thread, one real fsync per group.

mod disk;
mod error;
mod op;
mod options;
mod side_file;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use holm_core::NodeId;

pub use disk::{Disk, DiskPoint, FaultKind};
pub use error::StoreError;
pub use op::{LogId, Op};
pub use options::StoreOptions;

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
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens or creates a data directory and verifies that everything that must be there is there.
    ///
    /// # Errors
    /// [`StoreError`] names the directory and what is wrong: in use, full, damaged, or entries missing.
    pub fn open(_dir: &Path, _options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// Who this directory is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        unimplemented!("signature only for now")
    }

    /// Remembers, durably, which cluster and node this directory is.
    ///
    /// # Errors
    /// When the side file cannot be written.
    pub fn set_membership(&self, _cluster: u128, _node: NodeId) -> Result<(), StoreError> {
        unimplemented!("signature only for now")
    }

    /// Queues changes; they become durable in the order of the calls, each call's changes together or not at all. `done` is called on the
    /// committer thread after the fsync and must not block; when the commit is refused at once, it is called on this thread.
    pub fn commit(&self, _ops: Vec<Op>, _done: Done) {
        unimplemented!("signature only for now")
    }

    /// The entry at `index`, verified; none when it is before the log's first or behind its last.
    ///
    /// # Errors
    /// [`StoreError::EntryDamaged`] when it must be there but is missing or altered.
    pub fn entry(&self, _log: LogId, _index: u64) -> Result<Option<Bytes>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// The entries of a range in order, up to about `max_bytes` (at least one when there is one).
    ///
    /// # Errors
    /// As [`Store::entry`].
    pub fn entries(
        &self,
        _log: LogId,
        _from: u64,
        _to_exclusive: u64,
        _max_bytes: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// The index of the first entry of a log; none when it is empty.
    #[must_use]
    pub fn first_index(&self, _log: LogId) -> Option<u64> {
        unimplemented!("signature only for now")
    }

    /// The index of the last durable entry of a log; none when it is empty.
    #[must_use]
    pub fn last_index(&self, _log: LogId) -> Option<u64> {
        unimplemented!("signature only for now")
    }

    /// The index up to which entries were purged; none when nothing was.
    #[must_use]
    pub fn purged_index(&self, _log: LogId) -> Option<u64> {
        unimplemented!("signature only for now")
    }

    /// The last durable entry of a log.
    ///
    /// # Errors
    /// As [`Store::entry`].
    pub fn last_entry(&self, _log: LogId) -> Result<Option<(u64, Bytes)>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// A small record written by [`Op::PutRecord`].
    ///
    /// # Errors
    /// When the store cannot be read, or the record is altered.
    pub fn record(&self, _log: LogId, _name: &str) -> Result<Option<Bytes>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// How many fdatasync calls on the database file have been made.
    #[must_use]
    pub fn fsyncs(&self) -> u64 {
        unimplemented!("signature only for now")
    }

    /// Why the store takes no writes; none while it is healthy.
    #[must_use]
    pub fn failure(&self) -> Option<StoreError> {
        unimplemented!("signature only for now")
    }

    /// Opens the database again after a failure, in place, and verifies it. Does nothing while the store is healthy.
    ///
    /// # Errors
    /// As [`Store::open`]; the store stays poisoned then.
    pub fn reopen(&self) -> Result<(), StoreError> {
        unimplemented!("signature only for now")
    }

    /// Waits for what is queued, then flushes, fsyncs and writes the side file. Later commits get [`StoreError::Closed`].
    ///
    /// # Errors
    /// When something could not be made durable.
    pub fn close(&self) -> Result<(), StoreError> {
        unimplemented!("signature only for now")
    }
}
