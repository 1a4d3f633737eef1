//! `holm bench`, from the command line to the exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::BenchArgs;
use super::cluster::Target;
use super::document::{BenchDocument, OneEntity, StepFigures};
use super::environment::ProcessorTime;
use super::work::{Kind, Work};
use super::{closed_loop, compare, environment, fixed_rate, fsync, show, sleepers};
use crate::output::{Exit, Failure, Output, rfc3339};
use crate::wall_clock::now_us;

/// Requests in flight to the one entity that is measured alone.
const ONE_ENTITY_IN_FLIGHT: u32 = 64;

/// How long the disk's own rate of fsyncs is measured, before and after the one entity.
const FSYNC_TIME: Duration = Duration::from_secs(1);

/// Carries out `holm bench`.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run(args: BenchArgs, output: Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The node inside this process has threads of its own; the callers shall not take more than one core from it.
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the bench cannot be started", error))?;
    let before = args.compare.as_deref().map(read).transpose()?;
    let document = runtime.block_on(async {
        let dir = Scratch::create(args.data_dir.as_deref())?;
        let target = Target::start(args.nodes, args.shards, &dir.path).await?;
        let document = tokio::select! {
            document = measure(&args, &target, &dir.path, output) => document,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("the bench was interrupted", "Ctrl-C")),
        };
        target.stop().await;
        document
    })?;
    let saved = save(&document)?;
    if output.is_json() {
        output.document(&document);
    } else {
        show::document(&document, &saved, output);
        if let Some(before) = &before {
            output.line("");
            compare::lines(before, &document).iter().for_each(|it| output.line(format!("  {it}")));
        }
    }
    let closed: Vec<_> = args.fail_if.iter().filter_map(|gate| gate.closes(&document)).collect();
    if closed.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::new("a gate is closed", closed.join("; ")).exits(Exit::CheckFailed))
}

async fn measure(
    args: &BenchArgs,
    target: &Target,
    dir: &Path,
    output: Output,
) -> Result<BenchDocument, Failure> {
    let mut document = BenchDocument {
        environment: environment::look(dir),
        nodes: args.nodes,
        replication: args.nodes.min(3),
        shards: args.shards,
        entities: args.entities,
        in_flight: args.in_flight,
        seconds: args.duration,
        ..BenchDocument::default()
    };
    output.progress(show::header(&document));
    let work = Arc::new(Work::new(&target.holm, "bench", args.entities));
    let unopened = |error| Failure::new("the accounts cannot be opened", error);
    closed_loop::open_accounts(&work, args.in_flight).await.map_err(unopened)?;
    let begun = target.fsyncs();
    document
        .steps
        .push(step("1/4 read state", target, output, closed(args, Kind::Read, &work)).await);
    let persisted =
        step("2/4 command+persist", target, output, closed(args, Kind::Persist, &work)).await;
    let rate = args.rate.unwrap_or_else(|| half(persisted.rate));
    document.steps.push(persisted);
    let (warm_up, time) = times(args);
    let name = if args.rate.is_some() { "… at a fixed rate" } else { "… at 50 % load" };
    let fixed = async {
        fixed_rate::run(name, Kind::Persist, &work, rate, warm_up, time).await.unwrap_or_default()
    };
    document.steps.push(step("3/4 fixed rate", target, output, fixed).await);
    if let Some(subscribers) = args.sleepers {
        let measured = sleepers::run(target, &work, (subscribers, rate), times(args)).await?;
        output.progress(show::sleepers_line(&measured));
        document.sleepers = Some(measured);
    }
    let one = one_entity(args, target, dir, output).await?;
    document.steps.push(one.0);
    document.one_entity = Some(one.1);
    document.fsyncs = difference(begun, target.fsyncs());
    Ok(document)
}

/// The one entity, between two measurements of what the disk itself can do.
async fn one_entity(
    args: &BenchArgs,
    target: &Target,
    dir: &Path,
    output: Output,
) -> Result<(StepFigures, OneEntity), Failure> {
    let failed = |error| Failure::new("the disk cannot be measured", error);
    let alone = Arc::new(Work::new(&target.holm, "alone", 1));
    let unopened = |error| Failure::new("the account cannot be opened", error);
    closed_loop::open_accounts(&alone, 1).await.map_err(unopened)?;
    let (warm_up, time) = times(args);
    let before = fsync::rates(dir, FSYNC_TIME).map_err(failed)?;
    let asks = closed_loop::run(
        "one entity alone",
        Kind::Persist,
        &alone,
        ONE_ENTITY_IN_FLIGHT,
        warm_up,
        time,
    );
    let mut figures = step("4/4 one entity alone", target, output, asks).await;
    let after = fsync::rates(dir, FSYNC_TIME).map_err(failed)?;
    figures.name = format!("one entity, {ONE_ENTITY_IN_FLIGHT} in flight");
    // The disk's better figures of the two: the comparison shall not flatter us.
    let disk = before.max(after);
    let one = OneEntity {
        in_flight: ONE_ENTITY_IN_FLIGHT,
        rate: figures.rate,
        disk_fsyncs: disk.best,
        ratio: figures.rate / disk.best,
        disk_appends: disk.appended,
        ratio_to_appends: figures.rate / disk.appended,
    };
    Ok((figures, one))
}

fn closed<'a>(
    args: &BenchArgs,
    kind: Kind,
    work: &'a Arc<Work>,
) -> impl Future<Output = StepFigures> + 'a {
    let (warm_up, time) = times(args);
    let name = match kind {
        Kind::Read => "read state",
        Kind::Persist => "command+persist",
    };
    closed_loop::run(name, kind, work, args.in_flight, warm_up, time)
}

const fn times(args: &BenchArgs) -> (Duration, Duration) {
    (Duration::from_secs(args.warm_up), Duration::from_secs(args.duration))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is small and positive"
)]
fn half(rate: f64) -> u32 {
    (rate / 2.0).max(1.0) as u32
}

async fn step(
    label: &str,
    target: &Target,
    output: Output,
    run: impl Future<Output = StepFigures>,
) -> StepFigures {
    let (before, began) = (target.fsyncs(), ProcessorTime::now());
    let mut figures = run.await;
    figures.fsyncs = difference(before, target.fsyncs());
    figures.stolen = ProcessorTime::now().zip(began).map(|(now, began)| now.stolen_since(began));
    output.progress(show::step_line(label, &figures));
    figures
}

fn difference(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// A directory of its own that is deleted at the end.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(asked: Option<&Path>) -> Result<Self, Failure> {
        let below = asked.map_or_else(|| PathBuf::from(".holm/bench"), Path::to_owned);
        let path = below.join(format!("run-{:016x}", crate::dev::process::random()));
        let path = std::path::absolute(&path).and_then(|path| {
            std::fs::create_dir_all(&path)?;
            Ok(path)
        });
        let path = path.map_err(|error| {
            Failure::new(format!("{} cannot be created", below.display()), error)
        })?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn read(path: &Path) -> Result<BenchDocument, Failure> {
    let text = std::fs::read(path);
    text.and_then(|text| serde_json::from_slice(&text).map_err(Into::into))
        .map_err(|error| Failure::usage(format!("{} is no saved run", path.display()), error))
}

fn save(document: &BenchDocument) -> Result<PathBuf, Failure> {
    let dir = PathBuf::from(".holm/bench");
    let name = rfc3339(now_us() / 1_000).replace(':', "-");
    let path = dir.join(format!("{}.json", name.trim_end_matches('Z')));
    let write = || {
        std::fs::create_dir_all(&dir)?;
        std::fs::write(&path, serde_json::to_vec_pretty(document)?)
    };
    write()
        .map_err(|error| Failure::new(format!("{} cannot be written", path.display()), error))?;
    Ok(path)
}
