//! What of a cluster in trouble is stored in the log of failures, by nodes with real connections.

use std::time::Duration;

use holm_core::ShardId;
use holm_runtime::{FailureFilter, FailureKind, Subject};
use holm_sharding::{ClusterOptions, ClusterView, ShardState, ShardView};

use super::harness::{Cluster, Running, SHARDS, kill};

impl Running {
    /// Waits until a failure is stored.
    async fn stored(&self, kind: FailureKind, subject: Subject) {
        let wanted = FailureFilter::all().kind(kind);
        let stored = async {
            loop {
                // A part of the log may be led by a node that is gone.
                let list = self.failures().list(&wanted).await;
                let rows = list.map(|list| list.rows).unwrap_or_default();
                if rows.iter().any(|row| row.subject == subject) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let stored = tokio::time::timeout(crate::support::PATIENCE, stored).await;
        assert!(stored.is_ok(), "{kind:?} of {subject} is not stored");
    }
}

/// Promise G7: a node that stays away is given up, and that is a fact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stays_away_is_a_fact() {
    let cluster = Cluster::of(3);
    let mut nodes = cluster.start_all().await;
    nodes[0].until_serving().await;
    let gone = nodes.remove(2);
    let id = gone.node.node();
    kill(gone).await;
    nodes[0].stored(FailureKind::NodeDown, Subject::Node(id)).await;
}

/// Promise G7: a shard whose replicas are gone is a fact, which is stored as soon as it can be: its part of the log may be in such a shard itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_quorum_is_a_fact() {
    let cluster = Cluster::of(3);
    // One replica of each shard: whoever falls silent takes shards along, and the log of the cluster, which is everywhere, goes on.
    let start = |index| cluster.try_start(index, |options| options.replication = 1);
    let mut nodes = futures::future::try_join_all((0..3).map(start)).await.unwrap();
    for node in &nodes {
        node.until_serving().await;
    }
    kill(nodes.remove(2)).await;
    let is_lost = |shard: &&ShardView| shard.state == ShardState::Unassigned;
    let mut lost = Vec::new();
    for node in &nodes {
        let view = node.until("shards are lost", |view| view.shards.iter().any(|it| is_lost(&it)));
        lost = view.await.shards.iter().filter(is_lost).map(|shard| shard.id).collect();
    }
    let _back = start(2).await.unwrap();
    nodes[0].until_serving().await;
    for shard in lost {
        nodes[0].stored(FailureKind::ShardWithoutQuorum, Subject::Shard(shard)).await;
    }
}

/// Promise G7: when two of three replicas are gone and one of them leads the cluster log after its restart, it knows nothing of what happened; whoever stayed does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_majority_is_a_fact_whoever_leads_afterwards() {
    let cluster = Cluster::of(3);
    // The one that stays never stands for election, so one that was started again leads.
    let patient = |options: &mut ClusterOptions| {
        options.times.election_min = 2 * crate::support::PATIENCE;
        options.times.election_max = 3 * crate::support::PATIENCE;
    };
    let start = async |index| {
        let change = |options: &mut ClusterOptions| {
            if index == 0 {
                patient(options)
            }
        };
        cluster.try_start(index, change).await.unwrap()
    };
    let mut nodes = futures::future::join_all((0..3).map(&start)).await;
    for node in &nodes {
        node.until_serving().await;
    }
    for _ in 0..2 {
        kill(nodes.pop().unwrap()).await;
    }
    let is_lost = |shard: &ShardView| shard.state == ShardState::Unassigned;
    let all_lost = |view: &ClusterView| view.shards.iter().all(is_lost);
    nodes[0].until("every shard is lost", all_lost).await;
    let _back = futures::future::join_all([1, 2].map(start)).await;
    nodes[0].until_serving().await;
    for shard in (0..SHARDS).map(ShardId) {
        nodes[0].stored(FailureKind::ShardWithoutQuorum, Subject::Shard(shard)).await;
    }
}
