//! What the supervisor shows while the cluster runs.

use std::time::Duration;

use super::Supervisor;
use crate::api_client::ApiClient;
use crate::dev::screen::{Live, ServedShards};
use crate::dev::state::ProcessState;

/// How long all nodes together may take to say how many shards are served.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Once a second: says that the load runs, once, and looks at the shards when a line is due.
    pub(super) fn look_around(&mut self) {
        if self.serving.is_none() {
            return;
        }
        if !self.load.open_announced
            && let Some(report) = self.load.reports.back()
            && report.is_open()
        {
            self.load.open_announced = true;
            self.screen.load_running(report, self.args.load);
        }
        if self.screen.is_line_due() && !self.looking {
            self.looking = true;
            let running = self.nodes.iter().filter(|it| it.status.state == ProcessState::Up);
            let clients: Vec<_> = running.filter_map(|node| node.client.clone()).collect();
            let seen = self.shards.clone();
            tokio::spawn(async move {
                let count = tokio::time::timeout(LOOK_WITHIN, served_shards(&clients)).await;
                let _ = seen.send(count.ok().flatten()).await;
            });
        }
    }

    /// Draws the line with what a node said; nothing when none did.
    pub(super) fn take_shards(&mut self, seen: Option<ServedShards>) {
        self.looking = false;
        let nodes = self
            .nodes
            .iter()
            .filter(|node| node.status.state != ProcessState::Left)
            .map(|node| node.status.state)
            .collect();
        let live = Live {
            nodes,
            shards: seen,
            last_second: crate::load::LoadReport::merged(self.load.reports.iter().rev().take(5)),
        };
        self.screen.live(&live);
    }
}

/// As the first node that answers sees it.
async fn served_shards(clients: &[ApiClient]) -> Option<ServedShards> {
    for client in clients {
        if let Ok(seen) = client.cluster().await {
            let served = seen.body.shards.iter().filter(|shard| shard.is_served()).count();
            return Some(ServedShards { served, of: seen.body.shards.len() });
        }
    }
    None
}
