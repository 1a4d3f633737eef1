//! What it costs to know where shards belong: the ring, the plan of a fresh cluster, and the plan after one node came or went.
//!
//! Durability and replication: none, this is a pure function; the plan is asked for three replicas of each shard. It runs on the node that steers the
//! cluster, once for each change of its members, so what matters is that the largest case stays far below the time in which a failure is noticed.
//!
//! `cargo bench -p holm-sharding --bench placement`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holm_core::{NodeId, ShardId};
use holm_sharding::{Ring, plan};

/// Nodes and shards: a cluster for a start, one that is in use, and the largest that is thought of.
const SIZES: [(u64, u32); 4] = [(3, 32), (5, 64), (9, 256), (64, 4_096)];

const REPLICATION: u32 = 3;

fn placement(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("placement");
    for (nodes, shards) in SIZES {
        let size = format!("{nodes} nodes x {shards} shards");
        let members: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        group.throughput(Throughput::Elements(shards.into()));
        group.bench_function(BenchmarkId::new("fresh", &size), |bencher| {
            bencher.iter(|| plan(black_box(&members), shards, REPLICATION, None));
        });
        let before = plan(&members, shards, REPLICATION, None);
        let fewer = &members[1..];
        group.bench_function(BenchmarkId::new("a node went", &size), |bencher| {
            bencher.iter(|| plan(black_box(fewer), shards, REPLICATION, Some(&before)));
        });
        let more: Vec<NodeId> = (1..=nodes + 1).map(NodeId).collect();
        group.bench_function(BenchmarkId::new("a node came", &size), |bencher| {
            bencher.iter(|| plan(black_box(&more), shards, REPLICATION, Some(&before)));
        });
        group.bench_function(BenchmarkId::new("nothing changed", &size), |bencher| {
            bencher.iter(|| plan(black_box(&members), shards, REPLICATION, Some(&before)));
        });
    }
    group.finish();
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for nodes in [3, 9, 64] {
        let members: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("built", nodes), |bencher| {
            bencher.iter(|| Ring::new(black_box(&members)));
        });
        let ring = Ring::new(&members);
        let mut shard = 0;
        group.bench_function(BenchmarkId::new("preference of a shard", nodes), |bencher| {
            bencher.iter(|| {
                shard = (shard + 1) % 4_096;
                black_box(ring.preference(ShardId(shard)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, placement, ring);
criterion_main!(benches);
