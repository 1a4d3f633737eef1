//! Groups that rest: what is asked of them is answered, and whoever is lost meanwhile is noticed.

use std::collections::BTreeSet;
use std::time::Duration;

use holm_core::{NodeId, Term};
use holm_sharding::ClusterView;

use super::harness::{Cluster, Running, SHARDS, Total, all_serving, ids, kill};
use crate::support::PATIENCE;

/// A node of a cluster whose groups rest soon.
async fn start(cluster: &Cluster, place: usize) -> Running {
    let soon = Some(Duration::from_millis(300));
    let started = cluster.try_start(place, |options| options.times.rest_after = soon).await;
    started.unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

async fn start_all(cluster: &Cluster) -> Vec<Running> {
    let places = 0..cluster.places.len();
    let nodes = futures::future::join_all(places.map(|place| start(cluster, place))).await;
    for running in &nodes {
        running.until_serving().await;
    }
    nodes
}

/// Waits until so many groups rest on a node.
async fn until_resting(running: &Running, count: usize) {
    let rest = async {
        while running.node.resting_shards().len() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let rest = tokio::time::timeout(PATIENCE, rest).await;
    let resting = running.node.resting_shards();
    assert!(rest.is_ok(), "{resting:?} rest on node {}, not {count}", running.node.node());
}

/// Three nodes whose groups all rest, on all of them.
async fn three_at_rest() -> (Cluster, Vec<Running>) {
    let cluster = Cluster::of(3);
    let nodes = start_all(&cluster).await;
    for id in ids(12) {
        nodes[0].add(&id, 1).await.unwrap();
    }
    all_rest(&nodes).await;
    (cluster, nodes)
}

async fn all_rest(nodes: &[Running]) {
    for running in nodes {
        until_resting(running, SHARDS as usize).await;
    }
}

fn terms(view: &ClusterView) -> Vec<Term> {
    view.shards.iter().map(|shard| shard.term).collect()
}

fn led_without(view: &ClusterView, lost: NodeId) -> bool {
    all_serving(view) && view.shards.iter().all(|shard| shard.leader != Some(lost))
}

/// Promises G1, G5: a command to a group that rests is answered like any other, and so is a read; nobody is elected for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rests_answers_and_rests_again() {
    let (_cluster, nodes) = three_at_rest().await;
    let before = terms(&nodes[0].node.view());
    for round in 2..4 {
        for (place, id) in ids(12).iter().enumerate() {
            let asked = &nodes[place % 3];
            assert_eq!(asked.tally(id).ask(Total {}).await.unwrap(), round - 1, "{id}");
            assert_eq!(asked.add(id, 1).await.unwrap(), round, "{id}");
        }
        all_rest(&nodes).await;
    }
    assert_eq!(terms(&nodes[0].node.view()), before, "the same leaders, all the time");
}

/// Laws R3, R4: a node that dies while all groups rest is noticed, and its shards are served without anybody asking for anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_while_all_rest_is_replaced() {
    let (cluster, mut nodes) = three_at_rest().await;
    for victim in [2, 1] {
        let dead = nodes.remove(victim);
        let lost = dead.node.node();
        kill(dead).await;
        for running in &nodes {
            running.until("the others lead", |view| led_without(view, lost)).await;
        }
        for id in ids(12) {
            nodes[0].add(&id, 1).await.unwrap();
        }
        nodes.insert(victim, start(&cluster, victim).await);
        all_rest(&nodes).await;
    }
    for id in ids(12) {
        assert_eq!(nodes[2].tally(&id).ask(Total {}).await.unwrap(), 3, "{id}");
    }
}

/// A node that stands still keeps its connections, so only its missing signs tell of it; it is replaced all the same, and told so when it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stands_still_while_all_rest_is_replaced() {
    let (_cluster, nodes) = three_at_rest().await;
    let view = nodes[0].node.view();
    let leaders: BTreeSet<_> = view.shards.iter().filter_map(|shard| shard.leader).collect();
    let still = nodes.iter().find(|it| leaders.contains(&it.node.node())).unwrap();
    let lost = still.node.node();
    let paused = still.pause();
    let others: Vec<_> = nodes.iter().filter(|it| it.node.node() != lost).collect();
    for running in &others {
        running.until("the others lead", |view| led_without(view, lost)).await;
        // Somebody is missing, so nothing rests.
        until_resting(running, 0).await;
    }
    for id in ids(12) {
        assert_eq!(others[0].add(&id, 1).await.unwrap(), 2, "{id}");
    }
    drop(paused);
    all_rest(&nodes).await;
    for id in ids(12) {
        assert_eq!(still.tally(&id).ask(Total {}).await.unwrap(), 2, "{id}");
    }
}

/// A cluster of one rests too, and its groups wake to grow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_at_rest_grows() {
    let mut cluster = Cluster::of(1);
    let first = start(&cluster, 0).await;
    first.until_serving().await;
    first.add("a", 5).await.unwrap();
    until_resting(&first, SHARDS as usize).await;
    let (second, third) = (cluster.add_place(), cluster.add_place());
    let (second, third) = tokio::join!(start(&cluster, second), start(&cluster, third));
    let grown = |view: &ClusterView| {
        all_serving(view) && view.shards.iter().all(|shard| shard.replicas.len() == 3)
    };
    first.until("three replicas", grown).await;
    let nodes = [first, second, third];
    all_rest(&nodes).await;
    assert_eq!(nodes[2].add("a", 1).await.unwrap(), 6);
}

/// Law R8: a node leaves a cluster in which all groups rest, and one after the other stops in order and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_leave_and_restart_while_all_rest() {
    let (mut cluster, mut nodes) = three_at_rest().await;
    let fourth = cluster.add_place();
    nodes.push(start(&cluster, fourth).await);
    let gone = nodes.remove(0);
    let gone_id = gone.node.node();
    gone.node.leave().await.unwrap();
    drop(gone);
    for running in &nodes {
        let without = |view: &ClusterView| {
            view.member(gone_id).is_none()
                && led_without(view, gone_id)
                && view.shards.iter().all(|shard| shard.replicas.len() == 3)
        };
        running.until("the others hold everything", without).await;
    }
    all_rest(&nodes).await;
    for place in 0..2 {
        let stopping = nodes.remove(place);
        let stopped = stopping.node.node();
        stopping.node.shutdown().await;
        let asked = &nodes[0];
        asked.until("the others lead", |view| led_without(view, stopped)).await;
        kill(stopping).await;
        nodes.insert(place, start(&cluster, place + 1).await);
        all_rest(&nodes).await;
    }
    for id in ids(12) {
        assert_eq!(nodes[0].add(&id, 1).await.unwrap(), 2, "{id}");
    }
}
