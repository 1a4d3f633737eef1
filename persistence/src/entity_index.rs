//! The index of one log: entity to its newest offset, offset to the log entry that holds it, and which records belong to a conversation. Derived
//! from the log, never fsynced.
//!
//! What was applied lately is in memory, bounded; when it has grown, the keeper writes it to sled, a little at a time, and at the end the mark: the log entry up to
//! which the index is whole, and the one that it knows of already. After a crash the log is applied again from where it was whole; doing so twice changes nothing.
//!
//! What is written is never changed, only replaced: [heads] and [conversations] by runs of blocks that say of one another whether one is missing, [places] of batches by
//! blocks that the reader compares with what they lead to. An index that is found damaged so, or knows of entries that the log does not have, is discarded and built from
//! the log.
//!
//! Where every entry of a log is a batch in its place, not each of them need be known: a reader may go forward from one. Such an index is sparse.
//!
//! Keys in the tree: log (u32), a kind, then: `h` + run (u64) + the first entity that it answers for -> a block of [heads]; `b` + first offset of its first batch (u64)
//! -> a block of [places]; `c` + first offset of a run (u64) + number (u64) -> a block of [conversations]; `w` -> the mark. Numbers are big endian.
//!
//! Conversations can be left out ([`crate::StoreOptions::correlation_index`]). The mark says from which record on they are known: where they are
//! switched on later, from there on, because reading a long log first would hold up whoever opens the shard.

pub(crate) mod conversations;
pub(crate) mod heads;
mod known;
mod memory;
mod places;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use holm_core::{EntityAddress, Offset};

use crate::batch::Batch;
use crate::record::{RecordAddress, RecordHead};
use crate::store::{LogId, Store, StoreError};
pub use known::Places;
use memory::{Dirty, Progress};
use tree::{Flushed, Mark};

/// Changes in memory at which a flush begins: 8,192 of about 120 bytes are 1 MiB, 32 MiB for 32 shards.
const FLUSH_CHANGES: usize = 8_192;

/// Log bytes after which a flush begins, because a crash means reading as much again: 8 MiB are 20 ms, 0.6 s for 32 shards.
const FLUSH_LOG_BYTES: usize = 8 * 1024 * 1024;

/// Log bytes between the entries that a sparse index knows: a reader goes through half of it on average.
const SPACING_BYTES: usize = 8 * 1024;

/// Records of conversations in memory at which a flush begins: 256 KiB, and a run of 512 KiB in sled. The shortest records reach it before the bytes do.
const FLUSH_RECORDS: usize = 65_536;

/// Changes in memory at which `apply` waits for the flush under way.
const MAX_CHANGES: usize = 2 * FLUSH_CHANGES;

/// Records of conversations in memory at which `apply` waits as well.
const MAX_RECORDS: usize = 2 * FLUSH_RECORDS;

/// The index of one log.
///
/// When it answers [`StoreError::Reopened`] or [`EntityIndex::is_current`] is false, it must be opened again, and what lies behind its
/// watermark applied again.
#[derive(Debug)]
pub struct EntityIndex {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    log: LogId,
    /// The opening of the store that this index belongs to.
    opening: u64,
    /// Log bytes between the entries that are taken in; zero: each is.
    spacing: usize,
    state: Mutex<State>,
    flushed: Condvar,
}

#[derive(Debug)]
struct State {
    progress: Progress,
    /// The last mark.
    flushed: Mark,
    dirty: Dirty,
    /// What a flush is writing at the moment.
    flushing: Option<Arc<Dirty>>,
    failed: Option<StoreError>,
}

impl EntityIndex {
    /// Opens the index of a log as it was last flushed. Entries after [`EntityIndex::watermark`] must be applied again. An index that knows of
    /// entries that the log does not have is discarded with a warning: its watermark is 0 then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: &Arc<Store>, log: LogId) -> Result<Self, StoreError> {
        Self::open_spaced(store, log, 0)
    }

    /// As [`EntityIndex::open`], for a log whose every entry is a batch that follows the one before: [`EntityIndex::locate`] may lead to an entry
    /// before the one that is looked for.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open_sparse(store: &Arc<Store>, log: LogId) -> Result<Self, StoreError> {
        Self::open_spaced(store, log, SPACING_BYTES)
    }

    fn open_spaced(store: &Arc<Store>, log: LogId, spacing: usize) -> Result<Self, StoreError> {
        let opening = store.opening();
        let mark = match tree::read_mark(store, log) {
            Ok(Some(mark)) if store.last_index(log).is_some_and(|last| mark.reaches <= last) => {
                mark
            }
            Ok(None) => {
                // A discarding that a crash cut short left keys without a mark.
                tree::discard(store, log)?;
                Self::anew(store)
            }
            Ok(Some(mark)) => {
                let reason =
                    format!("it knows entry {}, which its log does not have", mark.reaches);
                given_up(store, log, &reason);
                tree::discard(store, log)?;
                Self::anew(store)
            }
            Err(error) => {
                given_up(store, log, &error.to_string());
                tree::discard(store, log)?;
                Self::anew(store)
            }
        };
        let mark = Self::with_conversations(store, (log, opening), mark)?;
        let mark = Self::without_leftovers(store, (log, opening), mark)?;
        let state = Mutex::new(State {
            progress: mark.whole,
            flushed: mark,
            dirty: Dirty::default(),
            flushing: None,
            failed: None,
        });
        let (store, flushed) = (Arc::clone(store), Condvar::new());
        Ok(Self { shared: Arc::new(Shared { store, log, opening, spacing, state, flushed }) })
    }

    /// The mark of an index from which everything was removed that a flush left behind that was not finished.
    fn without_leftovers(
        store: &Arc<Store>,
        (log, opening): (LogId, u64),
        mark: Mark,
    ) -> Result<Mark, StoreError> {
        let behind = mark.whole.last_offset.next();
        let removed = places::discard(store, log, behind)
            .and_then(|()| heads::remove_others(store, log, &mark.runs));
        match removed {
            Err(StoreError::Damaged { reason, .. }) => {
                given_up(store, log, &reason);
                tree::discard(store, log)?;
                Self::with_conversations(store, (log, opening), Self::anew(store))
            }
            removed => removed.map(|()| mark),
        }
    }

    /// The log entry up to which this index was flushed or applied. Entries without a batch need not be applied.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.shared.lock().progress.watermark
    }

    /// The offset of the last record of the last applied batch.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.shared.lock().progress.last_offset
    }

    /// False when it must be opened again: the store was reopened, a flush failed, or it was found damaged.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.shared.check(self.shared.lock()).is_ok()
    }

    /// Takes in a durable (committed) batch that is the log entry `entry`. Entries at or below the watermark are ignored.
    ///
    /// # Errors
    /// When the batch does not follow the last one, or the index cannot be written.
    pub fn apply(&self, entry: u64, batch: &Batch) -> Result<(), StoreError> {
        let shared = &self.shared;
        let damaged = |reason| StoreError::EntryDamaged {
            dir: shared.store.dir().to_owned(),
            log: shared.log,
            index: entry,
            reason,
        };
        let mut state = shared.check(shared.lock())?;
        if entry <= state.progress.watermark {
            return Ok(());
        }
        let expected = state.progress.last_offset.next();
        if batch.first() != expected {
            let reason = format!("its batch begins at offset {}, not {expected}", batch.first());
            return Err(damaged(reason));
        }
        let with_conversations = state.flushed.conversations_from.is_some();
        if with_conversations {
            state.dirty.converse_from(batch.first());
        }
        for record in batch.records() {
            if with_conversations {
                let head = RecordHead::read(&record.bytes);
                let head = head.map_err(|error| damaged(error.to_string()))?;
                state.dirty.put_head(head.entity_type, head.entity_id, record.offset);
                state.dirty.put_conversation(conversations::fingerprint(head.correlation));
            } else {
                let address = RecordAddress::read(&record.bytes);
                let address = address.map_err(|error| damaged(error.to_string()))?;
                state.dirty.put_head(address.entity_type, address.entity_id, record.offset);
            }
        }
        state.dirty.put_entry(batch.first(), entry, batch.bytes().len(), shared.spacing);
        state.progress = Progress { watermark: entry, last_offset: batch.last() };
        if state.dirty.changes() >= FLUSH_CHANGES
            || state.dirty.log_bytes() >= flush_log_bytes(shared.log)
            || state.dirty.conversations().1.len() >= FLUSH_RECORDS
        {
            shared.begin_flush(&mut state);
        }
        while state.flushing.is_some()
            && (state.dirty.changes() >= MAX_CHANGES
                || state.dirty.conversations().1.len() >= MAX_RECORDS)
        {
            state = shared.wait(state);
        }
        Ok(())
    }

    /// The offset of the newest record of an entity.
    ///
    /// # Errors
    /// When the index cannot be read, or was found damaged; it is discarded then and must be opened again.
    pub fn head(&self, address: &EntityAddress) -> Result<Option<Offset>, StoreError> {
        let shared = &self.shared;
        let key = memory::entity_key(address.entity_type(), address.id());
        loop {
            let state = shared.check(shared.lock())?;
            let known = state.dirty.head(&key);
            if let Some(head) = known.or_else(|| state.flushing.as_ref()?.head(&key)) {
                return Ok(Some(head));
            }
            let runs = Arc::clone(&state.flushed.runs);
            drop(state);
            let found = heads::find(&shared.store, shared.log, &runs, &key);
            // Whoever discarded it meanwhile made the answer what it is.
            let state = shared.check(shared.lock())?;
            let Err(StoreError::Damaged { reason, .. }) = found else { return found };
            // A block that a merge replaced meanwhile is not missing.
            if Arc::ptr_eq(&runs, &state.flushed.runs) {
                drop(state);
                return Err(self.report_damage(&reason));
            }
        }
    }

    /// The log entry whose batch holds the record at `offset`, in a sparse index that entry or one before it; none beyond the last offset. Whoever
    /// does not find the record there calls [`EntityIndex::report_damage`].
    ///
    /// # Errors
    /// As [`EntityIndex::head`].
    pub fn locate(&self, offset: Offset) -> Result<Option<u64>, StoreError> {
        let state = self.shared.check(self.shared.lock())?;
        if offset == Offset::ZERO || offset > state.progress.last_offset {
            return Ok(None);
        }
        let known = state.dirty.entry_of(offset);
        let known = known.or_else(|| state.flushing.as_ref()?.entry_of(offset));
        drop(state);
        if let Some(entry) = known {
            return Ok(Some(entry));
        }
        let shared = &self.shared;
        match shared.unless_discarded(|| places::find(&shared.store, shared.log, offset)) {
            // Not to be taken for "beyond the last offset": a reader would believe that nothing is there.
            Ok(None) => Err(self.report_damage("it knows no entry at or before an offset")),
            Err(StoreError::Damaged { reason, .. }) => Err(self.report_damage(&reason)),
            found => found,
        }
    }

    /// Discards the index, because it does not say what the log says. It must be opened again and built from the start. Commits that the index must
    /// take in wait meanwhile, some seconds for a million entities.
    pub fn report_damage(&self, reason: &str) -> StoreError {
        let shared = &self.shared;
        if shared.store.opening() != shared.opening {
            // What lies there belongs to a newer one.
            return StoreError::Reopened { log: shared.log };
        }
        given_up(&shared.store, shared.log, reason);
        let dir = shared.store.dir().to_owned();
        let reason = format!("{reason}; the index is built anew");
        let damaged = StoreError::Damaged { dir, during: "reading the entity index", reason };
        let mut state = shared.lock();
        while state.flushing.is_some() {
            state = shared.wait(state);
        }
        if state.failed.is_none() {
            // When it cannot be discarded it is found damaged again; it is never trusted.
            let discarded = tree::discard(&shared.store, shared.log);
            state.failed = Some(discarded.err().unwrap_or_else(|| damaged.clone()));
        }
        damaged
    }

    /// Writes what is only in memory to the store, without an fsync, and waits for it.
    ///
    /// # Errors
    /// When the index cannot be written.
    pub fn flush(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut state = shared.check(shared.lock())?;
        loop {
            shared.begin_flush(&mut state);
            state = shared.check(state)?;
            if state.flushing.is_none() {
                return Ok(());
            }
            state = shared.wait(state);
        }
    }
}

/// Says that an index is of no use any more.
fn given_up(store: &Store, log: LogId, reason: &str) {
    tracing::warn!(%log, reason, "an index is given up; it is built anew from its log");
    store.note_index_trouble(log, reason);
}

/// When a flush of this log begins. Shards that are equally busy would all flush at the same time, and stop the commits for as long.
fn flush_log_bytes(log: LogId) -> usize {
    FLUSH_LOG_BYTES - (log.0 % 8) as usize * (FLUSH_LOG_BYTES / 16)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a flush.
    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        // The lock is open meanwhile, also when this thread does the flushing itself.
        drop(state);
        if self.store.keep_here() {
            return self.lock();
        }
        let state = self.lock();
        if state.flushing.is_none() {
            return state;
        }
        self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn check<'a>(&self, state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, StoreError> {
        if self.store.opening() != self.opening {
            return Err(StoreError::Reopened { log: self.log });
        }
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }

    /// What a look-up finds. Whoever discards the index meanwhile makes that nothing, which must not be taken for an answer.
    fn unless_discarded<T>(
        &self,
        look: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let found = look()?;
        self.check(self.lock()).map(|_| found)
    }

    /// Hands what is dirty to the keeper, unless it is writing already.
    fn begin_flush(self: &Arc<Self>, state: &mut State) {
        if state.flushing.is_some() || state.dirty.is_empty() {
            return;
        }
        let dirty = Arc::new(std::mem::take(&mut state.dirty));
        state.flushing = Some(Arc::clone(&dirty));
        let whole = state.progress;
        let mark = Mark { reaches: whole.watermark, ..state.flushed.clone() };
        let shared = Arc::clone(self);
        let queued = self.store.keep(Box::new(move || {
            let place = (shared.log, shared.opening);
            let written = tree::write(&shared.store, place, &dirty, mark, whole);
            shared.end_flush(written);
        }));
        if !queued {
            // The store is closed: nothing can be written, and nobody may wait for it.
            state.flushing = None;
            state.failed = Some(StoreError::Closed { dir: self.store.dir().to_owned() });
        }
    }

    fn end_flush(&self, written: Result<Flushed, StoreError>) {
        let mut state = self.lock();
        state.flushing = None;
        let replaced = match written {
            Ok(Flushed { mark, replaced }) => {
                state.flushed = mark;
                replaced
            }
            Err(error) => {
                if !matches!(error, StoreError::Reopened { .. } | StoreError::Closed { .. }) {
                    given_up(&self.store, self.log, &error.to_string());
                }
                // Where the store goes on it is the index that cannot be read, and runs that could not be merged once would stop every flush.
                if self.store.opening() == self.opening && self.store.failure().is_none() {
                    let discarded = tree::discard(&self.store, self.log);
                    state.failed = Some(discarded.err().unwrap_or(error));
                } else {
                    state.failed = Some(error);
                }
                Vec::new()
            }
        };
        drop(state);
        self.flushed.notify_all();
        // Nobody is led there any more. What stays is removed when the index is opened.
        if let Err(error) = heads::remove(&self.store, (self.log, self.opening), &replaced) {
            tracing::debug!(log = %self.log, %error, "replaced blocks of an index stay for now");
        }
    }
}
