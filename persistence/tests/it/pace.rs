//! How many batches of a shard the log of a single node works on.

use std::sync::Arc;

use holm_core::{SeededEntropy, ShardId};
use holm_persistence::conformance::wait;
use holm_persistence::{Disk, ShardLog as _, SledLog, Store, StoreOptions};

use crate::child::ShardWriter;
use crate::subjects::fast_directory;

const SHARDS: u32 = 6;

#[test]
fn shards_that_share_groups_have_a_batch_ready_for_the_next_one() {
    let (dir, disk) = (fast_directory(), Arc::new(Disk::default()));
    let options = StoreOptions { disk: Arc::clone(&disk), ..StoreOptions::default() };
    let log = SledLog::start(Store::open(dir.path(), options).unwrap(), SHARDS).unwrap();
    let mut writers: Vec<_> =
        (0..SHARDS).map(|shard| ShardWriter::open(&log, ShardId(shard))).collect();
    let mut entropy = SeededEntropy::new(1);
    let [alone, others @ ..] = &mut writers[..] else { unreachable!("there are six") };
    wait(log.append(alone.batch(&mut entropy))).unwrap();
    assert_eq!(log.batches_at_once(), 1, "a shard by itself");
    disk.hold();
    let first = log.append(alone.batch(&mut entropy));
    while !disk.is_holding() {
        std::thread::yield_now();
    }
    // These gather behind the group that is held.
    let behind: Vec<_> =
        others.iter_mut().map(|shard| log.append(shard.batch(&mut entropy))).collect();
    disk.release();
    wait(first).unwrap();
    behind.into_iter().for_each(|append| wait(append).unwrap());
    assert_eq!(log.batches_at_once(), 2, "five shards in one group");
    wait(log.append(alone.batch(&mut entropy))).unwrap();
    assert_eq!(log.batches_at_once(), 1, "and by itself again");
}
