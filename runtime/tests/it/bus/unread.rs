//! A subscriber that does not read: what it costs those who write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use holm_core::{AskError, EntityAddress, Offset, SequenceNumber, ShardId};
use holm_persistence::Pending;
use holm_runtime::bus::{Bus, Interest, Start};
use holm_runtime::{HistoryPage, Inspector};

use super::{Node, Order, SHARDS};
use crate::account::Account;

/// A page of one shard.
const PAGE_BYTES: usize = 64 * 1024;

/// Counts what is asked of the logs.
struct Counted {
    logs: Arc<dyn Inspector>,
    requests: AtomicUsize,
    most_bytes: AtomicUsize,
}

impl Counted {
    fn count(&self, max_bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.most_bytes.fetch_max(max_bytes, Ordering::Relaxed);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Inspector for Counted {
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        self.count(0);
        self.logs.history(address, after, limit)
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.count(max_bytes);
        self.logs.batches(shard, from, max_bytes)
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        self.count(0);
        self.logs.tail(shard, seen)
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.count(max_bytes);
        self.logs.follow(shard, seen, max_bytes)
    }
}

/// Promises G8 and G9: who does not read asks for nothing, however much is written, and holds a page of each shard; what it missed is there when it reads.
#[tokio::test]
async fn who_does_not_read_asks_for_nothing() {
    let node = Node::start().await;
    let (requests, most_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let counted = Arc::new(Counted { logs: node.host.inspector(), requests, most_bytes });
    let bus = Bus::new(Arc::clone(&node.caller), counted.clone(), SHARDS);
    let interest = Interest::of::<Account>();
    let mut sleeper = bus.subscribe(interest, Start::Beginning).await.unwrap();
    node.deposits(40, 1).await;
    let mut order = Order::default();
    order.see(&sleeper.next().await.unwrap());
    let before = counted.requests();
    assert!(before <= SHARDS as usize, "one request for each shard: {before}");
    for _ in 0..50 {
        node.deposits(40, 1).await;
    }
    assert_eq!(counted.requests(), before, "it sleeps");
    assert!(counted.most_bytes.load(Ordering::Relaxed) <= PAGE_BYTES);
    while order.facts < 51 * 40 {
        order.see(&sleeper.next().await.unwrap());
    }
    assert!(counted.requests() > before);
    node.host.stop().await;
}
