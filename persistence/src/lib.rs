//! The shard log: its contract as numbered laws, its stores as siblings, codec, snapshots and the conformance suite.
//!
//! The log of a shard is one gap-free sequence of batches; a batch holds the records of many commands of many entities. Everything
//! else here (the index of entities, snapshots) is a cache of it and can be rebuilt. No actor and no network is in this crate.

mod batch;
mod codec;
mod record;
mod shard_log;

pub use batch::{BATCH_HEADER_BYTES, Batch, BatchBuilder, CorruptBatch, StoredRecord};
pub use codec::{CodecError, MAX_ENCODED_BYTES, borrow_decode, decode, encode, encode_into};
pub use record::{Record, StoredEvent, StoredVerdict};
pub use shard_log::{
    AppendError, History, OpenError, Opened, Pending, ReadError, ShardLog, Snapshot,
    SnapshotCriteria,
};
