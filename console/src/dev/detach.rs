//! `holm dev --detach`: the supervisor goes on in a session of its own; this process returns when the cluster serves.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::control::Control;
use super::logs::last_lines;
use super::{DevArgs, DevPaths};
use crate::output::{Exit, Failure, Output};
use crate::state_file::RunningCluster;

/// Between two looks at a cluster that is starting.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// What the supervisor needs beyond the nodes' own limit to say that they missed it.
const MARGIN: Duration = Duration::from_secs(10);

/// Called by the detached supervisor itself: no terminal reaches it any more.
pub(super) fn leave_terminal() -> Result<(), Failure> {
    nix::unistd::setsid()
        .map(|_| ())
        .map_err(|error| Failure::new("the supervisor cannot get a session of its own", error))
}

/// Starts the supervisor in the background and waits until its cluster serves.
pub(super) async fn start(
    args: &DevArgs,
    paths: &DevPaths,
    output: Output,
) -> Result<Exit, Failure> {
    let failed = |error: std::io::Error| Failure::new("the supervisor cannot be started", error);
    std::fs::create_dir_all(paths.dir()).map_err(failed)?;
    let mut child = spawn(paths).map_err(failed)?;
    let end = Instant::now() + args.ready_within() + MARGIN;
    let cluster = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Err(explain(paths, format!("the supervisor ended ({status})")));
        }
        if let Some(cluster) = serving_cluster(paths, child.id()) {
            break cluster;
        }
        if Instant::now() >= end {
            stop(&mut child).await;
            return Err(explain(paths, "the cluster did not come to serve in time".to_owned()));
        }
        sleep(LOOK_EVERY).await;
    };
    if output.is_json() {
        output.document(&RunningCluster { more: serde_json::Map::new(), ..cluster });
        return Ok(Exit::Ok);
    }
    output.line(format_args!("{} serves with {} nodes", cluster.cluster, cluster.nodes.len()));
    for node in &cluster.nodes {
        output.line(format_args!(
            "  {:<8} pid {:<7} {}   {}",
            node.name, node.pid, node.http, node.peer
        ));
    }
    output.line("holm dev status | logs | stop");
    Ok(Exit::Ok)
}

fn spawn(paths: &DevPaths) -> std::io::Result<Child> {
    let log =
        OpenOptions::new().create(true).write(true).truncate(true).open(paths.supervisor_log())?;
    Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1).filter(|arg| arg != "--detach"))
        .arg("--supervise-detached")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// The cluster in the state file, when this supervisor wrote it and says that it serves.
fn serving_cluster(paths: &DevPaths, supervisor: Option<u32>) -> Option<RunningCluster> {
    let cluster = RunningCluster::read(paths.root()).ok().flatten()?;
    let pid = cluster.more.get("supervisor")?.as_u64()?;
    let serving = cluster.more.get("serving")?.as_bool()?;
    (serving && Some(pid) == supervisor.map(u64::from)).then_some(cluster)
}

async fn stop(child: &mut Child) {
    // The supervisor cleans up after itself when it is asked to end.
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
    if tokio::time::timeout(Duration::from_secs(15), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn explain(paths: &DevPaths, error: String) -> Failure {
    let log = paths.supervisor_log();
    let last = last_lines(&log, 8).unwrap_or_default().join("\n       ");
    Failure::new(error, last).or_try(format!("read {}", log.display())).or_try("holm dev logs")
}

/// Ends a running cluster and waits until its supervisor is gone.
pub(super) async fn end(cluster: &RunningCluster, control: &mut Control) -> Result<(), Failure> {
    let failed = |error: anyhow::Error| Failure::new("the cluster cannot be stopped", error);
    control.ask(&super::control::Request::Stop).await.map_err(failed)?;
    let supervisor = cluster
        .more
        .get("supervisor")
        .and_then(serde_json::Value::as_u64)
        .and_then(|pid| u32::try_from(pid).ok())
        .unwrap_or_default();
    let limit = Instant::now() + Duration::from_secs(30);
    while super::process::is_alive(supervisor) {
        if Instant::now() >= limit {
            return Err(Failure::new(
                "the cluster does not stop",
                format!("its supervisor (pid {supervisor}) still runs after 30 s"),
            ));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}
