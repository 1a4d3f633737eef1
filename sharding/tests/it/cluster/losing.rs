//! Losing nodes: failover, minorities, and what a deposed leader may not do.

use std::time::{Duration, Instant};

use holm_core::{EntityAddress, ErrorKind};
use holm_runtime::{FailureFilter, FailureKind, Subject};

use super::harness::{Cluster, Running, SHARDS, Total, all_serving, ids, kill, leader_of, within};

use crate::support::PATIENCE;

async fn three() -> (Cluster, Vec<Running>) {
    let cluster = Cluster::of(3);
    let nodes = cluster.start_all().await;
    for running in &nodes {
        running.until_serving().await;
    }
    (cluster, nodes)
}

/// Laws R3, R4: the shards of a dead node are served by its replicas, with everything that was acknowledged (G1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "the test measures how long a failover takes")]
async fn the_shards_of_a_dead_node_are_served_by_the_others() {
    let (cluster, mut nodes) = three().await;
    for id in ids(12) {
        nodes[0].add(&id, 1).await.unwrap();
    }
    for victim in [2, 1] {
        let dead = nodes.remove(victim);
        let dead_id = dead.node.node();
        let began = Instant::now();
        kill(dead).await;
        for id in ids(12) {
            nodes[0].add(&id, 1).await.unwrap();
        }
        let took = began.elapsed();
        println!("{dead_id} was replaced after {took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        let view = nodes[0].node.view();
        assert!(ids(12).iter().all(|id| leader_of(&view, id) != dead_id));
        let back = cluster.start(victim).await;
        assert_eq!(back.node.node(), dead_id);
        back.until_serving().await;
        nodes.insert(victim, back);
        nodes[0].until("all are back", |view| all_serving(view) && view.members.len() == 3).await;
    }
    for id in ids(12) {
        assert_eq!(nodes[1].tally(&id).ask(Total {}).await.unwrap(), 3, "{id}");
    }
}

/// Promise G7: what becomes of a dead node, and of its shards, is told as facts, whoever led the cluster log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_is_a_fact() {
    let (cluster, mut nodes) = three().await;
    let dead = nodes.remove(2);
    let dead_id = dead.node.node();
    kill(dead).await;
    let told = async |kind: FailureKind, subject: Option<Subject>| {
        loop {
            // A part of the log may be led by the node that is gone.
            let list = nodes[0].failures().list(&FailureFilter::all().kind(kind)).await;
            let rows = list.map(|list| list.rows).unwrap_or_default();
            if rows.iter().any(|row| subject.as_ref().is_none_or(|it| *it == row.subject)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let node = Some(Subject::Node(dead_id));
    let soon = async |what: &str, kind, subject| {
        let told = tokio::time::timeout(PATIENCE, told(kind, subject)).await;
        assert!(told.is_ok(), "{what}: not told within {PATIENCE:?}");
    };
    soon("it is suspected", FailureKind::NodeSuspected, node.clone()).await;
    soon("its shards have moved", FailureKind::ShardMoved, None).await;
    let back = cluster.start(2).await;
    soon("it is back", FailureKind::NodeBack, node).await;
    drop(back);
}

/// A node without a majority takes no command and says so; with the majority back, it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_takes_no_commands() {
    let (cluster, mut nodes) = three().await;
    nodes[0].add("a", 1).await.unwrap();
    let (third, second) = (nodes.remove(2), nodes.remove(1));
    tokio::join!(kill(second), kill(third));
    let lonely = &nodes[0];
    lonely
        .until("no shard is served", |view| {
            view.shards.iter().all(|shard| shard.state == holm_sharding::ShardState::Unassigned)
        })
        .await;
    let options = within(Duration::from_secs(3));
    let refused = lonely.tally("a").ask_with(super::harness::Add { amount: 1 }, options).await;
    let error = refused.map(|reply| reply.value).expect_err("nobody can acknowledge it");
    assert!(matches!(error.kind(), ErrorKind::BackOff | ErrorKind::Retry), "{error:?}");
    let (second, third) = tokio::join!(cluster.start(1), cluster.start(2));
    lonely.until_serving().await;
    assert_eq!(second.tally("a").ask(Total {}).await.unwrap(), 1);
    assert_eq!(third.add("a", 1).await.unwrap(), 2);
}

/// Promise G3: a batch made under a leadership that is over is refused, also by the node that leads again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_writes_nothing() {
    let (_cluster, mut nodes) = three().await;
    nodes[0].add("a", 1).await.unwrap();
    let address = EntityAddress::new("tally", "a").unwrap();
    let shard = holm_core::shard_of(&address, SHARDS);
    let view = nodes[0].node.view();
    let leader = leader_of(&view, "a");
    let term = view.shard(shard).unwrap().term;
    let place = nodes.iter().position(|running| running.node.node() == leader).unwrap();
    let log = nodes[place].node.log();
    let last = log.last_offset(shard).unwrap();
    let stored = log.read(shard, last, 1).unwrap().remove(0);
    assert_eq!(stored.term(), term);
    // The batch of the leadership that is, at the place of the next: refused for its place.
    let double = log.append(stored.clone()).await;
    assert!(double.is_err(), "{double:?}");
    // Its leadership is over by then or soon; whatever happens, the history has one entry.
    drop((log, stored));
    let other = nodes.remove((place + 1) % 3);
    assert_eq!(other.tally("a").ask(Total {}).await.unwrap(), 1);
    assert_eq!(other.add("a", 1).await.unwrap(), 2);
}
