//! What is measured: a node inside this process, or a local cluster of processes and a client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use holm::Holm;
use holm_domains::bank::Account;
use tokio::process::Command;

use super::processes::Process;
use crate::output::Failure;
use crate::state_file::RunningCluster;

/// What the commands go to.
pub(super) struct Target {
    pub(super) holm: Holm,
    /// The local cluster, when there is one.
    cluster: Option<LocalProcesses>,
    /// The processes that are measured, this one first.
    processes: Vec<Process>,
}

/// A local cluster of processes that take no load but ours. It must be stopped.
pub(super) struct LocalProcesses {
    /// As `holm dev` told it.
    running: RunningCluster,
    /// Where it has its files.
    dir: PathBuf,
}

impl Target {
    /// Starts what is measured, with its data below `dir`.
    pub(super) async fn start(nodes: u32, shards: u32, dir: &Path) -> Result<Self, Failure> {
        if nodes == 1 {
            Self::in_process(shards, dir).await
        } else {
            Self::processes(nodes, shards, dir).await
        }
    }

    async fn in_process(shards: u32, dir: &Path) -> Result<Self, Failure> {
        let builder = Holm::builder().entity::<Account>().data_dir(dir.join("data")).shards(shards);
        let holm = builder
            .start()
            .await
            .map_err(|error| Failure::new("the node cannot be started", error))?;
        let processes = vec![Process::new("node and callers", std::process::id())];
        Ok(Self { holm, cluster: None, processes })
    }

    async fn processes(nodes: u32, shards: u32, dir: &Path) -> Result<Self, Failure> {
        let cluster = LocalProcesses::start(nodes, shards, nodes.min(3), dir).await?;
        let client = Holm::client(cluster.name(), cluster.seeds()).name("holm-bench").connect();
        match client.await {
            Ok(holm) => Ok(Self::beside("callers", holm, cluster)),
            Err(error) => {
                cluster.stop().await;
                Err(Failure::new("the cluster cannot be reached", error))
            }
        }
    }

    /// A client or member in this process, beside a cluster of others.
    pub(super) fn beside(name: &str, holm: Holm, cluster: LocalProcesses) -> Self {
        let mut processes = vec![Process::new(name, std::process::id())];
        processes.extend(cluster.nodes());
        Self { holm, cluster: Some(cluster), processes }
    }

    /// `fdatasync` calls so far, where they are known.
    pub(super) fn fsyncs(&self) -> Option<u64> {
        self.cluster.is_none().then(|| self.holm.facts().fsyncs)
    }

    /// The processes that are measured.
    pub(super) fn measured(&self) -> &[Process] {
        &self.processes
    }

    /// The memory of all processes that is really there, in KiB.
    pub(super) fn resident_kib(&self) -> i64 {
        let totals = self.processes.iter().filter_map(Process::totals);
        totals.map(|totals| i64::try_from(totals.resident_kib()).unwrap_or(i64::MAX)).sum()
    }

    /// Ends what was started.
    pub(super) async fn stop(self) {
        self.holm.shutdown().await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

impl LocalProcesses {
    /// Starts so many nodes and waits until every shard is served.
    pub(super) async fn start(
        nodes: u32,
        shards: u32,
        replication: u32,
        dir: &Path,
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new("the cluster cannot be started", error);
        let (nodes, shards) = (nodes.to_string(), shards.to_string());
        let output = dev(dir)
            .map_err(failed)?
            .args(["--detach", "--json", "--no-load", "--port-base", "0"])
            .args(["--nodes", &nodes, "--shards", &shards])
            .args(["--replication", &replication.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .await
            .map_err(failed)?;
        if !output.status.success() {
            // Its nodes may stand apart from it already.
            stop(dir).await;
            return Err(Failure::new("the cluster cannot be started", output.status));
        }
        let running = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::new("the cluster cannot be started", error))?;
        Ok(Self { running, dir: dir.to_owned() })
    }

    pub(super) fn name(&self) -> &str {
        &self.running.cluster
    }

    /// Where the nodes listen for each other.
    pub(super) fn seeds(&self) -> Vec<SocketAddr> {
        self.running.nodes.iter().filter_map(|node| node.peer.parse().ok()).collect()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = Process> {
        self.running.nodes.iter().map(|node| Process::new(&node.name, node.pid))
    }

    pub(super) async fn stop(self) {
        stop(&self.dir).await;
    }
}

async fn stop(dir: &Path) {
    if let Ok(mut command) = dev(dir) {
        let _ = command.arg("stop").stdout(Stdio::null()).status().await;
    }
}

/// `holm dev` with its files below `dir`. Ctrl-C is for the bench, which lets it finish and then stops what it started.
fn dev(dir: &Path) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("dev").env(crate::dev::paths::DEV_DIR_VARIABLE, dir).stdin(Stdio::null());
    command.process_group(0);
    Ok(command)
}
