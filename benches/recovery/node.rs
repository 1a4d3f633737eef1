//! A node with one shard over sled, whose shard can be handed back and led again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{SeededEntropy, ShardId, SystemClock};
use holm_persistence::{SledLog, Store, StoreOptions};
use holm_runtime::{Caller, EntityRef, HostOptions, ShardHost};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::counter::{Counter, Increase, Value, registry};

const SHARD: ShardId = ShardId(0);

/// Commands in flight while the log is filled.
const IN_FLIGHT: usize = 1_024;

pub(crate) struct Node {
    host: ShardHost,
    log: Arc<SledLog>,
    caller: Arc<Caller>,
}

impl Node {
    /// Opens the directory and leads the shard.
    pub(crate) async fn start(dir: &Path, snapshot_every: u64) -> Self {
        let store = Store::open(dir, StoreOptions::default()).expect("the directory opens");
        let log = Arc::new(SledLog::start(store, 1).expect("the log starts"));
        let mut options = HostOptions::new(registry(), 1);
        options.limits.snapshot_every = snapshot_every;
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, Arc::clone(&log) as _).expect("the host starts");
        let entropy = SeededEntropy::from_os();
        let caller = Caller::new(Arc::new(host.clone()), Arc::new(SystemClock), timeout, entropy);
        let node = Self { host, log, caller };
        node.lead().await;
        node
    }

    pub(crate) async fn lead(&self) {
        let term = self.log.newest_term(SHARD).expect("the shard is there").next();
        self.host.lead(SHARD, term).await.expect("the shard opens");
    }

    /// Hands the shard back; nothing of it stays in memory but the caches of the log.
    pub(crate) async fn drain(&self) {
        self.host.drain(SHARD).await;
    }

    pub(crate) async fn lead_again(&mut self) {
        self.drain().await;
        self.lead().await;
    }

    /// What a counter holds.
    pub(crate) async fn value(&self, nth: u64) -> u64 {
        self.counter(nth).ask(Value {}).await.expect("it is read")
    }

    /// Gives each of the first `entities` counters so many events.
    pub(crate) async fn increase(&self, entities: u64, events: u64) {
        let mut asked = JoinSet::new();
        for nth in (0..entities).cycle().take(fits(entities * events)) {
            if asked.len() == IN_FLIGHT {
                let one = asked.join_next().await.expect("some are under way");
                one.expect("no caller panics");
            }
            let counter = self.counter(nth);
            asked.spawn(async move {
                counter.ask(Increase { by: 1 }).await.expect("it is taken");
            });
        }
        asked.join_all().await;
    }

    fn counter(&self, nth: u64) -> EntityRef<Counter> {
        EntityRef::new(Arc::clone(&self.caller), format!("counter-{nth}"))
    }

    pub(crate) async fn stop(self) {
        self.host.stop().await;
        self.log.close().expect("the store closes");
    }
}

pub(crate) fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime starts")
}

/// How long something takes.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) async fn timed(work: impl Future<Output = ()>) -> Duration {
    let began = std::time::Instant::now();
    work.await;
    began.elapsed()
}

fn fits(number: u64) -> usize {
    usize::try_from(number).expect("it fits")
}
