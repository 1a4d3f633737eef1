//! `holm bench`, from the command line to the exit code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::BenchArgs;
use super::cluster::Target;
use super::document::{BenchDocument, StepFigures};
use super::promised::Promised;
use super::report::{self, Run};
use super::saved::{self, Scratch};
use super::step::{Interrupts, difference, step, times};
use super::work::{Kind, Work};
use super::{
    closed_loop, compare, environment, fixed_rate, hdr, idle, one_entity, remote, show, sleepers,
};
use crate::dev::screen::grouped;
use crate::output::{Exit, Failure, Output};

/// Carries out `holm bench`.
///
/// # Errors
/// What stood in the way, for a person to read.
pub fn run(args: BenchArgs, output: Output) -> Result<Exit, Failure> {
    if args.near && args.nodes > 1 {
        let reason = "the entities are in other processes; use it without --nodes";
        return Err(Failure::usage("--near needs entities in this process", reason));
    }
    // Before anything is measured: minutes of work shall not end at a path that cannot be written.
    let hdr = args.hdr.as_deref().map(Promised::at).transpose()?;
    let page = args.report.as_deref().map(Promised::at).transpose()?;
    if let Some(dir) = &args.plots {
        let failed = |error| Failure::usage(format!("{} is no directory", dir.display()), error);
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    if !args.from.is_empty() {
        return only_show(page, args.plots.as_deref(), &args.from, output);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // The node inside this process has threads of its own; the callers shall not take more than one core from it.
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the bench cannot be started", error))?;
    let before = args.compare.as_deref().map(saved::read).transpose()?;
    let document = runtime.block_on(measure(&args, output))?;
    let path = saved::save(&document)?;
    if output.is_json() {
        output.document(&document);
    } else {
        show::document(&document, &path, output);
        if let Some(before) = &before {
            output.line("");
            compare::lines(before, &document).iter().for_each(|it| output.line(format!("  {it}")));
        }
    }
    if let Some(hdr) = hdr {
        let log = hdr::log(&document).map_err(|error| Failure::new("no HDR log", error))?;
        told("HDR log", &hdr.keep(&log)?, output);
    }
    let closed: Vec<_> = args.fail_if.iter().filter_map(|gate| gate.closes(&document)).collect();
    let earlier = args.compare.iter().zip(before).map(|(path, document)| named(path, document));
    let runs: Vec<_> = std::iter::once(named(&path, document)).chain(earlier).collect();
    show(page, args.plots.as_deref(), &runs, output)?;
    if closed.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(Failure::new("a gate is closed", closed.join("; ")).exits(Exit::CheckFailed))
}

/// Page and plots of saved runs.
fn only_show(
    page: Option<Promised>,
    plots: Option<&Path>,
    saved: &[PathBuf],
    output: Output,
) -> Result<Exit, Failure> {
    let runs = saved.iter().map(|path| Ok(named(path, saved::read(path)?)));
    let runs = runs.collect::<Result<Vec<_>, Failure>>()?;
    show(page, plots, &runs, output)?;
    Ok(Exit::Ok)
}

fn show(
    page: Option<Promised>,
    plots: Option<&Path>,
    runs: &[Run],
    output: Output,
) -> Result<(), Failure> {
    if let Some(page) = page {
        told("Report", &page.keep(report::page(runs).as_bytes())?, output);
    }
    let Some(dir) = plots else { return Ok(()) };
    for (name, picture) in report::pictures(runs) {
        let file = Promised::at(&dir.join(name))?;
        told("Plot", &file.keep(picture.as_bytes())?, output);
    }
    Ok(())
}

fn named(path: &Path, document: BenchDocument) -> Run {
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Run { name, document }
}

/// What was written, beside the result: with `--json` that is one document and nothing else.
fn told(what: &str, path: &Path, output: Output) {
    output.progress(format_args!("  {what:<7} {}", path.display()));
}

/// Everything that was asked for, one cluster after the other.
async fn measure(args: &BenchArgs, output: Output) -> Result<BenchDocument, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let dir = Scratch::create(args.data_dir.as_deref())?;
    let mut document = BenchDocument {
        environment: environment::look(&dir.path),
        nodes: args.nodes,
        replication: args.nodes.min(3),
        shards: args.shards,
        entities: args.entities,
        in_flight: args.in_flight,
        near: args.near,
        seconds: args.duration,
        ..BenchDocument::default()
    };
    if let Some(seconds) = args.idle {
        document.nodes = idle::nodes(args);
        document.replication = document.nodes.min(3);
        (document.entities, document.in_flight, document.seconds) = (0, 0, seconds);
        output.progress(show::header(&document));
        document.idle = idle::run(args, seconds, &dir.path, &mut interrupts, output).await?;
        return Ok(document);
    }
    output.progress(show::header(&document));
    let target = Target::start(args.nodes, args.shards, &dir.path).await?;
    let steps = steps(args, &target, &dir.path, &mut document, output);
    let done = interrupts.or(steps).await;
    target.stop().await;
    done?;
    if args.remote {
        document.steps.extend(remote::run(args, &dir.path, &mut interrupts, output).await?);
    }
    Ok(document)
}

/// The steps that the table always has.
async fn steps(
    args: &BenchArgs,
    target: &Target,
    dir: &Path,
    document: &mut BenchDocument,
    output: Output,
) -> Result<(), Failure> {
    let work = Arc::new(Work::new(&target.holm, "bench", args.entities).near(args.near));
    let unopened = |error| Failure::new("the accounts cannot be opened", error);
    closed_loop::open_accounts(&work, args.in_flight).await.map_err(unopened)?;
    let begun = target.fsyncs();
    let read = closed(args, Kind::Read, &work);
    document.steps.push(step("1/4 read state", target, &work, output, read).await?);
    let persist = closed(args, Kind::Persist, &work);
    let persisted = step("2/4 command+persist", target, &work, output, persist).await?;
    let half = [half(persisted.rate)];
    let rates = if args.rate.is_empty() { &half[..] } else { &args.rate };
    document.steps.push(persisted);
    let (warm_up, time) = times(args);
    for &rate in rates {
        let name = match args.rate.len() {
            0 => "… at 50 % load".to_owned(),
            1 => "… at a fixed rate".to_owned(),
            _ => format!("… at {}/s", grouped(rate.into())),
        };
        let fixed = fixed_rate::run(&name, Kind::Persist, &work, rate, warm_up, time);
        document.steps.push(step("3/4 fixed rate", target, &work, output, fixed).await?);
    }
    if let (Some(subscribers), Some(&rate)) = (args.sleepers, rates.first()) {
        let asleep = sleepers::Plan { subscribers, rate, rounds: args.rounds, time: times(args).1 };
        let measured = sleepers::run(target, &work, asleep).await?;
        output.progress(show::sleepers_line(&measured));
        document.sleepers = Some(measured);
    }
    let (figures, one) = one_entity::run(args, target, dir, output).await?;
    document.steps.push(figures);
    document.one_entity = Some(one);
    document.fsyncs = difference(begun, target.fsyncs());
    Ok(())
}

fn closed<'a>(
    args: &BenchArgs,
    kind: Kind,
    work: &'a Arc<Work>,
) -> impl Future<Output = Result<StepFigures, Failure>> + 'a {
    let (warm_up, time) = times(args);
    let name = match kind {
        Kind::Read => "read state",
        Kind::Persist => "command+persist",
    };
    let in_flight = args.in_flight;
    async move { Ok(closed_loop::run(name, kind, work, in_flight, warm_up, time).await) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is small and positive"
)]
fn half(rate: f64) -> u32 {
    (rate / 2.0).max(1.0) as u32
}
