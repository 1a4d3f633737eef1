//! An index as it lies in sled.

use std::sync::Arc;

use holm_core::Offset;
use sled::{Batch, IVec};

use super::memory::Dirty;
use crate::store::{Derived, LogId, Store, StoreError};

/// Changes written at a time. sled applies a batch under a lock that stops the committer too: 512 changes are about a millisecond.
const CHANGES_AT_A_TIME: usize = 512;

const FORMAT_VERSION: u8 = 1;
const MARK_BYTES: usize = 25;

/// How far the flushes of an index came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) done: u64,
    pub(super) last_offset: Offset,
    pub(super) begun: u64,
}

pub(super) fn read_mark(store: &Arc<Store>, log: LogId) -> Result<Option<Mark>, StoreError> {
    let key = key(log, b'm', &[]);
    let Some(value) = store.read_derived(Derived::Index, |tree| tree.get(&key))? else {
        return Ok(None);
    };
    if value.len() != MARK_BYTES || value[0] != FORMAT_VERSION {
        return Err(damaged(store, "its mark is not of format 1"));
    }
    let number = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    Ok(Some(Mark { done: number(1), begun: number(9), last_offset: Offset(number(17)) }))
}

pub(super) fn read_head(
    store: &Arc<Store>,
    log: LogId,
    entity: &[u8],
) -> Result<Option<Offset>, StoreError> {
    let key = key(log, b'e', entity);
    let value = store.read_derived(Derived::Index, |tree| tree.get(&key))?;
    value.map(|value| number(store, &value).map(Offset)).transpose()
}

pub(super) fn read_entry_of(
    store: &Arc<Store>,
    log: LogId,
    offset: Offset,
) -> Result<Option<u64>, StoreError> {
    let range = key(log, b'o', &[])..=key(log, b'o', &offset.0.to_be_bytes());
    let found =
        store.read_derived(Derived::Index, |tree| tree.range(range).next_back().transpose())?;
    found.map(|(_, value)| number(store, &value)).transpose()
}

/// Writes changes and their mark, a little at a time.
pub(super) fn write(
    store: &Arc<Store>,
    log: LogId,
    dirty: &Dirty,
    mark: Mark,
) -> Result<(), StoreError> {
    let before = read_mark(store, log)?;
    let begun = Mark {
        begun: mark.begun,
        ..before.unwrap_or(Mark { done: 0, last_offset: Offset::ZERO, begun: 0 })
    };
    let mut batch = Batch::default();
    put_mark(&mut batch, log, begun);
    let heads = dirty.heads().map(|(entity, offset)| (key(log, b'e', entity), offset.0));
    let entries =
        dirty.entries().map(|(offset, entry)| (key(log, b'o', &offset.0.to_be_bytes()), entry));
    let mut changes = 1;
    for (key, value) in heads.chain(entries) {
        batch.insert(key, &value.to_be_bytes());
        changes += 1;
        if changes == CHANGES_AT_A_TIME {
            store.write_derived(Derived::Index, std::mem::take(&mut batch))?;
            changes = 0;
        }
    }
    put_mark(&mut batch, log, mark);
    store.write_derived(Derived::Index, batch)
}

/// Removes an index, its mark first: one that is half removed must not look whole.
pub(super) fn discard(store: &Arc<Store>, log: LogId) -> Result<(), StoreError> {
    let mut batch = Batch::default();
    batch.remove(key(log, b'm', &[]));
    store.write_derived(Derived::Index, batch)?;
    loop {
        let range = key(log, 0, &[])..key(log, u8::MAX, &[]);
        let keys = store.read_derived(Derived::Index, |tree| {
            tree.range(range).keys().take(CHANGES_AT_A_TIME).collect::<sled::Result<Vec<IVec>>>()
        })?;
        if keys.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for key in keys {
            batch.remove(key);
        }
        store.write_derived(Derived::Index, batch)?;
    }
}

fn put_mark(batch: &mut Batch, log: LogId, mark: Mark) {
    let mut value = Vec::with_capacity(MARK_BYTES);
    value.push(FORMAT_VERSION);
    for number in [mark.done, mark.begun, mark.last_offset.0] {
        value.extend_from_slice(&number.to_be_bytes());
    }
    batch.insert(key(log, b'm', &[]), value);
}

fn key(log: LogId, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + rest.len());
    key.extend_from_slice(&log.0.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

fn number(store: &Arc<Store>, value: &[u8]) -> Result<u64, StoreError> {
    let bytes = value.try_into().map_err(|_| damaged(store, "a value has not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn damaged(store: &Arc<Store>, reason: &str) -> StoreError {
    let (dir, during) = (store.dir().to_owned(), "reading the entity index");
    StoreError::Damaged { dir, during, reason: reason.to_owned() }
}
