//! The process of one reader: it connects as a client and follows until it is killed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use holm::Holm;
use holm::bus::{Bus, Interest, Start};
use holm_projections::{Options, SqliteView, State, start};

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
    let handle = start(bus, Sights, view, Options::default());
    let ended =
        |status: &holm_projections::Status| matches!(status.state, State::Failed | State::Stopped);
    match handle.wait_until(ended, FOR_EVER).await {
        Some(status) => bail!("the view has {}: {:?}", status.state.name(), status.last_error),
        None => Ok(()),
    }
}

async fn member(bus: Bus, args: &FollowerArgs) -> anyhow::Result<()> {
    let (group, _) = args.name.rsplit_once('.').context("a member's name has a dot")?;
    let mut lines = (1..).find_map(|life| {
        let file = args.dir.join(format!("{}.{life}.txt", args.name));
        match OpenOptions::new().append(true).create_new(true).open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => None,
            opened => Some(opened),
        }
    });
    let lines = lines.as_mut().context("no life is free")?;
    let lines =
        lines.as_mut().map_err(|error| std::io::Error::new(error.kind(), &*error.to_string()))?;
    let mut subscription =
        bus.subscribe_durable(group, Interest::everything(), Start::Beginning).await?;
    loop {
        let fact = subscription.next().await?;
        // Written before the next is asked for, which says that this one was handled.
        lines.write_all(Sight::of(&fact).line().as_bytes())?;
    }
}
