//! An index as it lies in sled: its mark, where batches lie, and what the other parts share.

use std::sync::Arc;

use holm_core::Offset;

use super::heads::{self, Run};
use super::memory::{Dirty, Progress};
use super::{conversations, places};
use crate::store::value;
use crate::store::{Changes, Derived, LogId, Store, StoreError};

/// A key or a value as the database gives it.
pub(super) type Stored = sled::IVec;

/// Keys removed at a time when an index is discarded.
pub(super) const KEYS_AT_A_TIME: usize = 512;

/// Changes written at a time. sled applies them under a lock that stops the committer too, and a thread that loses its core meanwhile stops it for longer.
pub(super) const CHANGES_AT_A_TIME: usize = 64;

/// Numbers of a mark before its runs.
const FIXED_NUMBERS: usize = 4;

/// How far an index is whole, and what must be in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    /// How far it is whole.
    pub(super) whole: Progress,
    /// The newest entry that it knows of, perhaps of a flush that was not finished.
    pub(super) reaches: u64,
    /// The first record whose conversation is known; none where conversations are not indexed.
    pub(super) conversations_from: Option<Offset>,
    /// The runs of heads, from the oldest to the newest.
    pub(super) runs: Arc<[Run]>,
}

pub(super) fn read_mark(store: &Arc<Store>, log: LogId) -> Result<Option<Mark>, StoreError> {
    let Some(numbers) = read_numbers(store, &mark_key(log))? else { return Ok(None) };
    let other_length = || damaged(store, "its mark has another length");
    let (fixed, runs) = numbers.split_first_chunk::<FIXED_NUMBERS>().ok_or_else(other_length)?;
    let [watermark, last_offset, reaches, conversations_from] = *fixed;
    let (runs, []) = runs.as_chunks() else { return Err(other_length()) };
    Ok(Some(Mark {
        whole: Progress { watermark, last_offset: Offset(last_offset) },
        reaches,
        // There is no record 0.
        conversations_from: (conversations_from > 0).then_some(Offset(conversations_from)),
        runs: runs.iter().map(|&[number, heads]| Run { number, heads }).collect(),
    }))
}

/// Writes a mark.
pub(super) fn write_mark(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    mark: &Mark,
) -> Result<(), StoreError> {
    let Mark { whole, reaches, conversations_from, runs } = mark;
    let conversations_from = conversations_from.map_or(0, |from| from.0);
    let fixed = [whole.watermark, whole.last_offset.0, *reaches, conversations_from];
    let runs = runs.iter().flat_map(|run| [run.number, run.heads]);
    let mut batch = Changes::default();
    put_numbers(&mut batch, mark_key(log), fixed.into_iter().chain(runs));
    store.write_index(log, opening, batch)
}

/// A flush that was written.
pub(super) struct Flushed {
    /// The last mark.
    pub(super) mark: Mark,
    /// Blocks of heads that nobody needs once the mark counts.
    pub(super) replaced: Vec<Stored>,
}

/// Writes changes, a little at a time; the last mark says `whole`. It ends with an error when the store is opened again meanwhile.
pub(super) fn write(
    store: &Arc<Store>,
    place: (LogId, u64),
    dirty: &Dirty,
    mut mark: Mark,
    whole: Progress,
) -> Result<Flushed, StoreError> {
    // It says that there may be entries of which it is not whole yet; they mean something by themselves.
    write_mark(store, place, &mark)?;
    places::write(store, place, dirty.entries())?;
    // Nobody looks at a run before a mark says that it is whole.
    let (first, fingerprints) = dirty.conversations();
    conversations::write(store, place, first, fingerprints)?;
    let mut heads: Vec<_> = dirty.heads().collect();
    heads.sort_unstable();
    let written = heads::write(store, place, &mark.runs, store.draw_number(), &heads)?;
    (mark.whole, mark.runs) = (whole, written.runs.into());
    write_mark(store, place, &mark)?;
    Ok(Flushed { mark, replaced: written.replaced })
}

/// Removes an index, its mark first: one that is half removed must not look whole.
pub(super) fn discard(store: &Arc<Store>, log: LogId) -> Result<(), StoreError> {
    let mut batch = Changes::default();
    batch.remove(mark_key(log));
    store.write_derived(Derived::Index, batch)?;
    let (from, to) = (key(log, 0, &[]), key(log, u8::MAX, &[]));
    while store.remove_first_derived(Derived::Index, (&from, &to), KEYS_AT_A_TIME)? {}
    Ok(())
}

/// A sealed value of numbers.
pub(super) fn put_numbers(
    batch: &mut Changes,
    key: Vec<u8>,
    numbers: impl IntoIterator<Item = u64>,
) {
    let payload: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    let sealed = value::seal(&key, 1, payload.len(), &payload, &mut Vec::new());
    batch.insert(key, sealed);
}

fn read_numbers(store: &Arc<Store>, key: &[u8]) -> Result<Option<Vec<u64>>, StoreError> {
    let value = store.read_derived(Derived::Index, |tree| tree.get(key))?;
    value.map(|value| numbers_in(store, key, value)).transpose()
}

/// The numbers of a sealed value.
pub(super) fn numbers_in(
    store: &Arc<Store>,
    key: &[u8],
    value: Stored,
) -> Result<Vec<u64>, StoreError> {
    let part = value::unseal(key, value).map_err(|reason| damaged(store, &reason))?;
    match part.payload.as_chunks() {
        (numbers, []) => Ok(numbers.iter().map(|it| u64::from_be_bytes(*it)).collect()),
        _ => Err(damaged(store, "a list of numbers has another length")),
    }
}

/// Not the key of the marks that versions before the runs of heads wrote: neither takes the other's index for its own.
fn mark_key(log: LogId) -> Vec<u8> {
    key(log, b'w', &[])
}

pub(super) fn key(log: LogId, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(5 + rest.len());
    key.extend_from_slice(&log.0.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

pub(super) fn damaged(store: &Arc<Store>, reason: &str) -> StoreError {
    let (dir, during) = (store.dir().to_owned(), "reading the entity index");
    StoreError::Damaged { dir, during, reason: reason.to_owned() }
}
