//! What of a cluster in trouble is stored in the log of failures, by nodes with real connections.

use std::time::Duration;

use holm_runtime::{FailureFilter, FailureKind, Subject};

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
