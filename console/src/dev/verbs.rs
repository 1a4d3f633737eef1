//! `holm dev` and its sub-verbs, from the command line to the exit code.

use tokio::runtime::Builder;

use super::args::DevCommand;
use super::control::Control;
use super::state::{DevStatus, ProcessState};
use super::{DevArgs, DevPaths, detach, logs, supervisor};
use crate::output::{Exit, Failure, Mark, Output};
use crate::state_file::RunningCluster;

/// Carries out `holm dev …`. Builds a runtime of its own on the calling thread, which must be the main one: the children die with the thread that
/// started them.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run(args: DevArgs, output: Output) -> Result<Exit, Failure> {
    let paths = DevPaths::here().map_err(|error| Failure::new("where is this?", error))?;
    if args.supervise_detached {
        detach::leave_terminal()?;
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the supervisor cannot be started", error))?;
    runtime.block_on(async {
        match &args.command {
            Some(command) => carry_out(command, &paths, output).await,
            None if args.detach && !args.supervise_detached => {
                detach::start(&args, &paths, output).await
            }
            None => supervisor::run(args, paths, output).await,
        }
    })
}

async fn carry_out(
    command: &DevCommand,
    paths: &DevPaths,
    output: Output,
) -> Result<Exit, Failure> {
    match command {
        DevCommand::Stop => {
            let (cluster, mut control) = connect(paths).await?;
            detach::end(&cluster, &mut control).await?;
            if output.is_json() {
                output.document(&serde_json::json!({ "stopped": cluster.cluster }));
            } else {
                output.line(format_args!("{} stopped", cluster.cluster));
            }
        }
        DevCommand::Status => {
            let (_, mut control) = connect(paths).await?;
            let status = control.status().await.map_err(unanswered)?;
            if output.is_json() { output.document(&status) } else { show(&status, output) }
        }
        DevCommand::Logs { node, lines, follow } => {
            let names: Vec<String> = match node {
                Some(name) => vec![name.clone()],
                None => known_nodes(paths)?,
            };
            let logs: Vec<_> =
                names.into_iter().map(|name| (name.clone(), paths.log(&name))).collect();
            logs::print(output, &logs, *lines, *follow).await?;
        }
    }
    Ok(Exit::Ok)
}

/// The running cluster and a connection to its supervisor.
///
/// # Errors
/// When none runs from here.
pub(crate) async fn connect(paths: &DevPaths) -> Result<(RunningCluster, Control), Failure> {
    let none = |cause: String| {
        Failure::new("no local cluster is running from here", cause)
            .or_try("holm dev                start one")
            .or_try("holm dev --detach       start one in the background")
            .exits(Exit::Unreachable)
    };
    let cluster = RunningCluster::read(paths.root())
        .map_err(|error| {
            Failure::new(format!("{} cannot be read", paths.state_file().display()), error)
        })?
        .ok_or_else(|| none(format!("there is no {}", paths.state_file().display())))?;
    let control = Control::connect(&cluster).await.map_err(|error| none(format!("{error:#}")))?;
    Ok((cluster, control))
}

pub(crate) fn unanswered(error: anyhow::Error) -> Failure {
    Failure::new("the supervisor did not do it", format!("{error:#}"))
}

/// The nodes of the local cluster with their present process ids and states, for `holm status`. `None` when no local cluster runs from here.
pub async fn present_nodes() -> Option<DevStatus> {
    let paths = DevPaths::here().ok()?;
    let (_, mut control) = connect(&paths).await.ok()?;
    control.status().await.ok()
}

fn known_nodes(paths: &DevPaths) -> Result<Vec<String>, Failure> {
    let unreadable = |error| Failure::new("there are no logs", error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(paths.dir()).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".log")
            && name.starts_with("holm-")
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn show(status: &DevStatus, output: Output) {
    output.line(format_args!(
        "{}   {} shards, {} replicas   data: {}",
        status.cluster,
        status.shards,
        status.replication,
        if status.temporary {
            "temporary".to_owned()
        } else {
            status.data_dir.display().to_string()
        }
    ));
    for node in &status.nodes {
        let mark = output.mark(match node.state {
            ProcessState::Up => Mark::Good,
            ProcessState::Starting | ProcessState::Paused => Mark::Warning,
            ProcessState::Killed | ProcessState::Left | ProcessState::Exited => Mark::Bad,
        });
        let state = format!("{:?}", node.state).to_lowercase();
        output.line(format_args!(
            "  {mark} {:<8} pid {:<7} {:<9} {}   {}",
            node.node.name, node.node.pid, state, node.node.http, node.node.peer
        ));
    }
}
