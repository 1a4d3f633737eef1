//! What a cluster takes that nobody asks anything: the processor time of each of its nodes, with few shards and with many.
//!
//! The supervisor of `holm dev` asks one node every ten seconds how many shards are served, and nothing else, so what is counted is heartbeats, gossip
//! and ticks. Nothing else is measured in such a run.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::args::BenchArgs;
use super::cluster::LocalProcesses;
use super::environment::ProcessorTime;
use super::processes::{Process, ProcessUse, Totals};
use super::show;
use super::step::Interrupts;
use crate::output::{Failure, Output};

/// Nodes, where nobody says otherwise: the fewest that survive a failure.
pub(super) const NODES: u32 = 3;

/// Shards of the two clusters.
const SHARDS: [u32; 2] = [32, 64];

/// Time before the measured one: elections are over and everything that was written at the start is synced.
const SETTLES: Duration = Duration::from_secs(5);

/// An idle cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IdleCluster {
    /// How many shards.
    pub shards: u32,
    /// Replicas of each.
    pub replication: u32,
    /// Seconds that were measured.
    pub seconds: u64,
    /// Share of the machine's processor time that its host gave to others meanwhile, where the system tells.
    #[serde(default)]
    pub stolen: Option<f64>,
    /// What each node took.
    pub nodes: Vec<ProcessUse>,
}

/// Measures a cluster of each size, one after the other, with data below `dir`.
pub(super) async fn run(
    args: &BenchArgs,
    seconds: u64,
    dir: &Path,
    interrupts: &mut Interrupts,
    output: Output,
) -> Result<Vec<IdleCluster>, Failure> {
    let (nodes, mut measured) = (nodes(args), Vec::new());
    for shards in SHARDS {
        let dir = dir.join(format!("idle-{shards}"));
        std::fs::create_dir_all(&dir)
            .map_err(|error| Failure::new(format!("{} cannot be created", dir.display()), error))?;
        let cluster = LocalProcesses::start(nodes, shards, nodes.min(3), &dir).await?;
        let watched = interrupts.or(watch(cluster.nodes().collect(), seconds)).await;
        cluster.stop().await;
        let (used, stolen) = watched?;
        let replication = nodes.min(3);
        let idle = IdleCluster { shards, replication, seconds, stolen, nodes: used };
        show::idle_lines(&idle).iter().for_each(|line| output.progress(line));
        measured.push(idle);
    }
    Ok(measured)
}

/// How many nodes such a run has.
pub(super) const fn nodes(args: &BenchArgs) -> u32 {
    if args.nodes > 1 { args.nodes } else { NODES }
}

/// What each node took, and what the host took from all of them.
async fn watch(
    nodes: Vec<Process>,
    seconds: u64,
) -> Result<(Vec<ProcessUse>, Option<f64>), Failure> {
    sleep(SETTLES).await;
    let (begun, machine, before) = (Instant::now(), ProcessorTime::now(), totals(&nodes)?);
    sleep(Duration::from_secs(seconds)).await;
    let (took, after) = (begun.elapsed(), totals(&nodes)?);
    let stolen = ProcessorTime::now().zip(machine).map(|(now, began)| now.stolen_since(began));
    let used = nodes.iter().zip(before).zip(after);
    Ok((used.map(|((node, from), to)| node.used(from, to, took)).collect(), stolen))
}

fn totals(nodes: &[Process]) -> Result<Vec<Totals>, Failure> {
    let totals = nodes.iter().map(|node| {
        let gone = || {
            let cause = "its process ended, or this system has no /proc";
            Failure::new(format!("{} cannot be measured", node.name), cause)
        };
        node.totals().ok_or_else(gone)
    });
    totals.collect()
}
