//! The shard log of a single node, over one [`Store`]: the entry index of a batch is its number in the log.

use std::sync::Arc;

use holm_core::{ShardId, Term};

use crate::store::{Store, StoreError};

/// The logs of all shards of a single node.
#[derive(Debug)]
pub struct SledLog {}

impl SledLog {
    /// The logs of the shards `0..shards` in a store. Opening a shard at a term reads what its index missed; nothing is read here.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn start(_store: Arc<Store>, _shards: u32) -> Result<Self, StoreError> {
        unimplemented!("signature only for now")
    }

    /// The newest term at which a shard was opened, in this or an earlier process; zero when never. The next open needs one above it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn newest_term(&self, _shard: ShardId) -> Result<Term, StoreError> {
        unimplemented!("signature only for now")
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        unimplemented!("signature only for now")
    }

    /// Flushes the indexes and closes the store.
    ///
    /// # Errors
    /// When something could not be made durable.
    pub fn close(&self) -> Result<(), StoreError> {
        unimplemented!("signature only for now")
    }
}
