//! How many events per second become durable, by batch size, and what the disk alone would do with the same bytes.
//!
//! Durability: every batch is synced with `fdatasync` before it counts. Replication: none, one log on one disk. Each size is a group of two rows that are
//! measured one after the other: the log in sled with several batches in flight, as the runtime keeps them, and a plain file, to which the same
//! bytes are appended and synced one batch after the other. Divide the two rates of one group: a ratio above one is what committing in groups
//! gives back. Making the batches counts for the log only. Both are below `TMPDIR`; on a tmpfs the figures mean nothing.
//!
//! `cargo bench -p holm-persistence --bench log_append`

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]

use std::collections::VecDeque;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holm_core::{EntityAddress, ShardId};
use holm_persistence::conformance::{Writer, address, wait};
use holm_persistence::{Batch, ShardLog, SledLog, Store, StoreOptions};

/// Shards, and events of a batch.
const SIZES: [(u32, usize); 4] = [(1, 16), (1, 256), (1, 1_024), (32, 64)];

/// Batches of one shard on their way at the same time, as the runtime's default.
const IN_FLIGHT: usize = 8;

/// Bytes of one event.
const EVENT_BYTES: usize = 100;

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
            Writer::new(shard, term).padded(EVENT_BYTES)
        };
        let writers = (0..shards).map(|shard| writer(ShardId(shard))).collect();
        let entities = (0..10_000).map(|number| address(&format!("account/{number}"))).collect();
        Self { log, writers, entities, turn: 0, _dir: dir }
    }

    /// The next batch: `events` commands of as many entities, one event each. Shards take turns.
    fn batch(&mut self, events: usize) -> Batch {
        let shard = self.turn % self.writers.len();
        let commands: Vec<_> = (0..events)
            .map(|step| (&self.entities[(self.turn * events + step) % self.entities.len()], 1))
            .collect();
        self.turn += 1;
        self.writers[shard].batch(&commands)
    }

    /// Appends `batches` batches, several of each shard in flight, and waits for all.
    fn run(&mut self, batches: u64, events: usize) {
        let allowed = IN_FLIGHT * self.writers.len();
        let mut pending = VecDeque::with_capacity(allowed);
        for _ in 0..batches {
            let batch = self.batch(events);
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

fn log_append(criterion: &mut Criterion) {
    for (shards, events) in SIZES {
        let name = format!("log_append/{shards} shards x {events} events");
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Elements(events as u64));
        let mut bench = Bench::new(shards);
        // Its bytes are those of the plain file; it is the first of its shard, so it goes to the log too.
        let first = bench.batch(events);
        let bytes = first.bytes().clone();
        wait(bench.log.append(first)).unwrap();
        group.bench_function("log in sled", |bencher| {
            bencher.iter_custom(|batches| timed(|| bench.run(batches, events)));
        });
        eprintln!("  {} fdatasync calls of the log", bench.log.store().fsyncs());
        drop(bench);
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("log")).unwrap();
        group.bench_function("plain file, one fdatasync a batch", |bencher| {
            bencher.iter(|| {
                file.write_all(black_box(&bytes)).unwrap();
                file.sync_data().unwrap();
            });
        });
        group.finish();
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(work: impl FnOnce()) -> std::time::Duration {
    let began = std::time::Instant::now();
    work();
    began.elapsed()
}

criterion_group!(benches, log_append);
criterion_main!(benches);
