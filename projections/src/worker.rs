//! The worker of a projection: one task that reads on, and between two steps does what it is told, one order after the other (law O8).
//!
//! Reading on is a future that is dropped when an order comes, behind the transaction that is under way. That is safe by construction, and would be anywhere: what
//! it knows stands in the view, and the next one begins from what is stored there (law O13).

mod orders;
mod others;
mod pass;
mod rebuild;
mod record;
mod start;
mod together;

pub use start::{assemble, start};

pub(crate) use orders::Order;
pub(crate) use others::{Others, Seen, Sight};
pub(crate) use record::{set_aside_of, shortened, tell_of};
pub(crate) use start::{ground, reader_of};

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use holm_runtime::bus::{Bus, Fact, FeedError, Interest};
use holm_runtime::{FailureKind, ReaderFailures};
use tokio::sync::{RwLock, mpsc, oneshot, watch};

use self::rebuild::Rebuild;
use crate::observer::Notice;
use crate::options::Options;
use crate::projection::Projection;
use crate::status::{Board, State};
use crate::view::{Identity, Stored, View, ViewError, WriteError};

/// Orders that may wait. Each is done within a step, so more than a few mean that somebody is in a loop.
pub(crate) const ORDERS: usize = 16;

/// What everything about one projection shares.
pub(crate) struct Ground<P> {
    pub(crate) bus: Bus,
    pub(crate) projection: Arc<P>,
    pub(crate) identity: Identity,
    pub(crate) interest: Interest,
    pub(crate) options: Options,
    pub(crate) board: Arc<Board>,
    /// Held shared by each piece of work on a thread that may block, so that its end can be waited for.
    pub(crate) under_way: Arc<RwLock<()>>,
    /// Transactions whose end somebody waits for, to count what is in the view then.
    pub(crate) uncounted: watch::Sender<usize>,
    /// Where it tells what it could not do.
    pub(crate) failures: ReaderFailures,
}

/// One of them.
struct Uncounted<'g>(&'g watch::Sender<usize>);

impl Drop for Uncounted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|number| *number -= 1);
    }
}

impl<P> Ground<P> {
    pub(crate) fn notice(&self, notice: &Notice<'_>) {
        if let Some(observer) = &self.options.observer {
            observer.notice(self.identity.name, notice);
        }
    }

    /// It stopped, at this fact where it was one, and waits for somebody.
    pub(crate) fn stopped(&self, at: Option<&Fact>, reason: &str) {
        tracing::error!(projection = self.identity.name, reason, "a projection stopped");
        self.board.troubled(State::Failed, reason);
        self.failures.tell(FailureKind::ProjectionStopped, at, reason);
        self.notice(&Notice::Failed { reason });
    }

    fn uncounted(&self) -> Uncounted<'_> {
        self.uncounted.send_modify(|number| *number += 1);
        Uncounted(&self.uncounted)
    }

    /// Lets the transaction that is under way end and be counted; what would come after it is dropped. Without this an order would leave its facts in the view
    /// and out of the figures (law O22).
    async fn let_end(&self, reading: Pin<&mut impl Future<Output = Event>>) {
        let mut uncounted = self.uncounted.subscribe();
        tokio::select! {
            biased;
            // The sender lives as long as `self`.
            _ = uncounted.wait_for(|number| *number == 0) => {}
            // If it failed, it will again.
            _ = reading => {}
        }
    }

    /// One count for each outcome of a fact, when it is stored.
    pub(crate) fn count(&self, outcome: &'static str, facts: usize) {
        let labels = [("projection", self.identity.name.into()), ("outcome", outcome.into())];
        let labels: [(&str, metrics::SharedString); 2] = labels;
        metrics::counter!("holm.projection.events", &labels).increment(facts as u64);
    }
}

pub(crate) struct Worker<P, V> {
    ground: Arc<Ground<P>>,
    view: V,
    /// None once nobody holds the handle: it goes on without orders.
    orders: Option<mpsc::Receiver<Order>>,
    mode: Mode,
    rebuild: Option<Rebuild<V>>,
    /// The record that it stopped at.
    failed_at: Option<Fact>,
    /// Those who write to the view too, where it does not work on all shards alone.
    others: Option<Others<V>>,
}

/// What it does when nobody says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It finds out whether it is to be paused.
    Starting,
    Running,
    Paused,
    /// It waits for somebody.
    Failed,
}

/// What the worker waited for.
enum Event {
    Ordered(Option<Order>),
    Opened(Result<Stored, Ending>),
    Ended(Ending),
    Built(Result<(), Ending>),
    /// Others did something.
    News,
}

impl<P: Projection<V>, V: View> Worker<P, V> {
    pub(crate) fn new(ground: Arc<Ground<P>>, view: V, orders: mpsc::Receiver<Order>) -> Self {
        let orders = Some(orders);
        let (mode, rebuild, failed_at, others) = (Mode::Starting, None, None, None);
        Self { ground, view, orders, mode, rebuild, failed_at, others }
    }

    pub(crate) async fn run(mut self) {
        loop {
            match self.event().await {
                Event::Ordered(Some(Order::Stop { done })) => return self.stop(done).await,
                Event::Ordered(Some(order)) => self.obey(order).await,
                Event::Ordered(None) => self.orders = None,
                Event::Opened(Ok(stored)) => self.opened(stored).await,
                Event::Opened(Err(ending)) | Event::Ended(ending) => self.ended(ending).await,
                Event::Built(built) => self.built(built).await,
                Event::News => self.hear().await,
            }
        }
    }

    /// Ends, and says so when nothing of it holds the view any more.
    async fn stop(mut self, done: oneshot::Sender<()>) {
        let (ground, others) = (Arc::clone(&self.ground), self.others.take());
        drop(self);
        drop(ground.under_way.write().await);
        if let Some(others) = others {
            others.leave().await;
        }
        ground.board.state(State::Stopped);
        ground.notice(&Notice::Stopped);
        ground.failures.stored().await;
        // Whoever asked may have gone.
        let _ = done.send(());
    }

    /// Reads on, and builds what is to be rebuilt, until something comes of it or an order comes.
    async fn event(&mut self) -> Event {
        let shards = self.others.as_ref().map(Others::shards);
        let building = async {
            match &mut self.rebuild {
                Some(rebuild) => rebuild.near.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let reading = async {
            match self.mode {
                Mode::Starting => Event::Opened(pass::adopt(&self.ground, &self.view).await),
                Mode::Running => {
                    Event::Ended(pass::follow(&self.ground, &self.view, shards.as_ref()).await)
                }
                Mode::Paused | Mode::Failed => std::future::pending().await,
            }
        };
        let (mut building, mut reading) = (pin!(building), pin!(reading));
        loop {
            let ordered = async {
                match &mut self.orders {
                    Some(orders) => orders.recv().await,
                    None => std::future::pending().await,
                }
            };
            let news = async {
                match &mut self.others {
                    Some(others) => others.news().await,
                    None => std::future::pending().await,
                }
            };
            let order = tokio::select! {
                biased;
                order = ordered => order,
                () = news => {
                    self.ground.let_end(reading).await;
                    return Event::News;
                }
                built = &mut building => {
                    self.ground.let_end(reading).await;
                    return Event::Built(built);
                }
                event = &mut reading => return event,
            };
            match order {
                // A question stops nobody.
                Some(Order::SetAside { done }) => orders::tell(&self.ground, &self.view, done),
                order => {
                    self.ground.let_end(reading).await;
                    return Event::Ordered(order);
                }
            }
        }
    }

    async fn opened(&mut self, stored: Stored) {
        self.ground.board.reach(&stored.position);
        if stored.paused {
            self.is_paused();
        } else if stored.version == self.ground.identity.version {
            self.go_on().await;
        } else {
            self.outdated(stored.version).await;
        }
    }

    /// Runs, and goes on with a rebuild that a pause or a crash interrupted.
    async fn go_on(&mut self) {
        (self.mode, self.failed_at) = (Mode::Running, None);
        self.ground.board.state(State::Running);
        if self.others.is_some() {
            return self.hear().await;
        }
        if self.rebuild.is_some() {
            return;
        }
        match self.blocking(V::half_built).await {
            Ok(Some(half_built)) => self.build(half_built),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "whether a rebuild was begun is not known"),
        }
    }

    fn pause(&mut self) {
        // What is half built stays where it is.
        (self.mode, self.rebuild) = (Mode::Paused, None);
        self.others.as_mut().map(Others::builds_nothing);
        self.ground.board.state(State::Paused);
        self.ground.notice(&Notice::Paused);
    }

    async fn ended(&mut self, ending: Ending) {
        let name = self.ground.identity.name;
        match ending {
            Ending::Overtaken => tracing::debug!(projection = name, "{ending}"),
            Ending::Paused => self.is_paused(),
            Ending::Outdated { stored } => self.outdated(stored).await,
            Ending::Handler { ref fact, .. } => {
                let reason = ending.to_string();
                self.failed_at = Some(fact.clone());
                self.stop_at(&reason);
            }
            ending => self.stop_at(&ending.to_string()),
        }
    }

    /// The view is of another version: it stays as it is until one of this version is built.
    async fn outdated(&mut self, stored: u32) {
        if self.others.is_some() {
            return self.look_around().await;
        }
        let ending = Ending::Outdated { stored };
        tracing::info!(projection = self.ground.identity.name, "{ending}");
        self.mode = Mode::Failed;
        if self.rebuild.is_none() {
            let begun = match self.blocking(V::half_built).await {
                Ok(Some(half_built)) => {
                    self.build(half_built);
                    Ok(())
                }
                _ => self.begin_rebuild().await,
            };
            if let Err(error) = begun {
                return self.stop_at(&error.to_string());
            }
        }
        self.ground.board.troubled(State::Failed, &ending.to_string());
    }

    fn stop_at(&mut self, reason: &str) {
        self.mode = Mode::Failed;
        self.ground.stopped(self.failed_at.as_ref(), reason);
    }

    /// Asks the view something, on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&V) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let view = self.view.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&view));
        asked.await.unwrap_or_else(|error| Err(ViewError::Broken { reason: error.to_string() }))
    }
}

/// Why reading on ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("the handler cannot handle offset {} of shard {}: {reason}", fact.offset(), fact.shard())]
    Handler { fact: Fact, reason: String },
    #[error("the tables cannot be prepared: {reason}")]
    Prepare { reason: String },
    #[error(transparent)]
    Log(#[from] FeedError),
    #[error(transparent)]
    View(ViewError),
    /// Somebody else moved the position: read again from what is stored.
    #[error("somebody else writes to this view")]
    Overtaken,
    /// Somebody else paused it.
    #[error("the view is paused")]
    Paused,
    /// What is stored was written by another version: only a rebuild helps.
    #[error("the view is of version {stored} and is rebuilt")]
    Outdated { stored: u32 },
}

impl Ending {
    /// How a failed transaction ends reading on.
    fn of(error: WriteError, facts: &[Fact]) -> Self {
        match (error, facts.first()) {
            (WriteError::Fenced { .. } | WriteError::Replaced, _) => Self::Overtaken,
            (WriteError::Paused, _) => Self::Paused,
            (WriteError::View(error), _) => Self::View(error),
            (WriteError::Handler(error), Some(fact)) => {
                Self::Handler { fact: fact.clone(), reason: error.to_string() }
            }
            (WriteError::Handler(error), None) => Self::Prepare { reason: error.to_string() },
        }
    }
}
