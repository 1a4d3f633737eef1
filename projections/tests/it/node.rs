//! One node over a log in memory, with an account that can be paid into.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holm_core::{
    AskError, Clock, EntityAddress, ManualClock, Offset, SeededEntropy, SequenceNumber, ShardId,
    Term, Timestamp,
};
use holm_persistence::{MemoryLog, Pending};
use holm_runtime::bus::{Bus, Fact, Interest, Position, Start};
use holm_runtime::{
    AskOptions, Asker, Caller, Command, Commands, Context, Effect, Entity, EntityRef, Event,
    FailureEvent, FailureFact, FailureLog, Handle, HistoryPage, HostOptions, Inspector,
    NoRejection, Registry, Reply, ShardHost,
};
use serde::{Deserialize, Serialize};

pub(crate) const SHARDS: u32 = 4;

/// Long enough for anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    balance: u64,
}

#[derive(Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Paid { amount: u64 },
    Noted,
}

/// Pays `amount` in so many parts, each an event of its own, together.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Pay {
    pub(crate) amount: u64,
    pub(crate) parts: u64,
}

/// Something that no view of these tests wants.
#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
pub(crate) struct Note {}

impl Entity for Account {
    const TYPE: &'static str = "account";
    type Event = AccountEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Paid { amount } => self.balance += amount,
            AccountEvent::Noted => {}
        }
    }

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Pay>().handle::<Note>();
    }
}

impl Handle<Pay> for Account {
    fn handle(
        &self,
        Pay { amount, parts }: Pay,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        let paid = (0..parts).map(|_| AccountEvent::Paid { amount });
        Ok(cx.persist_all(paid).reply(|account| account.balance))
    }
}

impl Handle<Note> for Account {
    fn handle(
        &self,
        _: Note,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, u64>, NoRejection> {
        Ok(cx.persist(AccountEvent::Noted).reply(|account| account.balance))
    }
}

pub(crate) struct Node {
    pub(crate) host: ShardHost,
    pub(crate) caller: Arc<Caller>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        let registry = Registry::new().entity::<Account>();
        let mut options = HostOptions::new(registry, SHARDS);
        (options.arbiters, options.loaders) = (2, 2);
        options.clock = clock.clone();
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, Arc::new(MemoryLog::new())).unwrap();
        for shard in 0..SHARDS {
            host.lead(ShardId(shard), Term(1)).await.unwrap();
        }
        let asker: Arc<dyn Asker> = Arc::new(host.clone());
        let time: Arc<dyn Clock> = clock.clone();
        let caller = Caller::new(asker, time, timeout, SeededEntropy::new(1));
        Self { host, caller, clock }
    }

    pub(crate) fn bus(&self) -> Bus {
        Bus::new(Arc::clone(&self.caller), self.host.inspector(), SHARDS)
    }

    /// A bus on which looking at what stands in a log takes so long.
    pub(crate) fn slow_bus(&self, by: Duration) -> Bus {
        let slow = Slow { inspector: self.host.inspector(), clock: self.clock.clone(), by };
        Bus::new(Arc::clone(&self.caller), Arc::new(slow), SHARDS)
    }

    pub(crate) async fn pay(&self, id: &str, amount: u64, parts: u64) -> Reply<Pay> {
        let account: EntityRef<Account> = EntityRef::new(Arc::clone(&self.caller), id);
        account.ask_with(Pay { amount, parts }, AskOptions::default()).await.unwrap()
    }

    pub(crate) async fn note(&self, id: &str) -> Reply<Note> {
        let account: EntityRef<Account> = EntityRef::new(Arc::clone(&self.caller), id);
        account.ask_with(Note {}, AskOptions::default()).await.unwrap()
    }

    /// One payment to each of so many accounts.
    pub(crate) async fn payments(&self, accounts: u64, amount: u64) {
        for number in 0..accounts {
            self.pay(&format!("a{number}"), amount, 1).await;
        }
    }

    pub(crate) async fn ends(&self) -> Position {
        self.bus().ends().await.unwrap()
    }

    /// Where the last facts of interest stand.
    pub(crate) async fn ends_of(&self, interest: &Interest) -> Position {
        let ends = self.ends().await;
        let bus = self.bus();
        let mut feed = bus.subscribe(interest.clone(), Start::Beginning).await.unwrap();
        let mut last = Position::default();
        while let Some(fact) = feed.next_until(&ends).await.unwrap() {
            last.0.insert(fact.shard(), fact.offset());
        }
        last
    }

    /// The first so many failures that were told.
    pub(crate) async fn failures(&self, number: usize) -> Vec<FailureFact> {
        let interest = Interest::of::<FailureLog>();
        let mut log = self.bus().subscribe(interest, Start::Beginning).await.unwrap();
        let mut failures = Vec::new();
        while failures.len() < number {
            let fact = tokio::time::timeout(PATIENCE, log.next()).await.unwrap().unwrap();
            if let FailureEvent::Failed { fact } = fact.event::<FailureLog>().unwrap() {
                failures.push(fact);
            }
        }
        failures
    }

    /// What the logs hold, read by itself: the truth that views are compared with.
    pub(crate) async fn facts(&self) -> BTreeMap<ShardId, Vec<Fact>> {
        let interest = Interest::of::<Account>();
        let ends = self.ends().await;
        let mut feed = self.bus().subscribe(interest, Start::Beginning).await.unwrap();
        let mut facts: BTreeMap<ShardId, Vec<Fact>> = BTreeMap::new();
        while !feed.position().has_reached(&ends) {
            for fact in feed.next_group(64).await.unwrap() {
                facts.entry(fact.shard()).or_default().push(fact);
            }
        }
        facts
    }
}

struct Slow {
    inspector: Arc<dyn Inspector>,
    clock: Arc<ManualClock>,
    by: Duration,
}

impl Inspector for Slow {
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        self.inspector.history(address, after, limit)
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.clock.advance(self.by);
        self.inspector.batches(shard, from, max_bytes)
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        self.inspector.tail(shard, seen)
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<Bytes>, AskError>> {
        self.inspector.follow(shard, seen, max_bytes)
    }
}

pub(crate) fn place(fact: &Fact) -> (u32, u64, u32) {
    (fact.shard().0, fact.offset().0, fact.index())
}

pub(crate) fn paid(fact: &Fact) -> u64 {
    match fact.event::<Account>().unwrap() {
        AccountEvent::Paid { amount } => amount,
        AccountEvent::Noted => 0,
    }
}
