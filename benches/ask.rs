//! How fast one node answers: durable commands and reads through `EntityRef`, with sled and a real fsync.
//!
//! Ratios within one run are what to quote; the absolute figures belong to the machine.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holm::{EntityRef, Holm};
use holm_domains::bank::{Account, Balance, Deposit, Open};
use tokio::runtime::Runtime;

const ENTITIES: u64 = 10_000;

fn ask(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime starts");
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let holm = runtime.block_on(async {
        let builder = Holm::builder().entity::<Account>().data_dir(dir.path());
        builder.start().await.expect("the node starts")
    });
    let accounts: Arc<[EntityRef<Account>]> =
        (0..ENTITIES).map(|n| holm.entity(n.to_string())).collect();
    runtime.block_on(open_all(&accounts));

    let mut group = criterion.benchmark_group("one_node");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.measurement_time(Duration::from_secs(5));
    for (name, entities, in_flight) in [
        ("durable/1_entity/1_in_flight", 1, 1),
        ("durable/1_entity/64_in_flight", 1, 64),
        ("durable/10k_entities/1024_in_flight", ENTITIES, 1_024),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|commands| {
                runtime.block_on(deposits(&accounts, entities, in_flight, commands))
            });
        });
    }
    group.bench_function("read/10k_entities/1024_in_flight", |bencher| {
        bencher.iter_custom(|commands| runtime.block_on(reads(&accounts, 1_024, commands)));
    });
    group.finish();
    runtime.block_on(holm.shutdown());
}

async fn open_all(accounts: &Arc<[EntityRef<Account>]>) {
    let next = Arc::new(AtomicU64::new(0));
    in_parallel(1_024, || {
        let (accounts, next) = (Arc::clone(accounts), Arc::clone(&next));
        async move {
            while let Some(account) = accounts.get(take(&next)) {
                let opened = account.ask(Open { owner: "bench".into() }).await;
                opened.expect("a fresh account opens");
            }
        }
    })
    .await;
}

async fn deposits(
    accounts: &Arc<[EntityRef<Account>]>,
    entities: u64,
    in_flight: usize,
    commands: u64,
) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    in_parallel(in_flight, || {
        let (accounts, next) = (Arc::clone(accounts), Arc::clone(&next));
        async move {
            loop {
                let step = next.fetch_add(1, Ordering::Relaxed);
                if step >= commands {
                    break;
                }
                let account = &accounts[usize::try_from(step % entities).expect("it fits")];
                black_box(account.ask(Deposit { amount: 1 }).await.expect("a deposit is taken"));
            }
        }
    })
    .await
}

async fn reads(accounts: &Arc<[EntityRef<Account>]>, in_flight: usize, commands: u64) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    in_parallel(in_flight, || {
        let (accounts, next) = (Arc::clone(accounts), Arc::clone(&next));
        async move {
            loop {
                let step = next.fetch_add(1, Ordering::Relaxed);
                if step >= commands {
                    break;
                }
                let account = &accounts[usize::try_from(step % ENTITIES).expect("it fits")];
                black_box(account.ask(Balance {}).await.expect("a balance is read"));
            }
        }
    })
    .await
}

/// Runs `width` copies of a task to their end; returns how long that took.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
async fn in_parallel<F: Future<Output = ()> + Send + 'static>(
    width: usize,
    task: impl Fn() -> F,
) -> Duration {
    let began = std::time::Instant::now();
    let tasks: Vec<_> = (0..width).map(|_| tokio::spawn(task())).collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    began.elapsed()
}

fn take(next: &AtomicU64) -> usize {
    usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("it fits")
}

criterion_group!(benches, ask);
criterion_main!(benches);
