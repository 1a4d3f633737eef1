//! How many commands a second pass through references, actors and engine: over a log in memory, or over sled with fsync when a directory is named.
//!
//! `cargo run --release --example rate -- [in flight] [entities] [seconds] [shards] [data directory]`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holm_core::{SeededEntropy, ShardId, SystemClock, Term};
use holm_persistence::{MemoryLog, ShardLog, SledLog, Store, StoreOptions};
use holm_runtime::{
    Caller, Command, Commands, Context, Effect, Entity, EntityRef, Event, Handle, HostOptions,
    NoRejection, Registry, ShardHost,
};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[derive(Event, Serialize, Deserialize)]
enum CounterEvent {
    Increased { by: u64 },
}

#[derive(Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Increase {
    by: u64,
}

impl Entity for Counter {
    const TYPE: &'static str = "counter";
    type Event = CounterEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &CounterEvent) {
        let CounterEvent::Increased { by } = event;
        self.value += by;
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Increase>();
    }
}

impl Handle<Increase> for Counter {
    fn handle(
        &self,
        command: Increase,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        Ok(cx.persist(CounterEvent::Increased { by: command.by }).reply(|counter| counter.value))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).take(4).map(|text| text.parse::<u64>());
    let mut next = |default| numbers.next().unwrap_or(Ok(default));
    let (in_flight, entities) = (next(1_024)?, next(10_000)?);
    let (seconds, shards) = (next(5)?, u32::try_from(next(32)?)?);
    let options = HostOptions::new(Registry::new().entity::<Counter>(), shards);
    let timeout = options.limits.ask_timeout;
    let mut store = None;
    let log: Arc<dyn ShardLog> = match std::env::args().nth(5) {
        None => Arc::new(MemoryLog::new()),
        Some(directory) => {
            let opened = Store::open(directory.as_ref(), StoreOptions::default())?;
            store = Some(Arc::clone(&opened));
            Arc::new(SledLog::start(opened, shards)?)
        }
    };
    let host = ShardHost::start(options, log)?;
    for shard in 0..shards {
        host.lead(ShardId(shard), Term(1)).await?;
    }
    let (asker, clock) = (Arc::new(host.clone()), Arc::new(SystemClock));
    let caller = Caller::new(asker, clock, timeout, SeededEntropy::from_os());
    let (done, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..in_flight)
        .map(|client| {
            let (caller, done, over) = (Arc::clone(&caller), Arc::clone(&done), Arc::clone(&over));
            tokio::spawn(async move {
                let mut entity = client;
                while !over.load(Ordering::Relaxed) {
                    entity =
                        (entity.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(client + 1);
                    let id = format!("c{}", (entity >> 33) % entities);
                    let counter = EntityRef::<Counter>::new(Arc::clone(&caller), id);
                    if let Err(error) = counter.ask(Increase { by: 1 }).await {
                        return Err(error.to_string());
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    for _ in 0..seconds {
        let before = done.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let fsyncs = store.as_ref().map(|store| store.fsyncs());
        println!("{} commands/s, fsyncs so far {fsyncs:?}", done.load(Ordering::Relaxed) - before);
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    println!("{:?}", host.stats().total());
    host.stop().await;
    Ok(())
}
