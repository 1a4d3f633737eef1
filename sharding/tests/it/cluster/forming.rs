//! Forming a cluster, coming back to it, and being refused.

use std::collections::BTreeSet;
use std::time::Duration;

use holm_sharding::StartError;

use super::harness::{Cluster, Total, all_serving, ids, kill};

/// Laws G19, G30, R1, R15: nodes that start at the same moment form one cluster, and every entity is reached from every node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_together_form_one_cluster() {
    let cluster = Cluster::of(3);
    let nodes = cluster.start_all().await;
    let names: BTreeSet<_> = nodes.iter().map(|running| running.node.node()).collect();
    assert_eq!(names.len(), 3, "every node has an id of its own");
    for running in &nodes {
        let view = running.until_serving().await;
        assert_eq!(view.members.len(), 3);
        assert!(view.shards.iter().all(|shard| shard.replicas.len() == 3));
    }
    for (round, id) in ids(12).iter().enumerate() {
        for running in &nodes {
            running.add(id, 1).await.unwrap();
        }
        let asked = &nodes[round % 3];
        assert_eq!(asked.tally(id).ask(Total {}).await.unwrap(), 3, "{id}");
    }
}

/// All nodes stop without a word and start again: nothing that was acknowledged is missing (G1, G4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_nodes_loses_nothing() {
    let cluster = Cluster::of(3);
    let nodes = cluster.start_all().await;
    nodes[0].until_serving().await;
    let before: Vec<_> = nodes.iter().map(|running| running.node.node()).collect();
    for id in ids(12) {
        nodes[1].add(&id, 7).await.unwrap();
    }
    futures::future::join_all(nodes.into_iter().map(kill)).await;
    let nodes = cluster.start_all().await;
    let after: Vec<_> = nodes.iter().map(|running| running.node.node()).collect();
    assert_eq!(before, after, "the same directories are the same nodes");
    for running in &nodes {
        running.until_serving().await;
    }
    for id in ids(12) {
        assert_eq!(nodes[2].tally(&id).ask(Total {}).await.unwrap(), 7, "{id}");
        assert_eq!(nodes[2].add(&id, 1).await.unwrap(), 8, "{id}");
    }
}

/// One node is a cluster too, and grows to three replicas when others come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_grows() {
    let mut cluster = Cluster::of(1);
    let first = cluster.start(0).await;
    let view = first.until_serving().await;
    assert!(view.shards.iter().all(|shard| shard.replicas.len() == 1));
    first.add("a", 5).await.unwrap();
    let (second, third) = (cluster.add_place(), cluster.add_place());
    let (second, third) = tokio::join!(cluster.start(second), cluster.start(third));
    first
        .until("three replicas", |view| {
            all_serving(view) && view.shards.iter().all(|shard| shard.replicas.len() == 3)
        })
        .await;
    assert_eq!(second.tally("a").ask(Total {}).await.unwrap(), 5);
    assert_eq!(third.add("a", 1).await.unwrap(), 6);
}

/// Nobody can take over from the only replica, so nobody is waited for; what was begun ends first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_by_itself_stops_without_waiting_for_a_successor() {
    let cluster = Cluster::of(1);
    let only = cluster.start(0).await;
    only.until_serving().await;
    let names = ids(12);
    // In memory: what waits for its entity to be recovered is turned away.
    for id in &names {
        only.add(id, 1).await.unwrap();
    }
    let adding = futures::future::join_all(names.iter().map(|id| only.add(id, 1)));
    let stopping = async {
        // Behind the commands: they were sent when it is told to stop.
        tokio::task::yield_now().await;
        tokio::time::timeout(Duration::from_secs(5), only.node.shutdown()).await
    };
    let (added, stopped) = tokio::join!(adding, stopping);
    assert!(stopped.is_ok(), "it waited for somebody");
    assert!(added.into_iter().all(|added| added == Ok(2)), "what was begun was answered");
}

/// Laws G18, G20, G27: who does not fit is told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_fit_is_refused_with_a_reason() {
    let mut cluster = Cluster::of(1);
    let first = cluster.start(0).await;
    let stranger = cluster.add_place();
    let refused = |result: Result<_, StartError>, word: &str| match result {
        Err(StartError::Refused { reason, .. }) => assert!(reason.contains(word), "{reason}"),
        Err(other) => panic!("{other}"),
        Ok::<super::harness::Running, _>(_) => panic!("it was let in"),
    };
    refused(cluster.try_start(stranger, |options| options.shards = 5).await, "shards");
    refused(cluster.try_start(stranger, |options| options.replication = 2).await, "replicas");
    refused(
        cluster.try_start(stranger, |options| options.cluster = "other".to_owned()).await,
        "cluster",
    );
    refused(cluster.try_start(stranger, |options| options.name = "n1".to_owned()).await, "n1");
    // A directory of another cluster of the same name.
    let other = Cluster::of(1);
    let founder = other.start(0).await;
    kill(founder).await;
    let foreign = Cluster { seeds: cluster.seeds.clone(), ..other };
    refused(
        foreign.try_start(0, |options| options.name = "n9".to_owned()).await,
        "another cluster",
    );
    drop(first);
}

/// A node that lost its directory is a new node, and its old id never votes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_node_comes_back_under_a_new_id() {
    let mut cluster = Cluster::of(3);
    let mut nodes = cluster.start_all().await;
    nodes[0].until_serving().await;
    nodes[0].add("a", 3).await.unwrap();
    let emptied = nodes.remove(2);
    let old = emptied.node.node();
    kill(emptied).await;
    cluster.places[2].dir = tempfile::tempdir().unwrap();
    let back = cluster.start(2).await;
    assert_ne!(back.node.node(), old);
    let new = back.node.node();
    back.until("the new node replaces the old one", |view| {
        view.member(old).is_none()
            && all_serving(view)
            && view
                .shards
                .iter()
                .all(|shard| shard.replicas.contains(&new) && shard.replicas.len() == 3)
    })
    .await;
    assert_eq!(back.tally("a").ask(Total {}).await.unwrap(), 3);
}

/// A cluster whose first seed is not there yet waits for it instead of forming two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_first_seed_founds() {
    let cluster = Cluster::of(2);
    let early =
        cluster.try_start(1, |options| options.join_timeout = Duration::from_millis(700)).await;
    assert!(matches!(early, Err(StartError::NotJoined { .. })));
    let (first, second) = tokio::join!(cluster.start(0), cluster.start(1));
    first.until("two members", |view| view.members.len() == 2 && all_serving(view)).await;
    second.add("a", 1).await.unwrap();
}
