//! The command line of the campaign.

use std::path::PathBuf;

use clap::Parser;
use holm_console::output::Color;
use holm_console::timeline::ChaosArgs;

/// Start a cluster of real processes, do harm to it under load, and check after each round what was promised.
#[derive(Debug, Clone, Parser)]
#[command(name = "holm-faults chaos")]
pub(crate) struct FaultsArgs {
    /// What is done and what must hold.
    #[command(flatten)]
    pub(crate) chaos: ChaosArgs,
    /// How many node processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..=9))]
    pub(crate) nodes: u32,
    /// How many shards.
    #[arg(long, default_value_t = 32)]
    pub(crate) shards: u32,
    /// Commands per second of the load.
    #[arg(long, default_value_t = 500)]
    pub(crate) load: u32,
    /// Accounts of the load.
    #[arg(long, default_value_t = 500)]
    pub(crate) accounts: u32,
    /// Send the load through the management HTTP instead of the binary protocol.
    #[arg(long)]
    pub(crate) load_http: bool,
    /// Size of each node's disk, where it gets one of its own.
    #[arg(long, value_name = "MIB", default_value_t = 1_024)]
    pub(crate) disk_mib: u64,
    /// Keep the files of the cluster below this directory; without it they are temporary.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// When to colour.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Print ASCII only.
    #[arg(long)]
    pub(crate) ascii: bool,
}
