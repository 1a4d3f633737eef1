//! Losing nodes: failover, minorities, and what a deposed leader may not do.

use std::time::{Duration, Instant};

use holm_core::{AskError, EntityAddress, ErrorKind, Outcome};
use holm_persistence::{AppendError, BatchBuilder};
use holm_runtime::{EntityError, FailureFilter, FailureKind, Subject};
use holm_sharding::{ClusterView, ShardState};

use super::harness::{
    Add, Cluster, Running, SHARDS, Total, all_serving, ids, kill, leader_of, within,
};

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
            view.shards.iter().all(|shard| shard.state == ShardState::Unassigned)
        })
        .await;
    // Long before the deadline: whoever waits for it learns nothing more.
    let (tally, options) = (lonely.tally("a"), within(PATIENCE * 10));
    let refused = tally.ask_with(Add { amount: 1 }, options);
    let refused = tokio::time::timeout(PATIENCE, refused).await.expect("it is told at once");
    let error = refused.map(|reply| reply.value).expect_err("nobody can acknowledge it");
    assert!(matches!(error, EntityError::Failed(AskError::Unavailable { .. })), "{error:?}");
    assert_eq!((error.kind(), error.outcome()), (ErrorKind::BackOff, Outcome::NotApplied));
    let (second, third) = tokio::join!(cluster.start(1), cluster.start(2));
    lonely.until_serving().await;
    assert_eq!(second.tally("a").ask(Total {}).await.unwrap(), 1);
    assert_eq!(third.add("a", 1).await.unwrap(), 2);
}

/// Promise G3: a batch made under a leadership that is over is refused by every node, the one that leads now included, though it would fit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_under_a_lost_leadership_is_refused() {
    let (cluster, mut nodes) = three().await;
    nodes[0].add("a", 1).await.unwrap();
    let address = EntityAddress::new("tally", "a").unwrap();
    let shard = holm_core::shard_of(&address, SHARDS);
    let deposed = leader_of(&nodes[0].node.view(), "a");
    let place = nodes.iter().position(|running| running.node.node() == deposed).unwrap();
    let log = nodes[place].node.log();
    let made = log.read(shard, log.last_offset(shard).unwrap(), 1).unwrap().remove(0);
    drop(log);
    kill(nodes.remove(place)).await;
    let led_again = |view: &ClusterView| {
        let now = view.shard(shard);
        now.is_some_and(|it| it.state == ShardState::Serving && it.term > made.term())
    };
    nodes[0].until("somebody leads under a later term", led_again).await;
    nodes.insert(place, cluster.start(place).await);
    for running in &nodes {
        running.until_serving().await;
    }
    assert_eq!(nodes[place].add("a", 1).await.unwrap(), 2);

    let leader = leader_of(&nodes[place].node.view(), "a");
    let leader = nodes.iter().find(|running| running.node.node() == leader).unwrap();
    let end = leader.node.log().last_offset(shard).unwrap();
    let mut late = BatchBuilder::new(shard, made.term(), end.next());
    late.push(&made.records().next().unwrap().decode().unwrap()).unwrap();
    let late = late.finish();
    for running in &nodes {
        let refused = running.node.log().append(late.clone()).await;
        let fenced = AppendError::Fenced { shard, term: made.term() };
        assert_eq!(refused, Err(fenced), "{}", running.node.node());
    }
    assert_eq!(nodes[0].tally("a").ask(Total {}).await.unwrap(), 2);
    assert_eq!(nodes[0].add("a", 1).await.unwrap(), 3);
}
