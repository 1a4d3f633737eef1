//! A batch of seeds on all cores.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::child::{Child, Told, World};
use super::counters::Counters;
use super::shown::show;

/// Failed seeds after which no more are begun: they have the same cause more often than not.
const MOST_FAILED: usize = 10;

/// Seeds between two lines that tell how far a long run is.
const TOLD_EVERY: u64 = 500;

pub(super) struct Batch {
    child: Child,
    known: Vec<World>,
    next: World,
    counters: Counters,
    failed: Vec<World>,
}

/// What the workers share.
struct Work<'a> {
    batch: &'a mut Batch,
    left: Option<u64>,
    until: Option<Instant>,
    broken: Option<anyhow::Error>,
}

impl Work<'_> {
    #[expect(clippy::disallowed_methods, reason = "the time that a person gave is real time")]
    fn next(&mut self) -> Option<World> {
        if self.broken.is_some() || self.batch.failed.len() >= MOST_FAILED {
            return None;
        }
        if let Some(known) = self.batch.known.pop() {
            return Some(known);
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let world = self.batch.next;
        self.batch.next.seed += 1;
        Some(world)
    }
}

impl Batch {
    pub(super) fn new(child: Child, mut known: Vec<World>, first: World) -> Self {
        known.reverse();
        let counters = Counters::default();
        Self { child, known, next: first, counters, failed: Vec::new() }
    }

    pub(super) fn run_seeds(&mut self, count: u64) -> anyhow::Result<()> {
        self.run(Some(count), None)
    }

    pub(super) fn run_until(&mut self, until: Instant) -> anyhow::Result<()> {
        self.run(None, Some(until))
    }

    fn run(&mut self, left: Option<u64>, until: Option<Instant>) -> anyhow::Result<()> {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let child = self.child.clone();
        let work = Mutex::new(Work { batch: self, left, until, broken: None });
        let lock = || work.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let Some(world) = lock().next() else { return };
                        match child.run(world, "run") {
                            Ok(told) => lock().batch.note(&told),
                            Err(error) => lock().broken = Some(error),
                        }
                    }
                });
            }
        });
        let broken = lock().broken.take();
        broken.map_or(Ok(()), Err)
    }

    fn note(&mut self, told: &Told) {
        self.counters.add(&told.summary);
        if self.counters.runs().is_multiple_of(TOLD_EVERY) {
            let simulated = self.counters.simulated_ms() / 1_000;
            eprintln!("{} seeds, {simulated} simulated seconds so far", self.counters.runs());
        }
        let trace = self.child.trace_of(told.world, "run");
        if told.holds {
            // A missing trace harms nobody here.
            _ = std::fs::remove_file(trace);
            return;
        }
        self.failed.push(told.world);
        println!("seed {0} fails; replay it with: cargo xtask sim --seed {0}", told.world);
        show(told, &trace);
    }

    /// Prints what the batch came to; false when it failed.
    pub(super) fn conclude(&self, took: Duration, expect_all: bool) -> bool {
        let simulated = self.counters.simulated_ms() as f64 / 1_000.0;
        println!(
            "{} seeds, {:.0} simulated seconds in {:.0} s ({:.0} times as fast as life)",
            self.counters.runs(),
            simulated,
            took.as_secs_f64(),
            simulated / took.as_secs_f64().max(0.001)
        );
        let reached = self.counters.print(expect_all);
        if !self.failed.is_empty() {
            let failed: Vec<String> = self.failed.iter().map(World::to_string).collect();
            println!("failed: {}", failed.join(", "));
        }
        reached && self.failed.is_empty()
    }
}
