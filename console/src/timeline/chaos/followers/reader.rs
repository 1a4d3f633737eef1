//! The process of one reader: it connects as a client and follows until it is killed.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use holm::Holm;
use holm::bus::{Bus, Fact, Interest, Start};
use holm_projections::{Options, ProjectionHandle, Shared, SqliteView, State, start};

use super::sights::{Sight, Sights};
use crate::output::{Exit, Failure};
use crate::verbs::block_on;

/// Pause before the cluster, or the file that a killed process held, is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Longer than a day: it is killed before.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// One reader of a campaign. Not for people.
#[derive(Debug, Clone, Args)]
pub struct FollowerArgs {
    /// What it is.
    #[arg(long, value_enum)]
    pub kind: FollowerKind,
    /// Where it writes what it sees.
    #[arg(long)]
    pub dir: PathBuf,
    /// Its name, and for members before the last dot that of their subscription.
    #[arg(long)]
    pub name: String,
    /// The cluster.
    #[arg(long)]
    pub cluster: String,
    /// Where its nodes are reached by their peers.
    #[arg(long, value_delimiter = ',')]
    pub seeds: Vec<SocketAddr>,
}

/// How a reader follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FollowerKind {
    /// A projection into SQLite: each fact once.
    View,
    /// A member of a durable subscription: each fact at least once.
    Member,
    /// One of those that share a projection whose handler writes lines: each fact at least once.
    Shared,
}

/// Follows until it is killed.
///
/// # Errors
/// Why it cannot go on, which is what a campaign looks for.
pub fn run_follower(args: &FollowerArgs) -> Result<Exit, Failure> {
    let failed = |error: anyhow::Error| Failure::new("a follower stopped", format!("{error:#}"));
    block_on(async {
        let holm = connect(args).await;
        match args.kind {
            FollowerKind::View => view(holm.bus(), &args.dir.join("view.db")).await,
            FollowerKind::Member => member(holm.bus(), args).await,
            FollowerKind::Shared => shared(holm.bus(), args).await,
        }
        .map_err(failed)
    })?;
    Ok(Exit::Ok)
}

/// Perhaps nobody is there for a moment.
async fn connect(args: &FollowerArgs) -> Holm {
    loop {
        let client = Holm::client(&args.cluster, args.seeds.clone()).name(&args.name);
        match client.connect().await {
            Ok(holm) => return holm,
            Err(error) => tracing::debug!(%error, "the cluster is asked again"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn view(bus: Bus, path: &Path) -> anyhow::Result<()> {
    let view = loop {
        match SqliteView::open(path) {
            Err(error) if error.is_passing() => tokio::time::sleep(AGAIN).await,
            opened => break opened?,
        }
    };
    until_it_ends(&start(bus, Sights, view, Options::default())).await
}

/// Runs for ever, or it says why it does not.
async fn until_it_ends(handle: &ProjectionHandle) -> anyhow::Result<()> {
    let ended =
        |status: &holm_projections::Status| matches!(status.state, State::Failed | State::Stopped);
    match handle.wait_until(ended, FOR_EVER).await {
        Some(status) => {
            bail!("{} has {}: {:?}", handle.name(), status.state.name(), status.last_error)
        }
        None => Ok(()),
    }
}

async fn member(bus: Bus, args: &FollowerArgs) -> anyhow::Result<()> {
    let (group, mut lines) = (group(args)?, new_life(args)?);
    let mut subscription =
        bus.subscribe_durable(group, Interest::everything(), Start::Beginning).await?;
    loop {
        let fact = subscription.next().await?;
        // Written before the next is asked for, which says that this one was handled.
        lines.write_all(Sight::of(&fact).line().as_bytes())?;
    }
}

async fn shared(bus: Bus, args: &FollowerArgs) -> anyhow::Result<()> {
    // One for the whole life of the process.
    let group: &'static str = group(args)?.to_owned().leak();
    let lines = Arc::new(new_life(args)?);
    let projection = Shared::new(group, Interest::everything());
    let handle = projection.start(bus, move |record: Arc<[Fact]>| {
        let lines = Arc::clone(&lines);
        async move {
            // A record in one go: it is handled or not.
            let text: String = record.iter().map(|fact| Sight::of(fact).line()).collect();
            (&*lines).write_all(text.as_bytes())
        }
    });
    until_it_ends(&handle).await
}

fn group(args: &FollowerArgs) -> anyhow::Result<&str> {
    let (group, _) = args.name.rsplit_once('.').context("a member's name has a dot")?;
    Ok(group)
}

/// The file of this life: none that a life before has written to.
fn new_life(args: &FollowerArgs) -> anyhow::Result<File> {
    let opened = (1..).find_map(|life| {
        let file = args.dir.join(format!("{}.{life}.txt", args.name));
        match OpenOptions::new().append(true).create_new(true).open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            opened => Some(opened),
        }
    });
    Ok(opened.context("no life is free")??)
}
