//! The bus: subscriptions over a host with a log in memory.

mod asleep;
mod cloud_events;
mod cluster;
mod durable;
mod interests;
mod lagging;
mod live;
mod newest;
mod places;
mod tags;
mod topic;
mod unread;

use std::collections::BTreeMap;
use std::sync::Arc;

use holm_core::{
    Clock, EntityAddress, ManualClock, SeededEntropy, SequenceNumber, ShardId, Term, Timestamp,
};
use holm_persistence::MemoryLog;
use holm_runtime::bus::{Bus, Fact};
use holm_runtime::{Asker, Caller, EntityRef, HostOptions, ShardHost};

use crate::account::{Account, Deposit, registry};

const SHARDS: u32 = 4;

struct Node {
    host: ShardHost,
    log: Arc<MemoryLog>,
    caller: Arc<Caller>,
    clock: Arc<ManualClock>,
}

impl Node {
    async fn start() -> Self {
        Self::over(Arc::new(MemoryLog::new()), Term(1)).await
    }

    /// A node over a log that is there, as after a restart.
    async fn over(log: Arc<MemoryLog>, term: Term) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        let mut options = HostOptions::new(registry().entity::<tags::Till>(), SHARDS);
        (options.arbiters, options.loaders) = (2, 2);
        options.clock = clock.clone();
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, log.clone()).unwrap();
        for shard in 0..SHARDS {
            host.lead(ShardId(shard), term).await.unwrap();
        }
        let asker: Arc<dyn Asker> = Arc::new(host.clone());
        let time: Arc<dyn Clock> = clock.clone();
        let caller = Caller::new(asker, time, timeout, SeededEntropy::new(term.0));
        Self { host, log, caller, clock }
    }

    fn bus(&self) -> Bus {
        Bus::new(Arc::clone(&self.caller), self.host.inspector(), SHARDS)
    }

    fn account(&self, id: &str) -> EntityRef<Account> {
        EntityRef::new(Arc::clone(&self.caller), id)
    }

    /// One deposit to each of so many accounts.
    async fn deposits(&self, accounts: u64, amount: u64) {
        for number in 0..accounts {
            self.account(&format!("a{number}")).ask(Deposit { amount }).await.unwrap();
        }
    }
}

/// Checks what every subscriber may rely on: offsets rise in each shard, sequence numbers of each entity rise by one.
#[derive(Default)]
struct Order {
    places: BTreeMap<ShardId, (u64, u32)>,
    sequences: BTreeMap<EntityAddress, SequenceNumber>,
    facts: usize,
}

impl Order {
    fn see(&mut self, fact: &Fact) {
        let place = (fact.offset().0, fact.index());
        let before = self.places.insert(fact.shard(), place);
        assert!(before.is_none_or(|before| before < place), "{before:?} before {place:?}");
        let sequence = self.sequences.entry(fact.address().clone()).or_default();
        assert_eq!(fact.sequence(), sequence.next(), "{}", fact.address());
        *sequence = fact.sequence();
        self.facts += 1;
    }
}
