//! The command line of `holm dev` and of the verbs that act on one node of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// Start a local cluster of real processes, with data and load, and watch it.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DevArgs {
    /// Act on the running cluster instead of starting one.
    #[command(subcommand)]
    pub command: Option<DevCommand>,
    /// How many node processes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub nodes: u32,
    /// The demo domain that the load generator drives; only the bank has one. All of them are served, whichever is named.
    #[arg(long, value_enum, default_value_t)]
    pub domain: Domain,
    /// Commands per second, as in `2000`, `10k` or `500/s`.
    #[arg(long, value_name = "N/s", default_value = "2000", value_parser = parse_rate)]
    pub load: u32,
    /// Start no load generator.
    #[arg(long, conflicts_with = "load")]
    pub no_load: bool,
    /// How many accounts the load generator opens.
    #[arg(long, default_value_t = 2_000)]
    pub accounts: u32,
    /// Send the load through the management HTTP instead of the binary protocol.
    #[arg(long)]
    pub load_http: bool,
    /// Keep the data of the nodes here; without it the data is temporary.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep temporary data when the cluster stops.
    #[arg(long)]
    pub keep: bool,
    /// First management port (the next nodes take +10, +20 …; peers +101, +102 …). 0: any free ports. Without it: 7070, or the next free.
    #[arg(long, value_name = "PORT")]
    pub port_base: Option<u16>,
    /// Give each node a loopback address of its own for its peers (127.0.1.1, 127.0.1.2 …), so that a packet filter can tell them apart. Linux only.
    #[arg(long)]
    pub own_addresses: bool,
    /// Let each node keep the views of the demo domains, under its data directory.
    #[arg(long)]
    pub views: bool,
    /// Keep no index of correlation ids; `holm flow` then searches the logs.
    #[arg(long)]
    pub no_correlation_index: bool,
    /// Return when the cluster serves, and let it run in the background.
    #[arg(long)]
    pub detach: bool,
    /// Start this program as the node instead of `holm node`; it reads the same HOLM_* variables and prints the same ready line.
    #[arg(long, value_name = "PATH")]
    pub bin: Option<PathBuf>,
    /// How many shards; fixed when the cluster is created.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=i64::from(holm::MAX_SHARDS)))]
    pub shards: u32,
    /// Replicas of each shard; 3, or fewer when there are fewer nodes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=7))]
    pub replication: Option<u32>,
    /// How long the cluster may take from its launch until every shard is served.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub ready_within: u64,
    /// This process is the supervisor of a detached cluster.
    #[arg(long, hide = true)]
    pub supervise_detached: bool,
}

/// A demo domain that ships with `holm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Domain {
    /// Accounts, and transfers between them.
    #[default]
    Bank,
    /// Places in a theatre.
    Seats,
    /// Airports and what takes off and lands there.
    Flights,
}

impl Domain {
    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bank => "bank",
            Self::Seats => "seats",
            Self::Flights => "flights",
        }
    }

    /// Whether the load generator can drive it.
    #[must_use]
    pub const fn has_load(self) -> bool {
        matches!(self, Self::Bank)
    }
}

/// What can be done to a running local cluster.
#[derive(Debug, Clone, Subcommand)]
pub enum DevCommand {
    /// Stop the cluster and everything that belongs to it.
    Stop,
    /// Show its processes.
    Status,
    /// Print the log of a node, of the supervisor or of the load generator.
    Logs {
        /// `holm-1`, `supervisor` or `load`; without it: all nodes.
        node: Option<String>,
        /// How many of the last lines.
        #[arg(long, default_value_t = 50)]
        lines: usize,
        /// Go on printing what is added.
        #[arg(long, short)]
        follow: bool,
    },
}

impl DevArgs {
    /// Replicas of each shard: as asked, else three, never more than there are nodes.
    #[must_use]
    pub fn replication(&self) -> u32 {
        // An even number of replicas survives no more failures than one fewer, so two nodes keep one replica each … of two.
        self.replication.unwrap_or(3).min(self.nodes).max(1)
    }

    /// The limit for the start.
    #[must_use]
    pub const fn ready_within(&self) -> Duration {
        Duration::from_secs(self.ready_within)
    }
}

/// A rate as people write it: `2000`, `10k`, `1.5k/s`.
///
/// # Errors
/// When it is none, or above ten million a second.
pub fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text.trim().trim_end_matches("/s");
    let (digits, factor) = match number.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000.0),
        None => (number, 1.0),
    };
    let rate = digits
        .parse::<f64>()
        .map_err(|_| format!("`{text}` is no rate: write 2000, 10k or 500/s"))?
        * factor;
    if !(1.0..=10_000_000.0).contains(&rate) {
        return Err(format!("`{text}`: a rate is between 1/s and 10,000,000/s"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(rate.round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!(parse_rate("2000"), Ok(2_000));
        assert_eq!(parse_rate("10k"), Ok(10_000));
        assert_eq!(parse_rate("1.5k/s"), Ok(1_500));
        assert!(parse_rate("fast").is_err());
        assert!(parse_rate("0").is_err());
        assert!(parse_rate("NaN").is_err());
    }
}
