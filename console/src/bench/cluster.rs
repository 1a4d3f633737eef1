//! What is measured: a node inside this process, or a local cluster of processes and a client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use holm::Holm;
use holm_domains::bank::Account;
use tokio::process::Command;

use crate::output::Failure;
use crate::state_file::RunningCluster;

/// What the commands go to.
pub(super) struct Target {
    pub(super) holm: Holm,
    /// Where the local cluster has its files, when there is one.
    processes: Option<PathBuf>,
    /// The processes that are measured, this one first.
    pids: Vec<u32>,
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
        Ok(Self { holm, processes: None, pids: vec![std::process::id()] })
    }

    async fn processes(nodes: u32, shards: u32, dir: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new("the cluster cannot be started", error);
        let output = dev(dir)
            .map_err(failed)?
            .args(["--detach", "--json", "--no-load", "--port-base", "0"])
            .args(["--nodes", &nodes.to_string(), "--shards", &shards.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .await
            .map_err(failed)?;
        if !output.status.success() {
            return Err(Failure::new("the cluster cannot be started", output.status));
        }
        let cluster: RunningCluster = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::new("the cluster cannot be started", error))?;
        let seeds: Vec<SocketAddr> =
            cluster.nodes.iter().filter_map(|node| node.peer.parse().ok()).collect();
        let client = Holm::client(&cluster.cluster, seeds).name("holm-bench").connect().await;
        match client {
            Ok(holm) => {
                let nodes = cluster.nodes.iter().map(|node| node.pid);
                let pids = std::iter::once(std::process::id()).chain(nodes).collect();
                Ok(Self { holm, processes: Some(dir.to_owned()), pids })
            }
            Err(error) => {
                stop(dir).await;
                Err(Failure::new("the cluster cannot be reached", error))
            }
        }
    }

    /// `fdatasync` calls so far, where they are known.
    pub(super) fn fsyncs(&self) -> Option<u64> {
        self.processes.is_none().then(|| self.holm.facts().fsyncs)
    }

    /// The memory of all processes that is really there, in KiB.
    pub(super) fn resident_kib(&self) -> i64 {
        let resident = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()
        };
        self.pids.iter().filter_map(resident).sum()
    }

    /// Ends what was started.
    pub(super) async fn stop(self) {
        self.holm.shutdown().await;
        if let Some(dir) = &self.processes {
            stop(dir).await;
        }
    }
}

/// `holm dev` with its files below `dir`.
fn dev(dir: &Path) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("dev").env(crate::dev::paths::DEV_DIR_VARIABLE, dir).stdin(Stdio::null());
    Ok(command)
}

async fn stop(dir: &Path) {
    if let Ok(mut command) = dev(dir) {
        let _ = command.arg("stop").stdout(Stdio::null()).status().await;
    }
}
