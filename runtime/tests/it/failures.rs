//! The five rules of failure (promise G7), one test each, on a host with its actors: contained, reified, signalled asynchronously, observed, managed
//! from outside. Then all of them at once, under load.

mod kinds;
mod mending;
mod parts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holm_core::{
    AskError, CausationId, CorrelationId, EntityAddress, IdempotencyKey, SeededEntropy, ShardId,
    SystemClock, Term,
};
use holm_persistence::MemoryLog;
use holm_runtime::bus::{Bus, Interest, Start};
use holm_runtime::flow::{Flow, FlowSearch, StepOutcome, Window};
use holm_runtime::{
    AskOptions, Caller, Entity, EntityError, EntityRef, FailureCounts, FailureEvent, FailureFact,
    FailureFilter, FailureKind, FailureLog, Failures, HandledOutcome, HostOptions, Settlement,
    ShardHost, Standing, Subject,
};

use crate::account::{Account, Deposit, registry};
use crate::brittle::{
    Add, Quarantining, Restarting, Resuming, SULKS, Sometimes, Total, with_brittle,
};

const SHARDS: u32 = 4;

struct Node {
    host: ShardHost,
    log: Arc<MemoryLog>,
    caller: Arc<Caller>,
}

impl Node {
    async fn start() -> Self {
        Self::over(Arc::new(MemoryLog::new()), |_| {}).await
    }

    async fn over(log: Arc<MemoryLog>, change: impl FnOnce(&mut HostOptions)) -> Self {
        let mut options = HostOptions::new(with_brittle(registry()), SHARDS);
        (options.arbiters, options.loaders) = (2, 2);
        change(&mut options);
        let host = ShardHost::start(options, log.clone()).unwrap();
        for shard in (0..SHARDS).map(ShardId) {
            let term = log.newest_term(shard).max(Term(0)).next();
            host.lead(shard, term).await.unwrap();
        }
        host.connect_to_itself();
        let timeout = Duration::from_secs(20);
        let entropy = SeededEntropy::from_os();
        let caller = Caller::new(Arc::new(host.clone()), Arc::new(SystemClock), timeout, entropy);
        Self { host, log, caller }
    }

    fn of<E: Entity>(&self, id: &str) -> EntityRef<E> {
        EntityRef::new(Arc::clone(&self.caller), id)
    }

    fn failures(&self) -> Failures {
        Failures::new(Arc::clone(&self.caller))
    }

    fn bus(&self) -> Bus {
        Bus::new(Arc::clone(&self.caller), self.host.inspector(), SHARDS)
    }

    /// Waits until so many entities are known to be in quarantine.
    async fn quarantined(&self, count: u64) -> FailureCounts {
        loop {
            let counts = self.failures().counts().await.unwrap();
            if counts.quarantined == count {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until every failure so far is stored.
    async fn told(&self) {
        while self.host.failures_waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn filter(text: &str) -> FailureFilter {
    text.parse().unwrap()
}

async fn fail<E>(entity: &EntityRef<E>) -> AskError
where
    E: Entity<Rejection = holm_runtime::NoRejection> + holm_runtime::Handle<Add>,
{
    match entity.ask(Add { amount: 13 }).await {
        Err(EntityError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Promise G7. The first rule: a failure is contained. It harms one command of one entity; the entity comes back with what it had, all others go on.
#[tokio::test]
async fn a_failure_is_contained() {
    let node = Node::start().await;
    let entity = node.of::<Resuming>("a");
    entity.ask(Add { amount: 5 }).await.unwrap();
    for n in 0..20u64 {
        let neighbour = node.of::<Account>(&format!("n{n}"));
        let (error, fine) = tokio::join!(fail(&entity), neighbour.ask(Deposit { amount: 1 }));
        assert!(matches!(error, AskError::EntityFailed { .. }), "{error}");
        assert_eq!(fine, Ok(1));
    }
    assert_eq!(entity.ask(Total {}).await, Ok(5));
    node.host.stop().await;
}

/// Promise G7. The second rule: a failure is reified. It is a value with everything about it, stored once, whoever reports it how often.
#[tokio::test]
async fn a_failure_is_reified() {
    let node = Node::start().await;
    let key = IdempotencyKey::new("thirteen-1").unwrap();
    let correlation = Some(CorrelationId(77));
    let options = AskOptions { key: Some(key), correlation, ..AskOptions::default() };
    node.of::<Resuming>("a").ask_with(Add { amount: 13 }, options).await.unwrap_err();
    node.told().await;
    let list = node.failures().list(&filter("panicked")).await.unwrap();
    let [row] = &list.rows[..] else { panic!("{list:?}") };
    assert_eq!(row.subject, Subject::Entity("resuming/a".parse().unwrap()));
    assert_eq!((row.kind, row.count), (FailureKind::Panicked, 1));
    assert!(row.causes[0].contains("thirteen"), "{:?}", row.causes);
    let command = row.command.as_ref().unwrap();
    assert_eq!((&*command.name, &*command.key), ("add", "thirteen-1"));
    assert_eq!(command.correlation, CorrelationId(77));
    assert!(row.shard.is_some() && row.node == node.host.options().node);
    node.host.stop().await;
}

/// Promise G7. What failed stands in the flow of its conversation, below its cause, although its entity stored nothing of it.
#[tokio::test]
async fn a_failure_stands_in_its_flow() {
    let node = Node::start().await;
    let correlation = Some(CorrelationId(77));
    let options = AskOptions { correlation, ..AskOptions::default() };
    node.of::<Resuming>("a").ask_with(Add { amount: 1 }, options).await.unwrap();
    let flow = async || {
        let inspector = node.host.inspector();
        let everything = Window::everything();
        let mut search = FlowSearch::new(inspector, SHARDS, CorrelationId(77), everything);
        search.run().await;
        Flow::of(search.finish().gathered.steps).branches
    };
    let causation = Some(flow().await[0].step.id.causes());
    let options = AskOptions { correlation, causation, ..AskOptions::default() };
    node.of::<Sometimes>("b").ask_with(Add { amount: 13 }, options.clone()).await.unwrap_err();
    node.told().await;
    let branches = flow().await;
    let [cause, failed] = &branches[..] else { panic!("{branches:?}") };
    assert_eq!((cause.depth, &cause.step.outcome), (0, &StepOutcome::Accepted));
    assert_eq!((failed.depth, failed.parent, &*failed.step.command), (1, Some(0), "add"));
    assert_eq!(failed.step.entity.to_string(), "sometimes/b");
    let StepOutcome::Failed { kind, causes } = &failed.step.outcome else { panic!("{failed:?}") };
    assert!(*kind == FailureKind::Panicked && causes[0].contains("thirteen"), "{causes:?}");

    // A quarantine hangs on the command that led to it.
    let failing = node.of::<Quarantining>("c");
    while !matches!(
        failing.ask_with(Add { amount: 13 }, options.clone()).await,
        Err(EntityError::Failed(AskError::Quarantined { .. }))
    ) {}
    node.told().await;
    let branches = flow().await;
    let quarantine = branches.iter().find(|it| &*it.step.command == "holm-quarantine").unwrap();
    let led_to_it = &branches[quarantine.parent.unwrap()].step;
    assert_eq!(led_to_it.entity.to_string(), "quarantining/c");
    assert!(matches!(led_to_it.outcome, StepOutcome::Failed { .. }), "{led_to_it:?}");

    // And so does a command that failed because its entity could not be brought back. The log of failures is in memory, so that it can be told.
    node.failures().counts().await.unwrap();
    node.log.fail_reads(true);
    node.of::<Restarting>("d").ask_with(Add { amount: 1 }, options).await.unwrap_err();
    node.log.fail_reads(false);
    node.told().await;
    let branches = flow().await;
    let lost = branches.iter().find(|it| it.step.entity.to_string() == "restarting/d").unwrap();
    assert_eq!((lost.depth, lost.parent, &*lost.step.command), (1, Some(0), "add"));
    let StepOutcome::Failed { kind, .. } = &lost.step.outcome else { panic!("{lost:?}") };
    assert_eq!(*kind, FailureKind::RecoveryFailed);
    node.host.stop().await;
}

/// Promise G7. The third rule: a failure is signalled asynchronously. While nothing can be stored about it, no shard waits, and what does not fit is counted
/// and told.
#[tokio::test]
async fn a_failure_is_signalled_asynchronously() {
    let log = Arc::new(MemoryLog::new());
    let node = Node::over(log, |options| options.limits.failures_waiting = 10).await;
    node.log.hold();
    let (entity, bus) = (node.of::<Resuming>("a"), node.bus());
    let asks: Vec<_> = (0..200).map(|_| fail(&entity)).collect();
    for error in futures::future::join_all(asks).await {
        assert!(matches!(error, AskError::EntityFailed { .. }), "it is told at once: {error}");
    }
    node.log.release_all();
    let mut seen = bus.subscribe(Interest::of::<FailureLog>(), Start::Beginning).await.unwrap();
    let (mut stored, mut lost) = (0, 0);
    while stored + lost < 200 {
        let fact = seen.next().await.unwrap();
        if let FailureEvent::Failed { fact } = fact.event::<FailureLog>().unwrap() {
            match fact.kind {
                FailureKind::FactsLost => lost += fact.count,
                _ => stored += fact.count,
            }
        }
    }
    assert!(stored >= 10 && lost > 0, "{stored} stored, {lost} counted");
    node.host.stop().await;
}

/// Promise G7. The fourth rule: a failure is observed, by any number, from the same log, at any time.
#[tokio::test]
async fn a_failure_is_observed() {
    let node = Node::start().await;
    let interest = Interest::of::<FailureLog>;
    let mut live = node.bus().subscribe(interest(), Start::Now).await.unwrap();
    for id in ["a", "b", "c"] {
        fail(&node.of::<Resuming>(id)).await;
    }
    let mut late = node.bus().subscribe(interest(), Start::Beginning).await.unwrap();
    for subscription in [&mut live, &mut late] {
        let mut seen = BTreeSet::new();
        while seen.len() < 3 {
            let fact = subscription.next().await.unwrap().event::<FailureLog>().unwrap();
            let FailureEvent::Failed { fact } = fact else { panic!("{fact:?}") };
            // A machine that stalls adds the fact of a slow handler.
            if fact.kind == FailureKind::Panicked {
                seen.insert(fact.subject.to_string());
            }
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            ["resuming/a", "resuming/b", "resuming/c"]
        );
    }
    node.host.stop().await;
}

/// Promise G7. The fifth rule: a failure is managed outside of what failed. Retry, skip and resume, each with a dry run, none of it by the entity.
#[tokio::test]
async fn a_failure_is_managed_outside() {
    let node = Node::start().await;
    let failures = node.failures();
    for id in ["a", "b", "c"] {
        node.of::<Quarantining>(id).ask(Add { amount: 5 }).await.unwrap();
        for _ in 0..3 {
            fail(&node.of::<Quarantining>(id)).await;
        }
    }
    let counts = node.quarantined(3).await;
    assert_eq!((counts.quarantined, counts.open[&FailureKind::Panicked]), (3, 3));
    let dry = failures.resume(&filter("quarantining"), true).await.unwrap();
    assert!(dry.len() == 3 && dry.iter().all(|it| it.outcome == HandledOutcome::Meant));
    let still = node.of::<Quarantining>("a").ask(Total {}).await.unwrap_err();
    assert!(matches!(still, EntityError::Failed(AskError::Quarantined { .. })), "{still}");

    let resumed = failures.resume(&filter("quarantining/a"), false).await.unwrap();
    assert_eq!(resumed[0].outcome, HandledOutcome::Done);
    assert_eq!(node.of::<Quarantining>("a").ask(Total {}).await, Ok(5));
    let skipped = failures.skip(&filter("quarantining/b panicked"), false).await.unwrap();
    assert_eq!(skipped[0].outcome, HandledOutcome::Done);
    assert_eq!(node.of::<Quarantining>("b").ask(Add { amount: 1 }).await, Ok(6));
    let retried = failures.retry(&filter("quarantining/c"), false).await.unwrap();
    assert!(
        matches!(
            &retried[0].outcome,
            HandledOutcome::Failed { error: AskError::EntityFailed { .. } }
        ),
        "it panics again, and that is told: {retried:?}"
    );
    node.told().await;
    let list = failures.list(&filter("panicked")).await.unwrap();
    let settled: Vec<_> = list.rows.iter().map(|row| row.settled).collect();
    assert_eq!(settled, [Some(Settlement::Resumed), Some(Settlement::Skipped), None]);
    assert_eq!(list.rows[2].count, 4);
    node.host.stop().await;
}

/// Promise G7. Promise G2: a retry asks the very command again, in its conversation: answered once, whoever asks it how often.
#[tokio::test]
async fn a_retry_is_the_same_command() {
    let node = Node::start().await;
    let entity = node.of::<Sometimes>("a");
    SULKS.store(true, Ordering::Relaxed);
    let key = IdempotencyKey::new("the-one").unwrap();
    let (correlation, causation) = (Some(CorrelationId(77)), Some(CausationId(76)));
    let options = AskOptions { correlation, causation, ..AskOptions::with_key(key) };
    let ask = || entity.ask_with(Add { amount: 2 }, options.clone());
    ask().await.unwrap_err();
    node.told().await;
    SULKS.store(false, Ordering::Relaxed);
    let retried = node.failures().retry(&FailureFilter::all(), false).await.unwrap();
    assert_eq!(retried[0].outcome, HandledOutcome::Done);
    let again = ask().await.unwrap();
    assert_eq!((again.value, again.replayed), (2, true));
    let mut facts =
        node.bus().subscribe(Interest::of::<Sometimes>(), Start::Beginning).await.unwrap();
    let fact = facts.next().await.unwrap();
    assert_eq!(Some(fact.correlation_id()), correlation);
    assert_eq!(Some(fact.causation_id()), causation);
    assert!(node.failures().retry(&FailureFilter::all(), false).await.unwrap().is_empty());
    node.host.stop().await;
}

/// Promise G7: a handler that takes its time is told, with its command; a full mailbox and commands for nobody are told together.
#[tokio::test]
async fn slow_handlers_full_mailboxes_and_dead_letters_are_told() {
    let node = Node::over(Arc::new(MemoryLog::new()), |options| {
        options.limits.slow_handler = Duration::from_millis(20);
        options.tick_interval = Duration::from_millis(5);
        (options.limits.mailbox_capacity, options.limits.batches_in_flight) = (16, 1);
        options.limits.batch_bytes = 500;
    })
    .await;
    node.of::<Account>("a").ask(crate::account::Sleep { ms: 40 }).await.unwrap();
    let nobody: EntityAddress = "stranger/a".parse().unwrap();
    for _ in 0..5 {
        let payload = bytes::Bytes::new();
        let envelope = node.caller.envelope(nobody.clone(), "x", payload, AskOptions::default());
        node.caller.ask(envelope).await.unwrap_err();
    }
    node.log.hold();
    let asks = (0..200).map(|_| node.of::<Account>("b"));
    let asks: Vec<_> = asks
        .map(|account| tokio::spawn(async move { account.ask(Deposit { amount: 1 }).await }))
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    node.log.release_all();
    let refused = futures::future::join_all(asks).await;
    let refused = refused.into_iter().filter(|answer| answer.as_ref().unwrap().is_err()).count();
    assert!(refused > 0);
    let found = loop {
        let list = node.failures().list(&FailureFilter::all()).await.unwrap();
        let kinds: BTreeSet<_> = list.rows.iter().map(|row| row.kind).collect();
        let wanted =
            [FailureKind::SlowHandler, FailureKind::QueueOverflow, FailureKind::DeadLetter];
        if wanted.iter().all(|kind| kinds.contains(kind)) {
            break list.rows;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let slow = found.iter().find(|row| row.kind == FailureKind::SlowHandler).unwrap();
    assert_eq!(slow.subject, Subject::Entity("account/a".parse().unwrap()));
    assert_eq!(&*slow.command.as_ref().unwrap().name, "sleep");
    let dead = found.iter().find(|row| row.kind == FailureKind::DeadLetter).unwrap();
    assert!(dead.causes[0].contains("stranger/a"), "{:?}", dead.causes);
    assert!(found.iter().all(|row| !row.is_open()), "none of it waits for anybody");
    node.host.stop().await;
}

/// Promise G7. Promise G1. Promise G2: a thousand panics over a hundred entities, beside others under load. Those see no error; every panic is a fact under
/// the correlation id of its command; nothing acknowledged is lost; quarantine survives a restart, and lifting it is all that it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_panics_harm_nobody_else() {
    const BRITTLE: u128 = 100;
    const PANICS: u128 = 10;
    let log = Arc::new(MemoryLog::new());
    let node = Node::over(log.clone(), |_| {}).await;
    let neighbours: Vec<_> = (0..8u64)
        .map(|caller| {
            let accounts: Vec<_> = (0..50).map(|n| node.of::<Account>(&format!("n{n}"))).collect();
            tokio::spawn(async move {
                for step in 0..500u64 {
                    let account = &accounts[((caller * 7 + step) % 50) as usize];
                    account.ask(Deposit { amount: 1 }).await.unwrap();
                }
            })
        })
        .collect();
    let brittle: Vec<_> = (0..BRITTLE)
        .map(|n| {
            let entity = node.of::<Resuming>(&format!("e{n}"));
            tokio::spawn(async move {
                for panic in 0..PANICS {
                    entity.ask(Add { amount: 1 }).await.unwrap();
                    let correlation = Some(CorrelationId(1 + n * PANICS + panic));
                    let options = AskOptions { correlation, ..AskOptions::default() };
                    let failed = entity.ask_with(Add { amount: 13 }, options).await.unwrap_err();
                    let EntityError::Failed(AskError::EntityFailed { .. }) = failed else {
                        panic!("{failed}")
                    };
                }
            })
        })
        .collect();
    for task in neighbours.into_iter().chain(brittle) {
        task.await.unwrap();
    }
    node.told().await;
    let mut told = BTreeSet::new();
    for fact in facts(&node, (BRITTLE * PANICS) as usize).await {
        assert_eq!(fact.standing, Standing::Running);
        assert!(told.insert(fact.command.unwrap().correlation.0), "a fact is stored once");
    }
    assert!(told.into_iter().eq(1..=BRITTLE * PANICS));
    for _ in 0..3 {
        fail(&node.of::<Quarantining>("q")).await;
    }
    node.quarantined(1).await;
    node.host.stop().await;

    let node = Node::over(log, |_| {}).await;
    for n in 0..BRITTLE {
        let total = node.of::<Resuming>(&format!("e{n}")).ask(Total {}).await;
        assert_eq!(total, Ok(PANICS as u64), "nothing acknowledged is lost");
    }
    let refused = node.of::<Quarantining>("q").ask(Total {}).await.unwrap_err();
    assert!(matches!(refused, EntityError::Failed(AskError::Quarantined { .. })), "{refused}");
    let resumed = node.failures().resume(&filter("quarantining"), false).await.unwrap();
    assert_eq!(resumed.len(), 1);
    assert_eq!(resumed[0].outcome, HandledOutcome::Done);
    assert_eq!(node.of::<Quarantining>("q").ask(Add { amount: 1 }).await, Ok(1));
    node.host.stop().await;
}

/// Promise G7: in a back-off, whoever lets the entity go on spares it the wait.
#[tokio::test]
async fn a_back_off_can_be_ended() {
    let node = Node::start().await;
    let entity = node.of::<Restarting>("a");
    fail(&entity).await;
    fail(&entity).await;
    let refused = entity.ask(Total {}).await.unwrap_err();
    assert!(matches!(refused, EntityError::Failed(AskError::Restarting { .. })), "{refused}");
    node.told().await;
    let skipped = node.failures().skip(&FailureFilter::all(), false).await.unwrap();
    assert_eq!(skipped[0].outcome, HandledOutcome::Done);
    assert_eq!(entity.ask(Total {}).await, Ok(0));
    node.host.stop().await;
}

/// The first so many panics that are stored.
async fn facts(node: &Node, count: usize) -> Vec<FailureFact> {
    let interest = Interest::of::<FailureLog>();
    let mut seen = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
    let mut facts = Vec::new();
    while facts.len() < count {
        if let FailureEvent::Failed { fact } =
            seen.next().await.unwrap().event::<FailureLog>().unwrap()
            && fact.kind == FailureKind::Panicked
        {
            facts.push(fact);
        }
    }
    facts
}

/// Promise G7: a node that stops in order loses no fact that it could store, and waits no longer than it may where it cannot.
#[tokio::test]
async fn an_orderly_stop_waits_for_what_is_not_stored() {
    let log = Arc::new(MemoryLog::new());
    let node = Node::over(Arc::clone(&log), |_| {}).await;
    for number in 0..40 {
        let subject = Subject::Shard(ShardId(number));
        node.host.report(FailureKind::ShardMoved, subject, "from here to there");
    }
    assert!(node.host.failures_waiting() > 0);
    assert!(node.host.settle(Duration::from_secs(20)).await);
    node.host.stop().await;

    let node = Node::over(log, |_| {}).await;
    let list = node.failures().list(&filter("shard_moved")).await.unwrap();
    assert_eq!(list.rows.len(), 40);
    for shard in (0..SHARDS).map(ShardId) {
        node.host.drain(shard).await;
    }
    node.host.report(FailureKind::ShardMoved, Subject::Shard(ShardId(1)), "nobody takes it");
    assert!(!node.host.settle(Duration::from_millis(50)).await);
    node.host.stop().await;
    assert!(node.host.settle(Duration::from_secs(20)).await, "nothing waits after the end");
}
