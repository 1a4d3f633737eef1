//! openraft's own suite for log stores, against the log over a real store on a real disk; and what it does not ask.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use holm_persistence::{Disk, LogId as StoreLog, Store, StoreOptions};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::entry::RaftEntry as _;
use openraft::storage::{
    EntryResponder, RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftSnapshotBuilder,
    RaftStateMachine,
};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};
use tempfile::TempDir;

use super::reader::READ_BYTES;
use super::*;
use crate::raft::{Applied, Payload, StoredMembership};

const TAIL_BYTES: usize = 4 * 1024;

/// A state machine with snapshots, because the suite asks for them; ours has none.
#[derive(Clone, Default)]
struct Sketch(Arc<Mutex<Sketched>>);

#[derive(Clone, Default)]
struct Sketched {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMetaOf<Types>>,
}

impl RaftSnapshotBuilder<Types> for Sketch {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        let mut sketched = self.0.lock().unwrap();
        let meta = SnapshotMetaOf::<Types> {
            last_log_id: sketched.applied,
            last_membership: sketched.membership.clone(),
        };
        sketched.snapshot = Some(meta.clone());
        Ok(SnapshotOf::<Types, ()> { meta, snapshot: () })
    }
}

impl RaftStateMachine<Types> for Sketch {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let sketched = self.0.lock().unwrap();
        Ok((sketched.applied, sketched.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let mut sketched = self.0.lock().unwrap();
            sketched.applied = Some(entry.log_id());
            if let EntryPayload::Membership(membership) = entry.payload {
                sketched.membership = StoredMembership::new(sketched.applied, membership);
            }
            if let Some(responder) = responder {
                responder.send(Applied::Accepted);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        _snapshot: (),
    ) -> io::Result<()> {
        let mut sketched = self.0.lock().unwrap();
        sketched.applied = meta.last_log_id;
        sketched.membership = meta.last_membership.clone();
        sketched.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        let meta = self.0.lock().unwrap().snapshot.clone();
        Ok(meta.map(|meta| SnapshotOf::<Types, ()> { meta, snapshot: () }))
    }
}

struct Directories;

impl StoreBuilder<Types, GroupLog, Sketch, TempDir> for Directories {
    async fn build(&self) -> Result<(TempDir, GroupLog, Sketch), StorageError<Types>> {
        let directory = tempfile::tempdir().unwrap();
        Ok((open_keep(directory.path(), KeepCommitted::Yes), Sketch::default()))
            .map(|(log, machine)| (directory, log, machine))
    }
}

fn open_keep(directory: &std::path::Path, keep: KeepCommitted) -> GroupLog {
    let store = Store::open(directory, StoreOptions::default()).unwrap();
    GroupLog::open(store, StoreLog(3), TAIL_BYTES, keep).unwrap()
}

#[tokio::test]
async fn the_log_passes_openrafts_suite() {
    Suite::test_all(Directories).await.unwrap();
}

fn entry_of(term: u64, index: u64, bytes: usize) -> Entry {
    let payload = EntryPayload::Normal(Payload(Bytes::from(vec![index as u8; bytes])));
    Entry { log_id: entry::log_id(term, index), payload }
}

/// Lets the disk go on however a test ends: a store waits for its committer when it is dropped.
struct Released<'a>(&'a Disk);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Everything is there after the store was closed and opened again, also what has long left the tail.
#[tokio::test]
async fn the_log_survives_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let entries: Vec<Entry> = (0..200).map(|index| entry_of(2, index, 300)).collect();
    {
        let mut log = open_keep(directory.path(), KeepCommitted::No);
        log.blocking_append(entries.clone()).await.unwrap();
        log.save_vote(&Vote::new_committed(2, 7)).await.unwrap();
        assert_eq!(log.try_get_log_entries(..).await.unwrap(), entries, "tail and disk together");
        log.shared.store.close().unwrap();
    }
    let mut log = open_keep(directory.path(), KeepCommitted::No);
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), entries);
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(entry::log_id(2, 199)));
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(2, 7)));
    assert_eq!(log.write_at(150).unwrap().unwrap().1.len(), 300);
}

/// Promise G1: a replica's word counts towards the majority, so it is given when the entries, or the vote, are on its disk and not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_said_before_it_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let options = StoreOptions { disk: disk.clone(), ..StoreOptions::default() };
    let store = Store::open(directory.path(), options).unwrap();
    let log = GroupLog::open(store, StoreLog(3), TAIL_BYTES, KeepCommitted::No).unwrap();
    let _released = Released(&disk);
    for entries in [true, false] {
        disk.hold();
        let mut writer = log.clone();
        let written = tokio::spawn(async move {
            if entries {
                writer.blocking_append([entry_of(2, 0, 5)]).await.map_err(|e| e.to_string())
            } else {
                writer.save_vote(&Vote::new(5, 7)).await.map_err(|e| e.to_string())
            }
        });
        while !disk.is_holding() {
            assert!(!written.is_finished(), "it was said before the disk was asked");
            tokio::task::yield_now().await;
        }
        assert!(!written.is_finished(), "it was said while the disk was still busy");
        disk.release();
        written.await.unwrap().unwrap();
    }
}

/// A step of replication is bounded by bytes, whether it comes from the tail or from the disk.
#[tokio::test]
async fn reads_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_keep(directory.path(), KeepCommitted::No);
    for index in 0..10 {
        log.blocking_append([entry_of(1, index, READ_BYTES / 3)]).await.unwrap();
    }
    let read = log.limited_get_log_entries(0, 10).await.unwrap();
    assert!((1..=3).contains(&read.len()), "{} entries", read.len());
    let all = log.try_get_log_entries(0..10).await.unwrap();
    assert_eq!(all.len(), 10);
    let streamed: Vec<_> = log.entries_stream(2..9).await.collect().await;
    assert_eq!(streamed.len(), 7);
}

/// What was cut off and written anew is read as it was written last, before and after it is durable.
#[tokio::test]
async fn a_new_end_replaces_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_keep(directory.path(), KeepCommitted::No);
    log.blocking_append((0..20).map(|index| entry_of(1, index, 500))).await.unwrap();
    log.truncate_after(Some(entry::log_id(1, 9))).await.unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 10);
    log.append([entry_of(2, 10, 5), entry_of(2, 11, 5)], IOFlushed::noop()).await.unwrap();
    let end: Vec<u64> = log
        .try_get_log_entries(9..)
        .await
        .unwrap()
        .iter()
        .map(|entry| entry::term_of(&entry.log_id))
        .collect();
    assert_eq!(end, [1, 2, 2]);
}
