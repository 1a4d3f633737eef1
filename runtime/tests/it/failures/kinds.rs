//! Kinds of failure, each produced for real and read from the log of failures as it is stored.

use std::sync::Arc;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use holm_core::{AskError, EntityAddress, ErrorKind, Outcome, ShardId, Timestamp, shard_of};
use holm_persistence::MemoryLog;
use holm_runtime::bus::{Interest, Start};
use holm_runtime::{
    AskOptions, Command, Commands, Context, Effect, Entity, EntityError, Event, FailureEvent,
    FailureFact, FailureFilter, FailureKind, FailureLog, FailureRow, Handle, NoRejection, Standing,
    Subject, WriteFailurePolicy,
};
use serde::{Deserialize, Serialize, Serializer};

use super::{Node, SHARDS};
use crate::account::{Account, Balance, Deposit};
use crate::brittle::{Restarting, Total};

fn shard(id: &str) -> ShardId {
    shard_of(&EntityAddress::new("account", id).unwrap(), SHARDS)
}

impl Node {
    /// The row of this kind and subject, as soon as it is stored.
    async fn row(&self, kind: FailureKind, subject: &Subject) -> FailureRow {
        let filter = FailureFilter::all().kind(kind);
        loop {
            let list = self.failures().list(&filter).await;
            // A shard whose log just failed is opened again first.
            let rows = list.map(|list| list.rows).unwrap_or_default();
            if let Some(row) = rows.into_iter().find(|row| row.subject == *subject) {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Promise G7: a write that fails is told, and so is that the shard takes writes again: where it opens itself, and where others order it to.
#[tokio::test]
async fn a_failed_write_and_the_way_back_are_told() {
    for by_itself in [true, false] {
        let node = Node::over(Arc::new(MemoryLog::new()), |options| {
            let wait = Duration::from_millis(1);
            options.on_write_failure = match by_itself {
                true => WriteFailurePolicy::Reopen { first_wait: wait, longest_wait: wait },
                false => WriteFailurePolicy::StepDown(Arc::new(|_, _, _| {})),
            };
        })
        .await;
        let alice = node.of::<Account>("alice");
        alice.ask(Deposit { amount: 1 }).await.unwrap();
        node.log.fail_next_append(shard("alice"));
        alice.ask(Deposit { amount: 1 }).await.unwrap_err();
        let subject = Subject::Shard(shard("alice"));
        if !by_itself {
            let next = node.log.newest_term(shard("alice")).next();
            node.host.lead(shard("alice"), next).await.unwrap();
        }
        let failed = node.row(FailureKind::WriteFailed, &subject).await;
        assert!(failed.causes[0].contains("a fault was injected"), "{:?}", failed.causes);
        while alice.ask(Deposit { amount: 1 }).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let reopened = node.row(FailureKind::ShardReopened, &subject).await;
        assert_eq!((failed.count, reopened.count), (1, 1), "by itself: {by_itself}");
        assert_eq!(alice.ask(Balance {}).await, Ok(2));
        node.host.stop().await;
    }
}

/// Promise G7: a command that is found after its deadline is a dead letter, which is told with its caller's command.
#[tokio::test]
async fn a_command_that_came_too_late_is_told() {
    let node = Node::start().await;
    let payload = holm_persistence::encode(&Deposit { amount: 1 }).unwrap();
    let address = EntityAddress::new("account", "late").unwrap();
    let options = AskOptions { deadline: Some(Timestamp::EPOCH), ..AskOptions::default() };
    let envelope = node.caller.envelope(address, Deposit::NAME, payload, options);
    let error = holm_runtime::Asker::ask(&node.host, envelope).await.unwrap_err();
    assert!(matches!(error, AskError::DeadlinePassed { .. }), "{error}");
    let told = node.row(FailureKind::DeadLetter, &Subject::Shard(shard("late"))).await;
    assert_eq!(&*told.command.unwrap().name, Deposit::NAME);
    assert!(told.causes[0].contains("account/late"), "{:?}", told.causes);
    assert_eq!(node.of::<Account>("late").ask(Balance {}).await, Ok(0), "no handler saw it");
    node.host.stop().await;
}

/// Promise G7: that the log cannot be read is told, and is not the entity's doing: it is not counted, and the next command tries again.
#[tokio::test]
async fn a_log_that_cannot_be_read_is_told_and_not_counted() {
    let node = Node::start().await;
    // The log of failures is in memory, so that it can be told.
    node.failures().counts().await.unwrap();
    node.log.fail_reads(true);
    for _ in 0..5 {
        let error = node.of::<Restarting>("r").ask(Total {}).await.unwrap_err();
        let EntityError::Failed(error) = error else { panic!("{error}") };
        // Of the entity nothing is known that a person would have to look at: the caller may come again, and a router asks whoever leads next.
        assert!(matches!(error, AskError::Unavailable { .. }), "{error}");
        assert_eq!((error.kind(), error.outcome()), (ErrorKind::BackOff, Outcome::NotApplied));
    }
    let subject = Subject::Entity("restarting/r".parse().unwrap());
    let told = node.row(FailureKind::RecoveryFailed, &subject).await;
    assert_eq!((told.standing, told.is_open()), (Standing::Stopped, false));
    assert!(told.causes[0].contains("a fault was injected"), "{:?}", told.causes);
    assert_eq!(&*told.command.unwrap().name, Total::NAME, "which wanted it back");
    node.log.fail_reads(false);
    assert_eq!(node.of::<Restarting>("r").ask(Total {}).await, Ok(0));
    node.host.stop().await;
}

/// A state that cannot be written down.
#[derive(Debug, Default, Deserialize)]
struct Unwritable {}

#[derive(Debug, Event, Serialize, Deserialize)]
enum Happened {
    Something {},
}

#[derive(Debug, Command, Serialize, Deserialize)]
struct Happen {}

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("there are no words for it"))
    }
}

impl Entity for Unwritable {
    const TYPE: &'static str = "unwritable";
    type Event = Happened;
    type Rejection = NoRejection;

    fn apply(&mut self, Happened::Something {}: &Happened) {}

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Happen>();
    }
}

impl Handle<Happen> for Unwritable {
    fn handle(
        &self,
        Happen {}: Happen,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        Ok(cx.persist(Happened::Something {}).no_reply())
    }
}

/// Promise G7. Law T11: a snapshot that cannot be made, or not be saved, is told and stops nobody.
#[tokio::test]
async fn snapshots_that_fail_are_told() {
    let node = Node::over(Arc::new(MemoryLog::new()), |options| {
        options.registry = options.registry.clone().entity::<Unwritable>();
        options.limits.snapshot_every = 1;
    })
    .await;
    node.log.fail_snapshots(true);
    node.of::<Account>("a").ask(Deposit { amount: 1 }).await.unwrap();
    node.of::<Unwritable>("u").ask(Happen {}).await.unwrap();
    for (entity, why) in [("account/a", "a fault was injected"), ("unwritable/u", "no words")] {
        let subject = Subject::Entity(entity.parse().unwrap());
        let told = node.row(FailureKind::SnapshotFailed, &subject).await;
        assert!(told.causes[0].contains(why), "{:?}", told.causes);
        assert!(told.shard.is_some());
    }
    node.of::<Unwritable>("u").ask(Happen {}).await.unwrap();
    assert_eq!(node.of::<Account>("a").ask(Deposit { amount: 1 }).await, Ok(2));
    node.host.stop().await;
}

/// Promise G7. Law T11: snapshots that find too many waiting are left out, and counted in a fact.
#[tokio::test]
async fn snapshots_that_are_left_out_are_counted() {
    /// More than may wait, and than the loaders hold in their hands.
    const ENTITIES: u64 = 4_096 + 100;
    let (gate, held) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
    let node = Node::over(Arc::new(MemoryLog::new()), |options| {
        let (gate, held) = (gate.clone(), held.clone());
        options.tick_interval = Duration::from_millis(5);
        options.limits.snapshot_every = 2;
        options.on_snapshot = Some(Arc::new(move |_, address, _| {
            if address.entity_type() == Account::TYPE {
                held.open();
                gate.pass();
            }
        }));
    })
    .await;
    let deposits = async |expected| {
        let asks = (0..ENTITIES).map(|number| {
            let account = node.of::<Account>(&format!("a{number}"));
            async move { account.ask(Deposit { amount: 1 }).await }
        });
        let told = futures::future::join_all(asks.collect::<Vec<_>>()).await;
        assert!(told.iter().all(|reply| *reply == Ok(expected)));
    };
    deposits(1).await;
    deposits(2).await;
    // A batch is answered before its snapshots are handed over; behind a read on its shard they were.
    for number in 0..64 {
        node.of::<Account>(&format!("a{number}")).ask(Balance {}).await.unwrap();
    }
    held.pass();
    let told = async {
        let interest = Interest::of::<FailureLog>();
        let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
        loop {
            let fact = facts.next().await.unwrap().event::<FailureLog>().unwrap();
            if let FailureEvent::Failed { fact: FailureFact { kind, subject, count, .. } } = fact
                && kind == FailureKind::SnapshotFailed
                && matches!(subject, Subject::Shard(_))
            {
                return count;
            }
        }
    };
    // The loaders stand still, so the fact cannot be read from a log entity that is not in memory yet.
    gate.open();
    assert!(told.await > 0);
    node.host.stop().await;
}

/// Shut until it is opened, for ever then.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    /// Waits on this thread.
    fn pass(&self) {
        let is_open = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap());
    }
}

/// What the handler of [`Hang`] waits for.
static RELEASED: Gate = Gate { is_open: Mutex::new(false), opened: Condvar::new() };

/// An entity whose handler does not come back before it is released.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Hanging {}

#[derive(Debug, Command, Serialize, Deserialize)]
struct Hang {}

impl Entity for Hanging {
    const TYPE: &'static str = "hanging";
    type Event = Happened;
    type Rejection = NoRejection;

    fn apply(&mut self, Happened::Something {}: &Happened) {}

    fn commands(commands: &mut Commands<Self>) {
        commands.handle::<Hang>();
    }
}

impl Handle<Hang> for Hanging {
    fn handle(
        &self,
        Hang {}: Hang,
        cx: &mut Context<'_, Self>,
    ) -> Result<Effect<Self, ()>, NoRejection> {
        RELEASED.pass();
        Ok(cx.none().no_reply())
    }
}

/// Promise G7: a handler that does not come back is told while it runs, once, and when it comes back, once.
#[tokio::test]
async fn a_handler_that_does_not_come_back_is_told() {
    let node = Node::over(Arc::new(MemoryLog::new()), |options| {
        options.registry = options.registry.clone().entity::<Hanging>();
        options.limits.slow_handler = Duration::from_millis(5);
        // One for each shard, so that only one of them waits.
        options.arbiters = SHARDS as usize;
    })
    .await;
    let told = async |shard: ShardId| {
        let interest = Interest::of::<FailureLog>();
        let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
        loop {
            let fact = facts.next().await.unwrap();
            let FailureEvent::Failed { fact: failure } = fact.event::<FailureLog>().unwrap() else {
                continue;
            };
            if failure.subject == Subject::Shard(shard) {
                return fact.shard();
            }
        }
    };
    // A shard whose facts stand in another one, and can be stored while it waits.
    let mut hung = None;
    for shard in (0..SHARDS).map(ShardId) {
        node.host.report(FailureKind::ShardMoved, Subject::Shard(shard), "to see where it goes");
        if told(shard).await != shard {
            hung = Some(shard);
        }
    }
    let hung = hung.expect("not every shard keeps its own facts");
    let address = |number: u32| EntityAddress::new("hanging", format!("h{number}")).unwrap();
    let number = (0..).find(|number| shard_of(&address(*number), SHARDS) == hung).unwrap();
    let hanging = node.of::<Hanging>(address(number).id());
    let asked = tokio::spawn(async move { hanging.ask(Hang {}).await });

    let interest = Interest::of::<FailureLog>();
    let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
    let entity = Subject::Entity(address(number));
    let mut slow = async || {
        loop {
            let fact = facts.next().await.unwrap().event::<FailureLog>().unwrap();
            if let FailureEvent::Failed { fact } = fact
                && fact.kind == FailureKind::SlowHandler
                && (fact.reason().contains("hang") || fact.subject == entity)
            {
                return fact;
            }
        }
    };
    let while_it_runs = slow().await;
    assert_eq!(while_it_runs.subject, Subject::Shard(hung));
    assert!(while_it_runs.reason().starts_with("`hang` of an entity of type `hanging`"));
    // Many looks later nothing more is told of it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!asked.is_finished());
    RELEASED.open();
    asked.await.unwrap().unwrap();
    let at_its_end = slow().await;
    assert_eq!(at_its_end.subject, entity);
    node.host.stop().await;
}
