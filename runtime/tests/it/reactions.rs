//! Reactions and timers, delivered by hosts over a log in memory that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use holm_core::{
    AskError, Clock, CommandEnvelope, CorrelationId, IdempotencyKey, Limit, ManualClock, Outcome,
    SeededEntropy, ShardId, SystemClock, Timestamp, shard_of,
};
use holm_persistence::{MemoryLog, Pending, ShardLog};
use holm_runtime::bus::{self, Bus};
use holm_runtime::{
    AskOptions, Asker, Asking, Caller, Command as _, Entity as _, EntityError, EntityRef,
    FailureFilter, FailureKind, FailureRow, Failures, HostOptions, NotDone, Registry, Severity,
    ShardHost, Subject,
};

use crate::account::{Account, Balance, Deposit, Panic, Refused};
use crate::errand::{ANNOUNCED, Errand, Seen, Start, Told};

const SHARDS: u32 = 4;

/// A log in memory that outlives the hosts over it.
struct Disk {
    log: Arc<MemoryLog>,
    clock: Arc<dyn Clock>,
}

struct Node {
    host: ShardHost,
    caller: Arc<Caller>,
}

impl Disk {
    fn new() -> Self {
        Self { log: Arc::new(MemoryLog::new()), clock: Arc::new(SystemClock) }
    }

    async fn start(&self) -> Node {
        self.start_with(|_| {}).await
    }

    async fn start_with(&self, change: impl FnOnce(&mut HostOptions)) -> Node {
        self.start_connected(true, change).await
    }

    async fn start_connected(&self, connect: bool, change: impl FnOnce(&mut HostOptions)) -> Node {
        let registry = Registry::new().entity::<Account>().entity::<Errand>();
        let mut options = HostOptions::new(registry, SHARDS);
        (options.arbiters, options.loaders) = (2, 2);
        options.clock = self.clock.clone();
        options.tick_interval = Duration::from_millis(10);
        // Records are counted here, and a machine that stalls for a moment would add the fact of a slow handler.
        options.limits.slow_handler = Duration::from_secs(3_600);
        change(&mut options);
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, self.log.clone()).unwrap();
        if connect {
            host.connect_to_itself();
        }
        let asker: Arc<dyn Asker> = Arc::new(host.clone());
        for shard in (0..SHARDS).map(ShardId) {
            host.lead(shard, self.log.newest_term(shard).next()).await.unwrap();
        }
        let caller = Caller::new(asker, self.clock.clone(), timeout, SeededEntropy::new(1));
        Node { host, caller }
    }

    fn records(&self) -> u64 {
        let shards = (0..SHARDS).map(ShardId);
        shards.map(|shard| self.log.last_offset(shard).unwrap().get()).sum()
    }
}

impl Node {
    fn account(&self, id: &str) -> EntityRef<Account> {
        EntityRef::new(Arc::clone(&self.caller), id)
    }

    fn errand(&self, id: &str) -> EntityRef<Errand> {
        EntityRef::new(Arc::clone(&self.caller), id)
    }

    /// What the errand was told, as soon as it was told so often.
    async fn told(&self, id: &str, times: usize) -> Vec<Told> {
        loop {
            let told = self.errand(id).ask(Seen {}).await.unwrap();
            if told.len() >= times {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The failure of a reaction as it stands in the log, as soon as it does.
    async fn undelivered(&self) -> FailureRow {
        let failures = Failures::new(Arc::clone(&self.caller));
        let filter = FailureFilter::all().kind(FailureKind::ReactionUndelivered);
        loop {
            if let Some(row) = failures.list(&filter).await.unwrap().rows.pop() {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn crash(self) {
        self.host.stop().await;
    }
}

/// Promise G6: what a command sends arrives, and the answer comes back typed.
#[tokio::test]
async fn an_answer_comes_back() {
    let disk = Disk::new();
    let node = disk.start().await;
    node.account("a").ask(Deposit { amount: 10 }).await.unwrap();
    node.errand("e").ask(Start::withdrawing("a", 4)).await.unwrap();
    assert_eq!(node.told("e", 1).await, [Told::Answer("a".into(), Ok(6))]);
    assert_eq!(node.account("a").ask(Balance {}).await, Ok(6));
    node.errand("e").ask(Start::withdrawing("a", 7)).await.unwrap();
    let refused = NotDone::Rejected(Refused::InsufficientFunds { balance: 6 });
    assert_eq!(node.told("e", 2).await[1], Told::Answer("a".into(), Err(refused)));
    node.crash().await;
}

/// Promise G6. Promise G2: what was stored before a crash is delivered by the next host over the same log, once.
#[tokio::test]
async fn a_reaction_survives_the_crash_of_its_node() {
    let disk = Disk::new();
    // Nobody delivers here: the host knows no way to its entities.
    let node = disk.start_connected(false, |_| {}).await;
    node.account("a").ask(Deposit { amount: 100 }).await.unwrap();
    node.errand("e").ask(Start::withdrawing("a", 1)).await.unwrap();
    node.crash().await;
    for _ in 0..3 {
        let node = disk.start().await;
        assert_eq!(node.told("e", 1).await, [Told::Answer("a".into(), Ok(99))]);
        assert_eq!(node.account("a").ask(Balance {}).await, Ok(99));
        node.crash().await;
    }
}

/// Promise G6. Promise G2: what an effect publishes is there once, in order and in its conversation, whatever crashes between storing and publishing.
#[tokio::test]
async fn what_an_effect_publishes_is_published_once() {
    let disk = Disk::new();
    // Nobody delivers here: the host knows no way to its entities.
    let node = disk.start_connected(false, |_| {}).await;
    for (texts, conversation) in [(&["one", "two"][..], 21), (&["three"], 22)] {
        let correlation = Some(CorrelationId(conversation));
        let options = AskOptions { correlation, ..AskOptions::default() };
        node.errand("e").ask_with(Start::announcing(texts), options).await.unwrap();
    }
    node.crash().await;
    for _ in 0..3 {
        let node = disk.start().await;
        let topic = ANNOUNCED.on(&Bus::new(node.caller.clone(), node.host.inspector(), SHARDS));
        let mut facts = topic.subscribe(bus::Start::Beginning).await.unwrap();
        for (expected, conversation) in [("one", 21), ("two", 21), ("three", 22)] {
            let fact = facts.next().await.unwrap();
            assert_eq!(topic.read(&fact).unwrap(), expected);
            assert_eq!(fact.correlation_id(), CorrelationId(conversation));
        }
        let more = tokio::time::timeout(Duration::from_millis(100), facts.next()).await;
        assert!(more.is_err(), "{more:?}");
        node.crash().await;
    }
}

/// Promise G9: an idle shard writes nothing.
#[tokio::test]
async fn nothing_is_stored_while_nothing_happens() {
    let disk = Disk::new();
    let node = disk.start().await;
    node.account("a").ask(Deposit { amount: 10 }).await.unwrap();
    node.errand("e").ask(Start::withdrawing("a", 4)).await.unwrap();
    node.told("e", 1).await;
    // A step follows within 100 ms, and nothing after it.
    let mut before = 0;
    while disk.records() != before {
        before = disk.records();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(before, 6, "deposit, start, withdrawal, answer, the claim and one step");
    node.crash().await;
}

/// A timer rings at its time by the node's clock, also when the node was down then, and once.
#[tokio::test]
async fn a_timer_survives_a_restart() {
    let start = Timestamp::from_millis(1_000_000);
    let clock = Arc::new(ManualClock::new(start));
    let disk = Disk { clock: clock.clone(), ..Disk::new() };
    let node = disk.start().await;
    node.errand("e").ask(Start::alarm(Duration::from_secs(60))).await.unwrap();
    node.errand("f").ask(Start::alarm(Duration::from_secs(5))).await.unwrap();
    clock.advance(Duration::from_secs(10));
    assert_eq!(node.told("f", 1).await, [Told::Alarm(start.plus(Duration::from_secs(10)))]);
    assert_eq!(node.errand("e").ask(Seen {}).await.unwrap(), []);
    // Long enough for the timer to be in the stored progress and for its record to be behind it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.crash().await;
    let node = disk.start().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(node.errand("e").ask(Seen {}).await.unwrap(), []);
    node.crash().await;
    clock.advance(Duration::from_secs(3_600));
    for _ in 0..2 {
        let node = disk.start().await;
        assert_eq!(node.told("e", 1).await, [Told::Alarm(start.plus(Duration::from_secs(3_610)))]);
        assert_eq!(node.told("f", 1).await.len(), 1);
        node.crash().await;
    }
}

/// Promise G7: an entity that fails each time is given up after so many tries; the sender hears that surely nothing happened, and the failure is
/// counted. What is for others goes on meanwhile.
#[tokio::test]
async fn what_fails_each_time_is_given_up() {
    let disk = Disk::new();
    let node = disk.start_with(|options| options.limits.reaction_tries = 3).await;
    node.account("a").ask(Deposit { amount: 10 }).await.unwrap();
    let mut start = Start::panicking("b");
    start.withdraw = vec![("a".into(), 1)];
    node.errand("e").ask(start).await.unwrap();
    assert_eq!(node.told("e", 1).await, [Told::Answer("a".into(), Ok(9))]);
    let told = node.told("e", 2).await;
    let Told::Answer(by, Err(NotDone::Failed { outcome, reason })) = &told[1] else {
        panic!("{told:?}")
    };
    assert_eq!((&**by, *outcome), ("b", Outcome::NotApplied));
    assert!(reason.starts_with("given up after 3 tries"), "{reason}");
    node.undelivered().await;
    node.crash().await;

    // Read by a host that saw none of it: the fact is stored.
    let node = disk.start().await;
    let undelivered = node.undelivered().await;
    assert_eq!(undelivered.subject, Subject::Entity("account/b".parse().unwrap()));
    assert_eq!((undelivered.count, undelivered.severity), (1, Severity::Error));
    assert!(undelivered.causes[0].starts_with("3 tries failed"), "{undelivered:?}");
    assert_eq!(&*undelivered.command.as_ref().unwrap().name, Panic::NAME);
    assert_eq!(undelivered.shard, Some(shard_of(node.errand("e").address().unwrap(), SHARDS)));
    assert!(!undelivered.is_open(), "its sender was told; nobody can order it again");
    node.crash().await;
}

/// Promise G2. Promise G6: whatever write is the last one before the node dies, and whether or not it was acknowledged, the errand is done once and its sender hears
/// of it once.
#[tokio::test]
async fn a_crash_between_any_two_steps_changes_nothing() {
    // Five writes: start, claim, withdrawal, answer, and the step of the outbox.
    for last_write in 1..=6 {
        let disk = Disk::new();
        let node = disk.start().await;
        node.account("a").ask(Deposit { amount: 10 }).await.unwrap();
        disk.log.hold();
        let errand = node.errand("e");
        let start = || Start::withdrawing("a", 4);
        let key = || AskOptions::with_key(IdempotencyKey::new("once").unwrap());
        let first = tokio::spawn(async move { errand.ask_with(start(), key()).await });
        for _ in 1..last_write {
            // Whatever is written next; nothing may come any more.
            for _ in 0..100 {
                if disk.log.held() > 0 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            disk.log.release(1);
        }
        node.crash().await;
        disk.log.release_all();
        drop(first.await);
        for _ in 0..2 {
            let node = disk.start().await;
            node.errand("e").ask_with(start(), key()).await.unwrap();
            assert_eq!(node.told("e", 1).await, [Told::Answer("a".into(), Ok(6))], "{last_write}");
            assert_eq!(node.account("a").ask(Balance {}).await, Ok(6), "{last_write}");
            node.crash().await;
        }
    }
}

/// Loses the first answer to a withdrawal, and keeps the receiver so busy meanwhile that its key is forgotten.
struct Forgetful {
    host: ShardHost,
    busy: EntityRef<Account>,
    lost: Arc<AtomicBool>,
}

impl Asker for Forgetful {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        let withdrawal = envelope.address.entity_type() == Account::TYPE;
        let first = withdrawal && !self.lost.swap(true, Relaxed);
        let answer = self.host.ask(envelope);
        if !first {
            return answer;
        }
        let busy = self.busy.clone();
        let pending: Pending<_> = Box::pin(async move {
            answer.await.unwrap();
            for _ in 0..8 {
                busy.ask(Deposit { amount: 1 }).await.unwrap();
            }
            Err(AskError::Interrupted { reason: "the answer is lost".into() })
        });
        pending.into()
    }
}

/// Promise G2. Promise G6: a delivery whose answer was lost takes effect once, also when its entity took more commands meanwhile than it remembers keys.
#[tokio::test]
async fn a_delivery_is_made_once_however_much_came_in_between() {
    let disk = Disk::new();
    let node = disk.start_connected(false, |options| options.limits.window_keys = 4).await;
    node.account("a").ask(Deposit { amount: 100 }).await.unwrap();
    let lost = Arc::new(AtomicBool::new(false));
    let (host, busy) = (node.host.clone(), node.account("a"));
    let forgetful: Arc<dyn Asker> = Arc::new(Forgetful { host, busy, lost: Arc::clone(&lost) });
    node.host.connect(forgetful);
    node.errand("e").ask(Start::withdrawing("a", 10)).await.unwrap();
    assert_eq!(
        node.told("e", 1).await,
        [Told::Answer("a".into(), Ok(90))],
        "the answer of the first try"
    );
    assert!(lost.load(Relaxed));
    assert_eq!(node.account("a").ask(Balance {}).await, Ok(98));
    node.crash().await;
}

/// Promise G9: a shard with a thousand reactions for one entity and for many delivers them all, a few at a time.
#[tokio::test]
async fn more_than_can_be_under_way_waits_in_the_log() {
    let disk = Disk::new();
    let node = disk
        .start_with(|options| {
            (options.limits.reactions_in_flight, options.limits.reactions_open) = (4, 16);
        })
        .await;
    for account in 0..10 {
        node.account(&format!("a{account}")).ask(Deposit { amount: 1_000 }).await.unwrap();
    }
    for _ in 0..20 {
        let withdraw = (0..60).map(|number| (format!("a{}", number % 10), 1)).collect();
        node.errand("e").ask(Start { withdraw, ..Start::default() }).await.unwrap();
    }
    assert_eq!(node.told("e", 1_200).await.len(), 1_200);
    for account in 0..10 {
        assert_eq!(node.account(&format!("a{account}")).ask(Balance {}).await, Ok(880));
    }
    node.crash().await;
}

/// Promise G9: one command sends no more than its limit, and what is refused changes nothing and sends nothing.
#[tokio::test]
async fn one_command_sends_no_more_than_its_limit() {
    let disk = Disk::new();
    let node = disk.start().await;
    let withdraw = vec![("a".to_owned(), 1); 65];
    let refused = node.errand("e").ask(Start { withdraw, ..Start::default() }).await.unwrap_err();
    let (limit, allowed, actual) = (Limit::ReactionsPerCommand, 64, 65);
    let too_large = AskError::TooLarge { limit, allowed, actual };
    assert_eq!(refused, EntityError::Failed(too_large));
    let nobody = node.errand("e").ask(Start::withdrawing("", 1)).await.unwrap_err();
    assert!(nobody.to_string().contains("must not be empty"), "{nobody}");
    assert_eq!(disk.records(), 0);
    node.crash().await;
}

/// An answer cannot be forged from outside, and is not offered there.
#[test]
fn what_is_internal_stays_inside() {
    let registry = Registry::new().entity::<Account>().entity::<Errand>();
    let body = serde_json::json!({});
    for command in ["ring", "account.withdraw.answered"] {
        let refused = registry.command_from_json("errand", command, &body).unwrap_err();
        assert!(refused.to_string().contains("never from outside"), "{refused}");
    }
    let types = registry.entity_types();
    let errand = types.iter().find(|it| it.name == "errand").unwrap();
    let names: Vec<_> = errand.commands.iter().map(|command| &command.name[..]).collect();
    assert_eq!(names, ["start", "seen"]);
}
