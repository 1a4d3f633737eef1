//! The entity index of one log: entity to its newest offset, and offset to the log entry that holds it. Derived from the log, never fsynced.

use std::sync::Arc;

use holm_core::{EntityAddress, Offset};

use crate::batch::Batch;
use crate::store::{LogId, Store, StoreError};

/// The index of one log.
#[derive(Debug)]
pub struct EntityIndex {}

impl EntityIndex {
    /// Opens the index of a log as it was last flushed. Entries after [`EntityIndex::watermark`] must be applied again. An index that knows of
    /// entries that the log does not have is discarded with a warning: its watermark is 0 then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(_store: &Arc<Store>, _log: LogId) -> Result<Self, StoreError> {
        unimplemented!("signature only for now")
    }

    /// The log entry up to which this index was flushed or applied. Entries without a batch need not be applied.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        unimplemented!("signature only for now")
    }

    /// The offset of the last record of the last applied batch.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        unimplemented!("signature only for now")
    }

    /// Takes in a durable (committed) batch that is the log entry `entry`. Entries at or below the watermark are ignored.
    ///
    /// # Errors
    /// When the batch does not follow the last one, or the index cannot be written.
    pub fn apply(&self, _entry: u64, _batch: &Batch) -> Result<(), StoreError> {
        unimplemented!("signature only for now")
    }

    /// The offset of the newest record of an entity.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn head(&self, _address: &EntityAddress) -> Result<Option<Offset>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// The log entry whose batch holds the record at `offset`; none beyond the last offset.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn locate(&self, _offset: Offset) -> Result<Option<u64>, StoreError> {
        unimplemented!("signature only for now")
    }

    /// Writes what is only in memory to the store, without an fsync, and waits for it.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        unimplemented!("signature only for now")
    }
}
