//! How much memory an entity takes: 100,000 live ones, and 1,000,000 that were passivated.
//!
//! Not a criterion bench, because nothing is timed: it prints what the operating system counts for the process. First the engine alone over a log
//! that forgets, which is what a live entity costs; then a whole node over sled, where the store's cache (bounded, but warm) is counted too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holm::{Holm, Limits};
use holm_domains::bank::{Account, Open};

#[path = "../runtime/examples/live_entities/measure.rs"]
mod engine;

const LIVE: u64 = 100_000;
const PASSIVATED: u64 = 1_000_000;

fn main() {
    // `cargo test --benches` and criterion's filters pass arguments; only a real bench run measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let alone = engine::measure(fits(LIVE), 1, fits(PASSIVATED)).expect("the kernel tells");
    println!("engine alone: {} live entities, state {} B each", alone.live, alone.state_bytes);
    println!("  beyond its state       {:.0} B for each live entity", alone.bytes_beyond_state());
    println!("  {} were passivated, {} B more than before", alone.passivated, alone.left_behind);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(measure());
}

async fn measure() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(3_600);
    // Few enough per shard that the million passes through memory and mostly leaves it.
    limits.live_entities = fits(2 * LIVE / 32);
    let builder = Holm::builder().entity::<Account>().data_dir(dir.path()).limits(limits);
    let holm = builder.start().await.expect("the node starts");

    open(&holm, "warm-up", 1_000).await;
    let before = resident_bytes();
    open(&holm, "live", LIVE).await;
    let live = holm.stats().total().live_entities;
    let per_entity = (resident_bytes().saturating_sub(before)) / LIVE;
    println!("a whole node: {live} live entities");
    println!(
        "  resident               {per_entity} B for each, state and cache of the log included"
    );

    open(&holm, "idle", PASSIVATED).await;
    let total = holm.stats().total();
    println!("  entities in all        {}", total.activations);
    println!("  live / passivated      {} / {}", total.live_entities, total.passivations);
    println!("  resident in all        {} MiB", resident_bytes() / 1024 / 1024);
    holm.shutdown().await;
}

async fn open(holm: &Holm, prefix: &'static str, count: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..1_024)
        .map(|_| {
            let (holm, next) = (holm.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    let account = holm.entity::<Account>(format!("{prefix}-{n}"));
                    account.ask(Open { owner: "bench".into() }).await.expect("it opens");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
}

fn fits(number: u64) -> usize {
    usize::try_from(number).expect("it fits")
}

/// The resident set of this process, from the kernel.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has a VmRSS");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("VmRSS is a number of KiB");
    kib * 1024
}
