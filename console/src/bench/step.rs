//! What every step has in common: its times, what is counted around it, and its end when somebody presses Ctrl-C.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::args::BenchArgs;
use super::cluster::Target;
use super::document::StepFigures;
use super::environment::ProcessorTime;
use super::processes::Process;
use super::show;
use super::work::Work;
use crate::output::{Failure, Output};

/// Warm-up and measured time of each step.
pub(super) const fn times(args: &BenchArgs) -> (Duration, Duration) {
    (Duration::from_secs(args.warm_up), Duration::from_secs(args.duration))
}

/// Ctrl-C during a whole run. What starts and stops is never torn apart: one that comes meanwhile is remembered and ends the next piece of work before it
/// begins, so that its caller can stop what it started.
pub(super) struct Interrupts(Signal);

impl Interrupts {
    /// From now on.
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |error| Failure::new("the bench cannot hear of Ctrl-C", error);
        signal(SignalKind::interrupt()).map(Self).map_err(failed)
    }

    /// Runs to the end or until somebody pressed Ctrl-C.
    pub(super) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            _ = self.0.recv() => Err(Failure::new("the bench was interrupted", "Ctrl-C")),
            done = work => done,
        }
    }
}

/// Runs one step, and counts around it what the processes and the machine took.
pub(super) async fn step(
    label: &str,
    target: &Target,
    work: &Work,
    output: Output,
    run: impl Future<Output = Result<StepFigures, Failure>>,
) -> Result<StepFigures, Failure> {
    let (fsyncs, machine) = (target.fsyncs(), ProcessorTime::now());
    let totals = || target.measured().iter().map(Process::totals).collect::<Vec<_>>();
    let (begun, before, asked) = (Instant::now(), totals(), work.asked());
    let mut figures = run.await?;
    let (took, after, asked) = (begun.elapsed(), totals(), work.asked() - asked);
    figures.fsyncs = difference(fsyncs, target.fsyncs());
    figures.stolen = ProcessorTime::now().zip(machine).map(|(now, began)| now.stolen_since(began));
    let used = target.measured().iter().zip(before).zip(after);
    figures.processes =
        used.filter_map(|((process, from), to)| Some(process.used(from?, to?, took))).collect();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    if figures.persists && asked > 0 {
        let written: u64 = figures.processes.iter().map(|process| process.written_bytes).sum();
        figures.bytes_per_event = Some(written as f64 / asked as f64);
    }
    output.progress(show::step_line(label, &figures));
    Ok(figures)
}

/// What was counted between two moments, where both are known.
pub(super) fn difference(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, raise};

    use super::*;

    #[tokio::test]
    async fn an_interrupt_between_two_steps_ends_the_next_before_it_begins() {
        let mut interrupts = Interrupts::listen().unwrap();
        assert_eq!(interrupts.or(async { Ok(1) }).await.unwrap(), 1);
        let mut witness = Interrupts::listen().unwrap();
        raise(Signal::SIGINT).unwrap();
        // It has arrived when another hears of it.
        witness.0.recv().await.unwrap();
        let endless = interrupts.or(std::future::pending::<Result<(), _>>());
        let ended = tokio::time::timeout(Duration::from_secs(30), endless).await.unwrap();
        assert!(ended.unwrap_err().error.contains("interrupted"));
    }
}
