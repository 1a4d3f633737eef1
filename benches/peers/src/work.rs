//! The work: as many callers as are to be in flight, each of which asks one entity after another and waits for each answer.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;

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

fn in_tokio(_: usize, caller: Caller) {
    drop(tokio::spawn(caller));
}

/// The same for asks that may fail.
///
/// # Errors
/// The first ask that failed: with a caller less, the figure would be one of other work.
pub(crate) async fn rate<R, A, F>(
    seconds: u64,
    in_flight: usize,
    entities: Arc<[R]>,
    ask: A,
) -> anyhow::Result<f64>
where
    R: Send + Sync + 'static,
    A: Fn(Arc<[R]>, usize) -> F + Copy + Send + 'static,
    F: Future<Output = anyhow::Result<u64>> + Send,
{
    rate_from(seconds, in_flight, entities, ask, in_tokio).await
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
    Ok((after - before) as f64 / took.as_secs_f64())
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
