//! Asking across a connection: an entity on another node, an echo through Holm's transport alone, and an echo over plain TCP.
//!
//! Durability: none, the other node's log is in memory, so that the way there and back is what is measured. Replication: none. Both nodes, and every
//! echo, are in this process and talk over one loopback connection, 64 bytes there and back. The rows of one group have the same number of requests
//! in flight; from `tcp` to `transport` is what lanes, frames, deadlines and tasks cost, from there to `entity` what router, encoding and the shard's
//! actor cost. The read of the entity confirms that its shard still leads, the command becomes a record.
//!
//! `cargo bench -p holm-sharding --bench echo`

#[path = "hot_paths/counter.rs"]
mod counter;
#[path = "echo/nodes.rs"]
mod nodes;
#[path = "echo/tcp.rs"]
mod tcp;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holm_core::NodeId;
use holm_sharding::Lane;

use counter::{Increase, Value};
use nodes::{Nodes, PATIENCE};

/// Bytes of one echo, about what a small command takes on the wire.
const BODY: [u8; 64] = [7; 64];

const IN_FLIGHT: [u64; 3] = [1, 64, 1_024];

fn echo(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let nodes = Arc::new(runtime.block_on(Nodes::start()));
    let mut tcp = runtime.block_on(tcp::Echo::start()).expect("loopback works");
    for in_flight in IN_FLIGHT {
        let mut group = criterion.benchmark_group(format!("echo/{in_flight} in flight"));
        group.throughput(Throughput::Elements(1)).sample_size(10);
        group.bench_function("tcp", |bencher| {
            bencher.iter_custom(|times| {
                let echoed = runtime.block_on(tcp.echo(&BODY, in_flight, times));
                echoed.expect("loopback works")
            });
        });
        group.bench_function("transport", |bencher| {
            bencher
                .iter_custom(|times| runtime.block_on(each(&nodes, in_flight, times, transport)));
        });
        group.bench_function("entity, a read", |bencher| {
            bencher.iter_custom(|times| runtime.block_on(each(&nodes, in_flight, times, read)));
        });
        group.bench_function("entity, a command", |bencher| {
            bencher.iter_custom(|times| runtime.block_on(each(&nodes, in_flight, times, command)));
        });
        group.finish();
    }
    drop(tcp);
    runtime.block_on(nodes.stop());
}

async fn transport(nodes: Arc<Nodes>, _: u64) {
    let body = Bytes::from_static(&BODY);
    let answer = nodes.echoing.request(NodeId(2), Lane::Commands, body, PATIENCE).await;
    black_box(answer.expect("it is echoed"));
}

async fn read(nodes: Arc<Nodes>, step: u64) {
    black_box(nodes.counter(step).ask(Value {}).await.expect("it is read"));
}

async fn command(nodes: Arc<Nodes>, step: u64) {
    black_box(nodes.counter(step).ask(Increase { by: 1 }).await.expect("it is taken"));
}

/// Asks `times` times with so many in flight; each caller waits for its answer before it asks again.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
async fn each<F: Future<Output = ()> + Send + 'static>(
    nodes: &Arc<Nodes>,
    in_flight: u64,
    times: u64,
    ask: fn(Arc<Nodes>, u64) -> F,
) -> Duration {
    let next = Arc::new(AtomicU64::new(0));
    let began = std::time::Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (next, nodes) = (Arc::clone(&next), Arc::clone(nodes));
            tokio::spawn(async move {
                loop {
                    let step = next.fetch_add(1, Ordering::Relaxed);
                    if step >= times {
                        break;
                    }
                    ask(Arc::clone(&nodes), step).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
    began.elapsed()
}

criterion_group!(benches, echo);
criterion_main!(benches);
