//! Which records belong to a conversation, as an index keeps it in sled.
//!
//! Each flush leaves one *run*: a number for every record since the run before, sorted. Its upper half is a fingerprint of the correlation id, its lower
//! half says which record of the run it is. So a record costs eight bytes, written in blocks of 4 KiB; with a key for each it would be thirty bytes and
//! a place in the tree. Two conversations may share a fingerprint: what is found is a candidate, and the record itself says whose it is.
//!
//! Nothing sums the blocks up, because they need no sum: a run begins where the one before ends, and each block says where its run ends and which
//! numbers it answers for. Whoever goes from run to run sees each block that is missing.
//!
//! A run that a crash cut short lies behind the mark; it is removed when the index is opened.

use std::ops::ControlFlow;
use std::sync::Arc;

use holm_core::{CorrelationId, Offset};

use super::tree::{KEYS_AT_A_TIME, damaged, key, put_numbers};
use crate::store::value;
use crate::store::{Changes, Derived, LogId, Store, StoreError};

/// Numbers of one block: with its head and its header 4,108 bytes, one page of most disks.
const BLOCK_NUMBERS: usize = 510;

/// Blocks written at a time: the writers' lock is held for each write, and for 16 KiB that is about as long as for 64 heads.
const BLOCKS_AT_A_TIME: usize = 4;

const NUMBER_BYTES: usize = 8;

/// What stands for a conversation in a number.
pub(super) fn fingerprint(correlation: CorrelationId) -> u32 {
    crc32c::crc32c(&correlation.0.to_be_bytes())
}

/// Some numbers of one run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// The last offset of the run.
    pub(crate) last: Offset,
    /// The first number that it does not answer for.
    end: u64,
    numbers: Vec<u64>,
}

impl Block {
    /// Reads the block that begins at the number `start` of the run that begins at the offset `run`.
    pub(crate) fn read(run: Offset, start: u64, payload: &[u8]) -> Result<Self, &'static str> {
        let (numbers, []) = payload.as_chunks::<NUMBER_BYTES>() else {
            return Err("a block of conversations is no list of numbers");
        };
        let mut numbers = numbers.iter().map(|number| u64::from_be_bytes(*number));
        let (Some(last), Some(end)) = (numbers.next(), numbers.next()) else {
            return Err("a block of conversations has no head");
        };
        let numbers: Vec<u64> = numbers.collect();
        let records =
            last.checked_sub(run.0).ok_or("a run of conversations ends before it begins")?;
        let is_sorted = numbers.is_sorted_by(|one, next| one < next);
        let is_within = numbers.first().is_none_or(|first| *first >= start)
            && numbers.last().is_none_or(|last| *last < end)
            && start < end
            && numbers.iter().all(|number| (*number & u64::from(u32::MAX)) <= records);
        if is_sorted && is_within {
            Ok(Self { last: Offset(last), end, numbers })
        } else {
            Err("a block of conversations holds what does not belong there")
        }
    }

    /// The offsets that stand under a fingerprint.
    pub(crate) fn offsets(&self, run: Offset, fingerprint: u32) -> impl Iterator<Item = Offset> {
        let (from, to) = numbers_of(fingerprint);
        let begin = self.numbers.partition_point(|number| *number < from);
        let found = self.numbers[begin..].iter().take_while(move |number| **number <= to);
        found.map(move |number| run.plus(number & u64::from(u32::MAX)))
    }
}

/// The least and the greatest number that a fingerprint can have.
const fn numbers_of(fingerprint: u32) -> (u64, u64) {
    let least = (fingerprint as u64) << 32;
    (least, least | u32::MAX as u64)
}

/// Writes the run of the records from `first` on, given by their fingerprints.
pub(super) fn write(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    first: Offset,
    fingerprints: &[u32],
) -> Result<(), StoreError> {
    if fingerprints.is_empty() {
        return Ok(());
    }
    let number = |(nth, fingerprint): (u64, &u32)| u64::from(*fingerprint) << 32 | nth;
    let mut numbers: Vec<u64> = (0..).zip(fingerprints).map(number).collect();
    numbers.sort_unstable();
    let last = first.plus(numbers.len() as u64 - 1);
    let blocks: Vec<&[u64]> = numbers.chunks(BLOCK_NUMBERS).collect();
    let ends = blocks.iter().skip(1).map(|block| block[0]).chain([u64::MAX]);
    // The first block answers for all that comes before its first number too.
    let mut start = 0;
    let mut batch = Changes::default();
    for (nth, (block, end)) in blocks.iter().zip(ends).enumerate() {
        let payload = [last.0, end].into_iter().chain(block.iter().copied());
        put_numbers(&mut batch, block_key(log, first, start), payload);
        start = end;
        if (nth + 1) % BLOCKS_AT_A_TIME == 0 {
            store.write_index(log, opening, std::mem::take(&mut batch).separable())?;
        }
    }
    store.write_index(log, opening, batch.separable())
}

/// The first offset of the run that holds the record at `offset`.
pub(super) fn run_of(store: &Arc<Store>, log: LogId, offset: Offset) -> Result<Offset, StoreError> {
    let range = key(log, KIND, &[])..=block_key(log, offset, u64::MAX);
    let found = store.read_derived(Derived::Index, |tree| tree.last(range))?;
    match found {
        Some((key, _)) => Ok(place(store, &key)?.0),
        None => Err(damaged(store, "the run of conversations of an offset is missing")),
    }
}

/// What a run knows of a fingerprint: its last offset, and the offsets of the candidates in order.
pub(super) fn find(
    store: &Arc<Store>,
    log: LogId,
    run: Offset,
    fingerprint: u32,
) -> Result<(Offset, Vec<Offset>), StoreError> {
    let (from, to) = numbers_of(fingerprint);
    let before = block_key(log, run, 0)..=block_key(log, run, from);
    let begin = store.read_derived(Derived::Index, |tree| tree.last(before))?;
    let missing = || damaged(store, "a block of conversations is missing");
    let (begin, _) = begin.ok_or_else(missing)?;
    let (mut expected, mut last) = (place(store, &begin)?.1, None);
    let mut offsets = Vec::new();
    // Nearly always one block; more where a conversation fills some.
    let mut blocks = Vec::new();
    store.read_derived(Derived::Index, |tree| {
        tree.visit(begin..=block_key(log, run, to).into(), |key, value| {
            blocks.push((key, value));
            ControlFlow::Continue(())
        })
    })?;
    for (key, value) in blocks {
        let (_, start) = place(store, &key)?;
        let part = value::unseal(&key, value).map_err(|reason| damaged(store, &reason))?;
        let block =
            Block::read(run, start, &part.payload).map_err(|reason| damaged(store, reason))?;
        if start != expected || last.is_some_and(|last| last != block.last) {
            return Err(missing());
        }
        offsets.extend(block.offsets(run, fingerprint));
        (expected, last) = (block.end, Some(block.last));
    }
    match last {
        Some(last) if expected > to => Ok((last, offsets)),
        _ => Err(missing()),
    }
}

/// Removes the runs that begin at or after an offset.
pub(super) fn discard(store: &Arc<Store>, log: LogId, from: Offset) -> Result<(), StoreError> {
    let (from, to) = (block_key(log, from, 0), key(log, KIND + 1, &[]));
    while store.remove_first_derived(Derived::Index, (&from, &to), KEYS_AT_A_TIME)? {}
    Ok(())
}

const KIND: u8 = b'c';

fn block_key(log: LogId, run: Offset, start: u64) -> Vec<u8> {
    let mut rest = [0; 2 * NUMBER_BYTES];
    rest[..NUMBER_BYTES].copy_from_slice(&run.0.to_be_bytes());
    rest[NUMBER_BYTES..].copy_from_slice(&start.to_be_bytes());
    key(log, KIND, &rest)
}

/// Run and first number in the key of a block.
fn place(store: &Arc<Store>, key: &[u8]) -> Result<(Offset, u64), StoreError> {
    let rest = key.get(5..).unwrap_or_default();
    match rest.as_chunks::<NUMBER_BYTES>() {
        ([run, start], []) => Ok((Offset(u64::from_be_bytes(*run)), u64::from_be_bytes(*start))),
        _ => Err(damaged(store, "a key of conversations has another length")),
    }
}
