//! Forgetting what is derived of a shard whose log is gone: its index, its snapshots, its trim marks.
//!
//! A little at a time, because sled applies a batch under a lock that the committer needs too. What a crash leaves is found again: an index
//! without its log is discarded when it is opened, and the rest is forgotten by the next call.

use std::sync::Arc;

use holm_core::ShardId;

use crate::store::{Derived, Store, StoreError};

/// Keys removed of each tree by one call.
const KEYS_AT_A_TIME: usize = 512;

/// Forgets some of what is derived of a shard; true when there may be more. May block on the disk.
///
/// # Errors
/// When the store cannot be read or written.
pub fn forget_derived(store: &Arc<Store>, shard: ShardId) -> Result<bool, StoreError> {
    // Every key of a derived tree begins with the shard, which is also the number of its log. The last number is the cluster's log.
    let (from, to) = (shard.0.to_be_bytes(), shard.0.saturating_add(1).to_be_bytes());
    for derived in [Derived::Index, Derived::Snapshots, Derived::Trims] {
        if store.remove_first_derived(derived, (&from, &to), KEYS_AT_A_TIME)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holm_core::{EntityAddress, Offset, SequenceNumber, Timestamp};

    use super::*;
    use crate::conformance::wait;
    use crate::shard_log::{Snapshot, SnapshotCriteria};
    use crate::snapshot_store::SnapshotStore;
    use crate::store::StoreOptions;
    use crate::trims::Trims;

    #[test]
    fn a_shard_is_forgotten_in_steps_and_its_neighbours_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let (snapshots, trims) = (SnapshotStore::new(&store), Trims::new(&store));
        let address =
            |number: u32| -> EntityAddress { format!("account/{number}").parse().unwrap() };
        let snapshot = Snapshot {
            sequence: SequenceNumber(1),
            offset: Offset(1),
            at: Timestamp::EPOCH,
            payload: Bytes::from_static(b"state"),
        };
        for shard in [0, 1, 256].map(ShardId) {
            for number in 0..600 {
                snapshots.save(shard, &address(number), &snapshot, 1).unwrap();
            }
            wait(trims.trim(shard, &address(0), SequenceNumber(1))).unwrap();
        }
        let steps = (0..).take_while(|_| forget_derived(&store, ShardId(1)).unwrap()).count();
        assert_eq!(steps, 1, "after the first there is less than a step left of each tree");
        for (shard, kept) in [(0, true), (1, false), (256, true)] {
            let shard = ShardId(shard);
            let found = snapshots.load(shard, &address(599), SnapshotCriteria::default()).unwrap();
            assert_eq!(found.is_some(), kept, "{shard}");
            let trimmed = trims.trimmed(shard, &address(0)).unwrap();
            assert_eq!(trimmed == SequenceNumber(1), kept, "{shard}");
        }
    }
}
