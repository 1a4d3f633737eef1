//! Entities that panic, on three nodes with disks and sockets, beside entities that do their work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holm::bus::{Interest, Start};
use holm::{
    AskError, AskOptions, Command, Commands, Context, CorrelationId, Effect, Entity, EntityError,
    Event, FailureEvent, FailureFilter, FailureKind, FailureLog, Handle, HandledOutcome, Holm,
    NoRejection, Read, Supervision,
};
use holm_domains::bank::{Account, Balance, Deposit, Open};
use serde::{Deserialize, Serialize};

use crate::cluster::three_with;

const BRITTLE: u128 = 100;
const PANICS: u128 = 10;
const NEIGHBOURS: u64 = 40;
const CALLERS: usize = 6;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Event, Serialize, Deserialize)]
enum BrittleEvent {
    Added,
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Add {
    panics: bool,
}

#[derive(Debug, Command, Serialize, Deserialize)]
#[command(reply = u64)]
struct Total {}

/// One entity type that adds, and panics when it is told to.
macro_rules! brittle {
    ($entity:ident, $name:literal, $supervision:expr) => {
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $entity {
            total: u64,
        }

        impl Entity for $entity {
            const TYPE: &'static str = $name;
            const SUPERVISION: Supervision = $supervision;
            type Event = BrittleEvent;
            type Rejection = NoRejection;

            fn apply(&mut self, _: &BrittleEvent) {
                self.total += 1;
            }

            fn commands(commands: &mut Commands<Self>) {
                commands.handle::<Add>().read::<Total>();
            }
        }

        impl Handle<Add> for $entity {
            fn handle(
                &self,
                add: Add,
                cx: &mut Context<'_, Self>,
            ) -> Result<Effect<Self, u64>, NoRejection> {
                assert!(!add.panics, "it was told to");
                Ok(cx.persist(BrittleEvent::Added).reply(|it| it.total))
            }
        }

        impl Read<Total> for $entity {
            fn read(&self, _: Total, _: &Context<'_, Self>) -> Result<u64, NoRejection> {
                Ok(self.total)
            }
        }
    };
}

brittle!(Brittle, "brittle", Supervision::Resume);
brittle!(Sulking, "sulking", Supervision::quarantine(3, Duration::from_secs(600)));

/// Promise G7. Promise G1. Promise G2: a thousand panics over a hundred entities harm nobody else on any node. Every panic is a fact under the correlation id of its
/// command, once; nothing acknowledged is lost, also when a node goes; a quarantine holds on the nodes that are left, until somebody lifts it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_panics_in_a_cluster_harm_nobody_else() {
    let data = tempfile::tempdir().unwrap();
    let nodes =
        three_with(data.path(), |builder| builder.entity::<Brittle>().entity::<Sulking>()).await;
    for n in 0..NEIGHBOURS {
        nodes[0].entity::<Account>(neighbour(n)).ask(Open { owner: "Ada".into() }).await.unwrap();
    }
    let acknowledged = Arc::new(AtomicU64::new(0));
    let neighbours: Vec<_> = (0..CALLERS)
        .map(|n| tokio::spawn(work(nodes[n % 3].clone(), acknowledged.clone())))
        .collect();
    let brittle: Vec<_> =
        (0..BRITTLE).map(|n| tokio::spawn(panic_often(nodes[n as usize % 3].clone(), n))).collect();
    for brittle in brittle {
        brittle.await.unwrap();
    }
    for _ in 0..3 {
        assert_failed(nodes[1].entity::<Sulking>("q").ask(Add { panics: true }).await);
    }
    neighbours.iter().for_each(tokio::task::JoinHandle::abort);
    for neighbour in neighbours {
        // The task was stopped from outside, between two commands or within one; only an error of its own is a failure.
        let ended = neighbour.await;
        assert!(ended.is_err_and(|error| error.is_cancelled()), "a neighbour saw an error");
    }
    let told = tokio::time::timeout(PATIENCE, told(&nodes[2])).await.unwrap();
    while nodes[1].failures().counts().await.unwrap().quarantined < 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(told.into_iter().eq(1..=BRITTLE * PANICS), "each panic under its own id");

    nodes[2].shutdown().await;
    for n in 0..BRITTLE {
        let total = nodes[0].entity::<Brittle>(n.to_string()).ask(Total {}).await;
        assert_eq!(total, Ok(PANICS as u64), "nothing acknowledged is lost");
    }
    let (mut deposited, acknowledged) = (0, acknowledged.load(Ordering::Relaxed));
    for n in 0..NEIGHBOURS {
        deposited += nodes[1].entity::<Account>(neighbour(n)).ask(Balance {}).await.unwrap();
    }
    assert!(acknowledged > 0, "the neighbours did nothing meanwhile");
    let possible = acknowledged..=acknowledged + CALLERS as u64;
    assert!(possible.contains(&deposited), "{deposited} deposited, {acknowledged} acknowledged");
    let refused = nodes[0].entity::<Sulking>("q").ask(Total {}).await.unwrap_err();
    assert!(matches!(refused, EntityError::Failed(AskError::Quarantined { .. })), "{refused}");
    let filter: FailureFilter = "sulking".parse().unwrap();
    let resumed = nodes[1].failures().resume(&filter, false).await.unwrap();
    assert_eq!(resumed.len(), 1);
    assert_eq!(resumed[0].outcome, HandledOutcome::Done);
    assert_eq!(nodes[0].entity::<Sulking>("q").ask(Add { panics: false }).await, Ok(1));
    nodes[1].shutdown().await;
    nodes[0].shutdown().await;
}

fn neighbour(n: u64) -> String {
    format!("neighbour-{n}")
}

/// Deposits until it is stopped; any error ends it.
async fn work(node: Holm, acknowledged: Arc<AtomicU64>) {
    for step in 0.. {
        let account = node.entity::<Account>(neighbour(step % NEIGHBOURS));
        account.ask(Deposit { amount: 1 }).await.unwrap();
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds and panics in turns, each panic under an id of its own.
async fn panic_often(node: Holm, n: u128) {
    let entity = node.entity::<Brittle>(n.to_string());
    for panic in 0..PANICS {
        entity.ask(Add { panics: false }).await.unwrap();
        let correlation = Some(CorrelationId(1 + n * PANICS + panic));
        let options = AskOptions { correlation, ..AskOptions::default() };
        assert_failed(entity.ask_with(Add { panics: true }, options).await);
    }
}

fn assert_failed<T>(answer: Result<T, EntityError<NoRejection>>) {
    match answer {
        Err(EntityError::Failed(AskError::EntityFailed { .. })) => {}
        Err(other) => panic!("it panicked, and the caller heard {other}"),
        Ok(_) => panic!("it panicked, and the caller heard nothing of it"),
    }
}

/// The correlation ids of the panics of the brittle ones that are stored, as seen from a node, until there are as many as there were panics.
async fn told(node: &Holm) -> BTreeSet<u128> {
    let interest = Interest::of::<FailureLog>();
    let mut facts = node.bus().subscribe(interest, Start::Beginning).await.unwrap();
    let mut told = BTreeSet::new();
    while told.len() < (BRITTLE * PANICS) as usize {
        let event = facts.next().await.unwrap().event::<FailureLog>().unwrap();
        let FailureEvent::Failed { fact } = event else { continue };
        let brittle = fact.subject.to_string().contains("brittle/");
        if fact.kind == FailureKind::Panicked && brittle {
            let command = fact.command.expect("a command panicked");
            assert!(told.insert(command.correlation.0), "a fact is stored once");
        }
    }
    told
}
