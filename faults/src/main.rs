//! The program `holm` with one verb more: `chaos` starts a cluster of its own on disks, clocks and addresses of its own, and does all the harm to it
//! that root and the tools of the system allow.
//!
//! It is no part of what is delivered. Every other verb is the one of `holm`, so that the processes of a campaign are the product's own code.

mod args;
mod clock;
mod cluster;
mod detour;
mod disks;
mod hands;
mod network;
mod processor;
mod syscalls;
mod tools;

use std::process::ExitCode;

use clap::Parser as _;
use holm_console::cli::{self, Cli};
use holm_console::output::{Exit, Failure, Output};
use holm_console::timeline::chaos::{Campaign, conclude};

use crate::args::FaultsArgs;
use crate::cluster::Cluster;
use crate::hands::SystemHands;

/// As in `holm`, whose processes these are.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_none_or(|verb| verb != "chaos") {
        return cli::run(Cli::parse());
    }
    // The first of the two words that clap would take for the program's name.
    let args = FaultsArgs::parse_from(std::env::args_os().skip(1));
    let output = Output::new(args.json, args.ascii, args.color);
    match run(&args, output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.exit.into()
        }
    }
}

/// Ctrl-C or SIGTERM: either way the machine is to be left as it was found.
async fn told_to_end() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    match terminate {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => _ = tokio::signal::ctrl_c().await,
    }
}

fn run(args: &FaultsArgs, output: Output) -> Result<Exit, Failure> {
    // One thread, this one: the cluster's supervisor dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the campaign cannot be started", error))?;
    runtime.block_on(async {
        let failed = |error: anyhow::Error| {
            Failure::new("the campaign cannot be prepared", format!("{error:#}"))
        };
        let terms = args.chaos.terms();
        let mut hands = SystemHands::prepare(args, terms.seed).map_err(failed)?;
        let mut cluster = Cluster::start(args, &mut hands, output).await.map_err(failed)?;
        hands.meet(&cluster.status().await.map_err(failed)?);
        let campaign =
            Campaign::new(&mut hands, cluster.control(), terms, output).run();
        let ended = tokio::select! {
            ended = campaign => ended,
            () = told_to_end() => Err(Failure::new("interrupted", "rules and disks are taken back")),
        };
        if ended.is_err() || ended.as_ref().is_ok_and(|document| !document.holds) {
            cluster.keep_evidence(output);
        }
        cluster.stop().await;
        drop(hands);
        Ok(conclude(&ended?, output))
    })
}
