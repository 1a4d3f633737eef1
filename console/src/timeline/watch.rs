//! Watches the cluster through the pictures that some of its nodes have of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::api_client::{ApiClient, ClientError, ClientOptions};
use crate::state_file::RunningNode;
use crate::views::ClusterDocument;
use crate::wall_clock::now_us;

/// Between two looks at one node: fine against the hundreds of milliseconds of a recovery, and little work for the node.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Longest wait for one picture.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one node saw at one time. Only pictures that differ from the same node's last one are kept.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// When it arrived, in microseconds since the epoch.
    pub(super) at_us: u64,
    /// Whose it is.
    pub(super) node: String,
    /// What it shows.
    pub(super) view: ClusterDocument,
}

/// Polls some nodes until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    pictures: Arc<Mutex<Vec<Picture>>>,
    nodes: Vec<String>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Begins to watch through these nodes.
    pub(super) fn start<'a>(
        nodes: impl IntoIterator<Item = &'a RunningNode>,
    ) -> Result<Self, ClientError> {
        let pictures = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let mut names = Vec::new();
        for node in nodes {
            let options = ClientOptions { timeout: Some(PATIENCE), ..ClientOptions::default() };
            let client = ApiClient::new(&node.http, options)?;
            names.push(node.name.clone());
            tasks.spawn(look(client, node.name.clone(), Arc::clone(&pictures)));
        }
        Ok(Self { pictures, nodes: names, _tasks: tasks })
    }

    /// All pictures so far, in order of time.
    pub(super) fn pictures(&self) -> Vec<Picture> {
        self.pictures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest picture of every node that is watched through; fewer when one has not answered yet.
    pub(super) fn newest(&self) -> Vec<Picture> {
        let pictures = self.pictures();
        self.nodes
            .iter()
            .filter_map(|node| pictures.iter().rev().find(|picture| picture.node == *node).cloned())
            .collect()
    }

    /// Through how many nodes it looks.
    pub(super) fn witnesses(&self) -> usize {
        self.nodes.len()
    }
}

async fn look(client: ApiClient, node: String, pictures: Arc<Mutex<Vec<Picture>>>) {
    let mut last = None;
    loop {
        if let Ok(seen) = client.cluster().await {
            let digest = digest(&seen.body);
            if last.as_ref() != Some(&digest) {
                last = Some(digest);
                let picture = Picture { at_us: now_us(), node: node.clone(), view: seen.body };
                pictures.lock().unwrap_or_else(PoisonError::into_inner).push(picture);
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What makes a picture a new one: states of members, leaders and states of shards.
fn digest(view: &ClusterDocument) -> Vec<(u64, String)> {
    let members = view.members.iter().map(|member| (member.id, member.state.clone()));
    let shards =
        view.shards.iter().map(|shard| (shard.leader.unwrap_or_default(), shard.state.clone()));
    members.chain(shards).collect()
}
