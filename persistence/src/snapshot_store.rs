//! Snapshots in a sled tree of their own: a cache, cut into parts, checked on read, never fsynced on their own.
//!
//! Key: shard (u32), entity type, 0, entity id, 0, sequence number (u64), part (u16), numbers big endian. Neither half of an address can hold a
//! zero byte, so no entity sees the snapshots of another whose id begins alike. The parts joined are: offset (u64), time (u64), payload.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use bytes::Bytes;
use holm_core::{EntityAddress, Offset, SequenceNumber, ShardId, Timestamp};

use crate::shard_log::{ReadError, Snapshot, SnapshotCriteria};
use crate::store::value::{self, MAX_ENTRY_BYTES};
use crate::store::{Changes, Derived, Store, StoreError};

/// Bytes before the payload of a snapshot: offset and time.
const HEADER_BYTES: usize = 16;

/// The snapshots of all entities in a store.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    store: Arc<Store>,
}

impl SnapshotStore {
    /// The snapshots in a store.
    #[must_use]
    pub fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// As [`crate::ShardLog::save_snapshot`].
    ///
    /// # Errors
    /// When the store cannot take it.
    pub fn save(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        snapshot: &Snapshot,
        keep: usize,
    ) -> Result<(), ReadError> {
        let length = HEADER_BYTES + snapshot.payload.len();
        if length > MAX_ENTRY_BYTES {
            let reason = format!("a snapshot has {length} bytes, {MAX_ENTRY_BYTES} are allowed");
            return Err(ReadError::Store { shard, reason });
        }
        // One by one, in this order: what a crash leaves of it is a snapshot without all its parts, which is stepped over, or one too many.
        let mut changes = Changes::default();
        let mut kept = self.sequences(shard, address).map_err(|error| failed(shard, &error))?;
        let mut evicted = Vec::new();
        if kept.insert(snapshot.sequence) {
            while kept.len() > keep.max(1) {
                evicted.extend(kept.pop_first());
            }
        } else {
            // It is overwritten: nothing of the old one may be taken for a part of the new one.
            self.remove(&mut changes, shard, address, snapshot.sequence)?;
        }
        if kept.contains(&snapshot.sequence) {
            put(&mut changes, shard, address, snapshot);
        }
        for oldest in evicted {
            self.remove(&mut changes, shard, address, oldest)?;
        }
        self.store
            .write_derived(Derived::Snapshots, changes.separable())
            .map_err(|error| failed(shard, &error))
    }

    /// As [`crate::ShardLog::load_snapshot`].
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn load(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<Option<Snapshot>, ReadError> {
        let sequences = match self.sequences(shard, address) {
            Ok(sequences) => sequences,
            Err(error @ StoreError::Damaged { .. }) => {
                tracing::warn!(%shard, %address, %error, "the snapshots cannot be read; all events are replayed");
                return Ok(None);
            }
            Err(error) => return Err(failed(shard, &error)),
        };
        for sequence in sequences.into_iter().rev() {
            if !criteria.admits(sequence, criteria.max_at.unwrap_or_default()) {
                continue;
            }
            match self.read(shard, address, sequence) {
                Ok(snapshot) if criteria.admits(sequence, snapshot.at) => {
                    return Ok(Some(snapshot));
                }
                Ok(_) => {}
                Err(reason) => {
                    tracing::warn!(%shard, %address, %sequence, %reason, "a snapshot cannot be read; an older one is tried");
                }
            }
        }
        Ok(None)
    }

    /// As [`crate::ShardLog::delete_snapshots`].
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn delete(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        criteria: SnapshotCriteria,
    ) -> Result<(), ReadError> {
        let mut batch = Changes::default();
        for sequence in self.sequences(shard, address).map_err(|error| failed(shard, &error))? {
            // One that cannot be read has no time; it is deleted when its number fits, because nobody can use it.
            let at = self.read(shard, address, sequence).map(|snapshot| snapshot.at);
            if criteria.admits(sequence, at.unwrap_or(Timestamp::EPOCH)) {
                self.remove(&mut batch, shard, address, sequence)?;
            }
        }
        self.store.write_derived(Derived::Snapshots, batch).map_err(|error| failed(shard, &error))
    }

    /// The sequence numbers at which the entity has snapshots.
    fn sequences(
        &self,
        shard: ShardId,
        address: &EntityAddress,
    ) -> Result<BTreeSet<SequenceNumber>, StoreError> {
        let prefix = prefix(shard, address);
        self.store.read_derived(Derived::Snapshots, |tree| {
            let mut sequences = BTreeSet::new();
            tree.visit_prefix(&prefix, |key, _| {
                let bytes = key.get(prefix.len()..prefix.len() + 8).map(TryInto::try_into);
                if let Some(Ok(bytes)) = bytes {
                    sequences.insert(SequenceNumber(u64::from_be_bytes(bytes)));
                }
                ControlFlow::Continue(())
            })?;
            Ok(sequences)
        })
    }

    fn read(
        &self,
        shard: ShardId,
        address: &EntityAddress,
        sequence: SequenceNumber,
    ) -> Result<Snapshot, String> {
        let range = parts_range(shard, address, sequence);
        let parts = self.store.read_derived(Derived::Snapshots, |tree| tree.pairs(range));
        read_joined(sequence, value::join(&parts.map_err(|error| error.to_string())?)?)
    }

    fn remove(
        &self,
        batch: &mut Changes,
        shard: ShardId,
        address: &EntityAddress,
        sequence: SequenceNumber,
    ) -> Result<(), ReadError> {
        let range = parts_range(shard, address, sequence);
        let keys = self.store.read_derived(Derived::Snapshots, |tree| tree.keys(range, usize::MAX));
        for key in keys.map_err(|error| failed(shard, &error))? {
            batch.remove(key);
        }
        Ok(())
    }
}

/// A snapshot from its joined parts.
pub(crate) fn read_joined(sequence: SequenceNumber, mut bytes: Bytes) -> Result<Snapshot, String> {
    if bytes.len() < HEADER_BYTES {
        return Err(format!("it has {} bytes, its header alone has {HEADER_BYTES}", bytes.len()));
    }
    let header = bytes.split_to(HEADER_BYTES);
    let number =
        |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let (offset, at) = (Offset(number(0)), Timestamp::from_millis(number(8)));
    // In memory of its own: what sled gave may share a page with other values.
    Ok(Snapshot { sequence, offset, at, payload: Bytes::copy_from_slice(&bytes) })
}

fn put(batch: &mut Changes, shard: ShardId, address: &EntityAddress, snapshot: &Snapshot) {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + snapshot.payload.len());
    bytes.extend_from_slice(&snapshot.offset.0.to_be_bytes());
    bytes.extend_from_slice(&snapshot.at.as_millis().to_be_bytes());
    bytes.extend_from_slice(&snapshot.payload);
    let key_of = |part| part_key(shard, address, snapshot.sequence, part);
    value::cut(&bytes, &mut Vec::new(), key_of, |key, value| batch.insert(key, value));
}

fn prefix(shard: ShardId, address: &EntityAddress) -> Vec<u8> {
    let (entity_type, id) = (address.entity_type().as_bytes(), address.id().as_bytes());
    [&shard.0.to_be_bytes()[..], entity_type, &[0], id, &[0]].concat()
}

fn part_key(
    shard: ShardId,
    address: &EntityAddress,
    sequence: SequenceNumber,
    part: u16,
) -> Vec<u8> {
    let mut key = prefix(shard, address);
    key.extend_from_slice(&sequence.0.to_be_bytes());
    key.extend_from_slice(&part.to_be_bytes());
    key
}

/// The keys of one snapshot. Entries have at most 2,100 parts, so the last number is never used.
fn parts_range(
    shard: ShardId,
    address: &EntityAddress,
    sequence: SequenceNumber,
) -> Range<Vec<u8>> {
    part_key(shard, address, sequence, 0)..part_key(shard, address, sequence, u16::MAX)
}

fn failed(shard: ShardId, error: &StoreError) -> ReadError {
    ReadError::Store { shard, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};

    use super::*;
    use crate::store::StoreOptions;

    /// What this process warned of. All its tests share it, so that a line is known by the address in it.
    static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

    struct Keeper;

    impl io::Write for Keeper {
        /// One call for each line.
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let line = String::from_utf8_lossy(bytes).into_owned();
            WARNINGS.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// For the whole process: what belongs to one thread may miss lines while others run.
    fn keep_warnings() {
        let kept = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        kept.with_writer(|| Keeper).init();
    }

    fn warned_of(address: &EntityAddress) -> Vec<String> {
        let lines = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter(|line| line.contains(&address.to_string())).cloned().collect()
    }

    /// Law N14, the store's part: an unreadable snapshot is skipped for the one before it, and none readable is no error, so that all events are
    /// replayed instead. Each is warned of.
    #[test]
    fn an_unreadable_snapshot_falls_back_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let snapshots = SnapshotStore::new(&store);
        let (shard, address) = (ShardId(1), "account/spoiled".parse().unwrap());
        let snapshot = |number| Snapshot {
            sequence: SequenceNumber(number),
            offset: Offset(number),
            at: Timestamp::EPOCH,
            payload: Bytes::from(vec![7; 40_000]),
        };
        for number in [10, 20, 30] {
            snapshots.save(shard, &address, &snapshot(number), 3).unwrap();
        }
        let spoil = |number, part, value: Option<&[u8]>| {
            let mut batch = Changes::default();
            let key = part_key(shard, &address, SequenceNumber(number), part);
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
            store.write_derived(Derived::Snapshots, batch).unwrap();
        };
        let load = || snapshots.load(shard, &address, SnapshotCriteria::default());
        keep_warnings();
        assert_eq!(load(), Ok(Some(snapshot(30))));
        assert!(warned_of(&address).is_empty(), "nothing was wrong");
        spoil(30, 1, None);
        assert_eq!(load(), Ok(Some(snapshot(20))));
        spoil(20, 0, Some(b"torn"));
        assert_eq!(load(), Ok(Some(snapshot(10))));
        spoil(10, 0, Some(&[1; 100]));
        assert_eq!(load(), Ok(None));
        // At each load, of each that it skips.
        let warned = warned_of(&address);
        assert!(warned.iter().all(|line| line.contains("a snapshot cannot be read")), "{warned:?}");
        for (number, times) in [(30, 3), (20, 2), (10, 1)] {
            let sequence = format!("sequence={number} ");
            let lines = warned.iter().filter(|line| line.contains(&sequence)).count();
            assert_eq!(lines, times, "{warned:?}");
        }
        snapshots.delete(shard, &address, SnapshotCriteria::default()).unwrap();
        assert!(snapshots.sequences(shard, &address).unwrap().is_empty());
    }
}
