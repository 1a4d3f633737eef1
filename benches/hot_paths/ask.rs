//! From `EntityRef::ask` to its answer, with the shard's actor on the caller's thread: what every layer of a local ask takes together.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use holm_core::{SeededEntropy, ShardId, SystemClock, Term};
use holm_persistence::MemoryLog;
use holm_runtime::{Caller, EntityRef, HostOptions, Placement, ShardHost};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use crate::counter::{COUNTERS, Counter, Increase, Value, id, registry};

/// Callers that each wait for their answer before they ask again.
const CALLERS: u64 = 64;

/// One read.
pub(crate) fn read() -> super::Path {
    each(async |counter: &EntityRef<Counter>| {
        black_box(counter.ask(Value {}).await.expect("it is read"));
    })
}

/// One command that is stored, in memory: what a disk takes is not the runtime's.
pub(crate) fn durable() -> super::Path {
    each(async |counter: &EntityRef<Counter>| {
        black_box(counter.ask(Increase { by: 1 }).await.expect("it is taken"));
    })
}

fn each(ask: impl AsyncFn(&EntityRef<Counter>) + Copy + 'static) -> super::Path {
    let (runtime, local, counters) = start();
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

/// A host with one shard, and references to its counters, each of which is in memory.
fn start() -> (Runtime, LocalSet, Rc<[EntityRef<Counter>]>) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let local = LocalSet::new();
    let counters = local.block_on(&runtime, async {
        let mut options = HostOptions::new(registry(), 1);
        options.placement = Placement::Here { read_delay: Arc::new(Default::default) };
        options.entropy_seed = 1;
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, Arc::new(MemoryLog::new())).expect("a host starts");
        host.lead(ShardId(0), Term(1)).await.expect("a fresh shard opens");
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
