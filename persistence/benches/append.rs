//! How many records per second become durable: one shard or 32, batches of several sizes, several in flight, fdatasync on.
//!
//! A plain file with one fdatasync for each batch of the same bytes stands beside it: the limit of the disk.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]

use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holm_core::{EntityAddress, ShardId};
use holm_persistence::conformance::{Writer, address, wait};
use holm_persistence::{ShardLog, SledLog, Store, StoreOptions};

/// Batches on their way at the same time, as the runtime's default.
const IN_FLIGHT: usize = 8;

struct Bench {
    log: SledLog,
    writers: Vec<Writer>,
    entities: Vec<EntityAddress>,
    turn: usize,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(shards: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default()).unwrap();
        let log = SledLog::start(Arc::clone(&store), shards).unwrap();
        let writer = |shard| {
            let term = log.newest_term(shard).unwrap().next();
            wait(log.open(shard, term)).unwrap();
            Writer::new(shard, term).padded(100)
        };
        let writers = (0..shards).map(|shard| writer(ShardId(shard))).collect();
        let entities = (0..10_000).map(|number| address(&format!("account/{number}"))).collect();
        Self { log, writers, entities, turn: 0, _dir: dir }
    }

    /// Appends `batches` batches of `records`, shard after shard, with several of each shard in flight; waits for all.
    fn run(&mut self, batches: u64, records: usize) {
        let allowed = IN_FLIGHT * self.writers.len();
        let mut pending = VecDeque::with_capacity(allowed);
        for _ in 0..batches {
            let shard = self.turn % self.writers.len();
            let commands: Vec<_> = (0..records)
                .map(|step| (&self.entities[(self.turn * records + step) % self.entities.len()], 1))
                .collect();
            self.turn += 1;
            let batch = self.writers[shard].batch(&commands);
            pending.push_back(self.log.append(batch));
            if pending.len() == allowed {
                wait(pending.pop_front().unwrap()).unwrap();
            }
        }
        for outcome in pending {
            wait(outcome).unwrap();
        }
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10);
    for (shards, records) in [(1, 16), (1, 256), (1, 1_024), (32, 64)] {
        let mut bench = Bench::new(shards);
        group.throughput(Throughput::Elements(records as u64));
        let name = format!("{shards} shards, records a batch");
        group.bench_function(BenchmarkId::new(name, records), |bencher| {
            bencher.iter_custom(|batches| {
                let start = now();
                bench.run(batches, records);
                start.elapsed()
            });
        });
        let store = bench.log.store();
        eprintln!("  {} fdatasync calls", store.fsyncs());
    }
    group.finish();
}

fn plain_file(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plain file");
    group.sample_size(10);
    for records in [16, 256, 1_024] {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("log")).unwrap();
        let bytes = vec![7; records * 220];
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(BenchmarkId::new("records a batch", records), |bencher| {
            bencher.iter(|| {
                file.write_all(black_box(&bytes)).unwrap();
                file.sync_data().unwrap();
            });
        });
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

criterion_group!(benches, append, plain_file);
criterion_main!(benches);
