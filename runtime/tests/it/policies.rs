//! Policies, carried out by hosts over a log in memory that come and go.

use std::sync::Arc;
use std::time::Duration;

use holm_core::{
    Clock, EntityAddress, ManualClock, Offset, SeededEntropy, ShardId, Timestamp, shard_of,
};
use holm_persistence::MemoryLog;
use holm_runtime::bus::{Bus, Interest, Position, Start};
use holm_runtime::{
    Asker, Caller, Commands, Entity, EntityRef, Event, FailureEvent, FailureKind, FailureLog,
    HostOptions, NoRejection, Policies, Policy, PolicyError, Registry, ShardHost,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::account::{
    Account, AccountEvent, Balance, Collect, Deposit, DepositAndDouble, Panic, PanicAt,
};
use crate::errand::Errand;

const SHARDS: u32 = 4;

struct Disk {
    log: Arc<MemoryLog>,
    clock: Arc<ManualClock>,
}

struct Node {
    host: ShardHost,
    caller: Arc<Caller>,
    clock: Arc<ManualClock>,
}

/// The policies of a node, carried out on a task of the test.
struct Member {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Disk {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        Self { log: Arc::new(MemoryLog::new()), clock }
    }

    async fn start(&self) -> Node {
        self.start_with(|_| {}).await
    }

    async fn start_with(&self, change: impl FnOnce(&mut HostOptions)) -> Node {
        let registry = Registry::new().entity::<Account>().entity::<Errand>();
        let mut options = HostOptions::new(registry, SHARDS);
        (options.arbiters, options.loaders) = (2, 2);
        options.clock = self.clock.clone();
        change(&mut options);
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, self.log.clone()).unwrap();
        host.connect_to_itself();
        for shard in (0..SHARDS).map(ShardId) {
            host.lead(shard, self.log.newest_term(shard).next()).await.unwrap();
        }
        let asker: Arc<dyn Asker> = Arc::new(host.clone());
        let clock: Arc<dyn Clock> = self.clock.clone();
        // Each life draws keys of its own, as a node does.
        let entropy = SeededEntropy::new(self.log.newest_term(ShardId(0)).0);
        let caller = Caller::new(asker, clock, timeout, entropy);
        Node { host, caller, clock: self.clock.clone() }
    }

    /// So long that who did not leave has no lease any more. In steps, each shorter than the patience of an ask that is under way.
    async fn outlive_leases(&self) {
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(2));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Node {
    fn bus(&self) -> Bus {
        Bus::new(Arc::clone(&self.caller), self.host.inspector(), SHARDS)
    }

    fn account(&self, id: &str) -> EntityRef<Account> {
        EntityRef::new(Arc::clone(&self.caller), id)
    }

    async fn carry_out(&self, policies: impl IntoIterator<Item = Policy>) -> Member {
        let policies: Vec<_> = policies.into_iter().collect();
        let number = policies.len();
        let policies = Policies::new(policies, self.bus(), self.host.clone()).unwrap();
        let ((begins, mut begun), (stop, stopped)) = (watch::channel(0), watch::channel(false));
        let task = tokio::spawn(policies.run(begins, stopped));
        begun.wait_for(|begun| *begun == number).await.unwrap();
        Member { task, stop }
    }

    async fn deposits(&self, accounts: u64, amount: u64) {
        for number in 0..accounts {
            self.account(&format!("a{number}")).ask(Deposit { amount }).await.unwrap();
        }
    }

    /// Waits until the balance is this, and makes sure that it stays so.
    async fn balance_becomes(&self, id: &str, expected: u64) {
        const LOOK_EVERY: Duration = Duration::from_millis(5);
        let account = self.account(id);
        let mut balance = 0;
        for _ in 0..12_000 {
            balance = account.ask(Balance {}).await.unwrap();
            if balance >= expected {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            // What was under way when the clock went past its deadline is put aside for a moment of this clock.
            self.clock.advance(LOOK_EVERY);
        }
        assert!(balance >= expected, "{id} has {balance} and gets no more, for a minute");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(account.ask(Balance {}).await, Ok(expected));
    }

    /// How far the policy is with everything, as stored.
    async fn stored(&self, policy: &Policy) -> u64 {
        let position = self.bus().position_of(&policy.subscription()).await.unwrap();
        position.0.values().map(|offset| offset.0).sum()
    }
}

impl Member {
    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }

    /// Dies between two instructions.
    async fn die(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// What goes to an account whose name begins with `a` goes to `to` as well.
fn mirror(name: &str, to: &'static str) -> Policy {
    Policy::whenever::<Account>(name, move |event, fact, then| match event {
        AccountEvent::Deposited { amount } if fact.address().id().starts_with('a') => {
            then.send::<Account, _>(to, Deposit { amount })
        }
        _ => then,
    })
}

/// Promise G2. Promise G8: events of before, of now and of after a restart each lead to their command once; nobody who was followed knows.
#[tokio::test]
async fn an_event_leads_to_its_command_once_over_restarts() {
    let disk = Disk::new();
    let node = disk.start().await;
    node.deposits(20, 1).await;
    let member = node.carry_out([mirror("sum", "sum")]).await;
    node.deposits(20, 10).await;
    node.balance_becomes("sum", 220).await;
    member.stop().await;
    node.deposits(20, 100).await;
    node.host.stop().await;

    let node = disk.start().await;
    let member = node.carry_out([mirror("sum", "sum")]).await;
    // Two events of one command lead to two commands.
    node.account("a0").ask(Collect { parts: 3 }).await.unwrap();
    node.balance_becomes("sum", 2_223).await;
    member.stop().await;
    node.host.stop().await;
}

/// Promise G2. Promise G6: a member that dies after sending and before its position is stored costs nothing: the next reads the events again and sends nothing again,
/// even where the window of keys has forgotten what was sent.
#[tokio::test]
async fn a_member_that_dies_before_it_stored_its_position_sent_once() {
    let disk = Disk::new();
    let node = disk.start_with(|options| options.limits.window_keys = 1).await;
    let policy = mirror("sum", "sum");
    let member = node.carry_out([policy.clone()]).await;
    node.deposits(30, 1).await;
    node.balance_becomes("sum", 30).await;
    member.die().await;
    disk.outlive_leases().await;
    // Whatever it had stored: nothing of it counts.
    node.bus().set_position(&policy.subscription(), &Position::default()).await.unwrap();
    let member = node.carry_out([policy.clone()]).await;
    node.deposits(1, 1_000).await;
    node.balance_becomes("sum", 1_030).await;
    let stored = async {
        while node.stored(&policy).await < 31 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stored).await.expect("the position is stored");
    node.balance_becomes("sum", 1_030).await;
    member.stop().await;
    node.host.stop().await;
}

/// Two members share the work; one dies, the other takes over, and everything is done once.
#[tokio::test]
async fn members_share_the_work_and_take_over() {
    let disk = Disk::new();
    let node = disk.start().await;
    let first = node.carry_out([mirror("sum", "sum")]).await;
    let second = node.carry_out([mirror("sum", "sum")]).await;
    for _ in 0..5 {
        node.deposits(20, 1).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    first.die().await;
    node.deposits(20, 1).await;
    disk.outlive_leases().await;
    node.balance_becomes("sum", 120).await;
    second.stop().await;
    node.host.stop().await;
}

/// A policy follows what another led to, and all of it belongs to the conversation that began it: each step is caused by the one before.
#[tokio::test]
async fn a_chain_of_policies_is_one_conversation() {
    let disk = Disk::new();
    let node = disk.start().await;
    let again = Policy::whenever::<Account>("again", |event, fact, then| match event {
        AccountEvent::Deposited { amount } if fact.address().id() == "sum" => {
            then.send::<Account, _>("end", Deposit { amount })
        }
        _ => then,
    });
    let member = node.carry_out([mirror("sum", "sum"), again]).await;
    node.account("a").ask(Deposit { amount: 7 }).await.unwrap();
    node.balance_becomes("end", 7).await;
    let mut facts =
        node.bus().subscribe(Interest::of::<Account>(), Start::Beginning).await.unwrap();
    let mut found = Vec::new();
    for _ in 0..3 {
        found.push(facts.next().await.unwrap());
    }
    found.sort_by_key(|fact| ["a", "sum", "end"].iter().position(|id| *id == fact.address().id()));
    let conversations: Vec<_> = found.iter().map(holm_runtime::bus::Fact::correlation_id).collect();
    assert_eq!(conversations, [found[0].correlation_id(); 3]);
    for pair in found.windows(2) {
        // Between the two stands the policy, in the shard of the event.
        let (cause, effect) = (&pair[0], &pair[1]);
        let between = carried(&node, cause.shard()).await;
        let carried = between.iter().find(|carried| carried.1 == cause.command_id().causes());
        assert_eq!(effect.causation_id(), carried.unwrap().0.causes());
    }
    member.stop().await;
    node.host.stop().await;
}

/// Ids and causes of what policies stored in a shard.
async fn carried(
    node: &Node,
    shard: ShardId,
) -> Vec<(holm_core::CommandId, holm_core::CausationId)> {
    let interest = Interest::everything().entity_type("holm-policy");
    let end = node.host.inspector().tail(shard, None).await.unwrap();
    let mut found = Vec::new();
    for offset in 1..=end.0 {
        let facts = node.bus().facts_at(shard, Offset(offset), &interest).await.unwrap();
        found.extend(facts.iter().map(|fact| (fact.command_id(), fact.causation_id())));
    }
    found
}

/// Law U5: who begins now does nothing about what was before, not even after a restart.
#[tokio::test]
async fn from_now_on_leaves_the_past_alone() {
    let disk = Disk::new();
    let node = disk.start().await;
    node.deposits(10, 1).await;
    let member = node.carry_out([mirror("sum", "sum").from_now_on()]).await;
    node.deposits(10, 10).await;
    node.balance_becomes("sum", 100).await;
    member.die().await;
    disk.outlive_leases().await;
    node.deposits(10, 100).await;
    let member = node.carry_out([mirror("sum", "sum").from_now_on()]).await;
    node.balance_becomes("sum", 1_100).await;
    member.stop().await;
    node.host.stop().await;
}

/// Promise G7: an event on which a policy fails is left out and told of; what comes after it is done.
#[tokio::test]
async fn an_event_that_a_policy_fails_on_is_left_out_and_told_of() {
    let disk = Disk::new();
    let node = disk.start().await;
    let mut failures =
        node.bus().subscribe(Interest::of::<FailureLog>(), Start::Beginning).await.unwrap();
    let picky = Policy::whenever::<Account>("picky", |event, fact, then| match event {
        AccountEvent::Deposited { amount: 13 } => panic!("not that one"),
        AccountEvent::Deposited { amount: 14 } => {
            then.send::<Account, _>("", Deposit { amount: 1 })
        }
        AccountEvent::Deposited { amount: 15 } => (0..65)
            .fold(then, |then, _| then.send::<Account, _>("sum", Deposit { amount: 1_000_000 })),
        AccountEvent::Deposited { amount } if fact.address().id() == "a" => {
            then.send::<Account, _>("sum", Deposit { amount })
        }
        _ => then,
    });
    let member = node.carry_out([picky]).await;
    for (amount, reason) in [(13, "not that one"), (14, "must not be empty"), (15, "64")] {
        node.account("a").ask(Deposit { amount }).await.unwrap();
        let fact = failures.next().await.unwrap();
        let FailureEvent::Failed { fact } = fact.event::<FailureLog>().unwrap() else {
            panic!("{fact:?}")
        };
        assert_eq!(fact.kind, FailureKind::PolicyFailed);
        let said = fact.reason();
        assert!(said.starts_with("policy `picky`: `Deposited` of account/a (shard "), "{said}");
        assert!(said.contains("was left out") && said.contains(reason), "{said}");
    }
    node.account("a").ask(Deposit { amount: 5 }).await.unwrap();
    node.balance_becomes("sum", 5).await;
    member.stop().await;
    node.host.stop().await;
}

/// Promise G7: a target that fails each time is given up by the outbox, as with every reaction; what is for others goes on, and so does what comes after it.
#[tokio::test]
async fn a_target_that_fails_holds_nobody_up() {
    let disk = Disk::new();
    let node = disk.start().await;
    let policy = Policy::whenever::<Account>("both", |event, fact, then| match event {
        AccountEvent::Deposited { amount } if fact.address().id().starts_with('a') => then
            .send::<Account, _>("broken", Panic { at: PanicAt::Handle })
            .send::<Account, _>("sum", Deposit { amount }),
        _ => then,
    });
    let member = node.carry_out([policy]).await;
    node.deposits(10, 1).await;
    node.balance_becomes("sum", 10).await;
    member.stop().await;
    node.host.stop().await;
}

/// Promise G8: an event that this version of the program cannot read is not left out. Its shard waits for a version that can, the others go on.
#[tokio::test]
async fn an_event_of_a_later_version_is_waited_at() {
    let disk = Disk::new();
    let node = disk.start().await;
    let shard = |id: &str| shard_of(&EntityAddress::new("account", id).unwrap(), SHARDS);
    let elsewhere = (0..).map(|number| format!("a{number}"));
    let elsewhere = elsewhere.into_iter().find(|id| shard(id) != shard("a")).unwrap();
    node.account("a").ask(DepositAndDouble { amount: 1 }).await.unwrap();
    node.account(&elsewhere).ask(Deposit { amount: 10 }).await.unwrap();
    // This version knows no doubling.
    let old = Policy::whenever::<Earlier>("sum", |event, fact, then| match event {
        EarlierEvent::Deposited { amount } if fact.address().id().starts_with('a') => {
            then.send::<Account, _>("sum", Deposit { amount })
        }
        EarlierEvent::Deposited { .. } => then,
    });
    let mut failures =
        node.bus().subscribe(Interest::of::<FailureLog>(), Start::Beginning).await.unwrap();
    let member = node.carry_out([old]).await;
    node.balance_becomes("sum", 11).await;
    node.account("a").ask(Deposit { amount: 100 }).await.unwrap();
    let told = failures.next().await.unwrap();
    let FailureEvent::Failed { fact } = told.event::<FailureLog>().unwrap() else { panic!() };
    assert!(fact.reason().contains("is waited at"), "{}", fact.reason());
    node.balance_becomes("sum", 11).await;
    member.stop().await;
    let member = node.carry_out([mirror("sum", "sum")]).await;
    node.balance_becomes("sum", 111).await;
    let more = tokio::time::timeout(Duration::from_millis(50), failures.next()).await;
    assert!(more.is_err(), "told once: {more:?}");
    member.stop().await;
    node.host.stop().await;
}

/// The account as an earlier version of the program knew it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Earlier {}

#[derive(Debug, Event, Serialize, Deserialize)]
enum EarlierEvent {
    Deposited { amount: u64 },
}

impl Entity for Earlier {
    const TYPE: &'static str = "account";
    type Event = EarlierEvent;
    type Rejection = NoRejection;

    fn apply(&mut self, _: &EarlierEvent) {}

    fn commands(_: &mut Commands<Self>) {}
}

#[test]
fn names_that_are_none_or_taken_are_refused() {
    for name in ["", "a\nb", &"x".repeat(129)] {
        let refused = Policy::check(&[mirror(name, "sum")]);
        assert!(matches!(refused, Err(PolicyError::Name { .. })), "{name:?}: {refused:?}");
    }
    let twice = Policy::check(&[mirror("a", "x"), mirror("b", "x"), mirror("a", "y")]);
    assert_eq!(twice, Err(PolicyError::Twice { name: "a".into() }));
}
