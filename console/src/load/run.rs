//! `holm load`, from the command line to the exit code.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use futures::TryStreamExt as _;
use holm::{Holm, SeededEntropy};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval};

use super::args::{LoadArgs, LoadCommand};
use super::bank::Bank;
use super::door::{Door, NoAnswer};
use super::generator::Generator;
use super::pacer::Pacer;
use super::report::LoadReport;
use super::verify;
use crate::api_client::{ApiClient, ClientOptions};
use crate::ledger::LedgerFile;
use crate::output::{Exit, Failure, Output};
use crate::state_file::RunningCluster;

/// Between two reports: a kill and its recovery fall into several windows.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Accounts that are opened at once.
const OPENING: usize = 64;

/// Time for the last answers when it ends.
const SETTLE: Duration = Duration::from_secs(3);

/// How the nodes name this process in their logs.
const CLIENT_NAME: &str = "holm-load";

/// Carries out `holm load …`.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run(args: LoadArgs, output: Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // It shares the machine with the nodes it measures.
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the load generator cannot be started", error))?;
    runtime.block_on(async {
        match &args.command {
            Some(LoadCommand::Verify { ledger }) => verify::run(ledger.clone(), output).await,
            None => generate(args, output).await,
        }
    })
}

async fn generate(args: LoadArgs, output: Output) -> Result<Exit, Failure> {
    let target = Target::find(&args)?;
    let failed =
        |error: std::io::Error| Failure::new("the load generator cannot be started", error);
    let mut ends = Ends {
        terminate: signal(SignalKind::terminate()).map_err(failed)?,
        interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        at: args.duration.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
    };
    let ledger = LedgerFile::append(&target.ledger).map_err(|error| {
        Failure::new(format!("the ledger {} cannot be opened", target.ledger.display()), error)
    })?;
    let generator = Generator::new(
        open_door(&target, &args.http).await?,
        ledger,
        Bank::new(args.accounts, SeededEntropy::from_os()),
        args.accounts,
        args.in_flight,
        Duration::from_secs(args.retry_for),
    );
    let reporter = tokio::spawn(report(generator.clone(), output));
    let opened = tokio::select! {
        opened = open_accounts(&generator, args.accounts) => opened.map(|()| true),
        () = ends.any() => Ok(false),
    };
    if matches!(opened, Ok(true)) {
        let (pacer, mut due) = Pacer::start(args.rate).map_err(failed)?;
        loop {
            tokio::select! {
                Some(due) = due.recv() => generator.send_next(due).await,
                () = ends.any() => break,
            }
        }
        drop(pacer);
    }
    let _ = tokio::time::timeout(SETTLE, generator.settle()).await;
    reporter.abort();
    generator.flush();
    show(&generator.report(), output);
    opened.map(|_| Exit::Ok).map_err(|no_answer| {
        Failure::new("there are no accounts to work with", no_answer.error)
            .or_try("a program that registers the demo bank (holm_domains::register)")
    })
}

/// Opens the accounts, all that can be opened; ends at once where the cluster has no such thing as an account.
async fn open_accounts(generator: &Generator, accounts: u32) -> Result<(), NoAnswer> {
    futures::stream::iter((1..=accounts).map(Ok))
        .try_for_each_concurrent(OPENING, |account| async move {
            let opened = generator.open_account(account).await;
            opened.or_else(|no_answer| if no_answer.wrong { Err(no_answer) } else { Ok(()) })
        })
        .await
}

async fn open_door(target: &Target, http: &[String]) -> Result<Door, Failure> {
    if !http.is_empty() {
        let clients = http
            .iter()
            .map(|url| ApiClient::new(url, ClientOptions::default()))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(Door::http(clients));
    }
    let client = Holm::client(&target.cluster, target.seeds.clone()).name(CLIENT_NAME);
    let client = client.connect().await.map_err(|error| {
        Failure::new("the cluster cannot be reached", error)
            .or_try("holm dev        start a local cluster")
            .or_try("holm status     look at the one that runs")
            .exits(Exit::Unreachable)
    })?;
    Ok(Door::Client(client))
}

async fn report(generator: Generator, output: Output) {
    let mut tick = interval(REPORT_EVERY);
    tick.tick().await;
    loop {
        tick.tick().await;
        show(&generator.report(), output);
    }
}

fn show(report: &LoadReport, output: Output) {
    if output.is_json() {
        output.document(report);
        return;
    }
    output.line(format_args!(
        "{:>7}/s answered   p50 {:>7.2} ms   p99 {:>7.2} ms   {} in flight   {} retries   {} failed   {} accounts",
        report.per_second(report.answered + report.rejected),
        report.p50_us as f64 / 1_000.0,
        report.p99_us as f64 / 1_000.0,
        report.in_flight,
        report.retries,
        report.total_failed,
        report.accounts,
    ));
}

/// What ends the run.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
    at: Option<Instant>,
}

impl Ends {
    async fn any(&mut self) {
        let at = self.at;
        let timed = async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = timed => {}
        }
    }
}

/// Where the load goes and where it is written down.
struct Target {
    cluster: String,
    seeds: Vec<SocketAddr>,
    ledger: PathBuf,
}

impl Target {
    /// As named on the command line, else the local cluster.
    fn find(args: &LoadArgs) -> Result<Self, Failure> {
        let missing = |what: &str| {
            Failure::usage(format!("no {what} was named"), "no local cluster is running from here")
                .or_try("holm dev")
                .or_try("holm load --cluster NAME --seeds HOST:PORT,… --ledger FILE")
        };
        let local = RunningCluster::here()
            .map_err(|error| Failure::new("cannot read where the local cluster is", error))?;
        let seeds = if args.seeds.is_empty() {
            let nodes = local.iter().flat_map(|cluster| &cluster.nodes);
            nodes.filter_map(|node| node.peer.parse().ok()).collect()
        } else {
            args.seeds.clone()
        };
        if seeds.is_empty() && args.http.is_empty() {
            return Err(missing("seed"));
        }
        let cluster = args.cluster.clone().or_else(|| local.as_ref().map(|it| it.cluster.clone()));
        let ledger =
            args.ledger.clone().or_else(|| local.map(|it| it.data_dir.join("ledger.ndjson")));
        Ok(Self {
            cluster: cluster.ok_or_else(|| missing("cluster"))?,
            seeds,
            ledger: ledger.ok_or_else(|| missing("ledger"))?,
        })
    }
}
