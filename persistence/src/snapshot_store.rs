//! Snapshots in a sled tree of their own: a cache, cut into parts, checked on read, never fsynced on their own.

use std::sync::Arc;

use holm_core::{EntityAddress, ShardId};

use crate::shard_log::{ReadError, Snapshot, SnapshotCriteria};
use crate::store::Store;

/// The snapshots of all entities in a store.
#[derive(Debug, Clone)]
pub struct SnapshotStore {}

impl SnapshotStore {
    /// The snapshots in a store.
    #[must_use]
    pub fn new(_store: &Arc<Store>) -> Self {
        unimplemented!("signature only for now")
    }

    /// As [`crate::ShardLog::save_snapshot`].
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn save(
        &self,
        _shard: ShardId,
        _address: &EntityAddress,
        _snapshot: &Snapshot,
        _keep: usize,
    ) -> Result<(), ReadError> {
        unimplemented!("signature only for now")
    }

    /// As [`crate::ShardLog::load_snapshot`].
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn load(
        &self,
        _shard: ShardId,
        _address: &EntityAddress,
        _criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        unimplemented!("signature only for now")
    }

    /// As [`crate::ShardLog::delete_snapshots`].
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn delete(
        &self,
        _shard: ShardId,
        _address: &EntityAddress,
        _criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        unimplemented!("signature only for now")
    }
}
