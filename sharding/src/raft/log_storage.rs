//! The log of one Raft group over the node's one [`Store`]: entries, vote and the little records beside them.
//!
//! Writes are queued with the one committer and reported durable by callback, so that a group never waits for another group's disk
//! write. What was appended but is not durable yet is readable from the tail in memory, which is also what replication and apply read
//! from; only a replica that lags far behind makes anybody read the disk, and then on a thread that may wait.

mod away;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use holm_persistence::{LogId as StoreLog, Op, Store, StoreError, decode, encode};
use openraft::LogState;
use openraft::storage::{IOFlushed, RaftLogStorage};
use tokio::sync::oneshot;

use super::memberships::Memberships;
use super::tail::Tail;
use super::{Entry, LogId, Types, Vote, entry};
use crate::surroundings::Surroundings;

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
const MEMBERSHIPS: &str = "memberships";

/// Whether the group records durably how far it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeepCommitted {
    /// Yes: its state machine is in memory and is wanted right after the start, before there is a leader (the cluster log).
    Yes,
    /// No: its state machine remembers by itself, and a write of its own for each commit would double the writes (shards).
    No,
}

/// The log of one group. Clones are handles to the same log.
#[derive(Debug, Clone)]
pub(crate) struct GroupLog {
    shared: Arc<Shared>,
    surroundings: Surroundings,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    log: StoreLog,
    keep_committed: KeepCommitted,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tail: Tail,
    /// The index of the first entry there is, or would be.
    first: u64,
    last: Option<LogId>,
    purged: Option<LogId>,
    /// Entries below this index are durable.
    settled: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    memberships: Memberships,
    past: Option<away::Past>,
}

impl GroupLog {
    /// Opens the log; reads only its last entry and its records.
    pub(crate) fn open(
        store: Arc<Store>,
        log: StoreLog,
        tail_bytes: usize,
        keep_committed: KeepCommitted,
    ) -> io::Result<Self> {
        let record = |name: &str| store.record(log, name).map_err(io::Error::other);
        let purged = record(PURGED)?.map(|bytes| read_log_id(&bytes)).transpose()?;
        let last = match store.last_entry(log).map_err(io::Error::other)? {
            Some((index, bytes)) => {
                let term = entry::read_term(&bytes).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "the last entry is too short")
                })?;
                Some(entry::log_id(term, index))
            }
            None => purged,
        };
        let state = State {
            tail: Tail::new(tail_bytes),
            first: store.first_index(log).unwrap_or(0),
            last,
            purged,
            settled: last.map_or(0, |last| last.index() + 1),
            vote: record(VOTE)?
                .map(|bytes| decode(&bytes).map_err(io::Error::other))
                .transpose()?,
            committed: record(COMMITTED)?.map(|bytes| read_log_id(&bytes)).transpose()?,
            memberships: Memberships::from_bytes(record(MEMBERSHIPS)?)?,
            past: away::Past::read(&store, log)?,
        };
        Ok(Self {
            shared: Arc::new(Shared { store, log, keep_committed, state: Mutex::new(state) }),
            surroundings: Surroundings::default(),
        })
    }

    /// The same log, read where these surroundings wait for the disk.
    pub(crate) fn around(self, surroundings: &Surroundings) -> Self {
        Self { surroundings: surroundings.clone(), ..self }
    }

    /// True when this node ever took part in the group: it has, or had, entries or has voted.
    pub(crate) fn is_used(&self) -> bool {
        let state = self.state();
        state.last.is_some() || state.vote.is_some() || state.past.is_some()
    }

    /// The index of the last entry.
    pub(crate) fn last_index(&self) -> Option<u64> {
        self.state().last.map(|last| last.index())
    }

    /// The membership in force at an index.
    pub(crate) fn membership_at(&self, index: u64) -> super::StoredMembership {
        self.state().memberships.at(index)
    }

    /// Whether this replica followed another one when it was last heard of, and so may have promised something to it.
    pub(crate) fn followed_another(&self, me: u64) -> bool {
        let vote = self.state().vote;
        vote.is_some_and(|vote| vote.is_committed() && vote.leader_id().voted_for != me)
    }

    /// What `ask` says of the sets of voters that the newest membership in the log has, of each of which a majority must agree. None where no membership is known.
    pub(crate) fn of_voters<R>(&self, ask: impl FnOnce(&[BTreeSet<u64>]) -> R) -> Option<R> {
        let state = self.state();
        state.memberships.newest().map(|membership| ask(membership.get_joint_config()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that can panic, so a poisoned lock holds a whole state.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues operations and waits until they are durable.
    async fn commit(&self, operations: Vec<Op>) -> io::Result<()> {
        let (done, durable) = oneshot::channel();
        self.shared.store.commit(
            operations,
            Box::new(move |result| {
                // The receiver is gone only when the group was stopped; then nobody asks.
                let _ = done.send(result);
            }),
        );
        durable
            .await
            .map_err(|_| io::Error::other("the committer has stopped"))?
            .map_err(io::Error::other)
    }

    fn put(&self, name: &'static str, value: Bytes) -> Op {
        Op::PutRecord { log: self.shared.log, name, value }
    }

    /// What must be written to append these entries; the state is as if they were there.
    fn stage(&self, entries: impl IntoIterator<Item = Entry>) -> io::Result<(Vec<Op>, u64)> {
        let mut operations = Vec::new();
        let mut state = self.state();
        let mut membership_changed = false;
        for entry in entries {
            let index = entry.log_id.index();
            operations.push(Op::Append {
                log: self.shared.log,
                index,
                value: entry::to_bytes(&entry)?,
            });
            membership_changed |= state.memberships.note(&entry);
            if state.last.is_none() {
                state.first = index;
            }
            state.last = Some(entry.log_id);
            state.tail.push(entry);
        }
        if membership_changed {
            operations.push(self.put(MEMBERSHIPS, state.memberships.to_bytes()?));
        }
        let end = state.last.map_or(0, |last| last.index() + 1);
        let settled = state.settled;
        state.tail.shrink(settled);
        Ok((operations, end))
    }

    fn settle(&self, end: u64) {
        let mut state = self.state();
        state.settled = state.settled.max(end);
        let settled = state.settled;
        state.tail.shrink(settled);
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = encode(vote).map_err(io::Error::other)?;
        self.commit(vec![self.put(VOTE, bytes)]).await?;
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if self.shared.keep_committed == KeepCommitted::No {
            return Ok(());
        }
        self.state().committed = committed;
        let Some(committed) = committed else { return Ok(()) };
        // Not waited for: an older value only means that a little more is applied again after a restart.
        let operations = vec![self.put(COMMITTED, log_id_bytes(&committed))];
        self.shared.store.commit(operations, Box::new(report_failure));
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let state = self.state();
        // The record may be ahead of the entries when the process died between two commits of the disk.
        Ok(state.committed.min(state.last))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let (operations, end) = self.stage(entries)?;
        let log = self.clone();
        self.shared.store.commit(
            operations,
            Box::new(move |result| {
                if result.is_ok() {
                    log.settle(end);
                }
                callback.io_completed(result.map_err(io::Error::other));
            }),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index() + 1);
        let operations = {
            let mut state = self.state();
            if state.last.is_none_or(|last| last.index() < from) {
                return Ok(());
            }
            tracing::info!(log = ?self.shared.log, from, "dropping entries that no majority had");
            state.tail.truncate(from);
            state.last = last.or(state.purged);
            let mut operations = vec![Op::TruncateFrom { log: self.shared.log, index: from }];
            if state.memberships.truncate(from) {
                operations.push(self.put(MEMBERSHIPS, state.memberships.to_bytes()?));
            }
            operations
        };
        self.commit(operations).await?;
        // Only now: all appends queued before the truncation have been reported, so none of them can raise the mark again.
        let mut state = self.state();
        state.settled = state.settled.min(from);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let operations = {
            let mut state = self.state();
            if state.purged >= Some(upto) {
                return Ok(());
            }
            state.purged = Some(upto);
            state.first = upto.index() + 1;
            if state.last < Some(upto) {
                state.last = Some(upto);
                state.tail.truncate(0);
            }
            vec![
                Op::PurgeTo { log: self.shared.log, index: upto.index() },
                self.put(PURGED, log_id_bytes(&upto)),
            ]
        };
        self.commit(operations).await
    }
}

fn report_failure(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(%error, "the commit mark of the cluster log could not be written");
    }
}

fn log_id_bytes(id: &LogId) -> Bytes {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&entry::term_of(id).to_le_bytes());
    bytes[8..].copy_from_slice(&id.index().to_le_bytes());
    Bytes::copy_from_slice(&bytes)
}

pub(super) fn read_log_id(bytes: &[u8]) -> io::Result<LogId> {
    let bytes: &[u8; 16] = bytes
        .try_into()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a log id has 16 bytes"))?;
    let (term, index) = bytes.split_at(8);
    let read = |half: &[u8]| u64::from_le_bytes(half.try_into().expect("eight bytes"));
    Ok(entry::log_id(read(term), read(index)))
}
