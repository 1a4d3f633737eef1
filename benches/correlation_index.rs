//! What the index of correlation ids costs whoever writes: the same records with and without it, turn by turn, on the same disk.
//!
//! A machine that is shared is fast and slow by the minute, so only neighbours are compared: each pair of runs gives a ratio, and the median of the ratios
//! is the answer. Each record is a conversation of its own, which is the most that there can be. Run with
//! `cargo bench -p holm-persistence --bench correlation_index`; a number behind `--` says how many pairs.

#![allow(clippy::unwrap_used, reason = "a benchmark that fails has nothing to report")]

use std::collections::VecDeque;
use std::time::Duration;

use holm_core::ShardId;
use holm_persistence::conformance::{Writer, address, wait};
use holm_persistence::{ShardLog, SledLog, Store, StoreOptions};

const PAIRS: usize = 7;

/// Batches on their way at the same time for each shard, as the runtime's default.
const IN_FLIGHT: usize = 8;

/// What one run came to.
struct Run {
    seconds: f64,
    /// Bytes that the process handed to the disk, for each record.
    written: f64,
    /// Bytes of the data directory, for each record.
    kept: f64,
    /// Processor time of the process, for each record.
    micros: f64,
}

fn run(shards: u32, records: usize, batches: usize, correlation_index: bool) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { correlation_index, ..StoreOptions::default() };
    let log = SledLog::start(Store::open(dir.path(), options).unwrap(), shards).unwrap();
    let writer = |shard| {
        let term = log.newest_term(shard).unwrap().next();
        wait(log.open(shard, term)).unwrap();
        Writer::new(shard, term).padded(100)
    };
    let mut writers: Vec<_> = (0..shards).map(|shard| writer(ShardId(shard))).collect();
    let entities: Vec<_> =
        (0..10_000).map(|number| address(&format!("account/{number}"))).collect();
    let batches_of_all: Vec<_> = (0..batches)
        .map(|turn| {
            let entity = |step| (&entities[(turn * records + step) % entities.len()], 1);
            let commands: Vec<_> = (0..records).map(entity).collect();
            writers[turn % shards as usize].batch(&commands)
        })
        .collect();
    let (written, processor, start) = (bytes_written(), processor_time(), now());
    let mut pending = VecDeque::new();
    for batch in batches_of_all {
        pending.push_back(log.append(batch));
        if pending.len() == IN_FLIGHT * shards as usize {
            wait(pending.pop_front().unwrap()).unwrap();
        }
    }
    for outcome in pending {
        wait(outcome).unwrap();
    }
    let seconds = start.elapsed().as_secs_f64();
    // What is written behind belongs to the cost, though nobody waits for it.
    log.close().unwrap();
    let total = (batches * records) as f64;
    let spent = processor_time() - processor;
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap());
    let kept: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    Run {
        seconds,
        written: (bytes_written() - written) as f64 / total,
        kept: kept as f64 / total,
        micros: spent.as_secs_f64() * 1e6 / total,
    }
}

fn main() {
    let pairs = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(PAIRS);
    for (shards, records, batches) in [(1, 16, 4_000), (1, 1_024, 500), (32, 64, 8_000)] {
        println!("{shards} shards, {records} records a batch, {batches} batches");
        let (mut times, mut writes, mut sizes, mut spends) = (vec![], vec![], vec![], vec![]);
        for pair in 0..pairs {
            let first = pair % 2 == 0;
            let (one, other) =
                (run(shards, records, batches, first), run(shards, records, batches, !first));
            let (with, without) = if first { (one, other) } else { (other, one) };
            let rate = |run: &Run| (batches * records) as f64 / run.seconds;
            println!(
                "  without {:>9.0} records/s {:>6.1} B written {:>6.1} B kept {:>5.2} us    with {:>9.0} records/s {:>6.1} B {:>6.1} B {:>5.2} us",
                rate(&without),
                without.written,
                without.kept,
                without.micros,
                rate(&with),
                with.written,
                with.kept,
                with.micros
            );
            times.push(with.seconds / without.seconds);
            writes.push(with.written - without.written);
            sizes.push(with.kept - without.kept);
            spends.push(with.micros / without.micros);
        }
        println!(
            "  with / without: time {:.3}, processor {:.3}; {:+.1} B written and {:+.1} B kept a record (medians of {pairs} pairs)",
            median(times),
            median(spends),
            median(writes),
            median(sizes)
        );
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Bytes that this process caused to be sent to the disk; zero where the system does not count them.
fn bytes_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Processor time of all threads, in ticks of a hundredth of a second; zero where the system does not tell.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
