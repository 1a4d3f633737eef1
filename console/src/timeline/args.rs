//! The command lines of `holm kill`, `holm restart`, `holm pause`, `holm resume`, `holm leave`, `holm join` and `holm chaos`.

use clap::Args;

use super::chaos::Wish;

/// What holds for every verb that acts on a node and watches.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Do not read the ledger back afterwards.
    #[arg(long)]
    pub no_ledger: bool,
    /// Do it and return at once.
    #[arg(long)]
    pub no_watch: bool,
    /// Give up watching after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub within: u64,
}

/// Kill a node with SIGKILL and watch the cluster recover.
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// The node, as in `holm-2`.
    pub node: String,
    /// With SIGTERM: it hands its shards over and ends.
    #[arg(long)]
    pub graceful: bool,
    /// How to watch.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Act on one node and watch.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// The node, as in `holm-2`.
    pub node: String,
    /// How to watch.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Do harm to nodes again and again under load, and check after each round what was promised.
#[derive(Debug, Clone, Args)]
pub struct ChaosArgs {
    /// How many rounds, shared in turn by the faults that have no number of their own.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
    /// Which faults: kill, pause, partition, power, full, eio, clock, slow; a shape of one, as in kill-leader; with a number of rounds, as in kill:10.
    #[arg(long, value_delimiter = ',', default_value = "kill", value_name = "LIST")]
    pub faults: Vec<Wish>,
    /// Seed of the schedule, to repeat a run.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Most seconds until every shard must answer again; a round above it ends the run.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub within: u64,
    /// No fault is kept up for longer.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub longest: u64,
    /// Follow everything with a view in SQLite and a durable subscription, kill and pause these readers too, and compare what they saw with the logs.
    #[arg(long)]
    pub followers: bool,
    /// Move money meanwhile, in so many transfers between accounts of their own, and see at the end that each was made once or not at all and no cent is lost.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub transfers: Option<u32>,
}
