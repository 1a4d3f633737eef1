//! How fast entities and shards come back: one entity from its log, one from a snapshot and its log, and a shard of 100,000 entities.
//!
//! Durability: the log in sled, every batch synced. Replication: none, one node on one disk, whose pages are warm. Before each measured answer the shard
//! is handed back and led again, so nothing of the entity is in memory. `entity` is one read, which waits for the recovery; its throughput is
//! events per second of the whole history. `shard` is the time from the order to lead until the first read is answered: entities are recovered
//! when they are asked for, so it should not grow with their number. `start` also opens the data directory and starts the host.
//!
//! `cargo bench -p holm-runtime --bench recovery`

#[expect(dead_code, reason = "the hot paths have a thousand of them; here their number changes")]
#[path = "hot_paths/counter.rs"]
mod counter;
#[path = "recovery/node.rs"]
mod node;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

use node::{Node, timed};

/// Entities of the large shard.
const ENTITIES: u64 = 100_000;

/// A snapshot is taken after so many events; without a multiple of it in the history there is none.
const SNAPSHOT_EVERY: u64 = 100;
const NO_SNAPSHOT: u64 = u64::MAX;

fn entity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery/entity");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    for (name, events, snapshot_every) in [
        ("10 events, from the log", 10, NO_SNAPSHOT),
        ("1,000 events, from the log", 1_000, NO_SNAPSHOT),
        ("1,000 events, snapshot and 50 behind it", 1_050, SNAPSHOT_EVERY),
    ] {
        let runtime = node::runtime();
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let mut node = runtime.block_on(Node::start(dir.path(), snapshot_every));
        runtime.block_on(node.increase(1, events));
        group.throughput(Throughput::Elements(events));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| runtime.block_on(recoveries(&mut node, times, events)));
        });
        runtime.block_on(node.stop());
    }
    group.finish();
}

/// The time of reads that each had to recover the entity.
async fn recoveries(node: &mut Node, times: u64, events: u64) -> Duration {
    let mut took = Duration::ZERO;
    for _ in 0..times {
        node.lead_again().await;
        took += timed(async { assert_eq!(node.value(0).await, events) }).await;
    }
    took
}

fn shard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery/100,000 entities");
    group.sample_size(10).measurement_time(Duration::from_secs(3));
    let runtime = node::runtime();
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let mut node = runtime.block_on(Node::start(dir.path(), NO_SNAPSHOT));
    runtime.block_on(node.increase(ENTITIES, 1));
    shard_again(&mut group, &runtime, &mut node);
    runtime.block_on(node.stop());
    group.bench_function("start until the first answer", |bencher| {
        bencher.iter_custom(|times| runtime.block_on(starts(dir.path(), times)));
    });
    group.finish();
}

fn shard_again(
    group: &mut BenchmarkGroup<'_, WallTime>,
    runtime: &tokio::runtime::Runtime,
    node: &mut Node,
) {
    let mut asked = 0;
    group.bench_function("shard led until the first answer", |bencher| {
        bencher.iter_custom(|times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    node.drain().await;
                    asked = (asked + 1) % ENTITIES;
                    took += timed(async {
                        node.lead().await;
                        assert_eq!(node.value(asked).await, 1);
                    })
                    .await;
                }
                took
            })
        });
    });
}

async fn starts(dir: &std::path::Path, times: u64) -> Duration {
    let mut took = Duration::ZERO;
    for asked in 0..times {
        let mut started = None;
        took += timed(async {
            let node = Node::start(dir, NO_SNAPSHOT).await;
            assert_eq!(node.value(asked % ENTITIES).await, 1);
            started = Some(node);
        })
        .await;
        if let Some(node) = started {
            node.stop().await;
        }
    }
    took
}

criterion_group!(benches, entity, shard);
criterion_main!(benches);
