//! The work: as many callers as are to be in flight, each of which asks one entity after another and waits for each answer.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;

/// Asks in flight to another process: one alone, what the other tables have, and enough to keep everything busy.
pub(crate) const REMOTE_IN_FLIGHT: [usize; 3] = [1, 64, 1_024];

/// How long the last answer may take when nobody asks any more; less than the libraries wait before they give an ask up.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How much of it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Entities, each an actor where the library has one actor for each.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) entities: usize,
    /// Callers at once in one process. The other tables have numbers of their own.
    #[arg(long, default_value_t = 64)]
    pub(crate) in_flight: usize,
    /// Measured time of one figure of one contender in one round, in seconds, behind a third of it to warm up.
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
    /// Idle entities whose memory is measured, in one process only.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) idle: usize,
    /// Whatever is durable has its files below this directory and deletes them at its end.
    #[arg(long, default_value = ".holm/peers")]
    pub(crate) data_dir: PathBuf,
}

impl Plan {
    /// As it was given on the command line.
    pub(crate) fn as_args(&self) -> Vec<String> {
        let Self { entities, in_flight, seconds, idle, data_dir } = self;
        vec![
            format!("--entities={entities}"),
            format!("--in-flight={in_flight}"),
            format!("--seconds={seconds}"),
            format!("--idle={idle}"),
            format!("--data-dir={}", data_dir.display()),
        ]
    }

    /// A directory below the one for durable things, deleted with what is returned.
    pub(crate) fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        let below = &self.data_dir;
        std::fs::create_dir_all(below)
            .and_then(|()| tempfile::Builder::new().prefix("run-").tempdir_in(below))
            .with_context(|| format!("no directory can be made in {}", below.display()))
    }
}

/// Asks per second. Which entity a caller asks next is drawn, so that no cache is kinder to one contender than to another.
pub(crate) async fn asks_per_second<R, A, F>(plan: &Plan, entities: Arc<[R]>, ask: A) -> f64
where
    R: Send + Sync + 'static,
    A: Fn(Arc<[R]>, usize) -> F + Copy + Send + 'static,
    F: Future<Output = u64> + Send,
{
    asks_from(plan, entities, ask, in_tokio).await
}

/// The same with callers that run where `spawn` puts them.
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
    let ask = move |entities, index| {
        let answer = ask(entities, index);
        async move { Ok(answer.await) }
    };
    let rate = rate_from(plan.seconds, plan.in_flight, entities, ask, spawn).await;
    rate.expect("every ask is answered")
}

/// A caller, on its way to where it runs.
pub(crate) type Caller = Pin<Box<dyn Future<Output = ()> + Send>>;

/// On the runtime of whoever measures.
pub(crate) fn in_tokio(_: usize, caller: Caller) {
    drop(tokio::spawn(caller));
}

/// Asks per second of asks that may fail, a figure for each number of them in flight.
///
/// # Errors
/// The first ask that failed: with a caller less, the figure would be one of other work.
pub(crate) async fn rates<R, A, F>(
    plan: &Plan,
    in_flight: &[usize],
    entities: Arc<[R]>,
    ask: A,
) -> anyhow::Result<Vec<f64>>
where
    R: Send + Sync + 'static,
    A: Fn(Arc<[R]>, usize) -> F + Copy + Send + 'static,
    F: Future<Output = anyhow::Result<u64>> + Send,
{
    let mut rates = Vec::with_capacity(in_flight.len());
    for &in_flight in in_flight {
        let rate = rate_from(plan.seconds, in_flight, Arc::clone(&entities), ask, in_tokio);
        rates.push(rate.await?);
    }
    Ok(rates)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
async fn rate_from<R, A, F>(
    seconds: u64,
    in_flight: usize,
    entities: Arc<[R]>,
    ask: A,
    spawn: impl Fn(usize, Caller),
) -> anyhow::Result<f64>
where
    R: Send + Sync + 'static,
    A: Fn(Arc<[R]>, usize) -> F + Copy + Send + 'static,
    F: Future<Output = anyhow::Result<u64>> + Send,
{
    let shared = Arc::new(Shared::default());
    for nth in 0..in_flight {
        let (entities, shared) = (Arc::clone(&entities), Arc::clone(&shared));
        let caller = async move {
            let nth = nth as u64;
            let mut draw = nth;
            while !shared.over.load(Ordering::Relaxed) {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(nth | 1);
                let entity = (draw >> 33) as usize % entities.len();
                match ask(Arc::clone(&entities), entity).await {
                    Ok(answer) => std::hint::black_box(answer),
                    Err(error) => return shared.failed(error),
                };
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
        };
        spawn(nth, Box::pin(caller));
    }
    tokio::time::sleep(Duration::from_secs(seconds) / 3).await;
    let (began, before) = (std::time::Instant::now(), shared.answered.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (took, after) = (began.elapsed(), shared.answered.load(Ordering::Relaxed));
    // One that panicked holds it no more either.
    let callers = Arc::strong_count(&shared) - 1;
    shared.over.store(true, Ordering::Relaxed);
    if callers < in_flight {
        let error = shared.error.lock().ok().and_then(|mut error| error.take());
        let error = error.unwrap_or_else(|| anyhow::anyhow!("a caller panicked"));
        return Err(error.context(format!("an ask of {in_flight} in flight failed")));
    }
    all_answered(&shared, in_flight).await?;
    Ok((after - before) as f64 / took.as_secs_f64())
}

/// Waits until every caller has its last answer. One that has none was not in flight but lost, and the figure would be one of fewer callers.
async fn all_answered(shared: &Arc<Shared>, in_flight: usize) -> anyhow::Result<()> {
    let asked = tokio::time::Instant::now();
    while Arc::strong_count(shared) > 1 {
        let (lost, patience) = (Arc::strong_count(shared) - 1, LAST_ANSWER_WITHIN.as_secs());
        anyhow::ensure!(
            asked.elapsed() < LAST_ANSWER_WITHIN,
            "{lost} of {in_flight} asks in flight are not answered after {patience} s"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = shared.error.lock().ok().and_then(|mut error| error.take());
    error.map_or(Ok(()), Err)
}

/// What callers share.
#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    /// They end with their next answer.
    over: AtomicBool,
    /// Of the first that failed.
    error: Mutex<Option<anyhow::Error>>,
}

impl Shared {
    fn failed(&self, error: anyhow::Error) {
        if let Ok(mut first) = self.error.lock() {
            first.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn rate_of(lost: usize) -> anyhow::Result<f64> {
        let ask = move |_: Arc<[()]>, index: usize| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if index == lost {
                std::future::pending::<()>().await;
            }
            Ok(0)
        };
        rate_from(1, 8, vec![(); 16].into(), ask, in_tokio).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_ask_that_is_never_answered_makes_no_figure() {
        let error = rate_of(3).await.unwrap_err();
        assert!(error.to_string().contains("not answered"), "{error}");
        rate_of(usize::MAX).await.unwrap();
    }
}
