//! Where batches lie: the log entry of a batch by its first offset, as an index keeps it in sled.
//!
//! Offsets only grow, so a flush writes what it has behind what is there, in blocks; with a key for each batch that cost as much as writing the batch. What a flush
//! that was not finished left behind is removed when the index is opened: the blocks of the next one need not begin where those did. A block that is missing leads to a
//! batch too far back, which the reader sees.

use std::sync::Arc;

use holm_core::Offset;

use super::tree::{KEYS_AT_A_TIME, damaged, key, numbers_in, put_numbers};
use crate::store::{Changes, Derived, LogId, Store, StoreError};

/// Batches in one block: with its header 4,092 bytes, one page of most disks.
const BLOCK_BATCHES: usize = 255;

/// Blocks written at a time, as those of conversations.
const BLOCKS_AT_A_TIME: usize = 4;

const KIND: u8 = b'b';

/// Writes where the batches of a flush lie.
pub(super) fn write(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    batches: impl Iterator<Item = (Offset, u64)>,
) -> Result<(), StoreError> {
    let batches: Vec<_> = batches.collect();
    for batches in batches.chunks(BLOCK_BATCHES * BLOCKS_AT_A_TIME) {
        let mut changes = Changes::default();
        for block in batches.chunks(BLOCK_BATCHES) {
            let numbers = block.iter().flat_map(|(first, entry)| [first.0, *entry]);
            put_numbers(&mut changes, block_key(log, block[0].0), numbers);
        }
        store.write_index(log, opening, changes.separable())?;
    }
    Ok(())
}

/// The last known entry whose batch begins at or before an offset.
pub(super) fn find(
    store: &Arc<Store>,
    log: LogId,
    offset: Offset,
) -> Result<Option<u64>, StoreError> {
    let range = key(log, KIND, &[])..=block_key(log, offset);
    let Some((key, value)) = store.read_derived(Derived::Index, |tree| tree.last(range))? else {
        return Ok(None);
    };
    let numbers = numbers_in(store, &key, value)?;
    let (batches, []) = numbers.as_chunks() else {
        return Err(damaged(store, "a block of batches is no list of pairs"));
    };
    let behind = batches.partition_point(|[first, _]| *first <= offset.0);
    Ok(behind.checked_sub(1).map(|nth| batches[nth][1]))
}

/// Removes the blocks that begin at or after an offset.
pub(super) fn discard(store: &Arc<Store>, log: LogId, from: Offset) -> Result<(), StoreError> {
    let (from, to) = (block_key(log, from), key(log, KIND + 1, &[]));
    while store.remove_first_derived(Derived::Index, (&from, &to), KEYS_AT_A_TIME)? {}
    Ok(())
}

fn block_key(log: LogId, first: Offset) -> Vec<u8> {
    key(log, KIND, &first.0.to_be_bytes())
}
