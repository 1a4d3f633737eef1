//! How far the events of an entity were trimmed away: one durable mark per trimmed entity.

use std::sync::Arc;

use holm_core::{EntityAddress, SequenceNumber, ShardId};

use crate::shard_log::{AppendError, Pending, ReadError};
use crate::store::Store;

/// The trim marks of all entities in a store.
#[derive(Debug, Clone)]
pub struct Trims {}

impl Trims {
    /// The marks in a store.
    #[must_use]
    pub fn new(_store: &Arc<Store>) -> Self {
        unimplemented!("signature only for now")
    }

    /// As [`crate::ShardLog::trim`].
    #[must_use]
    pub fn trim(
        &self,
        _shard: ShardId,
        _address: &EntityAddress,
        _up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        unimplemented!("signature only for now")
    }

    /// The last trimmed sequence number of an entity; zero when none was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn trimmed(
        &self,
        _shard: ShardId,
        _address: &EntityAddress,
    ) -> Result<SequenceNumber, ReadError> {
        unimplemented!("signature only for now")
    }
}
