//! Holm: entities in shards on an arbiter per core, asked through references. A log in memory, because the others have none.

use std::sync::Arc;

use holm::EntityRef;
use holm_core::{SeededEntropy, ShardId, SystemClock, Term};
use holm_persistence::MemoryLog;
use holm_runtime::{Caller, HostOptions, Registry, ShardHost};

use crate::counter::{Counter, Increase, Value};
use crate::measure::{Measured, bytes_each};
use crate::work::{Caller as Asking, Plan, asks_from, asks_per_second};

const SHARDS: u32 = 32;

pub(super) fn reads(plan: &Plan) -> anyhow::Result<Measured> {
    run(plan, async |_, counters| {
        asks_per_second(plan, counters, |counters, index| async move {
            counters[index].ask(Value {}).await.expect("it is read")
        })
        .await
    })
}

/// The same from the threads of the entities, each caller near one of them; half of what it asks is on another.
pub(super) fn near(plan: &Plan) -> anyhow::Result<Measured> {
    run(plan, async |host, counters| {
        let spawn = |caller: usize, asking: Asking| {
            let near = counters[caller % counters.len()].address().expect("it is well formed");
            drop(host.spawn_near(near, asking));
        };
        asks_from(
            plan,
            Arc::clone(&counters),
            |counters, index| async move {
                counters[index].ask(Value {}).await.expect("it is read")
            },
            spawn,
        )
        .await
    })
}

pub(super) fn commands(plan: &Plan) -> anyhow::Result<Measured> {
    run(plan, async |_, counters| {
        asks_per_second(plan, counters, |counters, index| async move {
            counters[index].ask(Increase {}).await.expect("it is taken")
        })
        .await
    })
}

fn run(
    plan: &Plan,
    measure: impl AsyncFnOnce(&ShardHost, Arc<[EntityRef<Counter>]>) -> f64,
) -> anyhow::Result<Measured> {
    super::in_tokio(async move {
        let mut options = HostOptions::new(Registry::new().entity::<Counter>(), SHARDS);
        options.limits.live_entities = plan.idle.max(plan.entities);
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, Arc::new(MemoryLog::new()))?;
        for shard in 0..SHARDS {
            host.lead(ShardId(shard), Term(1)).await?;
        }
        let entropy = SeededEntropy::from_os();
        let caller = Caller::new(Arc::new(host.clone()), Arc::new(SystemClock), timeout, entropy);
        let start = async |prefix: &str, count: usize| -> Arc<[EntityRef<Counter>]> {
            let counter = |index| EntityRef::new(Arc::clone(&caller), format!("{prefix}-{index}"));
            let counters: Arc<[EntityRef<Counter>]> = (0..count).map(counter).collect();
            for counter in counters.iter() {
                counter.ask(Value {}).await.expect("it comes to life");
            }
            counters
        };
        let asks_per_second = measure(&host, start("asked", plan.entities).await).await;
        let (bytes_per_entity, idle) =
            bytes_each(plan.idle, async || start("idle", plan.idle).await).await?;
        drop(idle);
        host.stop().await;
        Ok(Measured { asks_per_second, bytes_per_entity })
    })
}
