//! The hot paths of a node, one command at a time and nothing beside them.
//!
//! `cargo bench -p holm-runtime --bench hot_paths` times each with criterion. `cargo xtask budget` runs the same paths under valgrind instead, and
//! compares what one command takes, in instructions and allocations, with `benches/budget.toml`: those are the same on a busy machine.

#[path = "hot_paths/ask.rs"]
mod ask;
#[path = "hot_paths/codec.rs"]
mod codec;
#[path = "hot_paths/counter.rs"]
mod counter;
#[path = "hot_paths/engine.rs"]
mod engine;

use std::process::ExitCode;

use criterion::{Criterion, Throughput};

/// Does something the given number of times.
type Path = Box<dyn FnMut(u64)>;

/// Makes a path ready.
type Ready = fn() -> Path;

/// A path by its name.
const PATHS: [(&str, Ready); 11] = [
    ("engine/read", engine::read),
    ("engine/refused", engine::refused),
    ("engine/durable, batches of 1", || engine::durable(1)),
    ("engine/durable, batches of 64", || engine::durable(64)),
    ("engine/recovered event", engine::recovered),
    ("codec/record written", codec::written),
    ("codec/record read", codec::read),
    ("codec/shard of an entity", codec::shard),
    ("ask/read, 64 at once", || ask::read(1)),
    ("ask/read, 64 at once, 32 shards", || ask::read(32)),
    ("ask/durable, 64 at once", ask::durable),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("list") => PATHS.iter().for_each(|(name, _)| println!("{name}")),
        Some("count") => return count(args.next().as_deref(), args.next().as_deref()),
        _ => time_all(),
    }
    ExitCode::SUCCESS
}

/// Runs one path a number of times, for a tool that watches from outside.
fn count(name: Option<&str>, times: Option<&str>) -> ExitCode {
    let path = PATHS.iter().find(|(known, _)| Some(*known) == name);
    let (Some((_, ready)), Some(Ok(times))) = (path, times.map(str::parse)) else {
        eprintln!("usage: hot_paths count NAME TIMES, with a NAME that `hot_paths list` prints");
        return ExitCode::FAILURE;
    };
    ready()(times);
    ExitCode::SUCCESS
}

fn time_all() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, ready) in PATHS {
        let (group, function) = name.split_once('/').expect("a path has a group");
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(1));
        group.bench_function(function, |bencher| {
            let mut path = ready();
            bencher.iter_custom(|times| timed(|| path(times)));
        });
        group.finish();
    }
    criterion.final_summary();
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn timed(work: impl FnOnce()) -> std::time::Duration {
    let began = std::time::Instant::now();
    work();
    began.elapsed()
}
