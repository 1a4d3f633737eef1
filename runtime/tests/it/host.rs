//! The host: actors, arbiters and loaders over a log in memory.

mod silence;

use std::sync::Arc;
use std::time::Duration;

use holm_core::{
    AskError, Clock, EntityAddress, IdempotencyKey, Limit, Offset, Outcome, SeededEntropy,
    SequenceNumber, ShardId, SystemClock, Term, Verdict, shard_of,
};
use holm_persistence::{MemoryLog, OpenError, ShardLog as _, decode, encode};
use holm_runtime::{
    AskOptions, Asker, Asking, Caller, Command as _, EntityError, EntityRef, HostOptions,
    ShardHost, WriteFailurePolicy, together,
};

use crate::account::{
    Account, Balance, Deposit, Nothing, Panic, PanicAt, Refused, Withdraw, registry,
};

const SHARDS: u32 = 4;

struct Node {
    host: ShardHost,
    log: Arc<MemoryLog>,
    caller: Arc<Caller>,
}

impl Node {
    async fn start(change: impl FnOnce(&mut HostOptions)) -> Self {
        let mut options = HostOptions::new(registry(), SHARDS);
        (options.arbiters, options.loaders) = (2, 2);
        change(&mut options);
        let log = Arc::new(MemoryLog::new());
        let timeout = options.limits.ask_timeout;
        let host = ShardHost::start(options, log.clone()).unwrap();
        for shard in 0..SHARDS {
            host.lead(ShardId(shard), Term(1)).await.unwrap();
        }
        let asker: Arc<dyn Asker> = Arc::new(host.clone());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let caller = Caller::new(asker, clock, timeout, SeededEntropy::new(1));
        Self { host, log, caller }
    }

    fn account(&self, id: &str) -> EntityRef<Account> {
        EntityRef::new(Arc::clone(&self.caller), id)
    }

    async fn stop(self) {
        self.host.stop().await;
    }
}

fn shard(id: &str) -> ShardId {
    shard_of(&EntityAddress::new("account", id).unwrap(), SHARDS)
}

/// The way of a command from a typed reference and back, from a plain tokio runtime.
#[tokio::test]
async fn a_reference_asks_and_is_answered() {
    let node = Node::start(|_| {}).await;
    let alice = node.account("alice");
    assert_eq!(alice.ask(Deposit { amount: 100 }).await, Ok(100));
    let refused = alice.ask(Withdraw { amount: 101 }).await;
    assert_eq!(refused, Err(EntityError::Rejected(Refused::InsufficientFunds { balance: 100 })));
    let key = IdempotencyKey::new("once").unwrap();
    let options = || AskOptions::with_key(key.clone());
    let first = alice.ask_with(Withdraw { amount: 60 }, options()).await.unwrap();
    let again = alice.ask_with(Withdraw { amount: 60 }, options()).await.unwrap();
    assert_eq!((first.value, again.value, again.replayed), (40, 40, true));
    assert_eq!(
        (first.sequence, first.shard, first.offset),
        (again.sequence, shard("alice"), again.offset)
    );
    alice.tell(Deposit { amount: 2 }).unwrap();
    assert_eq!(alice.ask(Balance {}).await, Ok(42));
    let malformed = node.account("").ask(Balance {}).await;
    assert!(matches!(malformed, Err(EntityError::InvalidAddress(_))));
    node.stop().await;
}

/// Asks again for as long as the entity says that it restarts, after the time that it names.
async fn patiently<R, E, F>(mut ask: impl FnMut() -> F) -> Result<R, EntityError<E>>
where
    F: Future<Output = Result<R, EntityError<E>>>,
{
    loop {
        match ask().await {
            Err(EntityError::Failed(AskError::Restarting { retry_after, .. })) => {
                tokio::time::sleep(retry_after).await;
            }
            other => return other,
        }
    }
}

/// Promise G7: a panic harms one command; the mailbox and the other entities of the shard go on.
#[tokio::test]
async fn a_panic_leaves_the_shard_alone() {
    let node = Node::start(|options| options.shards = SHARDS).await;
    let (poisoned, neighbour) = (node.account("a"), node.account("b"));
    poisoned.ask(Deposit { amount: 1 }).await.unwrap();
    for at in [PanicAt::Handle, PanicAt::Apply, PanicAt::Reply] {
        let (failed, fine) = tokio::join!(
            patiently(|| poisoned.ask(Panic { at })),
            neighbour.ask(Deposit { amount: 1 })
        );
        assert!(
            matches!(failed, Err(EntityError::Failed(AskError::EntityFailed { .. }))),
            "{failed:?}"
        );
        fine.unwrap();
    }
    assert_eq!(patiently(|| poisoned.ask(Balance {})).await, Ok(1));
    assert_eq!(neighbour.ask(Balance {}).await, Ok(3));
    node.stop().await;
}

/// Promise G9: a full mailbox is an error that names its limit, and nothing hangs.
#[tokio::test]
async fn a_full_mailbox_says_so() {
    let node = Node::start(|options| {
        options.limits.mailbox_capacity = 64;
        (options.limits.batch_bytes, options.limits.batches_in_flight) = (500, 1);
    })
    .await;
    node.account("a").ask(Nothing {}).await.unwrap();
    node.log.hold();
    let asks: Vec<_> = (0..1_000)
        .map(|_| {
            let account = node.account("a");
            tokio::spawn(async move { account.ask(Deposit { amount: 1 }).await })
        })
        .collect();
    // The log stands still, so only refusals can end: wait for one of them.
    let mut asks: futures::stream::FuturesUnordered<_> = asks.into_iter().collect();
    let first = futures::StreamExt::next(&mut asks).await.unwrap().unwrap();
    let full = AskError::Overloaded { limit: Limit::MailboxCapacity, allowed: 64 };
    assert_eq!(first, Err(EntityError::Failed(full.clone())));
    node.log.release_all();
    let mut accepted = 0;
    while let Some(answer) = futures::StreamExt::next(&mut asks).await {
        match answer.unwrap() {
            Ok(_) => accepted += 1,
            Err(error) => assert_eq!(error, EntityError::Failed(full.clone())),
        }
    }
    assert!(accepted > 0);
    assert_eq!(node.account("a").ask(Balance {}).await, Ok(accepted));
    node.stop().await;
}

/// Promise G9: callers of a shard whose log stands still hear so at their deadline, also while the mailbox is shut.
#[tokio::test]
async fn deadlines_are_kept_while_the_log_stands_still() {
    let node = Node::start(|options| {
        options.tick_interval = Duration::from_millis(5);
        (options.limits.batch_bytes, options.limits.batches_in_flight) = (500, 1);
    })
    .await;
    node.account("a").ask(Nothing {}).await.unwrap();
    node.log.hold();
    let deadline = SystemClock.now().plus(Duration::from_millis(50));
    let (account, options) =
        (node.account("a"), || AskOptions { deadline: Some(deadline), ..AskOptions::default() });
    let asks = (0..40).map(|_| account.ask_with(Deposit { amount: 1 }, options()));
    let answers = futures::future::join_all(asks).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(matches!(error, EntityError::Failed(AskError::DeadlinePassed { .. })), "{error}");
    }
    let parked = node.host.stats().total().in_flight;
    assert!(parked < 40, "the engine took no more than its log could: {parked}");
    node.log.release_all();
    node.stop().await;
}

/// Promise G1. Promise G2: after a failed write the shard opens itself again, and retries with the same key heal what was unknown.
#[tokio::test]
async fn a_single_node_opens_the_shard_again() {
    let node = Node::start(|options| {
        options.on_write_failure = WriteFailurePolicy::Reopen {
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(10),
        };
    })
    .await;
    let alice = node.account("alice");
    alice.ask(Deposit { amount: 1 }).await.unwrap();
    for lost in [true, false] {
        if lost {
            node.log.fail_next_append(shard("alice"));
        } else {
            node.log.lose_next_acknowledgement(shard("alice"));
        }
        let key = IdempotencyKey::new(if lost { "k1" } else { "k2" }).unwrap();
        let ask = || alice.ask_with(Deposit { amount: 1 }, AskOptions::with_key(key.clone()));
        let error = ask().await.unwrap_err();
        assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        let retried = loop {
            match ask().await {
                Ok(reply) => break reply,
                Err(EntityError::Failed(AskError::Unavailable { .. })) => {
                    tokio::task::yield_now().await
                }
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(retried.replayed, !lost);
    }
    assert_eq!(alice.ask(Balance {}).await, Ok(3));
    assert!(node.log.newest_term(shard("alice")) > Term(1));
    node.stop().await;
}

/// In a cluster the host does not open by itself: it steps down and says so.
#[tokio::test]
async fn a_cluster_node_steps_down() {
    let (lost, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let node = Node::start(|options| {
        options.on_write_failure = WriteFailurePolicy::StepDown(Arc::new(move |shard, term, _| {
            lost.send((shard, term)).unwrap();
        }));
    })
    .await;
    node.account("alice").ask(Deposit { amount: 1 }).await.unwrap();
    node.log.fail_next_append(shard("alice"));
    node.account("alice").ask(Deposit { amount: 1 }).await.unwrap_err();
    assert_eq!(heard.recv().await, Some((shard("alice"), Term(1))));
    assert!(!node.host.is_leading(shard("alice")));
    let moved = node.account("alice").ask(Balance {}).await;
    assert!(matches!(moved, Err(EntityError::Failed(AskError::Moved { .. }))), "{moved:?}");
    node.host.lead(shard("alice"), Term(2)).await.unwrap();
    assert_eq!(node.account("alice").ask(Balance {}).await, Ok(1));
    node.stop().await;
}

/// Draining answers everything that was begun; afterwards the shard is led nowhere here. Deposing does not wait.
#[tokio::test]
async fn drain_and_depose_end_a_leadership() {
    let node = Node::start(|_| {}).await;
    let (alice, at) = (node.account("alice"), shard("alice"));
    alice.ask(Deposit { amount: 1 }).await.unwrap();
    node.log.hold();
    let begun = tokio::spawn({
        let alice = alice.clone();
        async move { alice.ask(Deposit { amount: 1 }).await }
    });
    while node.log.held() == 0 {
        tokio::task::yield_now().await;
    }
    let drained = node.host.drain(at);
    node.log.release_all();
    drained.await;
    assert_eq!(begun.await.unwrap(), Ok(2));
    assert!(!node.host.is_leading(at));
    let fenced = node.host.lead(at, Term(1)).await;
    assert!(matches!(fenced, Err(OpenError::Fenced { .. })), "{fenced:?}");
    node.host.lead(at, Term(5)).await.unwrap();
    node.log.hold();
    let begun = tokio::spawn({
        let alice = alice.clone();
        async move { alice.ask(Deposit { amount: 1 }).await }
    });
    while node.log.held() == 0 {
        tokio::task::yield_now().await;
    }
    node.host.depose(at);
    assert_eq!(begun.await.unwrap().unwrap_err().outcome(), Outcome::Unknown);
    node.stop().await;
}

/// Several hosts live in one process, and a stopped one leaves its callers with an error and no thread behind.
#[tokio::test]
async fn hosts_do_not_share_anything() {
    let (one, two) = (Node::start(|_| {}).await, Node::start(|_| {}).await);
    one.account("alice").ask(Deposit { amount: 1 }).await.unwrap();
    assert_eq!(two.account("alice").ask(Balance {}).await, Ok(0));
    let left = one.account("alice");
    one.stop().await;
    let error = left.ask(Balance {}).await.unwrap_err();
    assert!(matches!(error, EntityError::Failed(_)), "{error}");
    assert_eq!(two.account("alice").ask(Deposit { amount: 2 }).await, Ok(2));
    two.stop().await;
}

/// Histories and batches are read off the log, and the registry shows them as JSON.
#[tokio::test]
async fn the_inspector_reads_what_is_stored() {
    let node = Node::start(|_| {}).await;
    let alice = node.account("alice");
    for amount in [1, 2, 3] {
        alice.ask(Deposit { amount }).await.unwrap();
    }
    let inspector = node.host.inspector();
    let address: EntityAddress = "account/alice".parse().unwrap();
    let page = inspector.history(address, SequenceNumber(1), 10).await.unwrap();
    assert_eq!((page.records.len(), page.highest, page.more), (2, SequenceNumber(3), false));
    let registry = registry();
    let stored = page.stored_records();
    let record = stored[0].decode().unwrap();
    let event = registry.event_to_json("account", &record.events[0]).unwrap();
    assert_eq!(event, serde_json::json!({ "Deposited": { "amount": 2 } }));
    let batches =
        inspector.batches(shard("alice"), holm_core::Offset(1), usize::MAX).await.unwrap();
    assert!(!batches.is_empty());
    // A shard publishes its counters behind the answers of a turn.
    let counted = async {
        loop {
            let stats = node.host.stats().total();
            if (stats.commands, stats.events, stats.live_entities) == (3, 3, 1) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted).await.expect("all is counted");
    node.stop().await;
}

/// Thousands of callers over many entities at once, through every thread there is: all are answered, and the sum is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_over_many_entities() {
    let node = Node::start(|options| options.limits.live_entities = 40).await;
    let callers: Vec<_> = (0..64u64)
        .map(|caller| {
            let accounts: Vec<_> = (0..300).map(|n| node.account(&format!("e{n}"))).collect();
            tokio::spawn(async move {
                for step in 0..200u64 {
                    let account = &accounts[((caller * 31 + step * 17) % 300) as usize];
                    account.ask(Deposit { amount: 1 }).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let mut sum = 0;
    for n in 0..300 {
        sum += node.account(&format!("e{n}")).ask(Balance {}).await.unwrap();
    }
    let stats = node.host.stats().total();
    assert_eq!((sum, stats.events), (64 * 200, 64 * 200));
    assert!(stats.live_entities <= 160 && stats.passivations > 0);
    node.stop().await;
}

/// Work beside entities: on the thread of their shard, contained as a handler is, and over when the host is.
#[tokio::test]
async fn callers_can_run_near_what_they_ask() {
    let node = Node::start(|_| {}).await;
    let thread_of = async |id: &str| {
        let account = node.account(id);
        let near = account.address().unwrap().clone();
        let work = async move {
            assert_eq!(account.ask(Deposit { amount: 1 }).await, Ok(1));
            assert_eq!(account.ask(Deposit { amount: 2 }).await, Ok(3));
            std::thread::current().id()
        };
        let thread = node.host.spawn_near(&near, work).await;
        (shard(id), thread.expect("it ended well"))
    };
    let mut threads = std::collections::HashMap::new();
    for nth in 0..20 {
        let (shard, thread) = thread_of(&format!("near-{nth}")).await;
        assert_eq!(*threads.entry(shard.0 % 2).or_insert(thread), thread, "one for each arbiter");
    }
    assert_eq!(threads.len(), 2);
    assert_ne!(threads[&0], threads[&1]);
    assert!(!threads.values().any(|thread| *thread == std::thread::current().id()));

    let near = EntityAddress::new("account", "near-0").unwrap();
    let panicked: Option<()> = node.host.spawn_near(&near, async { panic!("told") }).await;
    assert_eq!(panicked, None);
    assert_eq!(node.account("near-0").ask(Balance {}).await, Ok(3), "the thread goes on");

    let host = node.host.clone();
    node.stop().await;
    assert_eq!(host.spawn_near(&near, async {}).await, None, "there is no thread any more");
}

impl Node {
    /// Deposits of 1 that are on their way when this returns.
    fn deposits(&self, id: &str, count: usize) -> Vec<Asking> {
        let address = EntityAddress::new("account", id).unwrap();
        let payload = encode(&Deposit { amount: 1 }).unwrap();
        let envelope = |_| {
            let (address, payload) = (address.clone(), payload.clone());
            self.caller.envelope(address, Deposit::NAME, payload, AskOptions::default())
        };
        (0..count).map(envelope).map(|envelope| self.host.ask(envelope)).collect()
    }
}

/// What came together is handled in one turn: one batch, in order.
#[tokio::test]
async fn commands_that_come_together_share_a_batch() {
    let node = Node::start(|_| {}).await;
    let asked = together(|| {
        let first = node.deposits("ann", 20);
        // Inside another it is the outer one that hands over.
        first.into_iter().chain(together(|| node.deposits("ann", 20))).collect::<Vec<_>>()
    });
    let mut balances = Vec::new();
    for answer in asked {
        let Verdict::Accepted(reply) = answer.await.unwrap().verdict else { panic!("refused") };
        balances.push(decode::<u64>(&reply).unwrap());
    }
    assert_eq!(balances, (1..=40).collect::<Vec<_>>());
    let batches = node.log.read(shard("ann"), Offset(1), usize::MAX).unwrap();
    let records: Vec<_> = batches.iter().map(|batch| batch.record_count()).collect();
    assert_eq!(records, [40]);
    node.stop().await;
}

/// However many come together, no more than the limit wait; the others hear of it, and later ones have room again.
#[tokio::test]
async fn commands_that_come_together_have_the_mailbox_s_limit() {
    let node = Node::start(|options| options.limits.mailbox_capacity = 4).await;
    for round in 1..=3 {
        let (mut taken, mut refused) = (0, 0);
        for answer in together(|| node.deposits("ben", 10)) {
            match answer.await {
                Ok(_) => taken += 1,
                Err(AskError::Overloaded { limit: Limit::MailboxCapacity, allowed: 4 }) => {
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!((taken, refused), (4, 6), "round {round}");
    }
    assert_eq!(node.account("ben").ask(Balance {}).await, Ok(12));
    node.stop().await;
}

/// Nothing that was handed in stays behind when the work around it panics.
#[tokio::test]
async fn a_panic_hands_over_what_came_before_it() {
    let node = Node::start(|_| {}).await;
    let mut asked = Vec::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        together(|| {
            asked.extend(node.deposits("cleo", 3));
            panic!("told");
        });
    }));
    assert!(panicked.is_err());
    for answer in asked {
        assert!(answer.await.is_ok());
    }
    assert!(node.deposits("cleo", 1).pop().unwrap().await.is_ok(), "and nothing is held any more");
    node.stop().await;
}
