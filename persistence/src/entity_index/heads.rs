//! The heads: the offset of each entity's newest record, as an index keeps it in sled.
//!
//! A flush leaves one *run*: the entities that got records since the run before, in the order of their keys, written in blocks of 4 KiB. Whoever looks for an entity
//! goes from the newest run to the oldest. A run is never changed. So that there are few, a flush merges into its own run the newest ones, each at most twice as long as those behind it
//! together, when they are [`TOGETHER`] at least: a head is written again about once for each time that its index grows fourfold, and there are a few runs for each such step (a log-structured
//! merge-tree, O'Neil et al. 1996). With a key of its own in the tree a head cost thirty times as much of the processor.
//!
//! A damaged database can lose single updates without a word: a head that silently went back to an older record would be a silently forgotten event. The mark names
//! the runs, the first block of a run begins with the empty key, and each block says where the next one begins. So a block or a run that is missing is seen by
//! whoever looks there.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use holm_core::Offset;

use super::tree::{CHANGES_AT_A_TIME, Stored, damaged, key};
use crate::store::value;
use crate::store::{Changes, Derived, LogId, Store, StoreError};

/// Bytes of the payload of one block, about: with its header one page of most disks. The key that ends it may be a little longer than was reckoned.
const BLOCK_BYTES: usize = 4_096 - value::HEADER_BYTES;

/// Runs that are merged together at least. With one, blocks come and go so often that sled, which moves what lives out of segments that are half dead, writes the log itself again
/// and again; with more, a look-up reads a block of more runs.
const TOGETHER: usize = 4;

/// Blocks written at a time, as those of conversations.
const BLOCKS_AT_A_TIME: usize = 4;

const LENGTH_BYTES: usize = size_of::<u16>();
const OFFSET_BYTES: usize = size_of::<u64>();

/// A run as the mark names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// No other run has it or had it before: a block of a removed run that a damaged database shows again is none of another's.
    pub(super) number: u64,
    /// How many heads it holds.
    pub(super) heads: u64,
}

/// Some heads of one run.
#[derive(Debug)]
pub(crate) struct Block {
    payload: Bytes,
    /// The first key that it does not answer for; empty in the last block.
    end: Range<usize>,
    heads: Vec<(Range<usize>, Offset)>,
}

impl Block {
    /// Reads the block that begins at the key `start`.
    pub(crate) fn read(start: &[u8], payload: Bytes) -> Result<Self, &'static str> {
        let end = text_at(&payload, 0)?;
        let mut heads: Vec<(Range<usize>, Offset)> = Vec::new();
        let mut at = end.end;
        while at < payload.len() {
            let key = text_at(&payload, at)?;
            let offset = payload[key.end..].first_chunk().ok_or(CUT_OFF)?;
            at = key.end + OFFSET_BYTES;
            heads.push((key, Offset(u64::from_be_bytes(*offset))));
        }
        let block = Self { payload, end, heads };
        let is_sorted = block.heads.is_sorted_by(|one, next| block.at(&one.0) < block.at(&next.0));
        let is_within = block.heads.first().is_none_or(|(first, _)| block.at(first) >= start)
            && block.end().is_none_or(|end| {
                start < end && block.heads.last().is_none_or(|(last, _)| block.at(last) < end)
            });
        if is_sorted && is_within {
            Ok(block)
        } else {
            Err("a block of heads holds what does not belong there")
        }
    }

    fn at(&self, text: &Range<usize>) -> &[u8] {
        &self.payload[text.clone()]
    }

    /// The first key that it does not answer for; none in the last block of a run.
    pub(crate) fn end(&self) -> Option<&[u8]> {
        Some(self.at(&self.end)).filter(|end| !end.is_empty())
    }

    /// The head of an entity that this block answers for.
    pub(crate) fn head(&self, entity: &[u8]) -> Option<Offset> {
        let found = self.heads.binary_search_by(|(key, _)| self.at(key).cmp(entity));
        found.ok().map(|place| self.heads[place].1)
    }

    fn nth(&self, nth: usize) -> Option<(&[u8], Offset)> {
        self.heads.get(nth).map(|(key, offset)| (self.at(key), *offset))
    }
}

const CUT_OFF: &str = "a block of heads ends in the middle of one";

/// The text that begins with its length at a place.
fn text_at(payload: &[u8], at: usize) -> Result<Range<usize>, &'static str> {
    let length = payload[at..].first_chunk().ok_or(CUT_OFF)?;
    let begin = at + LENGTH_BYTES;
    let text = begin..begin + usize::from(u16::from_be_bytes(*length));
    if text.end <= payload.len() { Ok(text) } else { Err(CUT_OFF) }
}

/// The head of an entity in the newest run that has it. The runs stand from the oldest to the newest.
pub(super) fn find(
    store: &Arc<Store>,
    log: LogId,
    runs: &[Run],
    entity: &[u8],
) -> Result<Option<Offset>, StoreError> {
    for run in runs.iter().rev() {
        let range = block_key(log, run.number, &[])..=block_key(log, run.number, entity);
        let found = store.read_derived(Derived::Index, |tree| tree.last(range))?;
        let missing = || damaged(store, "a block of heads is missing");
        let (key, value) = found.ok_or_else(missing)?;
        let block = unseal(store, &key, value)?;
        if block.end().is_some_and(|end| end <= entity) {
            return Err(missing());
        }
        if let Some(head) = block.head(entity) {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// What a flush leaves of the heads.
pub(super) struct Written {
    /// The runs from now on.
    pub(super) runs: Vec<Run>,
    /// The keys of the blocks that stood for the merged ones.
    pub(super) replaced: Vec<Stored>,
}

/// Writes the heads of a flush, merged with the newest of the runs there are. Those stay until the mark that names the new runs is written.
pub(super) fn write(
    store: &Arc<Store>,
    place: (LogId, u64),
    runs: &[Run],
    number: u64,
    heads: &[(&[u8], Offset)],
) -> Result<Written, StoreError> {
    if heads.is_empty() {
        return Ok(Written { runs: runs.to_vec(), replaced: Vec::new() });
    }
    let (kept, merged) = runs.split_at(kept_runs(runs, heads.len() as u64));
    let (written, replaced) = merge(store, place, merged, number, heads)?;
    Ok(Written { runs: kept.iter().copied().chain([written]).collect(), replaced })
}

/// Writes a run of these heads and of those of earlier runs that are not among them. Gives back the keys of the blocks of the earlier runs, too.
fn merge(
    store: &Arc<Store>,
    place: (LogId, u64),
    runs: &[Run],
    number: u64,
    heads: &[(&[u8], Offset)],
) -> Result<(Run, Vec<Stored>), StoreError> {
    let mut writer = Writer::new(store, place, number);
    let mut fresh = heads.iter().peekable();
    // From the newest: of the same entity the first one counts.
    let cursors = runs.iter().rev().map(|run| Cursor::begin(store, place.0, run.number));
    let mut cursors = cursors.collect::<Result<Vec<_>, _>>()?;
    let mut least = Vec::new();
    loop {
        let sources = cursors.iter().filter_map(Cursor::peek).map(|(entity, _)| entity);
        let sources = sources.chain(fresh.peek().map(|(entity, _)| *entity));
        let Some(next) = sources.min() else { break };
        least.clear();
        least.extend_from_slice(next);
        let mut head = fresh.next_if(|(entity, _)| **entity == least[..]).map(|(_, head)| *head);
        for cursor in &mut cursors {
            let found = cursor.peek().filter(|(entity, _)| *entity == &least[..]);
            if let Some((_, offset)) = found {
                head.get_or_insert(offset);
                cursor.advance()?;
            }
        }
        writer.push(&least, head.unwrap_or_default())?;
    }
    let replaced = cursors.into_iter().flat_map(|cursor| cursor.seen).collect();
    Ok((writer.finish()?, replaced))
}

/// How many of the oldest runs stay as they are when so many heads come.
fn kept_runs(runs: &[Run], fresh: u64) -> usize {
    let mut merged = fresh;
    let stays = |run: &Run| {
        let stays = run.heads > merged.saturating_mul(2);
        merged = merged.saturating_add(if stays { 0 } else { run.heads });
        stays
    };
    let kept = runs.iter().rposition(stays).map_or(0, |newest| newest + 1);
    if runs.len() - kept < TOGETHER { runs.len() } else { kept }
}

/// Removes the blocks that a merge replaced, once nobody is led to them any more.
pub(super) fn remove(
    store: &Arc<Store>,
    (log, opening): (LogId, u64),
    blocks: &[Stored],
) -> Result<(), StoreError> {
    for blocks in blocks.chunks(CHANGES_AT_A_TIME) {
        let changes: Changes = blocks.iter().map(|key| (key.clone(), None)).collect();
        store.write_index(log, opening, changes.separable())?;
    }
    Ok(())
}

/// Removes what belongs to none of these runs: what a crash left of a flush, or of a merge.
pub(super) fn remove_others(
    store: &Arc<Store>,
    log: LogId,
    runs: &[Run],
) -> Result<(), StoreError> {
    let (mut from, end) = (block_key(log, 0, &[]), key(log, KIND + 1, &[]));
    loop {
        let range = from.clone()..end.clone();
        let found = store.read_derived(Derived::Index, |tree| tree.keys(range, 1))?;
        let Some(first) = found.first() else { return Ok(()) };
        let number = number_of(store, first)?;
        let behind = match number.checked_add(1) {
            Some(behind) => block_key(log, behind, &[]),
            None => end.clone(),
        };
        if runs.iter().all(|run| run.number != number) {
            let most = super::tree::KEYS_AT_A_TIME;
            while store.remove_first_derived(Derived::Index, (&from, &behind), most)? {}
        }
        from = behind;
    }
}

/// Writes the blocks of one run.
struct Writer<'a> {
    store: &'a Arc<Store>,
    place: (LogId, u64),
    run: Run,
    /// The first key of the open block, and its heads.
    start: Vec<u8>,
    heads: Vec<u8>,
    batch: Changes,
    blocks: usize,
    scratch: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(store: &'a Arc<Store>, place: (LogId, u64), number: u64) -> Self {
        Self {
            store,
            place,
            run: Run { number, heads: 0 },
            start: Vec::new(),
            heads: Vec::with_capacity(BLOCK_BYTES),
            batch: Changes::default(),
            blocks: 0,
            scratch: Vec::new(),
        }
    }

    fn push(&mut self, entity: &[u8], head: Offset) -> Result<(), StoreError> {
        let bytes = LENGTH_BYTES + entity.len() + OFFSET_BYTES;
        // Taken for as long as this key, which it would be if the block ended here.
        let taken = LENGTH_BYTES + entity.len() + self.heads.len();
        if taken + bytes > BLOCK_BYTES && !self.heads.is_empty() {
            self.close(entity)?;
        }
        put_text(&mut self.heads, entity);
        self.heads.extend_from_slice(&head.0.to_be_bytes());
        self.run.heads += 1;
        Ok(())
    }

    /// Ends the open block: the next one begins at `end`, or there is none.
    fn close(&mut self, end: &[u8]) -> Result<(), StoreError> {
        let mut payload = Vec::with_capacity(LENGTH_BYTES + end.len() + self.heads.len());
        put_text(&mut payload, end);
        payload.extend_from_slice(&self.heads);
        let key = block_key(self.place.0, self.run.number, &self.start);
        let sealed = value::seal(&key, 1, payload.len(), &payload, &mut self.scratch);
        self.batch.insert(key, sealed);
        self.heads.clear();
        self.start.clear();
        self.start.extend_from_slice(end);
        self.blocks += 1;
        if self.blocks.is_multiple_of(BLOCKS_AT_A_TIME) || end.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.store.write_index(self.place.0, self.place.1, batch.separable())?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Run, StoreError> {
        self.close(&[])?;
        Ok(self.run)
    }
}

/// Goes through the heads of one run, a block at a time.
struct Cursor<'a> {
    store: &'a Arc<Store>,
    log: LogId,
    run: u64,
    block: Block,
    nth: usize,
    /// The keys of the blocks so far.
    seen: Vec<Stored>,
}

impl<'a> Cursor<'a> {
    fn begin(store: &'a Arc<Store>, log: LogId, run: u64) -> Result<Self, StoreError> {
        let (key, block) = read(store, log, run, &[])?;
        Ok(Self { store, log, run, block, nth: 0, seen: vec![key] })
    }

    fn peek(&self) -> Option<(&[u8], Offset)> {
        self.block.nth(self.nth)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.nth += 1;
        // No block is empty, but what is read may be anything.
        while self.peek().is_none()
            && let Some(next) = self.block.end()
        {
            let (key, block) = read(self.store, self.log, self.run, next)?;
            self.seen.push(key);
            (self.block, self.nth) = (block, 0);
        }
        Ok(())
    }
}

/// The block of a run that begins at a key.
fn read(
    store: &Arc<Store>,
    log: LogId,
    run: u64,
    start: &[u8],
) -> Result<(Stored, Block), StoreError> {
    let key = block_key(log, run, start);
    let value = store.read_derived(Derived::Index, |tree| tree.get(&key))?;
    let value = value.ok_or_else(|| damaged(store, "a block of heads is missing"))?;
    let block = unseal(store, &key, value)?;
    Ok((key.into(), block))
}

fn unseal(store: &Arc<Store>, key: &[u8], value: Stored) -> Result<Block, StoreError> {
    let part = value::unseal(key, value).map_err(|reason| damaged(store, &reason))?;
    let start = key.get(KEY_BYTES..).unwrap_or_default();
    Block::read(start, part.payload).map_err(|reason| damaged(store, reason))
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).expect("an address bounds the key of an entity");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text);
}

const KIND: u8 = b'h';

/// Bytes of a key before the entity that the block begins with: log, kind, run.
const KEY_BYTES: usize = size_of::<u32>() + 1 + size_of::<u64>();

fn block_key(log: LogId, run: u64, start: &[u8]) -> Vec<u8> {
    let mut rest = Vec::with_capacity(size_of::<u64>() + start.len());
    rest.extend_from_slice(&run.to_be_bytes());
    rest.extend_from_slice(start);
    key(log, KIND, &rest)
}

fn number_of(store: &Arc<Store>, key: &[u8]) -> Result<u64, StoreError> {
    let number = key.get(KEY_BYTES - size_of::<u64>()..KEY_BYTES);
    let number = number.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    number.ok_or_else(|| damaged(store, "a key of heads has another length"))
}

/// A block of the heads as a payload, for the seeds of a fuzz target.
#[cfg(any(test, fuzzing))]
pub(crate) fn payload(end: &[u8], heads: &[(&[u8], u64)]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_text(&mut payload, end);
    for (entity, head) in heads {
        put_text(&mut payload, entity);
        payload.extend_from_slice(&head.to_be_bytes());
    }
    payload
}

#[cfg(test)]
mod tests;
