//! The fixed rate: each command has a planned send time, and its latency counts from there, whatever delayed it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::document::{StepFigures, histogram};
use super::work::{Kind, Work};
use crate::load::pacer::{Pacer, Plan};
use crate::output::Failure;

/// Sent later than this after the planned time counts as late.
const LATE: Duration = Duration::from_micros(100);

/// Senders, each with one command at a time. What is due beyond it waits to be sent, and its latency counts on. They live as long as the step: a task
/// made for each command would cost the machine about as much as the command.
const SENDERS: u32 = 8_192;

#[derive(Debug)]
struct Tally {
    latency: Histogram<u64>,
    sent: u64,
    late: u64,
    errors: u64,
    first_error: Option<String>,
}

/// What the senders share.
struct Shared {
    work: Arc<Work>,
    kind: Kind,
    plan: Plan,
    /// One permit for each send that is due and not taken.
    due: Arc<Semaphore>,
    next: AtomicU64,
    start: Instant,
    end: Instant,
    tally: Mutex<Tally>,
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
) -> Result<StepFigures, Failure> {
    let due = Arc::new(Semaphore::new(0));
    let failed = |error| Failure::new("the pacer cannot be started", error);
    let (pacer, plan) = Pacer::permit(rate, Arc::clone(&due)).map_err(failed)?;
    let start = Instant::now() + warm_up;
    let tally = Tally { latency: histogram(), sent: 0, late: 0, errors: 0, first_error: None };
    let shared = Arc::new(Shared {
        work: Arc::clone(work),
        kind,
        plan,
        due,
        next: AtomicU64::new(0),
        start,
        end: start + time,
        tally: Mutex::new(tally),
    });
    let senders: JoinSet<()> = (0..SENDERS).map(|_| send(Arc::clone(&shared))).collect();
    // Every answer counts, also the last ones.
    senders.join_all().await;
    drop(pacer);
    let tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let late = tally.late as f64 / tally.sent.max(1) as f64;
    Ok(StepFigures {
        persists: kind == Kind::Persist,
        planned_rate: Some(rate),
        errors: tally.errors,
        first_error: tally.first_error.clone(),
        late: Some(late),
        ..StepFigures::of(name, &tally.latency, time)
    })
}

/// Sends what is due, one after the other, until the end of the plan.
async fn send(shared: Arc<Shared>) {
    while let Ok(permit) = shared.due.acquire().await {
        permit.forget();
        let planned =
            Instant::from_std(shared.plan.at(shared.next.fetch_add(1, Ordering::Relaxed)));
        if planned >= shared.end {
            // The others need not wait for permits any more.
            shared.due.close();
            return;
        }
        let late = planned.elapsed() > LATE;
        let answer = shared.work.ask(shared.kind).await;
        if planned >= shared.start {
            shared.count(answer, late, planned.elapsed());
        }
    }
}

impl Shared {
    fn count(&self, answer: Result<(), String>, late: bool, took: Duration) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.sent += 1;
        tally.late += u64::from(late);
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
