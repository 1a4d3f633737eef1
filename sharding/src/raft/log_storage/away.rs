//! What becomes of a log when its replica moves away: the entries may go, what it promised stays.
//!
//! A replica that had entries has told its leader so, and a majority was counted with it. When its entries are erased, that majority is short of
//! one: a node that never heard of the newer membership could ask this one for its vote, be granted it by a log that is empty, and lead with
//! a log in which acknowledged batches are missing. So one record keeps the *floor*: the id of the last entry that was ever here. As long as
//! the log does not reach it again, the replica neither votes nor stands for election, which for the others is as if it were down. The vote
//! itself is never erased. See decision 0020.

use std::io;

use bytes::Bytes;
use holm_persistence::{Op, Store};

use super::{GroupLog, log_id_bytes, read_log_id};
use crate::raft::LogId;

const PAST: &str = "past";

/// Entries erased by one commit, which stops the committer for a moment.
const ENTRIES_AT_A_TIME: u64 = 64;

/// What is remembered of an earlier life of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Past {
    /// Whether the replica is still away: the group does not run here.
    away: bool,
    /// The last entry that was here.
    floor: LogId,
}

impl Past {
    pub(super) fn read(store: &Store, log: holm_persistence::LogId) -> io::Result<Option<Self>> {
        let record = store.record(log, PAST).map_err(io::Error::other)?;
        match record.as_deref() {
            None | Some([]) => Ok(None),
            Some([away, floor @ ..]) => {
                Ok(Some(Self { away: *away != 0, floor: read_log_id(floor)? }))
            }
        }
    }

    fn to_bytes(self) -> Bytes {
        let mut bytes = vec![u8::from(self.away)];
        bytes.extend_from_slice(&log_id_bytes(&self.floor));
        bytes.into()
    }
}

impl GroupLog {
    /// Whether the replica moved away and was not asked back.
    pub(crate) fn is_away(&self) -> bool {
        self.state().past.is_some_and(|past| past.away)
    }

    /// What the log once reached and does not reach now: until it does, the replica has no say in elections.
    pub(crate) fn floor(&self) -> Option<LogId> {
        let state = self.state();
        state.past.map(|past| past.floor).filter(|floor| state.last < Some(*floor))
    }

    /// Remembers that the replica moved away. The group must not run any more.
    pub(crate) async fn move_away(&self) -> io::Result<()> {
        let floor = {
            let state = self.state();
            // One that moves away again before it had caught up keeps the higher floor. Without any entry, the first one is enough.
            state.past.map(|past| past.floor).max(state.last).unwrap_or(super::entry::log_id(0, 0))
        };
        self.remember(Some(Past { away: true, floor })).await
    }

    /// Remembers that the replica is wanted here again; its floor stays.
    pub(crate) async fn come_back(&self) -> io::Result<()> {
        let past = self.state().past;
        match past {
            Some(past) if past.away => self.remember(Some(Past { away: false, ..past })).await,
            _ => Ok(()),
        }
    }

    /// Forgets the floor, when the log has reached it.
    pub(crate) async fn forget_past(&self) -> io::Result<()> {
        if self.state().past.is_none() || self.floor().is_some() {
            return Ok(());
        }
        self.remember(None).await
    }

    /// Erases some of the newest entries; true when there are more. What is left is a log that ends earlier, whole at any moment.
    pub(crate) async fn erase_some(&self) -> io::Result<bool> {
        let (first, from) = {
            let state = self.state();
            let Some(last) = state.last.filter(|last| last.index() >= state.first) else {
                return Ok(false);
            };
            let end = last.index() + 1;
            (state.first, end.saturating_sub(ENTRIES_AT_A_TIME).max(state.first))
        };
        let before = match from.checked_sub(1).filter(|_| from > first) {
            None => None,
            Some(before) => {
                let term = self.term_at(before)?.ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, format!("entry {before} is missing"))
                })?;
                Some(super::entry::log_id(term, before))
            }
        };
        let operations = {
            let mut state = self.state();
            state.tail.truncate(from);
            state.last = before.or(state.purged);
            state.settled = state.settled.min(from);
            let mut operations = vec![Op::TruncateFrom { log: self.shared.log, index: from }];
            if state.memberships.truncate(from) {
                operations.push(self.put(super::MEMBERSHIPS, state.memberships.to_bytes()?));
            }
            operations
        };
        self.commit(operations).await?;
        Ok(from > first)
    }

    async fn remember(&self, past: Option<Past>) -> io::Result<()> {
        let bytes = past.map_or_else(Bytes::new, Past::to_bytes);
        self.commit(vec![self.put(PAST, bytes)]).await?;
        self.state().past = past;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use holm_persistence::{LogId as StoreLog, StoreOptions};
    use openraft::EntryPayload;
    use openraft::storage::{RaftLogReader as _, RaftLogStorage as _, RaftLogStorageExt as _};

    use super::*;
    use crate::raft::log_storage::KeepCommitted;
    use crate::raft::{EmptyNode, Entry, Membership, Payload, Vote, entry::log_id};

    fn open(store: &Arc<Store>) -> GroupLog {
        GroupLog::open(store.clone(), StoreLog(3), 1024, KeepCommitted::No).unwrap()
    }

    fn entries(term: u64, from: u64, to: u64) -> Vec<Entry> {
        let payload = |index| match index {
            0 => {
                let voters = BTreeSet::from([1_u64, 2]);
                let nodes: BTreeMap<u64, EmptyNode> =
                    [1, 2].map(|node| (node, EmptyNode::new())).into();
                EntryPayload::Membership(Membership::new(vec![voters], nodes).unwrap())
            }
            _ => EntryPayload::Normal(Payload(Bytes::from_static(b"batch"))),
        };
        (from..to)
            .map(|index| Entry { log_id: log_id(term, index), payload: payload(index) })
            .collect()
    }

    /// Every step is bounded and leaves a log that is whole, also when the process dies behind it; the vote stays, and so does the floor,
    /// until the log is as long as it was.
    #[tokio::test]
    async fn a_log_is_erased_in_steps_and_its_promises_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let mut log = open(&store);
        log.save_vote(&Vote::new_committed(5, 2)).await.unwrap();
        log.blocking_append(entries(5, 0, 200)).await.unwrap();
        assert!(!log.is_away() && log.floor().is_none());
        log.move_away().await.unwrap();
        assert!(log.is_away() && log.floor().is_none(), "nothing is missing yet");

        let mut left = Vec::new();
        loop {
            // A new life each time: nothing but the store remembers.
            let mut log = open(&store);
            assert!(log.is_away() && log.is_used());
            left.push(log.last_index());
            let whole = log.try_get_log_entries(0..200).await.unwrap();
            assert_eq!(whole.len() as u64, log.last_index().map_or(0, |last| last + 1));
            if !log.erase_some().await.unwrap() {
                break;
            }
        }
        assert_eq!(left, [Some(199), Some(135), Some(71), Some(7)]);
        let mut log = open(&store);
        assert_eq!(log.last_index(), None);
        assert!(!log.erase_some().await.unwrap());
        assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(5, 2)));
        assert_eq!(log.membership_at(u64::MAX).membership().voter_ids().count(), 0);
        assert_eq!(log.floor(), Some(log_id(5, 199)));

        log.come_back().await.unwrap();
        let mut log = open(&store);
        assert!(!log.is_away());
        log.blocking_append(entries(5, 0, 199)).await.unwrap();
        log.forget_past().await.unwrap();
        assert_eq!(open(&store).floor(), Some(log_id(5, 199)), "one entry is missing");
        log.blocking_append(entries(6, 199, 200)).await.unwrap();
        assert_eq!(log.floor(), None, "an entry of a newer term stands for all before it");
        log.forget_past().await.unwrap();
        assert!(!open(&store).is_away() && open(&store).floor().is_none());
        assert_eq!(log.membership_at(u64::MAX).membership().voter_ids().count(), 2);
    }

    #[tokio::test]
    async fn a_replica_that_moves_away_again_keeps_the_higher_floor() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let mut log = open(&store);
        log.blocking_append(entries(5, 0, 50)).await.unwrap();
        log.move_away().await.unwrap();
        while log.erase_some().await.unwrap() {}
        log.come_back().await.unwrap();
        log.blocking_append(entries(5, 0, 10)).await.unwrap();
        log.move_away().await.unwrap();
        assert_eq!(open(&store).floor(), Some(log_id(5, 49)));
    }
}
