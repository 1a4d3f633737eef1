//! Tests of the store as a whole; what needs processes or a mount is in the integration tests.

use std::sync::mpsc;
use std::time::Duration;

use super::*;

const LOG: LogId = LogId(3);

fn open(dir: &Path) -> Arc<Store> {
    try_open(dir, &Arc::default()).unwrap()
}

fn try_open(dir: &Path, disk: &Arc<Disk>) -> Result<Arc<Store>, StoreError> {
    let disk = Arc::clone(disk);
    Store::open(dir, StoreOptions { disk, cache_bytes: 8 << 20, ..StoreOptions::default() })
}

fn append(log: LogId, index: u64, value: &[u8]) -> Op {
    Op::Append { log, index, value: Bytes::copy_from_slice(value) }
}

/// Lets the disk go on however a test ends: a store waits for its committer when it is dropped.
struct Released<'a>(&'a Disk);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn start(store: &Store, ops: Vec<Op>) -> mpsc::Receiver<Result<(), StoreError>> {
    let (sender, receiver) = mpsc::channel();
    store.commit(ops, Box::new(move |result| sender.send(result).unwrap()));
    receiver
}

fn commit(store: &Store, ops: Vec<Op>) -> Result<(), StoreError> {
    let answered = start(store, ops).recv_timeout(Duration::from_secs(20));
    answered.expect("a commit is answered, also when it is refused")
}

fn value(index: u64) -> Vec<u8> {
    format!("value {index}").into_bytes()
}

fn fill(store: &Store, log: LogId, indices: std::ops::RangeInclusive<u64>) {
    for index in indices {
        commit(store, vec![append(log, index, &value(index))]).unwrap();
    }
}

#[test]
fn entries_records_and_identity_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = vec![9; 100_000];
    commit(&store, vec![append(LOG, 1, b"one"), append(LOG, 2, &long), append(LOG, 3, b"")])
        .unwrap();
    commit(&store, vec![append(LogId::CLUSTER, 0, b"zero")]).unwrap();
    let put = Op::PutRecord { log: LOG, name: "term", value: Bytes::from_static(b"7") };
    commit(&store, vec![put]).unwrap();
    store.set_membership(5, NodeId(6)).unwrap();
    let before = store.identity();
    store.close().unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.identity(), Identity { generation: before.generation + 1, ..before });
    assert_eq!(before.membership, Some(Membership { cluster: 5, node: NodeId(6) }));
    assert_eq!(store.entry(LOG, 2).unwrap().unwrap(), long);
    assert_eq!(store.last_entry(LOG).unwrap(), Some((3, Bytes::new())));
    assert_eq!(store.last_entry(LogId::CLUSTER).unwrap(), Some((0, Bytes::from_static(b"zero"))));
    assert_eq!(store.entry(LOG, 4).unwrap(), None);
    assert_eq!(store.record(LOG, "term").unwrap().unwrap(), "7");
    assert_eq!(store.record(LOG, "vote").unwrap(), None);
    assert_eq!(store.log_ids(), [LOG, LogId::CLUSTER]);
    let indices = |from, to, bytes| {
        let entries = store.entries(LOG, from, to, bytes).unwrap();
        entries.into_iter().map(|(index, _)| index).collect::<Vec<_>>()
    };
    assert_eq!(indices(0, 99, usize::MAX), [1, 2, 3]);
    assert_eq!(indices(2, 3, usize::MAX), [2]);
    assert_eq!(indices(1, 4, 0), [1], "at least one");
    assert_eq!(indices(1, 4, 4), [1, 2]);
    assert!(indices(5, 9, 1).is_empty());
}

/// Promise G6: of the operations of one commit all or none are carried out, and nobody else's are harmed.
#[test]
fn a_gap_is_refused_and_harms_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, LOG, 1..=2);
    let gap = commit(&store, vec![append(LogId(8), 1, b"x"), append(LOG, 4, b"x")]);
    assert!(matches!(gap, Err(StoreError::Refused { log: LOG, .. })), "{gap:?}");
    assert_eq!(store.last_index(LogId(8)), None, "all or nothing");
    fill(&store, LOG, 3..=3);
    assert_eq!(store.failure(), None);
}

#[test]
fn truncating_and_purging_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store, LOG, 1..=9);
    let redo = vec![
        append(LOG, 10, b"gone"),
        Op::TruncateFrom { log: LOG, index: 7 },
        append(LOG, 7, b"new"),
    ];
    commit(&store, redo).unwrap();
    commit(&store, vec![Op::PurgeTo { log: LOG, index: 2 }]).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.first_index(LOG), store.last_index(LOG)), (Some(3), Some(7)));
    assert_eq!(store.entry(LOG, 7).unwrap().unwrap(), "new");
    assert_eq!(store.purged_index(LOG), Some(2));
    commit(&store, vec![Op::PurgeTo { log: LOG, index: 7 }]).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!((store.first_index(LOG), store.purged_index(LOG)), (None, Some(7)));
    assert!(matches!(commit(&store, vec![append(LOG, 7, b"")]), Err(StoreError::Refused { .. })));
    fill(&store, LOG, 8..=8);
}

#[test]
fn a_failed_fsync_poisons_until_reopened() {
    for (point, kind) in [(DiskPoint::Fsync, FaultKind::Io), (DiskPoint::Write, FaultKind::Full)] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::default());
        let store = try_open(dir.path(), &disk).unwrap();
        fill(&store, LOG, 1..=3);
        disk.hold();
        let first = start(&store, vec![append(LOG, 4, b"4")]);
        while !disk.is_holding() {
            std::thread::yield_now();
        }
        let (second, third) =
            (start(&store, vec![append(LOG, 5, b"5")]), start(&store, vec![append(LOG, 6, b"6")]));
        assert_eq!(store.last_index(LOG), Some(3), "nothing is said before the fsync");
        disk.fail(point, 1, kind);
        disk.release();
        // At the write point the held group passes and the next one fails; at the fsync point the held one fails.
        assert_eq!(first.recv().unwrap().is_ok(), point == DiskPoint::Write);
        let failed = second.recv().unwrap().unwrap_err();
        assert_eq!(failed.is_disk_full(), kind == FaultKind::Full, "{failed}");
        third.recv().unwrap().unwrap_err();
        assert!(matches!(commit(&store, vec![]), Err(StoreError::Poisoned { .. })));
        assert!(store.failure().is_some());
        disk.heal();
        store.reopen().unwrap();
        assert_eq!(store.failure(), None);
        let last = store.last_index(LOG).unwrap();
        assert!(last >= 3, "what was acknowledged is there");
        fill(&store, LOG, last + 1..=last + 2);
        assert_eq!(store.entry(LOG, 3).unwrap().unwrap(), value(3));
    }
}

#[test]
fn a_second_opening_is_told_who_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let second = try_open(dir.path(), &Arc::default()).unwrap_err();
    assert_eq!(second, StoreError::InUse { dir: dir.path().to_owned() });
}

#[test]
fn an_emptied_database_and_a_missing_side_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()), LOG, 1..=5);
    let side = dir.path().join(side_file::SIDE_FILE_NAME);
    let saved = std::fs::read(&side).unwrap();
    std::fs::remove_file(&side).unwrap();
    let missing = try_open(dir.path(), &Arc::default()).unwrap_err();
    assert!(matches!(missing, StoreError::SideFileMissing { .. }), "{missing}");
    std::fs::write(&side, saved).unwrap();
    std::fs::remove_file(dir.path().join("db")).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for _ in 0..2 {
        let emptied = try_open(dir.path(), &Arc::default()).unwrap_err();
        let expected = StoreError::EntriesMissing {
            dir: dir.path().to_owned(),
            log: LOG,
            expected: 5,
            found: None,
        };
        assert_eq!(emptied, expected);
        assert!(emptied.to_string().contains("log 3 must reach entry 5 but is empty"), "{emptied}");
    }
}

/// A failure must not be healed by forgetting: what the disk lost meanwhile is asked for when the database is opened again in place.
#[test]
fn a_database_emptied_behind_a_failure_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let store = try_open(dir.path(), &disk).unwrap();
    fill(&store, LOG, 1..=5);
    disk.fail(DiskPoint::Write, 1, FaultKind::Io);
    commit(&store, vec![append(LOG, 6, b"6")]).unwrap_err();
    // Closed first: sled writes when it goes.
    drop(store.inner.engine.write().unwrap().take());
    std::fs::File::create(dir.path().join("db")).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for _ in 0..2 {
        let emptied = store.reopen().unwrap_err();
        assert!(
            matches!(emptied, StoreError::EntriesMissing { log: LOG, expected: 5, .. }),
            "{emptied}"
        );
        assert!(commit(&store, vec![append(LOG, 1, b"again")]).is_err());
    }
}

/// The side file lags by no more than it says: after so many entries it is written again, without anybody closing the store.
#[test]
fn the_side_file_follows_the_logs() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { side_file_every: 10, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let said = || side_file::SideFile::read(&medium::Directory::new(dir.path())).unwrap().unwrap();
    for last in [15, 30, 45] {
        fill(&store, LOG, last - 14..=last);
        // Twice: the committer orders the writing after it has answered, so the first round may overtake it at the keeper.
        store.settle();
        store.settle();
        let extent = said().logs[&LOG].extent.unwrap();
        assert!(extent.last + 10 > last, "it reaches {} of {last}", extent.last);
    }
}

#[test]
fn many_commits_share_an_fsync_and_too_many_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let options =
        StoreOptions { disk: Arc::clone(&disk), queue_bytes: 64 * 1024, ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let _released = Released(&disk);
    disk.hold();
    let first = start(&store, vec![append(LOG, 1, b"1")]);
    while !disk.is_holding() {
        std::thread::yield_now();
    }
    let waiting: Vec<_> =
        (2..=100).map(|index| start(&store, vec![append(LOG, index, b"x")])).collect();
    let refused = commit(&store, vec![append(LOG, 101, &vec![0; 64 * 1024])]);
    assert_eq!(refused, Err(StoreError::QueueFull { allowed: 64 * 1024 }));
    let before = store.fsyncs();
    disk.release();
    assert!(first.recv().unwrap().is_ok());
    assert!(waiting.into_iter().all(|done| done.recv().unwrap().is_ok()));
    assert_eq!(store.fsyncs(), before + 2, "one for the held group, one for the 99 others");
}

/// Promise G1: where several logs have commits in a group, the next group is handed to the database while this one is synced, and a sync that fails takes both with
/// it. What was acknowledged is there; what was not was never shown.
#[test]
fn of_groups_in_a_row_no_acknowledged_entry_is_lost_when_a_sync_fails() {
    const LOGS: u32 = 8;
    for nth in [2, 3, 7, 20] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::default());
        let store = try_open(dir.path(), &disk).unwrap();
        for log in 0..LOGS {
            fill(&store, LogId(log), 1..=1);
        }
        disk.fail(DiskPoint::Fsync, nth, FaultKind::Io);
        // Each log has two commits on the way, as shards do.
        let write = |log| {
            let mut acknowledged = 1;
            let started = |index| start(&store, vec![append(LogId(log), index, &value(index))]);
            let mut ahead = started(2);
            for index in 3..2_000 {
                let next = started(index);
                if ahead.recv().unwrap().is_err() {
                    assert!(next.recv().unwrap().is_err(), "nothing behind a failure is said");
                    break;
                }
                (acknowledged, ahead) = (index - 1, next);
            }
            acknowledged
        };
        let acknowledged: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..LOGS)
                .map(|log| {
                    let write = &write;
                    scope.spawn(move || write(log))
                })
                .collect();
            writers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert!(acknowledged.iter().all(|&last| last < 1_999), "the failure was met");
        assert!(matches!(commit(&store, vec![]), Err(StoreError::Poisoned { .. })));
        store.reopen().unwrap();
        for (log, acknowledged) in (0..LOGS).map(LogId).zip(acknowledged) {
            let last = store.last_index(log).unwrap();
            assert!((acknowledged..=acknowledged + 2).contains(&last), "{log}");
            for index in 1..=last {
                assert_eq!(store.entry(log, index).unwrap().unwrap(), value(index));
            }
            fill(&store, log, last + 1..=last + 1);
        }
    }
}

/// Promise G1: however many open the store anew at once, and whatever was begun since the first of them did, what is acknowledged is there.
#[test]
fn of_many_who_reopen_at_once_one_does() {
    const LOGS: u32 = 6;
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let store = try_open(dir.path(), &disk).unwrap();
    let heal = |log: u32| {
        let mut acknowledged = 0;
        for _ in 0..60 {
            // Opening syncs too, and may be what meets a failure.
            while store.reopen().is_err() {}
            let last = store.last_index(LogId(log)).unwrap_or(0);
            assert!(last >= acknowledged, "log {log}: {last} of {acknowledged}");
            let next = last + 1;
            // Others may be at it, and their failure be this one's.
            let started: Vec<_> = (next..next + 3)
                .map(|index| start(&store, vec![append(LogId(log), index, &value(index))]))
                .collect();
            for (index, done) in (next..).zip(started) {
                if done.recv().unwrap().is_ok() {
                    acknowledged = index;
                }
            }
            if acknowledged % 7 == u64::from(log) {
                disk.fail(DiskPoint::Fsync, 1, FaultKind::Io);
            }
        }
        acknowledged
    };
    let acknowledged: Vec<_> = std::thread::scope(|scope| {
        let heal = &heal;
        let healing: Vec<_> = (0..LOGS).map(|log| scope.spawn(move || heal(log))).collect();
        healing.into_iter().map(|it| it.join().unwrap()).collect()
    });
    disk.heal();
    store.reopen().unwrap();
    store.close().unwrap();
    drop(store);
    let store = try_open(dir.path(), &disk).unwrap();
    for (log, acknowledged) in (0..LOGS).map(LogId).zip(acknowledged) {
        assert!(acknowledged > 10 && store.last_index(log).unwrap() >= acknowledged, "{log}");
        for index in 1..=acknowledged {
            assert_eq!(store.entry(log, index).unwrap().unwrap(), value(index));
        }
    }
}

/// A leaf of the log tree never gets so long that sled moves it to a file that it does not sync.
#[test]
fn sled_writes_no_unsynced_side_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = vec![5; 300_000];
    for index in 1..=40 {
        commit(&store, vec![append(LOG, index, &long)]).unwrap();
    }
    drop(store);
    assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
}

/// An entry in the middle that is missing, or is not what was written there, is an error and not the end of the log.
#[test]
fn damage_in_the_middle_of_a_log_is_not_its_end() {
    let foreign = || {
        let mut part = None;
        let key_of = |part| keys::part_key(LOG, 3, part);
        value::cut(b"of another entry", &mut Vec::new(), key_of, |_, value| part = Some(value));
        part
    };
    for damage in [None, foreign()] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        fill(&store, LOG, 1..=3);
        let changes = [(keys::part_key(LOG, 2, 0)[..].into(), damage)].into_iter().collect();
        store.with_engine(|engine| engine.apply(changes)).unwrap();
        assert_eq!(store.entries(LOG, 1, 2, 1_000).unwrap().len(), 1, "what is before it is there");
        for found in [store.entries(LOG, 1, 4, 1_000).map(drop), store.entry(LOG, 2).map(drop)] {
            let error = found.unwrap_err();
            assert!(matches!(error, StoreError::EntryDamaged { index: 2, .. }), "{error}");
        }
    }
}
