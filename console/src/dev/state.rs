//! What the supervisor tells others about the cluster: the state file, written by rename, and the states of its processes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DevPaths;
use crate::load::LoadReport;
use crate::state_file::{RunningCluster, RunningNode};

/// What a node's process is doing, as its supervisor knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It was started and has not said that it is ready.
    #[default]
    Starting,
    /// It runs.
    Up,
    /// It was stopped with SIGSTOP.
    Paused,
    /// It was ended on purpose.
    Killed,
    /// It left the cluster and ended.
    Left,
    /// It ended by itself, which nobody asked for.
    Exited,
}

/// One node as its supervisor sees it now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node, with its present process id; 0 when it has none.
    #[serde(flatten)]
    pub node: RunningNode,
    /// What its process is doing.
    pub state: ProcessState,
}

/// Everything the supervisor knows, on request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DevStatus {
    /// The cluster's name.
    pub cluster: String,
    /// Where the nodes keep their data.
    pub data_dir: PathBuf,
    /// True when the data is deleted at the end.
    pub temporary: bool,
    /// The demo domain that was named.
    pub domain: String,
    /// How many shards.
    pub shards: u32,
    /// How many replicas each shard has.
    pub replication: u32,
    /// The supervisor's process id.
    pub supervisor: u32,
    /// True once every shard was served.
    pub serving: bool,
    /// Its nodes.
    pub nodes: Vec<NodeStatus>,
    /// The load generator, when there is one.
    pub load: Option<LoadStatus>,
    /// The ledger of the load generator; it may not exist yet.
    pub ledger: PathBuf,
}

/// The load generator as its supervisor sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadStatus {
    /// Its process id; 0 when it ended.
    pub pid: u32,
    /// Commands per second that were asked for.
    pub rate: u32,
    /// Its newest reports, oldest first; at most a minute of them.
    pub reports: Vec<LoadReport>,
}

impl DevStatus {
    /// The document of `holm dev --detach --json` and of the state file.
    #[must_use]
    pub fn document(&self) -> RunningCluster {
        RunningCluster {
            cluster: self.cluster.clone(),
            data_dir: self.data_dir.clone(),
            nodes: self.nodes.iter().map(|status| status.node.clone()).collect(),
            ..RunningCluster::default()
        }
    }

    /// A node by its name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.nodes.iter().find(|status| status.node.name == name)
    }

    /// The peer addresses of the nodes whose process runs.
    #[must_use]
    pub fn seeds(&self) -> Vec<String> {
        self.running().map(|status| status.node.peer.clone()).collect()
    }

    /// The nodes whose process runs and is not paused.
    pub fn running(&self) -> impl Iterator<Item = &NodeStatus> {
        self.nodes.iter().filter(|status| status.state == ProcessState::Up)
    }
}

/// Writes the state file by rename, so that a reader sees the old one or the new one.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(paths: &DevPaths, status: &DevStatus, control: &Path) -> std::io::Result<()> {
    let mut document = status.document();
    let mut more = |name: &str, value: Value| document.more.insert(name.into(), value);
    more("control", control.to_string_lossy().into());
    more("supervisor", status.supervisor.into());
    more("serving", status.serving.into());
    more("temporary", status.temporary.into());
    more("domain", status.domain.as_str().into());
    more("shards", status.shards.into());
    more("replication", status.replication.into());
    more("ledger", status.ledger.to_string_lossy().into());
    let mut file = tempfile::NamedTempFile::new_in(paths.dir())?;
    serde_json::to_writer_pretty(&mut file, &document)?;
    file.write_all(b"\n")?;
    file.persist(paths.state_file()).map_err(|error| error.error)?;
    Ok(())
}

/// The socket that a state file names.
#[must_use]
pub fn control_socket(cluster: &RunningCluster) -> Option<PathBuf> {
    cluster.more.get("control").and_then(Value::as_str).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_and_its_state_are_one_flat_document() {
        let status = NodeStatus {
            node: RunningNode { name: "holm-1".into(), pid: 7, ..RunningNode::default() },
            state: ProcessState::Paused,
        };
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(
            (json["name"].as_str(), json["state"].as_str()),
            (Some("holm-1"), Some("paused"))
        );
        assert_eq!(serde_json::from_value::<NodeStatus>(json).unwrap(), status);
    }
}
