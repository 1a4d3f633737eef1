//! One act on one node of the local cluster, watched from before it until the cluster has settled.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::WatchArgs;
use super::derive::{Testimony, led_by, timeline};
use super::document::TimelineDocument;
use super::probe::Probes;
use super::show;
use super::watch::Watch;
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::DevPaths;
use crate::dev::control::{Control, Request};
use crate::dev::state::{DevStatus, ProcessState};
use crate::dev::verbs::{connect, unanswered};
use crate::output::{Exit, Failure, Mark, Output};
use crate::state_file::RunningNode;
use crate::views::ClusterDocument;

/// Between two looks at whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long before the act the witnesses begin to look.
const BEFORE: Duration = Duration::from_millis(300);

/// How long the witnesses may take for their first look.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// How long a node may take to hand over and leave.
const LEAVE: Duration = Duration::from_secs(60);

/// How long the load's latency is watched for after everything else is well.
const AFTERMATH: Duration = Duration::from_secs(3);

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
    let probes = Probes::start(status.shards, &others)?;
    sleep(BEFORE).await;
    let before = first_look(&watch).await?;
    let pid_before = status.node(node).map_or(0, |it| it.node.pid);
    let (node_now, act_us) = carry_out(act, node, &status, control).await?;
    let name = node_now.name.clone();
    let settled =
        until_settled(act, &name, &watch, &probes, &status, act_us, args, control).await?;
    let reports = aftermath(control, act_us).await?;
    let seen = Testimony {
        before,
        pictures: watch.pictures(),
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

/// Waits until the cluster is where the act should bring it; false when the limit passed first.
#[expect(clippy::too_many_arguments, reason = "one call; a struct would only rename them")]
async fn until_settled(
    act: Act,
    node: &str,
    watch: &Watch,
    probes: &Probes,
    status: &DevStatus,
    act_us: u64,
    args: &WatchArgs,
    control: &mut Control,
) -> Result<bool, Failure> {
    let end = Instant::now() + Duration::from_secs(args.within);
    loop {
        let pictures = watch.newest();
        let settled = pictures.len() == watch.witnesses()
            && pictures.iter().all(|it| is_settled(act, node, &it.view))
            && probes.all_answered(status.shards, act_us);
        if settled && ended_as_it_should(act, node, control).await? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_settled(act: Act, node: &str, view: &ClusterDocument) -> bool {
    let served = view.shards.iter().all(|shard| shard.state == "serving" && shard.leader.is_some());
    let state = view.members.iter().find(|it| it.name == node).map(|it| it.state.as_str());
    let placed = match act {
        Act::Kill { .. } | Act::Pause => state != Some("up") && led_by(view, node).is_empty(),
        Act::Leave => matches!(state, None | Some("left")) && led_by(view, node).is_empty(),
        Act::Restart | Act::Resume => state == Some("up"),
        // A node that joined is settled when it leads its share, or at least something.
        Act::Join => state == Some("up") && !led_by(view, node).is_empty(),
    };
    served && placed
}

/// A process that was to end has ended; one that was to start has said that it is ready.
async fn ended_as_it_should(act: Act, node: &str, control: &mut Control) -> Result<bool, Failure> {
    let status = control.status().await.map_err(unanswered)?;
    let Some(now) = status.node(node) else { return Ok(false) };
    Ok(match act {
        Act::Kill { .. } | Act::Leave => now.node.pid == 0,
        Act::Pause => now.state == ProcessState::Paused,
        Act::Restart | Act::Resume | Act::Join => now.state == ProcessState::Up,
    })
}

/// The load's reports, once one after the recovery shows that it is well, or some seconds later.
async fn aftermath(
    control: &mut Control,
    act_us: u64,
) -> Result<Vec<crate::load::LoadReport>, Failure> {
    let end = Instant::now() + AFTERMATH;
    loop {
        let status = control.status().await.map_err(unanswered)?;
        let Some(load) = status.load.filter(|load| load.pid != 0) else { return Ok(Vec::new()) };
        let last = load.reports.last();
        let well = last.is_some_and(|it| it.at_us > act_us && it.p99_us < 10_000 && it.sent > 0);
        if well || Instant::now() >= end {
            return Ok(load.reports);
        }
        sleep(LOOK_EVERY).await;
    }
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
