//! The command line of `holm bench`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::gate::Gate;
use crate::dev::args::parse_rate;

/// Measure how fast entities are on this machine.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("shown").args(["report", "plots"]).multiple(true))]
pub struct BenchArgs {
    /// 1: a node inside this process. More: that many processes, and a client.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub nodes: u32,
    /// Seconds that each step is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = seconds)]
    pub duration: u64,
    /// Seconds before each step that are not measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub warm_up: u64,
    /// How many entities.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub entities: u32,
    /// Commands in flight in the closed loop.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// Commands per second of the fixed-rate step, or of several as in `10k,20k,40k`; without it half of what the closed loop reached.
    #[arg(long, value_name = "N/s", value_parser = parse_rate, value_delimiter = ',')]
    pub rate: Vec<u32>,
    /// The callers of the closed loops run on the threads of the entities that they ask, not on one of their own.
    #[arg(long, conflicts_with = "idle")]
    pub near: bool,
    /// Measure also what it takes to ask through a node that does not lead the entity: another process leads, this one asks; 1, 64 and 1,024 in flight.
    #[arg(long)]
    pub remote: bool,
    /// Measure only what nodes take that nobody asks, for so many seconds: the processor time of each of 3 nodes (or --nodes), with 32 shards and with 64.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with_all = ["remote", "sleepers", "rate", "compare", "fail_if"])]
    pub idle: Option<u64>,
    /// Measure also what so many subscribers do that take one fact and then sleep, at the rate of the fixed-rate step.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub sleepers: Option<u32>,
    /// How many rounds of four turns show what the sleepers do, behind one that does not count. More rounds tell a smaller difference.
    #[arg(long, value_name = "N", requires = "sleepers", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub rounds: u32,
    /// How many shards.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=i64::from(holm::MAX_SHARDS)))]
    pub shards: u32,
    /// Where the data goes while it runs; it is deleted afterwards. Without it: `.holm/bench` here.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Compare with a saved run.
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Write the latencies of every step as an HdrHistogram log, which other tools plot.
    #[arg(long, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// Write the run as a page with plots and tables that needs nothing but a browser.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write each plot of that page as a picture of its own, an SVG file, into this directory.
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
    /// Measure nothing: page and plots show this saved run; several of them draw shards and nodes.
    #[arg(long, value_name = "FILE", requires = "shown", conflicts_with_all = ["idle", "remote", "hdr", "compare", "fail_if"])]
    pub from: Vec<PathBuf>,
    /// Exit code 3 when this holds, as in `p99>10ms`, `rate<100k`, `errors>0`, `ratio<10`; may be given several times.
    #[arg(long, value_name = "CHECK")]
    pub fail_if: Vec<Gate>,
}

fn seconds(text: &str) -> Result<u64, String> {
    let seconds = text.trim_end_matches('s').parse::<u64>().map_err(|error| error.to_string())?;
    if (1..=3_600).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("between 1 s and an hour".to_owned())
    }
}
