//! The command line of `holm load`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::dev::args::parse_rate;

/// Send commands to a cluster at a fixed rate and keep a ledger of what was acknowledged.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LoadArgs {
    /// Look at a ledger instead of writing one.
    #[command(subcommand)]
    pub command: Option<LoadCommand>,
    /// The name of the cluster; without it the local cluster of `holm dev`.
    #[arg(long)]
    pub cluster: Option<String>,
    /// Peer addresses of some members.
    #[arg(long, value_delimiter = ',')]
    pub seeds: Vec<SocketAddr>,
    /// Go through the management HTTP of these nodes, in turn, instead of the binary protocol.
    #[arg(long, value_delimiter = ',', value_name = "URLS")]
    pub http: Vec<String>,
    /// Commands per second.
    #[arg(long, default_value = "2000", value_parser = parse_rate)]
    pub rate: u32,
    /// How many accounts.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub accounts: u32,
    /// Commands that may wait for their answer at once.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: u32,
    /// Stop after this many seconds; without it: when told to.
    #[arg(long, value_name = "SECONDS")]
    pub duration: Option<u64>,
    /// The ledger; lines are appended.
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// How long a command is retried with the same key before its outcome is written down as unknown.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub retry_for: u64,
}

/// What can be done with a ledger.
#[derive(Debug, Clone, Subcommand)]
pub enum LoadCommand {
    /// Read every shard back and compare it with the ledger; exit code 3 when anything is missing, doubled or out of sequence.
    Verify {
        /// The ledger; without it that of the local cluster.
        #[arg(long, value_name = "FILE")]
        ledger: Option<PathBuf>,
    },
}
