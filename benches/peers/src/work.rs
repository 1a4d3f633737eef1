//! The work: as many callers as are to be in flight, each of which asks one entity after another and waits for each answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How much of it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Entities, each an actor where the library has one actor for each.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) entities: usize,
    /// Callers at once.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// Measured time of one contender in one round, in seconds, behind a third of it to warm up.
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
    /// Idle entities whose memory is measured.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) idle: usize,
}

impl Plan {
    /// As it was given on the command line.
    pub(crate) fn as_args(&self) -> Vec<String> {
        let Self { entities, in_flight, seconds, idle } = self;
        vec![
            format!("--entities={entities}"),
            format!("--in-flight={in_flight}"),
            format!("--seconds={seconds}"),
            format!("--idle={idle}"),
        ]
    }
}

/// Asks per second. Which entity a caller asks next is drawn, so that no cache is kinder to one contender than to another.
pub(crate) async fn asks_per_second<R, A, F>(plan: &Plan, entities: Arc<[R]>, ask: A) -> f64
where
    R: Send + Sync + 'static,
    A: Fn(Arc<[R]>, usize) -> F + Copy + Send + 'static,
    F: Future<Output = u64> + Send,
{
    asks_from(plan, entities, ask, |_, caller| drop(tokio::spawn(caller))).await
}

/// A caller, on its way to where it runs.
pub(crate) type Caller = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The same with callers that run where `spawn` puts them.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) async fn asks_from<R, A, F>(
    plan: &Plan,
    entities: Arc<[R]>,
    ask: A,
    spawn: impl Fn(usize, Caller),
) -> f64
where
    R: Send + Sync + 'static,
    A: Fn(Arc<[R]>, usize) -> F + Copy + Send + 'static,
    F: Future<Output = u64> + Send,
{
    let (answered, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    for caller in 0..plan.in_flight {
        let (entities, answered) = (Arc::clone(&entities), Arc::clone(&answered));
        let ended = Arc::clone(&ended);
        let asking = async move {
            let caller = caller as u64;
            let mut draw = caller;
            while !ended.load(Ordering::Relaxed) {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(caller | 1);
                let entity = (draw >> 33) as usize % entities.len();
                std::hint::black_box(ask(Arc::clone(&entities), entity).await);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        };
        spawn(caller, Box::pin(asking));
    }
    tokio::time::sleep(Duration::from_secs(plan.seconds) / 3).await;
    let (began, before) = (std::time::Instant::now(), answered.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(plan.seconds)).await;
    let (took, after) = (began.elapsed(), answered.load(Ordering::Relaxed));
    ended.store(true, Ordering::Relaxed);
    (after - before) as f64 / took.as_secs_f64()
}
