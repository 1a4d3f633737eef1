//! A projection whose handler is any async function: it writes to another database, calls a service, sends mail. At least once, and the work is shared: every process
//! that starts it is a member of one group, each shard is handled by one member at a time, and the others take over when one dies.
//!
//! The position is stored behind the handling, with the durable subscription whose name is that of the projection. So what was handled in the last one and a half
//! seconds before a crash is handled again; a handler that must not do a thing twice gives the receiver the fact's id ([`holm_runtime::bus::Fact::id`]). Records are
//! handled one by one, those of a shard in order. What was left out stands in the subscription's own entity, and that it was left out is a fact of the log.
//!
//! A view in SQLite or sled is the other way round: exactly once, and every process that starts it has the whole view for itself. Exactly once and shared is a view in
//! PostgreSQL ([`crate::spread`]).

mod orders;
mod worker;

use std::future::Future;
use std::sync::Arc;

use holm_runtime::bus::{Bus, Fact, Interest, Start};
use tokio::sync::{mpsc, watch};

use self::worker::{SharedWorker, Work};
use crate::handle::ProjectionHandle;
use crate::options::Options;
use crate::projection::HandlerError;
use crate::status::Board;
use crate::view::Identity;
use crate::worker::{Ground, ORDERS, reader_of};

/// A projection that is handled at least once, by one member of its group for each shard.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::time::Duration;
/// use holm_projections::{OnFailure, Options, Shared};
/// use holm_runtime::bus::{Bus, Fact, Interest};
///
/// # async fn post(_: &str, _: &str) -> std::io::Result<()> { Ok(()) }
/// # async fn run(bus: Bus) {
/// let options = Options::on_failure(OnFailure::park().after_retries(5, Duration::from_secs(1)));
/// let receipts = Shared::new("receipts", Interest::everything().event("Deposited"))
///     .options(options)
///     .start(bus, |record: Arc<[Fact]>| async move {
///         for fact in record.iter() {
///             post("https://example.org/receipts", &fact.id().to_string()).await?;
///         }
///         Ok::<(), std::io::Error>(())
///     });
/// // Shown, paused, resumed and told what was parked as every projection is.
/// println!("{:?}", receipts.status().state);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it does nothing until it is started"]
pub struct Shared {
    name: &'static str,
    interest: Interest,
    from: Start,
    options: Options,
}

impl Shared {
    /// A projection of this name. All members must want the same facts.
    pub fn new(name: &'static str, interest: Interest) -> Self {
        Self { name, interest, from: Start::Beginning, options: Options::default() }
    }

    /// Where it begins when nobody ran it before; with the first fact when nobody says.
    pub fn from(mut self, start: Start) -> Self {
        self.from = start;
        self
    }

    /// How it runs. Facts are not grouped: `group_facts` and `group_time` do not count.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Runs it on the present tokio runtime until it is told to stop, or the process ends. The handler gets the facts of one record, all of one command; a panic
    /// counts as a failure.
    pub fn start<H, W, E>(self, bus: Bus, handler: H) -> ProjectionHandle
    where
        H: Fn(Arc<[Fact]>) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let (handle, work) = self.assemble(bus, handler);
        tokio::spawn(work);
        handle
    }

    /// The handle and the work, which the caller runs on a tokio runtime.
    ///
    /// # Cancel safety
    /// Safe: the work may be dropped at any moment. What it was handling may run to its end, and is handled again by the next member.
    pub fn assemble<H, W, E>(
        self,
        bus: Bus,
        handler: H,
    ) -> (ProjectionHandle, impl Future<Output = ()> + Send + 'static)
    where
        H: Fn(Arc<[Fact]>) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<HandlerError>,
    {
        let (sender, orders) = mpsc::channel(ORDERS);
        let board = Arc::new(Board::new());
        let clock = Arc::clone(&self.options.clock);
        let handler = move |record: Arc<[Fact]>| {
            let work = handler(record);
            Box::pin(async move { work.await.map_err(Into::into) }) as Work
        };
        let ground = Ground {
            identity: Identity { name: self.name, version: 1 },
            interest: self.interest,
            projection: Arc::new(handler),
            bus: bus.clone(),
            options: self.options,
            board: Arc::clone(&board),
            under_way: Arc::default(),
            uncounted: watch::Sender::new(0),
            failures: bus.failures_of(&reader_of(self.name)),
        };
        let handle = ProjectionHandle::new(self.name, bus, clock, board, sender).of_a_group();
        let ground = Arc::new(ground);
        let worker = SharedWorker::new(Arc::clone(&ground), self.from, orders);
        (handle, async move { ground.failures.beside(worker.run()).await })
    }
}
