//! The command line: every verb with its arguments, and the way from a parsed line to an exit code.
//!
//! The arguments of a verb stand in the verb's own module; here is only the list.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::api_client::{ApiClient, ClientOptions};
use crate::bench;
use crate::dev;
use crate::import::ImportArgs;
use crate::load;
use crate::node;
use crate::output::{Color, Exit, Failure, Output};
use crate::state_file::RunningCluster;
use crate::timeline::{self, Act};
use crate::verbs;

/// Where a node answers when nobody says otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// An actor-based, cluster-sharded, event-sourced entity runtime: run it, look at it, measure it.
#[derive(Debug, Parser)]
#[command(name = "holm", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What holds for every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Management HTTP of a node; without it the local cluster of `holm dev`, else http://127.0.0.1:7070
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// Bearer token of the management HTTP, where it wants one; HOLM_HTTP__TOKEN__FILE names a file that holds it
    #[arg(
        long,
        global = true,
        env = "HOLM_HTTP__TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub token: Option<String>,
    /// Print the result as JSON: one document, or one a line when streaming
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub color: Color,
    /// Print ASCII only
    #[arg(long, global = true)]
    pub ascii: bool,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a local cluster of real processes, with data and load, and watch it
    Dev(dev::DevArgs),
    /// Kill a node of the local cluster and watch the others take over
    Kill(timeline::KillArgs),
    /// Start a node of the local cluster again
    Restart(timeline::NodeArgs),
    /// Stop a node of the local cluster in its tracks (SIGSTOP)
    Pause(timeline::NodeArgs),
    /// Wake up a paused node (SIGCONT)
    Resume(timeline::NodeArgs),
    /// Let a node of the local cluster leave for good
    Leave(timeline::NodeArgs),
    /// Add one node to the local cluster
    Join(timeline::WatchArgs),
    /// Kill and restart nodes again and again under load
    Chaos(timeline::ChaosArgs),
    /// Show the members of the cluster and the state of its shards
    Status(verbs::StatusArgs),
    /// Send one command to an entity and print its reply
    Send(verbs::SendArgs),
    /// Show an entity: its last events and its state, now or as of an event
    Show(verbs::ShowArgs),
    /// Print what happened in the cluster, and with --follow what happens
    Events(verbs::EventsArgs),
    /// Draw everything that one conversation led to, through every entity it touched
    Flow(verbs::FlowArgs),
    /// Show what failed, and ask again, give up, or let go on
    Failures(verbs::FailuresArgs),
    /// Show how far the views of each node are; pause, resume or rebuild one
    Projections(verbs::ProjectionsArgs),
    /// Send the commands of a file, each once, in order for each entity
    Import(ImportArgs),
    /// Run one node with the demo domains; everything comes from HOLM_* variables
    Node,
    /// Send commands at a fixed rate and keep a ledger of what was acknowledged
    Load(load::LoadArgs),
    /// Measure how fast entities are on this machine
    Bench(bench::BenchArgs),
    /// Follow a cluster for a campaign
    #[command(hide = true)]
    Follower(timeline::chaos::FollowerArgs),
    /// Become another program that dies with its parent
    #[command(hide = true)]
    Tethered(dev::tether::TetheredArgs),
}

/// Carries out one verb.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let output = Output::new(cli.global.json, cli.global.ascii, cli.global.color);
    match carry_out(cli, output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

fn carry_out(cli: Cli, output: Output) -> Result<Exit, Failure> {
    match cli.verb {
        Verb::Dev(args) => dev::run(args, output),
        Verb::Kill(args) => {
            timeline::run(Act::Kill { graceful: args.graceful }, &args.node, &args.watch, output)
        }
        Verb::Restart(args) => timeline::run(Act::Restart, &args.node, &args.watch, output),
        Verb::Pause(args) => timeline::run(Act::Pause, &args.node, &args.watch, output),
        Verb::Resume(args) => timeline::run(Act::Resume, &args.node, &args.watch, output),
        Verb::Leave(args) => timeline::run(Act::Leave, &args.node, &args.watch, output),
        Verb::Join(watch) => timeline::run(Act::Join, "", &watch, output),
        Verb::Chaos(args) => timeline::run_chaos(&args, output),
        Verb::Follower(args) => timeline::chaos::run_follower(&args),
        Verb::Status(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Send(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Show(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Events(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Flow(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Projections(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Failures(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Import(args) => verbs::block_on(args.run(&cli.global, output)),
        Verb::Node => node::run_demo(),
        Verb::Load(args) => load::run(args, output),
        Verb::Bench(args) => bench::run(args, output),
        Verb::Tethered(args) => {
            Err(Failure::new("the process cannot be started", dev::tether::run(&args)))
        }
    }
}

impl Global {
    /// URLs of the nodes that a verb may talk to, the first to be tried first.
    ///
    /// # Errors
    /// When the state file of the local cluster is there and cannot be read.
    pub fn urls(&self) -> Result<Vec<String>, Failure> {
        if let Some(url) = &self.url {
            return Ok(vec![url.clone()]);
        }
        let running = RunningCluster::here()
            .map_err(|error| Failure::new("cannot read where the local cluster is", error))?;
        Ok(match running {
            Some(cluster) if !cluster.nodes.is_empty() => {
                cluster.nodes.into_iter().map(|node| node.http).collect()
            }
            _ => vec![DEFAULT_URL.to_owned()],
        })
    }

    /// The bearer token, from the command line or its variable, else from the file that `HOLM_HTTP__TOKEN__FILE` names.
    ///
    /// # Errors
    /// When that file cannot be used.
    pub fn token(&self) -> Result<Option<String>, Failure> {
        if self.token.is_some() {
            return Ok(self.token.clone());
        }
        holm::secret_variable("HOLM_HTTP__TOKEN")
            .map_err(|error| Failure::usage("the token cannot be read", error))
    }

    /// A client for each of these nodes.
    ///
    /// # Errors
    /// When a URL cannot be used.
    pub fn clients(&self) -> Result<Vec<ApiClient>, Failure> {
        self.patient_clients(None)
    }

    /// The same, where an answer may take `timeout`.
    ///
    /// # Errors
    /// As [`Global::clients`].
    pub fn patient_clients(&self, timeout: Option<Duration>) -> Result<Vec<ApiClient>, Failure> {
        let options = ClientOptions { token: self.token()?, timeout };
        self.urls()?
            .iter()
            .map(|url| ApiClient::new(url, options.clone()).map_err(Failure::from))
            .collect()
    }
}
