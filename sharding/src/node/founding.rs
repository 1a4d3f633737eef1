//! Founding a cluster: the first facts, committed by the first node, also when it was interrupted on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holm_persistence::LogId as StoreLog;

use super::core::{Core, NotCommitted};
use super::joining::FOUNDING;
use super::options::StartError;
use crate::cluster_log::Fact;
use crate::raft::EmptyNode;

/// Pause between two tries of what must succeed sooner or later.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Whether this node founded the cluster and was interrupted before it became a member, or has just begun.
pub(super) fn is_founder(core: &Core) -> Result<bool, StartError> {
    let record = core
        .setup
        .store
        .record(StoreLog::CLUSTER, FOUNDING)
        .map_err(|error| StartError::Data { reason: error.to_string() })?;
    let mine = record.is_some_and(|cluster| cluster[..] == core.setup.cluster.to_le_bytes());
    Ok(mine && !core.state().members.contains_key(&core.me()))
}

/// Commits the first facts: the cluster, and this node in it. May be repeated after an interruption at any point.
pub(super) async fn found(core: &Arc<Core>) -> Result<(), StartError> {
    let raft = core.cluster_group.raft();
    if !raft.is_initialized().await.map_err(|error| StartError::broken(error.to_string()))? {
        let only_me = BTreeMap::from([(core.me().0, EmptyNode::new())]);
        raft.initialize(only_me).await.map_err(|error| StartError::broken(error.to_string()))?;
    }
    let setup = &core.setup;
    loop {
        let state = core.state();
        let at = core.now();
        let fact = if state.created.is_none() {
            Fact::Created {
                cluster: setup.cluster,
                name: setup.cluster_name.clone(),
                shards: setup.shards,
                replication: setup.replication,
                expected_nodes: setup.expected_nodes,
                at,
            }
        } else if !state.members.contains_key(&setup.me) {
            Fact::NodeAdmitted {
                node: setup.me,
                directory: setup.directory,
                facts: setup.facts.clone(),
                at,
            }
        } else {
            return Ok(());
        };
        if let Err(NotCommitted::NoLeader | NotCommitted::Contradiction) = core.commit(fact).await {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}
