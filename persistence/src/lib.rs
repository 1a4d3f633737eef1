//! The shard log: its contract as numbered laws, its stores as siblings, codec, snapshots and the conformance suite.
//!
//! The log of a shard is one gap-free sequence of batches; a batch holds the records of many commands of many entities. Everything
//! else here (the index of entities, snapshots) is a cache of it and can be rebuilt. No actor and no network is in this crate.

mod batch;
mod chain;
mod codec;
pub mod conformance;
mod conversation;
mod entity_events;
mod entity_index;
mod followers;
mod forgetting;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod memory_log;
mod record;
mod shard_log;
mod sled_log;
mod snapshot_store;
mod space;
mod store;
mod trims;

pub use batch::{
    BATCH_HEADER_BYTES, Batch, BatchBuilder, CorruptBatch, RecordPlaces, StoredRecord,
};
pub use chain::{After, HISTORY_BYTES, walk_chain};
pub use codec::{CodecError, MAX_ENCODED_BYTES, borrow_decode, decode, encode, encode_into};
pub use conversation::{CONVERSATION_PLACES, read_conversation};
pub use entity_events::{EntityEvent, EntityEvents, entity_events};
pub use entity_index::{EntityIndex, Places};
pub use forgetting::forget_derived;
pub use memory_log::MemoryLog;
pub use record::{Record, StoredEvent, StoredReaction, StoredVerdict};
pub use shard_log::{
    AppendError, Conversation, ConversationRecord, History, OpenError, Opened, Pending, ReadError,
    ShardLog, Snapshot, SnapshotCriteria,
};
pub use sled_log::SledLog;
pub use snapshot_store::SnapshotStore;
pub use space::{DiskLimits, DiskSpace, SpaceWatch, SpaceWord};
pub use store::{
    Aftermath, Commit, Crash, Damage, Disk, DiskPoint, Done, FaultKind, Identity, IndexTrouble,
    LogId, Membership, Op, Pump, SimulatedDisk, Spot, Store, StoreError, StoreOptions, lock_file,
    open_sled,
};
pub use trims::Trims;
