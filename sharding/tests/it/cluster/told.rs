//! What of a cluster in trouble is stored in the log of failures, by nodes with real connections.

use std::time::Duration;

use holm_core::NodeId;
use holm_runtime::{FailureFilter, FailureKind, Subject};
use holm_sharding::{MemberState, ShardState};

use super::harness::{Cluster, Running, kill};

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

/// Promise G7: a shard that lost its majority is a fact, which is stored when its log can be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_a_majority_is_a_fact() {
    let cluster = Cluster::of(5);
    let patient = |index| cluster.try_start(index, |it| it.down_after = Duration::from_secs(600));
    let started = futures::future::join_all((0..5).map(patient)).await;
    let mut nodes: Vec<Running> = started.into_iter().map(Result::unwrap).collect();
    let view = nodes[0].until_serving().await;
    let (shard, victims) = (view.shards[0].id, &view.shards[0].replicas[..2]);
    let is_victim = |node: &NodeId| victims.contains(node);
    let places: Vec<_> = (0..5).filter(|place| is_victim(&nodes[*place].node.node())).collect();
    let (dead, alive): (Vec<_>, Vec<_>) =
        nodes.drain(..).partition(|running| is_victim(&running.node.node()));
    futures::future::join_all(dead.into_iter().map(kill)).await;
    let survivor = &alive[0];
    survivor
        .until("its majority is gone", |view| {
            let silent =
                |node| view.member(node).is_some_and(|it| it.state == MemberState::Suspect);
            let lost = view.shard(shard).is_some_and(|it| it.state == ShardState::Unassigned);
            lost && victims.iter().copied().all(silent)
        })
        .await;
    let back = futures::future::join_all(places.into_iter().map(patient)).await;
    survivor.stored(FailureKind::ShardWithoutQuorum, Subject::Shard(shard)).await;
    drop(back);
}
