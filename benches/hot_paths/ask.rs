//! From `EntityRef::ask` to its answer, with the shard's actor on the caller's thread: what every layer of a local ask takes together.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{SeededEntropy, ShardId, SystemClock, Term};
use holm_persistence::MemoryLog;
use holm_runtime::{Caller, EntityRef, HostOptions, Placement, ShardHost};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::counter::{COUNTERS, Counter, Increase, Value, id, registry};

/// Callers that each wait for their answer before they ask again.
const CALLERS: u64 = 64;

/// One read.
pub(crate) fn read(shards: u32) -> super::Path {
    each(shards, async |counter: &EntityRef<Counter>| {
        black_box(counter.ask(Value {}).await.expect("it is read"));
    })
}

/// One command that is stored, in memory: what a disk takes is not the runtime's.
pub(crate) fn durable() -> super::Path {
    each(1, async |counter: &EntityRef<Counter>| {
        black_box(counter.ask(Increase { by: 1 }).await.expect("it is taken"));
    })
}

fn each(shards: u32, ask: impl AsyncFn(&EntityRef<Counter>) + Copy + 'static) -> super::Path {
    let (runtime, local, counters) = start(shards);
    let mut first = 0;
    Box::new(move |times| {
        let next = Rc::new(Cell::new(first));
        first += times;
        let callers = (0..CALLERS).map(|_| {
            let (next, counters) = (Rc::clone(&next), Rc::clone(&counters));
            local.spawn_local(async move {
                while next.get() < first {
                    let step = next.replace(next.get() + 1);
                    let counter = usize::try_from(step % COUNTERS).expect("it fits");
                    ask(&counters[counter]).await;
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        local.block_on(&runtime, async {
            for caller in callers {
                caller.await.expect("no caller panics");
            }
        });
    })
}

/// A host with some shards, and references to its counters, each of which is in memory.
fn start(shards: u32) -> (Runtime, LocalSet, Rc<[EntityRef<Counter>]>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let local = LocalSet::new();
    let counters = local.block_on(&runtime, async {
        let mut options = HostOptions::new(registry(), shards);
        options.placement = Placement::Here { read_delay: Arc::new(Default::default) };
        options.entropy_seed = 1;
        // What is done by the clock would be counted more often on a busy machine.
        options.tick_interval = Duration::from_secs(3_600);
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, Arc::new(MemoryLog::new())).expect("a host starts");
        for shard in 0..shards {
            host.lead(ShardId(shard), Term(1)).await.expect("a fresh shard opens");
        }
        let caller =
            Caller::new(Arc::new(host), Arc::new(SystemClock), timeout, SeededEntropy::new(1));
        let counters: Rc<[_]> = (0..COUNTERS)
            .map(|step| EntityRef::<Counter>::new(Arc::clone(&caller), id(step)))
            .collect();
        for counter in counters.iter() {
            counter.ask(Increase { by: 1 }).await.expect("it is taken");
        }
        counters
    });
    (runtime, local, counters)
}
