//! The pacer: says when each command is due, from a thread of its own.
//!
//! A timer of the async runtime has a grain of a millisecond and shares its thread with the work; at thousands a second it would measure itself.
//! This thread asks the kernel to be woken without slack and sleeps until the next planned time. It never spins: where node and generator
//! share two cores, a spinning pacer takes one of them away from what it measures (seen here: a third of the sends late, p99 three times as high).
#![expect(clippy::disallowed_methods, reason = "pacing is the measurement of time itself")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

/// Shortest sleep. Above 2,000/s several sends become due in one wake-up, each at most this much late.
const GRAIN: Duration = Duration::from_micros(500);

/// How much later than asked the kernel may wake this thread, in nanoseconds; 50,000 is what a thread gets by default.
const TIMER_SLACK_NS: u64 = 1_000;

/// Planned times that may wait to be picked up. Once it is full the pacer waits, and what it sends then is late and counted as such.
const WAITING: usize = 16_384;

/// One planned send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    /// When it was to be sent.
    pub(crate) planned: Instant,
    /// When the pacer handed it over.
    pub(crate) handed_over: Instant,
}

impl Due {
    /// How much later than planned it was handed over.
    pub(crate) fn late_by(&self) -> Duration {
        self.handed_over.saturating_duration_since(self.planned)
    }
}

/// When each send is planned: evenly spaced, from a beginning on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    start: Instant,
    rate: u32,
}

impl Plan {
    fn beginning_now(rate: u32) -> Self {
        Self { start: Instant::now(), rate }
    }

    /// The planned time of the `nth` send, counted from zero.
    pub(crate) fn at(&self, nth: u64) -> Instant {
        self.start + planned_after(nth, self.rate)
    }
}

/// The thread, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Pacer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Starts to plan `rate` sends a second, evenly spaced, beginning now.
    pub(crate) fn start(rate: u32) -> std::io::Result<(Self, mpsc::Receiver<Due>)> {
        let (due, receiver) = mpsc::channel(WAITING);
        let plan = Plan::beginning_now(rate);
        let pacer = Self::run(plan, move |nths| {
            nths.into_iter().all(|nth| {
                let (planned, handed_over) = (plan.at(nth), Instant::now());
                due.blocking_send(Due { planned, handed_over }).is_ok()
            })
        })?;
        Ok((pacer, receiver))
    }

    /// The same for senders who know the plan: each due send is one more permit.
    pub(crate) fn permit(rate: u32, permits: Arc<Semaphore>) -> std::io::Result<(Self, Plan)> {
        let plan = Plan::beginning_now(rate);
        let pacer = Self::run(plan, move |nths| {
            permits.add_permits(usize::try_from(nths.end - nths.start).unwrap_or_default());
            !permits.is_closed()
        })?;
        Ok((pacer, plan))
    }

    /// Hands over the numbers of what became due, each once; `hand_over` says whether anybody still wants more.
    fn run(
        plan: Plan,
        hand_over: impl FnMut(Range<u64>) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("holm-pacer".into())
            .spawn(move || pace(plan, hand_over, &seen))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It sleeps for at most one interval, or ends when nobody wants more.
            thread.thread().unpark();
        }
    }
}

fn pace(plan: Plan, mut hand_over: impl FnMut(Range<u64>) -> bool, stop: &AtomicBool) {
    wake_without_slack();
    let mut next: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        wait_until(plan.at(next));
        // Everything that became due meanwhile goes out in one wake-up.
        let (first, now) = (next, Instant::now());
        while plan.at(next) <= now {
            next += 1;
        }
        if !hand_over(first..next) {
            return;
        }
    }
}

/// When the `nth` send is planned, counted from the start. Computed from the whole, so that rounding never adds up.
fn planned_after(nth: u64, rate: u32) -> Duration {
    let rate = u64::from(rate.max(1));
    Duration::from_secs(nth / rate) + Duration::from_nanos((nth % rate) * 1_000_000_000 / rate)
}

fn wait_until(planned: Instant) {
    let mut left = planned.saturating_duration_since(Instant::now());
    while !left.is_zero() {
        std::thread::park_timeout(left.max(GRAIN));
        left = planned.saturating_duration_since(Instant::now());
    }
}

/// Asks for wake-ups in time, where the system can be asked; elsewhere more sends are late, and are counted.
fn wake_without_slack() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_timerslack(TIMER_SLACK_NS) {
        tracing::debug!(%error, "the pacer is woken with the usual slack");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_evenly_spaced_and_do_not_drift() {
        assert_eq!(planned_after(0, 3), Duration::ZERO);
        assert_eq!(planned_after(3, 3), Duration::from_secs(1));
        assert_eq!(planned_after(3_000_001, 1_000_000), Duration::new(3, 1_000));
    }

    #[test]
    fn the_thread_ends_with_its_receiver() {
        let (mut pacer, mut due) = Pacer::start(10_000).unwrap();
        let first = due.blocking_recv().unwrap();
        let second = due.blocking_recv().unwrap();
        assert_eq!(second.planned - first.planned, Duration::from_micros(100));
        drop(due);
        pacer.thread.take().unwrap().join().unwrap();
    }
}
