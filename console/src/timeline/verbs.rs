//! One act on one node of the local cluster, watched from before it until the cluster has settled.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::WatchArgs;
use super::derive::{Testimony, timeline};
use super::document::TimelineDocument;
use super::probe::{ProbeKind, Probes};
use super::settle::{self, LOOK_EVERY};
use super::show;
use super::watch::Watch;
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::DevPaths;
use crate::dev::control::{Control, Request};
use crate::dev::state::DevStatus;
use crate::dev::verbs::{connect, unanswered};
use crate::output::{Exit, Failure, Mark, Output};
use crate::state_file::RunningNode;
use crate::views::ClusterDocument;

/// How long before the act the witnesses begin to look.
const BEFORE: Duration = Duration::from_millis(300);

/// How long the witnesses may take for their first look.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// How long a node may take to hand over and leave.
const LEAVE: Duration = Duration::from_secs(60);

/// What is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It ends: at once, or after handing over.
    Kill {
        /// With SIGTERM.
        graceful: bool,
    },
    /// It starts again.
    Restart,
    /// SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// It leaves for good.
    Leave,
    /// One more starts.
    Join,
}

impl Act {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Restart => "restart",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Leave => "leave",
            Self::Join => "join",
        }
    }

    pub(super) const fn done(self) -> &'static str {
        match self {
            Self::Kill { graceful: false } => "killed",
            Self::Kill { graceful: true } => "told to end (SIGTERM)",
            Self::Restart => "started again",
            Self::Pause => "paused (SIGSTOP)",
            Self::Resume => "resumed (SIGCONT)",
            Self::Leave => "told to leave",
            Self::Join => "started",
        }
    }

    /// True when the node's shards must go to others.
    pub(super) const fn takes_away(self) -> bool {
        matches!(self, Self::Kill { .. } | Self::Pause | Self::Leave)
    }

    fn request(self, node: &str) -> Request {
        let node = node.to_owned();
        match self {
            Self::Kill { graceful } => Request::Kill { node, graceful },
            Self::Restart => Request::Restart { node },
            Self::Pause => Request::Pause { node },
            Self::Resume => Request::Resume { node },
            Self::Leave => Request::Left { node },
            Self::Join => Request::Join,
        }
    }
}

/// Carries out one act and watches. `node` is empty for a join.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run(act: Act, node: &str, watch: &WatchArgs, output: Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the watch cannot be started", error))?;
    runtime.block_on(async {
        let paths = DevPaths::here().map_err(|error| Failure::new("where is this?", error))?;
        let (_, mut control) = connect(&paths).await?;
        let status = control.status().await.map_err(unanswered)?;
        if !watch.no_watch && status.running().all(|it| it.node.name == node) {
            output.progress("no other node is running, so nobody can watch");
            return unwatched(act, node, &mut control, output).await;
        }
        if watch.no_watch {
            return unwatched(act, node, &mut control, output).await;
        }
        if !output.is_json() {
            announce(act, node, &mut control, output).await?;
        }
        let mut document = watched(act, node, &mut control, watch).await?;
        if !output.is_json() {
            show::moments(&document, output);
        }
        if !watch.no_ledger {
            read_ledger(&mut document, &mut control).await?;
        }
        if output.is_json() {
            output.document(&document);
        } else {
            show::figures(&document, output);
            show::next(&document, output);
        }
        Ok(match (document.holds, document.settled) {
            (false, _) => Exit::CheckFailed,
            (true, true) => Exit::Ok,
            (true, false) => Exit::Failed,
        })
    })
}

/// Carries out an act and says no more than that it was done.
async fn unwatched(
    act: Act,
    node: &str,
    control: &mut Control,
    output: Output,
) -> Result<Exit, Failure> {
    let status = control.status().await.map_err(unanswered)?;
    let (now, _) = carry_out(act, node, &status, control).await?;
    if output.is_json() {
        output.document(&now);
    } else {
        output.line(format_args!("{} {} (pid {})", now.name, act.done(), now.pid));
    }
    Ok(Exit::Ok)
}

async fn announce(
    act: Act,
    node: &str,
    control: &mut Control,
    output: Output,
) -> Result<(), Failure> {
    let status = control.status().await.map_err(unanswered)?;
    let pid = status.node(node).map(|it| format!(" (pid {})", it.node.pid)).unwrap_or_default();
    let load = match &status.load {
        Some(load) if load.pid != 0 => format!("Load keeps running at {} commands/s.", load.rate),
        _ => "No load is running.".to_owned(),
    };
    output.line(format_args!("{} {node}{pid}. {load}", act.name()));
    if !status.serving {
        output.line(format_args!("{} the cluster did not serve yet", output.mark(Mark::Warning)));
    }
    Ok(())
}

/// Carries out an act between two looks of the witnesses.
pub(super) async fn watched(
    act: Act,
    node: &str,
    control: &mut Control,
    args: &WatchArgs,
) -> Result<TimelineDocument, Failure> {
    let status = control.status().await.map_err(unanswered)?;
    let others: Vec<RunningNode> =
        status.running().filter(|it| it.node.name != node).map(|it| it.node.clone()).collect();
    if others.is_empty() {
        return Err(Failure::new(
            format!("nobody would be left to watch `{node}`"),
            "no other node is running",
        )
        .or_try("holm dev --nodes 3"));
    }
    let watch = Watch::start(&others)?;
    let probed = ProbeKind::for_cluster(&others).await?;
    let probes = Probes::start(probed, status.shards, &others)?;
    sleep(BEFORE).await;
    let before = first_look(&watch).await?;
    let pid_before = status.node(node).map_or(0, |it| it.node.pid);
    let (node_now, act_us) = carry_out(act, node, &status, control).await?;
    let name = node_now.name.clone();
    let within = Duration::from_secs(args.within);
    let settled = settle::wait(act, &name, (&watch, &probes), act_us, within, control).await?;
    let reports = settle::aftermath(control, act_us).await?;
    let seen = Testimony {
        before,
        pictures: watch.pictures(),
        probed,
        probes: probes.done(),
        reports,
        act_us,
        witnesses: watch.witnesses(),
    };
    let pid = if act.takes_away() { pid_before } else { node_now.pid };
    Ok(TimelineDocument { settled, ..timeline(act, &name, pid, &seen) })
}

/// The picture before the act, once every witness has one.
async fn first_look(watch: &Watch) -> Result<ClusterDocument, Failure> {
    let end = Instant::now() + FIRST_LOOK;
    loop {
        let mut pictures = watch.newest();
        if pictures.len() == watch.witnesses()
            && let Some(picture) = pictures.pop()
        {
            return Ok(picture.view);
        }
        if Instant::now() >= end {
            let seen: Vec<_> = pictures.iter().map(|picture| picture.node.as_str()).collect();
            return Err(Failure::new(
                "the other nodes cannot be asked",
                format!("answers came from {} of {} only: {seen:?}", seen.len(), watch.witnesses()),
            )
            .exits(Exit::Unreachable));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn carry_out(
    act: Act,
    node: &str,
    status: &DevStatus,
    control: &mut Control,
) -> Result<(RunningNode, u64), Failure> {
    let (now, at_us) = control.act(&act.request(node)).await.map_err(unanswered)?;
    if act == Act::Leave {
        // The supervisor knows now that the end is intended; the node itself is told over its own HTTP.
        let target = status.node(node).ok_or_else(|| unknown(node))?;
        let client = ApiClient::new(
            &target.node.http,
            ClientOptions { timeout: Some(LEAVE), ..Default::default() },
        )?;
        if let Err(error) = client.leave(target.node.id).await {
            // It stays, so its end would be news again.
            control.act(&Act::Resume.request(node)).await.map_err(unanswered)?;
            return Err(error.into());
        }
    }
    Ok((now.node, at_us))
}

fn unknown(node: &str) -> Failure {
    Failure::new(format!("there is no node `{node}`"), "").or_try("holm dev status")
}

/// Adds the ledger's verdict, when there is a ledger.
pub(super) async fn read_ledger(
    document: &mut TimelineDocument,
    control: &mut Control,
) -> Result<(), Failure> {
    let status = control.status().await.map_err(unanswered)?;
    if !status.ledger.exists() {
        return Ok(());
    }
    let urls: Vec<_> = status.running().map(|it| it.node.http.clone()).collect();
    let verdict = crate::load::audit(&status.ledger, urls.iter().map(String::as_str)).await?;
    document.holds = verdict.holds();
    document.ledger = Some(verdict);
    Ok(())
}
