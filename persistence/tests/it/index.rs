//! The entity index is a cache: whatever happens to it, the histories stay the same.

use std::sync::Arc;

use holm_core::{Offset, SeededEntropy, SequenceNumber, ShardId};
use holm_persistence::conformance::wait;
use holm_persistence::{
    EntityIndex, History, IndexTrouble, LogId, ShardLog as _, SledLog, Store, StoreError,
    StoreOptions,
};

use crate::child::{ENTITIES, ShardWriter, entity};
use crate::subjects::fast_directory;

const SHARD: ShardId = ShardId(0);
const LOG: LogId = LogId(0);

fn open(dir: &std::path::Path) -> SledLog {
    let store = Store::open(dir, StoreOptions { cache_bytes: 8 << 20, ..StoreOptions::default() });
    SledLog::start(store.unwrap(), 2).unwrap()
}

fn write(log: &SledLog, batches: usize) {
    let mut writer = ShardWriter::open(log, SHARD);
    let mut entropy = SeededEntropy::new(2);
    for _ in 0..batches {
        wait(log.append(writer.batch(&mut entropy))).unwrap();
    }
}

fn histories(log: &SledLog) -> Vec<History> {
    let history =
        |number| log.history(SHARD, &entity(number), SequenceNumber::ZERO, usize::MAX).unwrap();
    (0..ENTITIES).map(history).collect()
}

/// Law 9 of caches: an index that was never flushed, flushed in the middle, or flushed at the end gives the same answers after reopening.
#[test]
fn an_index_catches_up_from_its_watermark() {
    let dir = fast_directory();
    let log = open(dir.path());
    write(&log, 60);
    let before = histories(&log);
    drop(log);
    // Dropped without `close`: nothing was flushed, and everything is read again.
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    assert_eq!(EntityIndex::open(&store, LOG).unwrap().watermark(), 0);
    drop(store);
    let log = open(dir.path());
    assert_eq!(histories(&log), before);
    log.flush_indexes();
    write(&log, 40);
    let before = histories(&log);
    drop(log);
    let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
    assert_eq!(EntityIndex::open(&store, LOG).unwrap().watermark(), 60);
    drop(store);
    let log = open(dir.path());
    assert_eq!(histories(&log), before);
    log.close().unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!(EntityIndex::open(log.store(), LOG).unwrap().watermark(), 100);
    assert_eq!(histories(&log), before);
}

/// An index of more entries than the log has is thrown away, and built from what is there.
#[test]
fn an_index_ahead_of_its_log_is_discarded() {
    let dir = fast_directory();
    let log = open(dir.path());
    write(&log, 30);
    log.flush_indexes();
    let done = |result: Result<(), StoreError>| result.unwrap();
    let truncate = holm_persistence::Op::TruncateFrom { log: LOG, index: 21 };
    log.store().commit(vec![truncate], Box::new(done));
    log.close().unwrap();
    drop(log);
    let log = open(dir.path());
    assert_eq!(EntityIndex::open(log.store(), LOG).unwrap().watermark(), 0);
    let troubles = log.store().take_index_troubles();
    assert!(matches!(&troubles[..], [IndexTrouble { log: LOG, .. }]), "it is told: {troubles:?}");
    assert!(troubles[0].reason.contains("entry 30"), "{}", troubles[0].reason);
    assert_eq!(log.store().take_index_troubles(), [], "and once");
    let last = log.last_offset(SHARD).unwrap();
    let histories = histories(&log);
    assert!(last > Offset(20) && histories.iter().any(|history| history.head == last));
    assert!(histories.iter().all(|history| history.head <= last));
}

/// An index that was opened before the store was reopened says so instead of answering.
#[test]
fn an_index_of_before_a_reopening_is_refused() {
    let dir = fast_directory();
    let disk = Arc::new(holm_persistence::Disk::default());
    let options = StoreOptions { disk: Arc::clone(&disk), ..StoreOptions::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let index = EntityIndex::open(&store, LOG).unwrap();
    assert_eq!(index.head(&entity(1)), Ok(None));
    disk.fail(holm_persistence::DiskPoint::Fsync, 1, holm_persistence::FaultKind::Io);
    let (sender, failed) = std::sync::mpsc::channel();
    store.commit(Vec::new(), Box::new(move |result| sender.send(result).unwrap()));
    failed.recv().unwrap().unwrap_err();
    store.reopen().unwrap();
    assert!(!index.is_current());
    assert_eq!(index.head(&entity(1)), Err(StoreError::Reopened { log: LOG }));
    assert!(EntityIndex::open(&store, LOG).unwrap().is_current());
}

/// Many more entities than memory may hold: flushes happen by themselves, and every head is found again.
#[test]
fn an_index_of_many_entities_flushes_itself() {
    let dir = fast_directory();
    let log = open(dir.path());
    let addresses: Vec<_> = (0..10_000)
        .map(|number| holm_persistence::conformance::address(&format!("n/{number}")))
        .collect();
    wait(log.open(SHARD, holm_core::Term(1))).unwrap();
    let mut writer = holm_persistence::conformance::Writer::new(SHARD, holm_core::Term(1));
    for _ in 0..2 {
        for chunk in addresses.chunks(500) {
            let commands: Vec<_> = chunk.iter().map(|address| (address, 1)).collect();
            wait(log.append(writer.batch(&commands))).unwrap();
        }
    }
    drop(log);
    let log = open(dir.path());
    assert!(EntityIndex::open(log.store(), LOG).unwrap().watermark() > 0, "it flushed by itself");
    for (number, address) in addresses.iter().enumerate().step_by(97) {
        let history = log.history(SHARD, address, SequenceNumber::ZERO, 9).unwrap();
        assert_eq!((history.head.0, history.highest.0), (10_001 + number as u64, 2));
    }
}
