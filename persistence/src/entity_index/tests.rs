//! An index that lost updates: what a damaged database does without a word.

use std::sync::Arc;

use holm_core::{Offset, SequenceNumber, ShardId, Term};

use super::tree;
use crate::conformance::{Writer, address, wait};
use crate::shard_log::ShardLog as _;
use crate::sled_log::SledLog;
use crate::store::{Changes, Derived, LogId, Store, StoreOptions};

const SHARD: ShardId = ShardId(0);

/// Removes the keys of one kind behind the back of an index that was flushed.
fn remove(store: &Arc<Store>, kind: u8) -> usize {
    let (from, to) = (tree::key(LogId(0), kind, &[]), tree::key(LogId(0), kind + 1, &[]));
    let keys = store.read_derived(Derived::Index, |tree| tree.keys(from..to, usize::MAX)).unwrap();
    let removed = keys.len();
    let changes: Changes = keys.into_iter().map(|key| (key, None)).collect();
    store.write_derived(Derived::Index, changes).unwrap();
    removed
}

#[test]
fn what_an_index_lost_is_found_in_the_log() {
    for kind in [b'e', b'o'] {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
            SledLog::start(store, 1).unwrap()
        };
        let log = open();
        wait(log.open(SHARD, Term(1))).unwrap();
        let (mut writer, account) = (Writer::new(SHARD, Term(1)), address("account/1"));
        let batch = writer.batch(&[(&account, 1)]);
        wait(log.append(batch.clone())).unwrap();
        log.flush_indexes();
        assert!(remove(log.store(), kind) > 0, "the index was written");
        log.store().close().unwrap();
        drop(log);

        let log = open();
        assert_eq!(log.last_offset(SHARD), Ok(batch.last()));
        assert_eq!(log.read(SHARD, Offset(1), 1).as_deref(), Ok(std::slice::from_ref(&batch)));
        let history = log.history(SHARD, &account, SequenceNumber::ZERO, usize::MAX).unwrap();
        assert_eq!(history.head, batch.last());
    }
}
