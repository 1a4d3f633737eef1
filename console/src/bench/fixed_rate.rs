//! The fixed rate: each command has a planned send time, and its latency counts from there, whatever delayed it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::document::{StepFigures, histogram};
use super::work::{Kind, Work};
use crate::load::pacer::{Due, Pacer};

/// Handed over later than this after the planned time counts as late.
const LATE: Duration = Duration::from_micros(100);

/// Commands that may wait for their answer; what is planned beyond it waits to be sent, and its latency counts on.
const IN_FLIGHT: u32 = 65_536;

struct Tally {
    latency: Histogram<u64>,
    errors: u64,
    first_error: Option<String>,
}

/// Sends `rate` commands a second for `warm_up` and then for `time`.
///
/// # Errors
/// When the pacer's thread cannot be started.
pub(super) async fn run(
    name: &str,
    kind: Kind,
    work: &Arc<Work>,
    rate: u32,
    warm_up: Duration,
    time: Duration,
) -> std::io::Result<StepFigures> {
    let (pacer, dues) = Pacer::start(rate)?;
    let start = Instant::now() + warm_up;
    let sending = send(kind, Arc::clone(work), dues, start, start + time);
    // On a worker, where the commands run too: from any other thread each command would have to wake that worker.
    let (tally, sent, late) = tokio::spawn(sending).await.map_err(std::io::Error::other)?;
    drop(pacer);
    let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let late = late as f64 / sent.max(1) as f64;
    Ok(StepFigures {
        persists: kind == Kind::Persist,
        planned_rate: Some(rate),
        errors: tally.errors,
        first_error: tally.first_error.clone(),
        late: Some(late),
        ..StepFigures::of(name, &tally.latency, time)
    })
}

/// Sends what is due from now to `end` and counts what was planned from `start` on: the tally, how many were sent, how many of them late.
async fn send(
    kind: Kind,
    work: Arc<Work>,
    mut dues: mpsc::Receiver<Due>,
    start: Instant,
    end: Instant,
) -> (Arc<Mutex<Tally>>, u64, u64) {
    let tally = Arc::new(Mutex::new(Tally { latency: histogram(), errors: 0, first_error: None }));
    let places = Arc::new(Semaphore::new(IN_FLIGHT as usize));
    let (mut sent, mut late) = (0_u64, 0_u64);
    while let Some(due) = dues.recv().await {
        let planned = Instant::from_std(due.planned);
        if planned >= end {
            break;
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let measured = planned >= start;
        if measured {
            sent += 1;
            late += u64::from(due.late_by() > LATE);
        }
        let (work, tally) = (Arc::clone(&work), Arc::clone(&tally));
        tokio::spawn(async move {
            let answer = work.ask(kind).await;
            if measured {
                count(&tally, answer, planned.elapsed());
            }
            drop(place);
        });
    }
    // Every answer counts, also the last ones.
    let _ = places.acquire_many(IN_FLIGHT).await;
    (tally, sent, late)
}

fn count(tally: &Mutex<Tally>, answer: Result<(), String>, took: Duration) {
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
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
