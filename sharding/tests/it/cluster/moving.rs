//! Nodes that come and go in order: a share for the newcomer, a hand-over without errors for the one that leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holm_core::{NodeId, Offset, ShardId};
use holm_sharding::ShardView;

use super::harness::{Cluster, Running, SHARDS, Total, all_serving, ids, kill};
use super::watched::{Notes, Told, watch};
use crate::support::PATIENCE;

/// Adds to one tally again and again until told to stop; counts what was acknowledged. Any error fails the test.
async fn keep_adding(running: &Running, id: &str, stop: &AtomicBool, acknowledged: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        running.add(id, 1).await.unwrap_or_else(|error| panic!("{id}: {error}"));
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Laws R5, R8, G23: a node joins and gets its share; another leaves, and callers meanwhile see no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_another_leaves_under_load() {
    let mut cluster = Cluster::of(3);
    let mut nodes = cluster.start_all().await;
    for running in &nodes {
        running.until_serving().await;
    }
    let fourth = cluster.add_place();
    let leaving = nodes.remove(2);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let nodes = Arc::new(nodes);
    let load: Vec<_> = ids(6)
        .into_iter()
        .map(|id| {
            let (nodes, stop, acknowledged) = (nodes.clone(), stop.clone(), acknowledged.clone());
            tokio::spawn(async move { keep_adding(&nodes[0], &id, &stop, &acknowledged).await })
        })
        .collect();

    let newcomer = cluster.start(fourth).await;
    let new = newcomer.node.node();
    newcomer
        .until("the newcomer has its share", |view| {
            all_serving(view) && view.shards.iter().any(|shard| shard.replicas.contains(&new))
        })
        .await;

    let gone = leaving.node.node();
    leaving.node.leave().await.unwrap();
    nodes[0]
        .until("the node has left", |view| {
            view.member(gone).is_none()
                && all_serving(view)
                && view
                    .shards
                    .iter()
                    .all(|shard| shard.replicas.len() == 3 && !shard.replicas.contains(&gone))
        })
        .await;

    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    let mut total = 0;
    for id in ids(6) {
        total += newcomer.tally(&id).ask(Total {}).await.unwrap();
    }
    assert_eq!(total, acknowledged.load(Ordering::Relaxed));
}

/// A replica that moved away leaves nothing on the disk but its vote, also when the node dies meanwhile; and when it comes back, everything is
/// there again (G1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_moved_away_is_erased_and_comes_back_whole() {
    let mut cluster = Cluster { erase_after: Duration::ZERO, ..Cluster::of(3) };
    let mut nodes = cluster.start_all().await;
    for running in &nodes {
        running.until_serving().await;
    }
    let adding = ids(12).into_iter().map(|id| {
        let running = &nodes[0];
        async move {
            for _ in 0..50 {
                running.add(&id, 1).await.unwrap();
            }
        }
    });
    futures::future::join_all(adding).await;

    let fourth = cluster.add_place();
    let fourth = cluster.start(fourth).await;
    let old: Vec<NodeId> = nodes.iter().map(|running| running.node.node()).collect();
    let is_out = |shard: &ShardView| old.iter().position(|node| !shard.replicas.contains(node));
    let view = fourth
        .until("a replica has moved away", |view| {
            all_serving(view) && view.shards.iter().any(|shard| is_out(shard).is_some())
        })
        .await;
    let (shard, place) =
        view.shards.iter().find_map(|shard| Some((shard.id, is_out(shard)?))).unwrap();
    let victim = nodes.remove(place);
    assert!(victim.store.last_index(shard.into()).is_none_or(|last| last > 0));
    kill(victim).await;
    let back = cluster.start(place).await;
    until_erased(&back, shard).await;
    let others =
        (0..SHARDS).map(ShardId).filter(|other| back.store.last_index((*other).into()).is_some());
    assert!(others.count() > 0, "what is held here stays");
    nodes.insert(place, back);

    fourth.node.leave().await.unwrap();
    let back = &nodes[place];
    let me = back.node.node();
    let view = back
        .until("the replica is back", |view| {
            all_serving(view)
                && view.members.len() == 3
                && view.shards.iter().all(|shard| shard.replicas.len() == 3)
        })
        .await;
    assert!(view.shard(shard).unwrap().replicas.contains(&me));
    for id in ids(12) {
        assert_eq!(nodes[0].tally(&id).ask(Total {}).await.unwrap(), 50, "{id}");
    }
    let other = &nodes[(place + 1) % 3];
    let batches = |running: &Running| running.node.log().read(shard, Offset(1), usize::MAX);
    let whole = async {
        while batches(&nodes[place]) != batches(other) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("the log is the same again");
    assert!(batches(other).unwrap().last().unwrap().last() >= Offset(50));
    // It carries a majority again.
    kill(nodes.remove((place + 1) % 3)).await;
    for id in ids(12) {
        assert_eq!(nodes[0].add(&id, 1).await.unwrap(), 51, "{id}");
    }
}

async fn until_erased(running: &Running, shard: ShardId) {
    let erased = async {
        while running.store.last_index(shard.into()).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, erased).await.expect("its entries go");
}

/// Law G23: a cluster of one can leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_node_can_leave() {
    let cluster = Cluster::of(1);
    let only = cluster.start(0).await;
    only.until_serving().await;
    only.node.leave().await.unwrap();
}

/// Law U2: an orderly stop hands over first, so that the others serve at once: what is under way is finished, then another node leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_stop_hands_over_first() {
    let cluster = Cluster::of(3);
    let mut notes = Notes::default();
    let watched = cluster.try_start(0, |options| notes = watch(options));
    let (stopping, second, third) = tokio::join!(watched, cluster.start(1), cluster.start(2));
    let (stopping, nodes) = (stopping.unwrap(), [second, third]);
    for running in [&stopping].into_iter().chain(&nodes) {
        running.until_serving().await;
    }
    for id in ids(8) {
        nodes[0].add(&id, 1).await.unwrap();
    }
    let me = stopping.node.node();
    let view = stopping.node.view();
    let led: Vec<_> = view.shards.iter().filter(|it| it.leader == Some(me)).collect();
    assert!(!led.is_empty(), "it leads something");
    stopping.node.shutdown().await;
    nodes[0]
        .until("others lead", |view| {
            all_serving(view) && view.shards.iter().all(|shard| shard.leader != Some(me))
        })
        .await;
    for id in ids(8) {
        assert_eq!(nodes[0].add(&id, 1).await.unwrap(), 2);
    }
    let notes = notes.lock().unwrap();
    for shard in led {
        let told = notes.iter().filter(|(of, _)| *of == shard.id).map(|(_, told)| *told);
        let since_led = told.rev().take_while(|told| *told != Told::Lead).collect::<Vec<_>>();
        // From the last note backwards: it may be told more than once that its leadership is over.
        let first = since_led.last();
        assert_eq!(first, Some(&Told::Drained), "shard {}: {since_led:?}", shard.id);
        assert!(since_led.contains(&Told::Depose), "shard {}: {since_led:?}", shard.id);
    }
}
