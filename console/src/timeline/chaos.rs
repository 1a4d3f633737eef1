//! `holm chaos`: kills and restarts nodes again and again under load, and reads the ledger back at the end.

use std::time::Duration;

use holm::{Entropy as _, SeededEntropy};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::args::{ChaosArgs, Victim, WatchArgs};
use super::document::{TimelineDocument, Waits};
use super::verbs::{Act, watched};
use crate::api_client::{ApiClient, ClientOptions};
use crate::dev::DevPaths;
use crate::dev::control::Control;
use crate::dev::process::random;
use crate::dev::verbs::{connect, unanswered};
use crate::ledger::Verdict;
use crate::output::{Exit, Failure, Mark, Output};

/// The result of `--json`.
#[derive(Debug, Serialize)]
struct ChaosDocument {
    seed: u64,
    rounds: Vec<Round>,
    /// From the kill until every shard answered a write, over all rounds.
    all_serving: Option<Waits>,
    probe_errors: u32,
    failed_commands: u64,
    ledger: Option<Verdict>,
    holds: bool,
}

/// One kill and the restart after it.
#[derive(Debug, Serialize)]
struct Round {
    node: String,
    led_shards: u32,
    all_serving_ms: Option<f64>,
    unavailable: Option<Waits>,
    probe_errors: u32,
    failed_commands: u64,
    restart_ms: f64,
}

/// Carries out `holm chaos`.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run_chaos(args: &ChaosArgs, output: Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the watch cannot be started", error))?;
    runtime.block_on(async {
        let paths = DevPaths::here().map_err(|error| Failure::new("where is this?", error))?;
        let (_, mut control) = connect(&paths).await?;
        carry_out(args, &mut control, output).await
    })
}

async fn carry_out(
    args: &ChaosArgs,
    control: &mut Control,
    output: Output,
) -> Result<Exit, Failure> {
    let seed = args.seed.unwrap_or_else(|| random() & 0xFFFF_FFFF);
    let mut entropy = SeededEntropy::new(seed);
    output.progress(format_args!("{} rounds, seed {seed}", args.rounds));
    let mut rounds: Vec<Round> = Vec::new();
    for nth in 1..=args.rounds {
        let node = choose(args.victim, nth, &mut entropy, control).await?;
        let watch = WatchArgs { no_ledger: true, no_watch: false, within: args.within };
        let killed = watched(Act::Kill { graceful: false }, &node, control, &watch).await?;
        let begun = Instant::now();
        let started = watched(Act::Restart, &node, control, &watch).await?;
        let round = Round::of(&killed, begun.elapsed());
        let well = killed.settled && started.settled;
        tell(nth, &round, well, output);
        rounds.push(round);
        if !well {
            break;
        }
        // Until the node has caught up its replicas, a second kill could take a majority away; that is another test.
        until_caught_up(control, args.within).await?;
    }
    let mut last = TimelineDocument { holds: true, ..TimelineDocument::default() };
    super::verbs::read_ledger(&mut last, control).await?;
    let whole = rounds.len() == args.rounds as usize
        && rounds.iter().all(|round| round.all_serving_ms.is_some());
    let document = ChaosDocument {
        seed,
        all_serving: Waits::of(rounds.iter().filter_map(Round::all_serving_us).collect()),
        probe_errors: rounds.iter().map(|round| round.probe_errors).sum(),
        failed_commands: rounds.iter().map(|round| round.failed_commands).sum(),
        holds: last.holds,
        ledger: last.ledger,
        rounds,
    };
    show(&document, output);
    Ok(match (document.holds, whole) {
        (false, _) => Exit::CheckFailed,
        (true, true) => Exit::Ok,
        (true, false) => Exit::Failed,
    })
}

impl Round {
    fn of(killed: &TimelineDocument, restart: Duration) -> Self {
        Self {
            node: killed.node.clone(),
            led_shards: killed.shards_moved,
            all_serving_ms: killed.all_serving_ms,
            unavailable: killed.unavailable,
            probe_errors: killed.probe_errors,
            failed_commands: killed.commands.map_or(0, |commands| commands.failed),
            restart_ms: restart.as_secs_f64() * 1_000.0,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "made from microseconds"
    )]
    fn all_serving_us(&self) -> Option<u64> {
        self.all_serving_ms.map(|ms| (ms * 1_000.0) as u64)
    }
}

/// The next victim, by the rule asked for.
async fn choose(
    victim: Victim,
    nth: u32,
    entropy: &mut SeededEntropy,
    control: &mut Control,
) -> Result<String, Failure> {
    let status = control.status().await.map_err(unanswered)?;
    let running: Vec<_> = status.running().map(|it| it.node.clone()).collect();
    if running.len() < 3 {
        return Err(Failure::new(
            "a kill would take the majority away",
            format!("{} nodes are running", running.len()),
        )
        .or_try("holm dev --nodes 3"));
    }
    let by_load = match victim {
        Victim::Leader => true,
        Victim::Random => false,
        Victim::Mixed => nth.is_multiple_of(2),
    };
    if by_load {
        let client = ApiClient::new(&running[0].http, ClientOptions::default())?;
        let seen = client.cluster().await?;
        let busiest =
            running.iter().max_by_key(|node| super::derive::led_by(&seen.body, &node.name).len());
        if let Some(node) = busiest {
            return Ok(node.name.clone());
        }
    }
    let index = entropy.below(running.len() as u64);
    Ok(running[usize::try_from(index).unwrap_or_default()].name.clone())
}

/// Waits until every node that runs sees all members up and all shards served.
async fn until_caught_up(control: &mut Control, within: u64) -> Result<(), Failure> {
    let end = Instant::now() + Duration::from_secs(within);
    loop {
        let status = control.status().await.map_err(unanswered)?;
        let mut well = true;
        for node in status.running() {
            let client = ApiClient::new(&node.node.http, ClientOptions::default())?;
            well &= client.cluster().await.is_ok_and(|seen| {
                seen.body.members.iter().all(|member| member.state == "up")
                    && seen.body.shards.iter().all(|shard| shard.state == "serving")
            });
        }
        if well || Instant::now() >= end {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn tell(nth: u32, round: &Round, well: bool, output: Output) {
    let mark = output.mark(if well { Mark::Good } else { Mark::Bad });
    let serving =
        round.all_serving_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms:.0} ms"));
    output.progress(format_args!(
        "  {mark} {nth:>4}  {:<8} led {:<3}  every shard answers after {serving:<9} {} probe errors   {} failed commands   back after {:.1} s",
        round.node,
        round.led_shards,
        round.probe_errors,
        round.failed_commands,
        round.restart_ms / 1_000.0
    ));
}

fn show(document: &ChaosDocument, output: Output) {
    if output.is_json() {
        output.document(document);
        return;
    }
    if let Some(waits) = document.all_serving {
        output.line(format_args!(
            "  {} kills   every shard answers after: median {:.0} ms, worst {:.0} ms   {} probe errors   {} failed commands",
            document.rounds.len(),
            waits.median_ms,
            waits.max_ms,
            document.probe_errors,
            document.failed_commands
        ));
    }
    if let Some(verdict) = &document.ledger {
        crate::load::show_verdict(verdict, output);
    }
}
