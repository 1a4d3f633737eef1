//! Facts by tag, and facts of the cluster, on other nodes than those where they happen.

use std::time::Duration;

use holm::bus::{DurableSubscription, Interest, Seen, Start};
use holm::{ClusterEvent, ClusterFacts, Holm};
use holm_domains::bank::{Account, AccountEvent, Deposit, Open};

use crate::cluster::three;

const PATIENCE: Duration = Duration::from_secs(20);

async fn deposits(node: &Holm) {
    for number in 0..12 {
        let account = node.entity::<Account>(format!("a{number}"));
        account.ask(Open { owner: "Ada".into() }).await.unwrap();
        account.ask(Deposit { amount: if number == 7 { 200_000 } else { 5 } }).await.unwrap();
    }
}

/// The accounts of which it was given something, until nothing comes any more.
async fn accounts(mut facts: DurableSubscription) -> Vec<String> {
    let mut accounts = Vec::new();
    while let Ok(fact) = tokio::time::timeout(Duration::from_secs(4), facts.next()).await {
        let fact = fact.unwrap();
        assert_eq!(fact.name(), "Deposited");
        accounts.push(fact.address().id().to_owned());
    }
    accounts
}

/// Promise G8: a filter by tag holds on every node, and for a group whose members share the shards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_are_followed_on_any_node_and_in_groups() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three(data.path()).await;
    let large = Interest::everything().tag("large");
    let mut live = nodes[2].bus().subscribe(large, Start::Now).await.unwrap();
    let money = || Interest::of::<Account>().tag("money");
    let join = |node: &Holm| {
        let bus = node.bus();
        async move { bus.subscribe_durable("audit", money(), Start::Beginning).await.unwrap() }
    };
    let (one, other) = (join(&nodes[0]).await, join(&nodes[1]).await);
    let (one, other) = (tokio::spawn(accounts(one)), tokio::spawn(accounts(other)));
    deposits(&nodes[1]).await;
    let fact = tokio::time::timeout(PATIENCE, live.next()).await.unwrap().unwrap();
    let event = fact.event::<Account>().unwrap();
    assert_eq!((fact.address().id(), event), ("a7", AccountEvent::Deposited { amount: 200_000 }));
    let mut shared = [one.await.unwrap(), other.await.unwrap()].concat();
    shared.sort_unstable();
    shared.dedup();
    assert_eq!(shared.len(), 12, "{shared:?}");
    for node in nodes {
        node.shutdown().await;
    }
}

/// Promise G8: what happens to the cluster is told on every node, once and in order, also under a name that remembers how far it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_the_cluster_are_followed_by_name() {
    let data = tempfile::tempdir().unwrap();
    let nodes = three(data.path()).await;
    let interest = Interest::of::<ClusterFacts>;
    let join = async |node: &Holm| {
        node.bus().subscribe_durable("watch", interest(), Start::Beginning).await.unwrap()
    };
    let mut facts = join(&nodes[1]).await;
    let (mut told, mut seen) = (Vec::new(), Seen::default());
    while told.iter().filter(|it| matches!(it, ClusterEvent::NodeJoined { .. })).count() < 2 {
        told.extend(next(&mut facts, &mut seen).await);
    }
    facts.leave().await.unwrap();

    let gone = nodes[2].facts();
    nodes[2].shutdown().await;
    let mut facts = join(&nodes[0]).await;
    loop {
        let Some(event) = next(&mut facts, &mut seen).await else { continue };
        assert!(!told.contains(&event), "{event:?} came before");
        if let ClusterEvent::NodeSuspected { node, name, .. } = &event {
            assert_eq!((*node, &**name), (gone.id, &*gone.name));
            break;
        }
    }
    nodes[1].shutdown().await;
    nodes[0].shutdown().await;
}

/// The next fact; none when it came before, as the facts of a record do of which not all were handled.
async fn next(facts: &mut DurableSubscription, seen: &mut Seen) -> Option<ClusterEvent> {
    let fact = tokio::time::timeout(PATIENCE, facts.next()).await.unwrap().unwrap();
    let is_new = seen.is_new(&fact);
    seen.note(&fact);
    is_new.then(|| fact.event::<ClusterFacts>().unwrap())
}
