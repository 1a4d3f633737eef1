//! An index as it lies in sled.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use holm_core::Offset;

use super::conversations;
use super::memory::{Dirty, Progress};
use crate::store::value;
use crate::store::{Changes, Derived, LogId, Store, StoreError};

/// Buckets of an index: with 31,000 entities in a shard a bucket is 30 keys.
const BUCKETS: usize = 1_024;

/// Buckets whose sums are one value.
const BUCKETS_OF_A_CHUNK: usize = 32;

/// Keys removed at a time when an index is discarded.
pub(super) const KEYS_AT_A_TIME: usize = 512;

/// Changes written at a time. sled applies them under a lock that stops the committer too, and a thread that loses its core meanwhile stops it for longer:
/// with 512 a commit waited for 3 to 8 ms on two busy cores.
const CHANGES_AT_A_TIME: usize = 64;

/// How far an index is whole, and what must be in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Mark {
    /// How far it is whole.
    pub(super) whole: Progress,
    /// The newest entry that it knows of, perhaps of a flush that was not finished.
    pub(super) reaches: u64,
    pub(super) sums: Sums,
    /// The first record whose conversation is known; none where conversations are not indexed.
    pub(super) conversations_from: Option<Offset>,
}

/// A sum over each bucket: 2^40 and the CRC32C of key and value for each entity. It counts the entities and does not depend on their order.
#[derive(Debug, Clone)]
pub(super) struct Sums {
    numbers: Box<[u64]>,
    verified: Box<[bool]>,
}

impl Default for Sums {
    fn default() -> Self {
        // An empty bucket needs no verification: what is put there is known.
        Self { numbers: vec![0; BUCKETS].into(), verified: vec![true; BUCKETS].into() }
    }
}

impl Sums {
    pub(super) fn is_verified(&self, bucket: u16) -> bool {
        self.verified[usize::from(bucket)]
    }

    /// Compares a bucket with its sum; it is trusted from then on.
    pub(super) fn verify(&mut self, bucket: u16, sum: u64) -> bool {
        self.verified[usize::from(bucket)] = self.numbers[usize::from(bucket)] == sum;
        self.is_verified(bucket)
    }

    /// Takes over the sums after a flush; what was verified stays so.
    pub(super) fn take_numbers(&mut self, flushed: Self) {
        self.numbers = flushed.numbers;
    }

    /// The sum of all sums: what a lost chunk of them would change.
    fn total(&self) -> u64 {
        self.numbers.iter().fold(0, |total, &sum| total.wrapping_add(sum))
    }

    fn chunk(&self, chunk: usize) -> &[u64] {
        &self.numbers[chunk * BUCKETS_OF_A_CHUNK..][..BUCKETS_OF_A_CHUNK]
    }

    fn replace(&mut self, bucket: u16, old: u64, new: u64) {
        let number = &mut self.numbers[usize::from(bucket)];
        *number = number.wrapping_sub(old).wrapping_add(new);
    }
}

pub(super) fn bucket_of(entity: &[u8]) -> u16 {
    u16::try_from(crc32c::crc32c(entity) as usize % BUCKETS).expect("buckets are numbered by a u16")
}

/// The sum over what is in a bucket.
pub(super) fn sum_of(store: &Arc<Store>, log: LogId, bucket: u16) -> Result<u64, StoreError> {
    let prefix = key(log, b'e', &bucket.to_be_bytes());
    store.read_derived(Derived::Index, |tree| {
        let mut sum = 0u64;
        tree.visit_prefix(&prefix, |key, value| {
            sum = sum.wrapping_add(summand(&key, &value));
            ControlFlow::Continue(())
        })?;
        Ok(sum)
    })
}

pub(super) fn read_mark(store: &Arc<Store>, log: LogId) -> Result<Option<Mark>, StoreError> {
    let Some(numbers) = read_list(store, &mark_key(log))? else { return Ok(None) };
    let ([watermark, last_offset, reaches, total], conversations_from) = match numbers[..] {
        [watermark, last, reaches, total] => ([watermark, last, reaches, total], None),
        [watermark, last, reaches, total, from] => {
            ([watermark, last, reaches, total], Some(Offset(from)))
        }
        _ => return Err(damaged(store, OTHER_LENGTH)),
    };
    let mut sums = Sums::default();
    sums.verified.fill(false);
    for (chunk, numbers) in
        sums.numbers.as_chunks_mut::<BUCKETS_OF_A_CHUNK>().0.iter_mut().enumerate()
    {
        // A chunk that was never written has empty buckets only.
        *numbers = read_numbers(store, &chunk_key(log, chunk))?.unwrap_or(*numbers);
    }
    if sums.total() != total {
        return Err(damaged(store, "some of its sums are missing"));
    }
    let whole = Progress { watermark, last_offset: Offset(last_offset) };
    Ok(Some(Mark { whole, reaches, sums, conversations_from }))
}

const OTHER_LENGTH: &str = "its mark or a part of its sums has another length";

/// A sealed value of `N` numbers.
fn read_numbers<const N: usize>(
    store: &Arc<Store>,
    key: &[u8],
) -> Result<Option<[u64; N]>, StoreError> {
    let list = read_list(store, key)?;
    let numbers = list.map(|list| list.try_into().map_err(|_| damaged(store, OTHER_LENGTH)));
    numbers.transpose()
}

/// A sealed value of numbers.
fn read_list(store: &Arc<Store>, key: &[u8]) -> Result<Option<Vec<u64>>, StoreError> {
    let Some(value) = store.read_derived(Derived::Index, |tree| tree.get(key))? else {
        return Ok(None);
    };
    let part = value::unseal(key, value).map_err(|reason| damaged(store, &reason))?;
    match part.payload.as_chunks() {
        (numbers, []) => Ok(Some(numbers.iter().map(|it| u64::from_be_bytes(*it)).collect())),
        _ => Err(damaged(store, OTHER_LENGTH)),
    }
}

pub(super) fn put_numbers(
    batch: &mut Changes,
    key: Vec<u8>,
    numbers: impl IntoIterator<Item = u64>,
) {
    let payload: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    let sealed = value::seal(&key, 1, payload.len(), &payload, &mut Vec::new());
    batch.insert(key, sealed);
}

pub(super) fn read_head(
    store: &Arc<Store>,
    log: LogId,
    entity: &[u8],
) -> Result<Option<Offset>, StoreError> {
    let key = entity_key(log, entity);
    let value = store.read_derived(Derived::Index, |tree| tree.get(&key))?;
    value.map(|value| number(store, &value).map(Offset)).transpose()
}

pub(super) fn read_entry_of(
    store: &Arc<Store>,
    log: LogId,
    offset: Offset,
) -> Result<Option<u64>, StoreError> {
    let range = key(log, b'o', &[])..=key(log, b'o', &offset.0.to_be_bytes());
    let found = store.read_derived(Derived::Index, |tree| tree.last(range))?;
    found.map(|(_, value)| number(store, &value)).transpose()
}

/// Writes changes, a little at a time, each time with sums that fit the tree; the last mark says `whole`. Returns the new sums. It ends with an error
/// when the store is opened again meanwhile.
pub(super) fn write(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    dirty: &Dirty,
    mut mark: Mark,
    whole: Progress,
) -> Result<Sums, StoreError> {
    // Sorted by bucket, so that few chunks of sums change at a time.
    let mut heads: Vec<_> =
        dirty.heads().map(|(entity, head)| (bucket_of(entity), entity, head)).collect();
    heads.sort_unstable();
    if heads.is_empty() {
        write_mark(store, (log, opening), &mark)?;
    }
    for heads in heads.chunks(CHANGES_AT_A_TIME) {
        let (mut batch, mut chunks) = (Changes::default(), BTreeSet::new());
        for &(bucket, entity, offset) in heads {
            let key = entity_key(log, entity);
            let value = offset.0.to_be_bytes();
            let old = store.read_derived(Derived::Index, |tree| tree.get(&key))?;
            let old = old.map_or(0, |old| summand(&key, &old));
            mark.sums.replace(bucket, old, summand(&key, &value));
            chunks.insert(usize::from(bucket) / BUCKETS_OF_A_CHUNK);
            batch.insert(key, &value);
        }
        for chunk in chunks {
            put_numbers(&mut batch, chunk_key(log, chunk), mark.sums.chunk(chunk).iter().copied());
        }
        write_with_mark(store, (log, opening), batch, &mark)?;
    }
    // The mark says since the first heads that these may be there, no sum counts them, and each means something by itself: so they need no mark of their
    // own, which would cost more than they do.
    let entries: Vec<_> = dirty.entries().collect();
    for entries in entries.chunks(CHANGES_AT_A_TIME) {
        let mut batch = Changes::default();
        for (offset, entry) in entries {
            batch.insert(key(log, b'o', &offset.0.to_be_bytes()), &entry.to_be_bytes());
        }
        store.write_index(log, opening, batch.separable())?;
    }
    // Nor does a run: until the mark says whole, nobody looks there.
    let (first, fingerprints) = dirty.conversations();
    conversations::write(store, (log, opening), first, fingerprints)?;
    mark.whole = whole;
    write_mark(store, (log, opening), &mark)?;
    Ok(mark.sums)
}

/// Writes a mark alone.
pub(super) fn write_mark(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    mark: &Mark,
) -> Result<(), StoreError> {
    write_with_mark(store, (log, opening), Changes::default(), mark)
}

fn write_with_mark(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    mut batch: Changes,
    mark: &Mark,
) -> Result<(), StoreError> {
    let Mark { whole, reaches, sums, conversations_from } = mark;
    let numbers = [whole.watermark, whole.last_offset.0, *reaches, sums.total()];
    let numbers = numbers.into_iter().chain(conversations_from.map(|from| from.0));
    put_numbers(&mut batch, mark_key(log), numbers);
    store.write_index(log, opening, batch)
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

fn summand(key: &[u8], value: &[u8]) -> u64 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), value);
    (1 << 40) + u64::from(crc)
}

fn mark_key(log: LogId) -> Vec<u8> {
    key(log, b'm', &[])
}

/// The key of the sums of a chunk of buckets.
fn chunk_key(log: LogId, chunk: usize) -> Vec<u8> {
    let chunk = u16::try_from(chunk).expect("there are fewer chunks than buckets");
    key(log, b's', &chunk.to_be_bytes())
}

fn entity_key(log: LogId, entity: &[u8]) -> Vec<u8> {
    let bucket = bucket_of(entity).to_be_bytes();
    let mut key = key(log, b'e', &bucket);
    key.extend_from_slice(entity);
    key
}

pub(super) fn key(log: LogId, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(7 + rest.len());
    key.extend_from_slice(&log.0.to_be_bytes());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

fn number(store: &Arc<Store>, value: &[u8]) -> Result<u64, StoreError> {
    let bytes = value.try_into().map_err(|_| damaged(store, "a value has not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn damaged(store: &Arc<Store>, reason: &str) -> StoreError {
    let (dir, during) = (store.dir().to_owned(), "reading the entity index");
    StoreError::Damaged { dir, during, reason: reason.to_owned() }
}
