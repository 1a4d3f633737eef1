//! The closed loop: so many commands in flight, each answer sends the next. It finds the highest rate; its latencies only describe itself.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::document::{StepFigures, histogram};
use super::work::{Kind, Work};

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// What the loops share.
struct Shared {
    work: Arc<Work>,
    kind: Kind,
    phase: AtomicU8,
    tally: Mutex<Tally>,
}

struct Tally {
    latency: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

/// Runs `in_flight` loops for `warm_up` and then for `time`.
pub(super) async fn run(
    name: &str,
    kind: Kind,
    work: &Arc<Work>,
    in_flight: u32,
    warm_up: Duration,
    time: Duration,
) -> StepFigures {
    let tally = Mutex::new(Tally { latency: histogram(), errors: 0, first_error: None });
    let phase = AtomicU8::new(WARMING_UP);
    let shared = Arc::new(Shared { work: Arc::clone(work), kind, phase, tally });
    let start = |nth| work.start_caller(nth, ask_again_and_again(Arc::clone(&shared)));
    let loops: Vec<_> = (0..in_flight as usize).map(start).collect();
    sleep(warm_up).await;
    shared.phase.store(MEASURING, Ordering::Relaxed);
    let start = Instant::now();
    sleep(time).await;
    shared.phase.store(OVER, Ordering::Relaxed);
    let took = start.elapsed();
    join_all(loops).await;
    let tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
    StepFigures {
        persists: kind == Kind::Persist,
        in_flight: Some(in_flight),
        errors: tally.errors,
        first_error: tally.first_error.clone(),
        ..StepFigures::of(name, &tally.latency, took)
    }
}

async fn ask_again_and_again(shared: Arc<Shared>) {
    loop {
        let start = Instant::now();
        let answer = shared.work.ask(shared.kind).await;
        match shared.phase.load(Ordering::Relaxed) {
            WARMING_UP => {}
            // Only what was answered inside the measured time counts.
            MEASURING => shared.count(answer, start.elapsed()),
            _ => return,
        }
    }
}

impl Shared {
    fn count(&self, answer: Result<(), String>, took: Duration) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(()) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                tally.latency.saturating_record(us);
            }
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert(error);
            }
        }
    }
}

/// Opens all accounts, so many at once.
pub(super) async fn open_accounts(work: &Arc<Work>, at_once: u32) -> Result<(), String> {
    let mut opening = JoinSet::new();
    for nth in 0..work.accounts() {
        if opening.len() >= at_once as usize
            && let Some(opened) = opening.join_next().await
        {
            opened.map_err(|error| error.to_string())??;
        }
        let work = Arc::clone(work);
        opening.spawn(async move { work.open(nth).await });
    }
    while let Some(opened) = opening.join_next().await {
        opened.map_err(|error| error.to_string())??;
    }
    Ok(())
}
