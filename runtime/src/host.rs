//! The shard host: the shards that this node leads, each an actor on one of a few arbiter threads.

mod near;
mod telling;
mod together;

use self::together::is_together;
pub use self::together::together;

use std::fmt;
use std::sync::{Arc, Weak};

use actix::Actor;
use holm_core::{
    AskError, CommandEnvelope, CorrelationId, EntityAddress, MAX_SHARDS, Offset, Outcome,
    SequenceNumber, ShardId, Term, ZeroLimit, shard_of,
};
use holm_persistence::{OpenError, Pending, ReadError, ShardLog};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::ask::{Asker, Asking, ReplyTo};
use crate::cluster_facts::Herald;
use crate::failures::Outlet;
use crate::inspector::{ConversationPage, HistoryPage, Inspector};
use crate::options::{HostOptions, HostStats, Placement};
use crate::registry::RegistryError;
use crate::shell::actor::{Deliver, Organs, ShardActor};
use crate::shell::arbiters::Arbiters;
use crate::shell::courier::Askers;
use crate::shell::intake::{Intake, NotTaken, TakingEnd};
use crate::shell::leadership::Input;
use crate::shell::listener::Listener;
use crate::shell::loaders::{Job, Loaders};
use crate::shell::seat::{Board, Seat, Standing};
use crate::shell::ticks::Ticks;
use crate::shell::watchdog::Watchdog;

/// The shards of one node. Cheap to clone; the threads end with [`ShardHost::stop`] or with the last clone.
///
/// With threads of its own it needs no runtime around it: any executor may poll the futures that it returns.
#[derive(Clone)]
pub struct ShardHost(Arc<Inner>);

struct Inner {
    options: Arc<HostOptions>,
    log: Arc<dyn ShardLog>,
    seats: Vec<Seat>,
    loaders: Arc<Loaders>,
    /// Through which reactions leave; none until it is known.
    askers: watch::Sender<Option<Weak<dyn Asker>>>,
    /// None where everything runs on the thread that started the host.
    arbiters: Option<Arbiters>,
    failures: Arc<Outlet>,
    herald: Arc<Herald>,
}

impl ShardHost {
    /// Starts the threads; no shard is led yet.
    ///
    /// # Panics
    /// With [`Placement::Here`], when it is not called on a `LocalSet`.
    ///
    /// # Errors
    /// [`StartError`] when the registry is malformed, a limit is zero that must not be, or a thread cannot be started.
    pub fn start(mut options: HostOptions, log: Arc<dyn ShardLog>) -> Result<Self, StartError> {
        options.registry = options.registry.with_system_types();
        options.registry.check()?;
        options.limits.check()?;
        if !(1..=MAX_SHARDS).contains(&options.shards) {
            return Err(StartError::Shards { shards: options.shards });
        }
        let options = Arc::new(options);
        let arbiters = match options.placement {
            Placement::Threads => {
                Some(Arbiters::start(options.arbiters).map_err(StartError::Thread)?)
            }
            Placement::Here { .. } => None,
        };
        let failures = Arc::new(Outlet::new(
            options.limits.failures_waiting,
            options.node,
            Arc::clone(&options.clock),
            !options.entropy_seed,
        ));
        let seed = options.entropy_seed.rotate_left(32);
        let herald = Arc::new(Herald::new(Arc::clone(&options.clock), seed));
        let loaders = Loaders::start(&options, Arc::clone(&log), Arc::clone(&failures));
        let loaders = Arc::new(loaders.map_err(StartError::Thread)?);
        let (askers, reacting) = watch::channel(None);
        let (options, log, loaders) = (&options, &log, &loaders);
        let ticks = Ticks::new(Instant::now(), options.tick_interval);
        let surroundings = Surroundings { options, log, loaders, askers: &reacting, ticks };
        let seats: Vec<_> = (0..options.shards)
            .map(|number| seat(ShardId(number), &surroundings, &failures, arbiters.as_ref()))
            .collect();
        let listener = Listener {
            slips: seats.iter().map(|seat| Arc::clone(&seat.slips)).collect(),
            afterwards: arbiters.iter().flat_map(Arbiters::afterwards).map(Arc::clone).collect(),
            clock: Arc::clone(&options.clock),
            failures: Arc::downgrade(&failures),
        };
        match &arbiters {
            Some(arbiters) => _ = arbiters.beside().spawn(listener.run()),
            None => drop(tokio::task::spawn_local(listener.run())),
        }
        // On one thread nobody can look while a handler runs.
        if let Some(arbiters) = &arbiters {
            let watchdog = Watchdog {
                boards: seats.iter().map(|seat| Arc::clone(&seat.board)).collect(),
                registry: options.registry.clone(),
                limit: options.limits.slow_handler,
                failures: Arc::downgrade(&failures),
            };
            arbiters.beside().spawn(watchdog.run());
        }
        let (options, log, loaders) = (options.clone(), log.clone(), loaders.clone());
        Ok(Self(Arc::new(Inner {
            options,
            log,
            seats,
            loaders,
            askers,
            arbiters,
            failures,
            herald,
        })))
    }

    /// The options it was started with.
    #[must_use]
    pub fn options(&self) -> &HostOptions {
        &self.0.options
    }

    /// Opens a shard at a term and serves it from then on. The order is given with the call; dropping the future does not take it back.
    ///
    /// An order that comes before this one is done ends it with [`OpenError::Log`].
    ///
    /// # Panics
    /// When the shard is not one of the cluster's.
    #[must_use]
    pub fn lead(&self, shard: ShardId, term: Term) -> Pending<Result<(), OpenError>> {
        let (done, opened) = oneshot::channel();
        self.order(shard, Input::Lead { term, done });
        Box::pin(async move {
            let reason = || "another order came before it was open".to_owned();
            opened.await.unwrap_or_else(|_| Err(OpenError::Log { shard, reason: reason() }))
        })
    }

    /// Finishes what is on its way, answers everything later with [`AskError::Moved`], and resolves when nothing is left. The shard is then no
    /// longer led here.
    ///
    /// # Panics
    /// When the shard is not one of the cluster's.
    #[must_use]
    pub fn drain(&self, shard: ShardId) -> Pending<()> {
        let (done, drained) = oneshot::channel();
        self.order(shard, Input::Drain { done });
        // An error means that the shard stopped, which leaves nothing either.
        Box::pin(async move { _ = drained.await })
    }

    /// Stops leading at once: callers whose answer waits for the log hear that the outcome is unknown.
    ///
    /// # Panics
    /// When the shard is not one of the cluster's.
    pub fn depose(&self, shard: ShardId) {
        self.order(shard, Input::Depose);
    }

    /// Whether this host leads the shard at the moment.
    #[must_use]
    pub fn is_leading(&self, shard: ShardId) -> bool {
        let seat = self.0.seats.get(shard.0 as usize);
        seat.is_some_and(|seat| seat.board.standing() == Standing::Leading)
    }

    /// Hands a command to its shard. Never blocks; what cannot be taken is answered at once.
    pub fn submit(&self, envelope: CommandEnvelope, reply: ReplyTo) {
        let shard = shard_of(&envelope.address, self.0.options.shards);
        self.deliver(shard, self.seat(shard), envelope, reply);
    }

    #[inline]
    fn deliver(&self, shard: ShardId, seat: &Seat, envelope: CommandEnvelope, reply: ReplyTo) {
        if seat.board.standing() == Standing::Away {
            return reply.answer(Err(AskError::Moved { shard, leader: None }));
        }
        if is_together() {
            return self.hold(shard, Deliver { envelope, reply });
        }
        if let Some(not_taken) = seat.intake.put(envelope, reply) {
            self.give_back(shard, not_taken);
        }
    }

    #[cold]
    fn give_back(&self, shard: ShardId, not_taken: NotTaken<Box<Deliver>>) {
        match not_taken {
            NotTaken::Full(command) => self.refuse(shard, [*command]),
            NotTaken::Closed(command) => command.reply.answer(Err(stopping(shard))),
        }
    }

    fn seat(&self, shard: ShardId) -> &Seat {
        &self.0.seats[shard.0 as usize]
    }

    /// The present figures: of each shard as it published them at the end of its last turn, which is a moment after the answers of that turn.
    #[must_use]
    pub fn stats(&self) -> HostStats {
        HostStats { shards: self.0.seats.iter().map(|seat| seat.board.stats()).collect() }
    }

    /// An inspector over this node's own log.
    #[must_use]
    pub fn inspector(&self) -> Arc<dyn Inspector> {
        Arc::new(self.clone())
    }

    /// Stops every shard and ends every thread. What is on its way to the log is not waited for: drain first where that matters.
    #[must_use]
    pub fn stop(&self) -> Pending<()> {
        self.0.failures.close();
        self.0.herald.close();
        for seat in &self.0.seats {
            // An actor that is gone needs no order.
            seat.intake.order(Input::Stop);
        }
        let mut threads = self.0.loaders.stop();
        threads.extend(self.0.arbiters.as_ref().and_then(Arbiters::stop));
        if threads.is_empty() {
            return Box::pin(std::future::ready(()));
        }
        let (done, stopped) = oneshot::channel();
        let joiner = std::thread::Builder::new().name("holm-stop".to_owned()).spawn(move || {
            for thread in threads {
                // A panic there was reported by its own thread.
                _ = thread.join();
            }
            _ = done.send(());
        });
        // Without a thread to wait on, the threads end all the same; only nobody hears of it.
        drop(joiner);
        Box::pin(async move { _ = stopped.await })
    }

    fn order(&self, shard: ShardId, input: Input) {
        let seat = self.0.seats.get(shard.0 as usize).expect("the shard is one of the cluster's");
        // After `stop` nobody takes orders; the sender inside the order is dropped, which the caller sees.
        seat.intake.order(input);
    }

    /// Runs a reading function on a loader thread.
    fn inspect<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn ShardLog) -> Result<R, ReadError> + Send + 'static,
        shard: ShardId,
    ) -> Pending<Result<R, AskError>> {
        let (done, answer) = oneshot::channel();
        self.0.loaders.submit(Job::Inspect(Box::new(move |log| _ = done.send(read(log)))));
        Box::pin(async move {
            let unavailable = |reason: String| {
                let (reason, outcome) = (reason.into(), Outcome::NotApplied);
                AskError::Unavailable { shard, reason, outcome }
            };
            match answer.await {
                Ok(Ok(read)) => Ok(read),
                Ok(Err(error)) => Err(unavailable(error.to_string())),
                Err(_) => Err(unavailable("the node stops".to_owned())),
            }
        })
    }
}

/// What a caller is told when the threads have ended.
fn stopping(shard: ShardId) -> AskError {
    let (reason, outcome) = ("the node stops".into(), Outcome::NotApplied);
    AskError::Unavailable { shard, reason, outcome }
}

/// What every seat needs.
struct Surroundings<'a> {
    options: &'a Arc<HostOptions>,
    log: &'a Arc<dyn ShardLog>,
    loaders: &'a Arc<Loaders>,
    askers: &'a Askers,
    ticks: Ticks,
}

fn seat(
    shard: ShardId,
    around: &Surroundings<'_>,
    failures: &Arc<Outlet>,
    arbiters: Option<&Arbiters>,
) -> Seat {
    let board = Arc::new(Board::new(shard));
    let intake = Arc::new(Intake::new(around.options.limits.mailbox_capacity));
    let organs = Organs {
        options: Arc::clone(around.options),
        log: Arc::clone(around.log),
        loaders: Arc::clone(around.loaders),
        intake: TakingEnd(Arc::clone(&intake)),
        board: Arc::clone(&board),
        askers: around.askers.clone(),
        failures: Arc::clone(failures),
        ticks: around.ticks,
    };
    let actor = move |_: &mut actix::Context<ShardActor>| ShardActor::new(shard, organs);
    // It lives as long as its pulse.
    drop(match arbiters {
        Some(arbiters) => ShardActor::start_in_arbiter(arbiters.of(shard.0 as usize), actor),
        None => ShardActor::create(actor),
    });
    Seat { intake, board, slips: Arc::default() }
}

impl Asker for ShardHost {
    fn ask(&self, envelope: CommandEnvelope) -> Asking {
        let shard = shard_of(&envelope.address, self.0.options.shards);
        let seat = self.seat(shard);
        let (reply, answer) = ReplyTo::slip(&seat.slips, envelope.deadline);
        self.deliver(shard, seat, envelope, reply);
        answer
    }
}

impl Inspector for ShardHost {
    fn history(
        &self,
        address: EntityAddress,
        after: SequenceNumber,
        limit: usize,
    ) -> Pending<Result<HistoryPage, AskError>> {
        let shard = shard_of(&address, self.0.options.shards);
        let read = move |log: &dyn ShardLog| match log.history(shard, &address, after, limit) {
            Ok(history) => Ok(Ok(HistoryPage {
                records: history.records.into_iter().map(|r| (r.offset, r.bytes)).collect(),
                highest: history.highest,
                head: history.head,
                more: history.more,
            })),
            Err(passing @ ReadError::Store { .. }) => Err(passing),
            // Waiting does not bring back what is damaged or trimmed away.
            Err(lasting) => {
                let (address, reason) = (address.clone(), lasting.to_string().into());
                Ok(Err(AskError::RecoveryFailed { address, reason }))
            }
        };
        let page = self.inspect(read, shard);
        Box::pin(async move { page.await? })
    }

    fn batches(
        &self,
        shard: ShardId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        let read = move |log: &dyn ShardLog| {
            let batches = log.read(shard, from, max_bytes)?;
            Ok(batches.into_iter().map(|batch| batch.bytes().clone()).collect())
        };
        self.inspect(read, shard)
    }

    fn conversation(
        &self,
        shard: ShardId,
        correlation: CorrelationId,
        from: Offset,
        max_bytes: usize,
    ) -> Pending<Result<ConversationPage, AskError>> {
        let read = move |log: &dyn ShardLog| {
            log.conversation(shard, correlation, from, max_bytes).map(Into::into)
        };
        self.inspect(read, shard)
    }

    fn tail(&self, shard: ShardId, seen: Option<Offset>) -> Pending<Result<Offset, AskError>> {
        let Some(seen) = seen else {
            return self.inspect(move |log| log.last_offset(shard), shard);
        };
        let last = self.0.log.follow(shard, seen);
        Box::pin(async move {
            last.await.map_err(|error| {
                let (reason, outcome) = (error.to_string().into(), Outcome::NotApplied);
                AskError::Unavailable { shard, reason, outcome }
            })
        })
    }

    fn follow(
        &self,
        shard: ShardId,
        seen: Offset,
        max_bytes: usize,
    ) -> Pending<Result<Vec<bytes::Bytes>, AskError>> {
        let (host, moved) = (self.clone(), self.tail(shard, Some(seen)));
        Box::pin(async move {
            moved.await?;
            host.batches(shard, seen.next(), max_bytes).await
        })
    }
}

impl fmt::Debug for ShardHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardHost").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.failures.close();
        self.herald.close();
        for seat in &self.seats {
            seat.intake.order(Input::Stop);
        }
    }
}

/// Why a host could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The registry is malformed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A limit is zero that must not be.
    #[error(transparent)]
    Limit(#[from] ZeroLimit),
    /// No cluster has so many shards.
    #[error("{shards} shards: a cluster has 1 to {MAX_SHARDS}")]
    Shards {
        /// The number that was asked for.
        shards: u32,
    },
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
}
