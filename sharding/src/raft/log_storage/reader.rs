//! Reading the log of a group: from the tail in memory when it is there, else from the disk on a thread that may wait.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures::stream::{self, Stream};
use openraft::EntryPayload;
use openraft::storage::RaftLogReader;

use super::{GroupLog, entry};
use crate::raft::{Entry, Payload, Types, Vote};

/// About how many bytes of entries are read at a time, and so the size of an append message and of a step of apply. Two of the largest
/// batches: enough to fill a connection, little enough that a heartbeat behind it is not late.
pub(crate) const READ_BYTES: usize = 2 * 1024 * 1024;

impl GroupLog {
    /// Entries from `from` on, below `to`, without a gap, up to about `max_bytes` but at least one when there is one.
    async fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let (from, to) = {
            let state = self.state();
            let end = state.last.map_or(0, |last| last.index() + 1);
            let (from, to) = (from.max(state.first), to.min(end));
            if from >= to {
                return Ok(Vec::new());
            }
            if let Some(entries) = state.tail.read(from, to, max_bytes) {
                return Ok(entries);
            }
            // What the tail holds may not be on the disk yet, or something else may still stand there.
            (from, state.tail.first().map_or(to, |tail| to.min(tail)))
        };
        let (store, log) = (self.shared.store.clone(), self.shared.log);
        let read = move || store.entries(log, from, to, max_bytes);
        let stored = self.surroundings.wait_for_disk(read).await?.map_err(io::Error::other)?;
        let entries = stored
            .iter()
            .map(|(index, bytes)| entry::from_bytes(*index, bytes))
            .collect::<io::Result<Vec<_>>>()?;
        check_run(from, &entries)?;
        Ok(entries)
    }

    /// The term and the payload of an entry that must be there: from the tail, else from the disk, on this thread; none when it is no write. An entry may be
    /// followed before it is durable here, when a majority of others has it, so the disk alone does not do.
    pub(crate) fn write_at(&self, index: u64) -> io::Result<Option<(u64, Bytes)>> {
        let tail = self.state().tail.read(index, index + 1, usize::MAX);
        let entry = match tail.and_then(|entries| entries.into_iter().next()) {
            Some(entry) => entry,
            None => {
                let stored = self.shared.store.entry(self.shared.log, index);
                let stored = stored.map_err(io::Error::other)?;
                let missing = || io::Error::other(format!("entry {index} is missing"));
                entry::from_bytes(index, &stored.ok_or_else(missing)?)?
            }
        };
        Ok(match entry.payload {
            EntryPayload::Normal(Payload(bytes)) => Some((entry::term_of(&entry.log_id), bytes)),
            _ => None,
        })
    }

    /// Whether there is an entry at an index, durable or on its way to be.
    pub(crate) fn has(&self, index: u64) -> bool {
        let state = self.state();
        (state.first..=state.last.map_or(0, |last| last.index())).contains(&index)
    }

    /// The term of a durable entry, read on this thread.
    pub(crate) fn term_at(&self, index: u64) -> io::Result<Option<u64>> {
        let stored = self.shared.store.entry(self.shared.log, index).map_err(io::Error::other)?;
        Ok(stored.and_then(|bytes| entry::read_term(&bytes)))
    }

    /// The same without a limit: as many reads as it takes.
    async fn read_all(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let next = entries.last().map_or(from, |entry| entry.log_id.index() + 1);
            let more = self.read(next, to, READ_BYTES).await?;
            if more.is_empty() {
                return Ok(entries);
            }
            entries.extend(more);
        }
    }
}

/// A hole would make replicas differ in silence; it is an error that stops the group.
fn check_run(from: u64, entries: &[Entry]) -> io::Result<()> {
    for (index, entry) in (from..).zip(entries) {
        if entry.log_id.index() != index {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "entry {index} is missing, {} was found in its place",
                    entry.log_id.index()
                ),
            ));
        }
    }
    Ok(())
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (from, to) = bounds(&range);
        self.read_all(from, to).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES).await
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = io::Result<Entry>> + Send
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (from, to) = bounds(&range);
        stream::unfold(
            Steps { log: self.clone(), next: from, to, read: Vec::new().into_iter() },
            Steps::step,
        )
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state().vote)
    }
}

/// A range of entries, read step by step.
struct Steps {
    log: GroupLog,
    next: u64,
    to: u64,
    read: std::vec::IntoIter<Entry>,
}

impl Steps {
    async fn step(mut self) -> Option<(io::Result<Entry>, Self)> {
        if self.read.len() == 0 && self.next < self.to {
            match self.log.read(self.next, self.to, READ_BYTES).await {
                Ok(entries) => self.read = entries.into_iter(),
                Err(error) => {
                    self.next = self.to;
                    return Some((Err(error), self));
                }
            }
        }
        let entry = self.read.next()?;
        self.next = entry.log_id.index() + 1;
        Some((Ok(entry), self))
    }
}
