//! How far the events of an entity were trimmed away: one durable mark per trimmed entity. The log itself stays as it is.
//!
//! Key: shard (u32, big endian), entity type, 0, entity id. Value: the last trimmed sequence number (u64, big endian).

use std::sync::Arc;

use futures::channel::oneshot;
use holm_core::{EntityAddress, SequenceNumber, ShardId};

use crate::shard_log::{AppendError, Pending, ReadError};
use crate::store::{Changes, Derived, Store, StoreError};

/// The trim marks of all entities in a store.
#[derive(Debug, Clone)]
pub struct Trims {
    store: Arc<Store>,
}

impl Trims {
    /// The marks in a store.
    #[must_use]
    pub fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// As [`crate::ShardLog::trim`].
    #[must_use]
    pub fn trim(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Pending<Result<(), AppendError>> {
        let (sender, receiver) = oneshot::channel();
        match self.mark(shard, address, up_to) {
            // An empty commit makes durable what was written before it.
            Ok(()) => self.store.commit(
                Vec::new(),
                Box::new(move |result| {
                    let _ = sender.send(result);
                }),
            ),
            Err(error) => {
                let _ = sender.send(Err(error));
            }
        }
        let unknown = move |reason| AppendError::Unknown { shard, reason };
        Box::pin(async move {
            match receiver.await {
                Ok(result) => result.map_err(|error| unknown(error.to_string())),
                Err(_) => Err(unknown("the store was dropped".to_owned())),
            }
        })
    }

    /// The last trimmed sequence number of an entity; zero when none was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn trimmed(
        &self,
        shard: ShardId,
        address: &EntityAddress,
    ) -> Result<SequenceNumber, ReadError> {
        self.read(shard, address)
            .map_err(|error| ReadError::Store { shard, reason: error.to_string() })
    }

    fn mark(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        up_to: SequenceNumber,
    ) -> Result<(), StoreError> {
        if self.read(shard, address)? >= up_to {
            return Ok(());
        }
        let mut batch = Changes::default();
        batch.insert(key(shard, address), &up_to.0.to_be_bytes());
        self.store.write_derived(Derived::Trims, batch)
    }

    fn read(&self, shard: ShardId, address: &EntityAddress) -> Result<SequenceNumber, StoreError> {
        let key = key(shard, address);
        let Some(value) = self.store.read_derived(Derived::Trims, |tree| tree.get(&key))? else {
            return Ok(SequenceNumber::ZERO);
        };
        let bytes = value[..].try_into().map_err(|_| StoreError::Damaged {
            dir: self.store.dir().to_owned(),
            during: "reading a trim mark",
            reason: format!("it has {} bytes instead of 8", value.len()),
        })?;
        Ok(SequenceNumber(u64::from_be_bytes(bytes)))
    }
}

fn key(shard: ShardId, address: &EntityAddress) -> Vec<u8> {
    let (entity_type, id) = (address.entity_type().as_bytes(), address.id().as_bytes());
    [&shard.0.to_be_bytes()[..], entity_type, &[0], id].concat()
}
