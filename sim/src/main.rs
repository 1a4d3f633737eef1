//! One seed in one process: runs its world, prints what came of it as one line of JSON, and writes the trace where it is told to.
//!
//! A process of its own, because some libraries remember across runs. `cargo xtask sim` runs many of these.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use holm_sim::sometimes::Situation;
use holm_sim::world::{EDITION, FaultWeights, Outcome, Settings, run};
use serde_json::json;

/// What the program is told.
#[derive(Debug, Default)]
struct Arguments {
    seed: Option<u64>,
    /// The edition of the world, instead of the newest.
    edition: Option<u32>,
    /// Seconds during which faults happen, instead of the usual time.
    seconds: Option<u64>,
    /// Lets nothing go wrong.
    no_faults: bool,
    /// Where every line of the trace goes.
    trace: Option<PathBuf>,
}

impl Arguments {
    const USAGE: &str =
        "holm-sim --seed SEED [--edition N] [--seconds N] [--no-faults] [--trace FILE]";

    fn read(mut words: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seed" => arguments.seed = Some(value()?.parse()?),
                "--edition" => arguments.edition = Some(value()?.parse()?),
                "--seconds" => arguments.seconds = Some(value()?.parse()?),
                "--no-faults" => arguments.no_faults = true,
                "--trace" => arguments.trace = Some(value()?.into()),
                _ => anyhow::bail!("{word} is unknown; usage: {}", Self::USAGE),
            }
        }
        Ok(arguments)
    }
}

thread_local! {
    /// What panicked, except where the workload means it to.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let seed = arguments.seed.context(Arguments::USAGE)?;
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !is_meant(&text) {
            PANICS.with_borrow_mut(|panics| panics.push(text));
        }
    }));
    let mut settings = Settings::of_edition(seed, arguments.edition.unwrap_or(EDITION));
    if let Some(seconds) = arguments.seconds {
        settings.duration = Duration::from_secs(seconds);
    }
    if arguments.no_faults {
        settings.faults = FaultWeights::none();
    }
    let mut outcome = run(&settings).context("the world cannot be made")?;
    let panics = PANICS.with_borrow(Vec::clone);
    outcome.problems.extend(panics.iter().map(|panic| format!("a panic: {panic}")));
    if let Some(file) = arguments.trace {
        write_trace(&outcome, &file).with_context(|| format!("writing {}", file.display()))?;
    }
    println!("{}", summary(&outcome));
    Ok(if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The registers of the workload panic when they are poisoned; that is contained and counted elsewhere.
fn is_meant(text: &str) -> bool {
    ["poisoned while", "a cursed event"].iter().any(|meant| text.contains(meant))
}

fn write_trace(outcome: &Outcome, file: &PathBuf) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(file)?);
    for line in outcome.trace.lines() {
        writeln!(file, "{line}")?;
    }
    file.flush()
}

fn summary(outcome: &Outcome) -> serde_json::Value {
    let findings: Vec<String> = outcome.report.findings.iter().map(ToString::to_string).collect();
    let entities: Vec<String> = outcome
        .report
        .findings
        .iter()
        .filter_map(|finding| finding.entity.as_ref().map(ToString::to_string))
        .collect();
    let places = outcome.report.findings.iter().filter_map(|finding| finding.place);
    let shards: BTreeSet<u32> = places.map(|(shard, _)| shard.0).collect();
    let faults = outcome.faults.iter().map(|(name, count)| (*name, *count));
    let met = Situation::ALL.map(|it| (it.name(), outcome.met.count(it)));
    let counts: BTreeMap<&str, u64> = faults.chain(met).collect();
    json!({
        "seed": outcome.seed,
        "holds": outcome.holds(),
        "problems": outcome.problems,
        "findings": findings,
        "entities": entities,
        "shards": shards,
        "simulated_ms": u64::try_from(outcome.simulated.as_millis()).unwrap_or(u64::MAX),
        "recovered_ms": outcome.recovered_in.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        "operations": outcome.report.operations,
        "records": outcome.report.records,
        "searched": outcome.report.searched,
        "undecided": outcome.report.undecided,
        "counts": counts,
        "fullest": outcome.report.fullest,
    })
}
