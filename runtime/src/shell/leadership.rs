//! The leadership of a shard: opening the log, feeding its acknowledgements to the engine, stepping down, opening again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use holm_core::{Entropy, SeededEntropy, ShardId, Term, Timestamp};
use holm_persistence::{AppendError, OpenError, Opened, Pending, ReadError, ShardLog};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::actor::ShardActor;
use super::afterwards;
use super::courier::{Courier, CourierLink};
use super::seat::Standing;
use crate::ask::ReplyTo;
use crate::engine::{ConfirmToken, EngineOptions, LoadTicket, Loaded, ShardEngine};
use crate::options::{ShardStats, WriteFailurePolicy};
use crate::outbox::Undelivered;

/// Turns that an open batch may wait for callers who were just answered: up to 200 µs where nothing else is to be done, which is what a caller on
/// another thread needs to be woken and to come back.
const ANTICIPATED_TURNS: u32 = 512;

/// The longest that these turns may take: about a commit to a fast disk.
const LONGEST_WAIT: Duration = Duration::from_millis(1);

/// What reaches a shard besides commands.
pub(crate) enum Input {
    Lead {
        term: Term,
        done: oneshot::Sender<Result<(), OpenError>>,
    },
    Drain {
        done: oneshot::Sender<()>,
    },
    Depose,
    Loaded {
        epoch: u64,
        ticket: LoadTicket,
        loaded: Result<Loaded, ReadError>,
    },
    /// The courier cannot deliver something.
    Undelivered(Undelivered),
    Stop,
}

/// The present leadership, if any, and what is on its way to and from the log.
pub(super) struct Leadership {
    pub(super) term: Term,
    /// Counts the engines: two leaderships may have the same term, when a shard is opened again without an election.
    pub(super) epoch: u64,
    pub(super) engine: Option<ShardEngine<ReplyTo>>,
    /// Delivers what is stored, as long as the engine is there.
    pub(super) courier: Option<CourierLink>,
    /// In the order of their batches; only the first is polled, because acknowledgements come in order.
    pub(super) appends: VecDeque<(Pending<Result<(), AppendError>>, Timestamp)>,
    pub(super) confirms: VecDeque<(ConfirmToken, Confirming)>,
    opening: Option<Opening>,
    waiting_to_reopen: Option<Pin<Box<tokio::time::Sleep>>>,
    failures_in_a_row: u32,
    drains: Vec<oneshot::Sender<()>>,
    pub(super) drained: bool,
    pub(super) stopped: bool,
    /// Since when the open batch waits for callers.
    held_back_since: Option<Instant>,
}

/// A confirmation of the term, said or on its way.
pub(super) enum Confirming {
    Said(Result<(), AppendError>),
    Asked(Pending<Result<(), AppendError>>),
}

struct Opening {
    term: Term,
    pending: Pending<Result<Opened, OpenError>>,
    /// None when the host opens the shard again by itself.
    done: Option<oneshot::Sender<Result<(), OpenError>>>,
}

impl Confirming {
    pub(super) fn of(log: &dyn ShardLog, shard: ShardId, term: Term) -> Self {
        match log.confirm_at_once(shard, term) {
            Some(said) => Self::Said(said),
            None => Self::Asked(log.confirm(shard, term)),
        }
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        match self {
            Self::Said(said) => Poll::Ready(said.clone()),
            Self::Asked(pending) => pending.as_mut().poll(task),
        }
    }
}

impl Leadership {
    pub(super) fn new() -> Self {
        Self {
            term: Term::ZERO,
            epoch: 0,
            engine: None,
            courier: None,
            appends: VecDeque::new(),
            confirms: VecDeque::new(),
            opening: None,
            waiting_to_reopen: None,
            failures_in_a_row: 0,
            drains: Vec::new(),
            drained: false,
            stopped: false,
            held_back_since: None,
        }
    }
}

impl ShardActor {
    /// Looks at everything but the mailbox until nothing moves any more. Whatever is pending afterwards has the task's waker.
    pub(super) fn beat(&mut self, task: &mut Context<'_>) {
        self.end_step();
        if self.intake.0.took_tick() {
            self.tick();
        }
        loop {
            let mut moved = self.take_orders();
            moved |= self.take_opened(task);
            moved |= self.take_acknowledgements(task);
            moved |= self.take_wake_up(task);
            let at_once = self.log.batches_at_once();
            let engine = self.leadership.engine.as_mut();
            let held_back = engine.is_some_and(|engine| engine.flush(at_once));
            // New appends must be polled once to be heard of.
            let before = self.leadership.appends.len();
            self.carry_out();
            moved |= before != self.leadership.appends.len();
            moved |= self.take_confirmations(task);
            moved |= self.finish_drain();
            if !moved {
                if held_back {
                    task.waker().wake_by_ref();
                    self.wait_for_callers(at_once);
                } else {
                    self.leadership.held_back_since = None;
                }
                break;
            }
        }
        self.publish();
    }

    /// A turn of waiting for callers who were just answered. A shard that has the log to itself gives them its core, which may be the one they need; how long that
    /// takes is up to the system, so there is a limit in time too.
    fn wait_for_callers(&mut self, at_once: usize) {
        // Who is waited for must have been answered.
        afterwards::carry_out_here();
        let now = Instant::now();
        let since = *self.leadership.held_back_since.get_or_insert(now);
        if now.duration_since(since) >= LONGEST_WAIT {
            self.leadership.engine.iter_mut().for_each(ShardEngine::stop_waiting);
        } else if at_once == 1 {
            std::thread::yield_now();
        }
    }

    fn tick(&mut self) {
        let now = self.now();
        if let Some(engine) = &mut self.leadership.engine {
            engine.tick(now);
        }
        self.carry_out();
        self.intake.0.shrink(&mut self.hand);
        self.tell_overflow(now);
        self.tell_left_out(now);
        let stats = self.board.stats();
        self.meter.publish(&stats, self.leadership.engine.as_mut());
    }

    fn take_orders(&mut self) -> bool {
        let mut moved = false;
        while let Some(order) = self.intake.0.next_order() {
            moved = true;
            match order {
                Input::Lead { term, done } => self.open(term, Some(done)),
                Input::Depose => self.step_down(),
                Input::Drain { done } => self.begin_drain(done),
                Input::Undelivered(told) => self.tell_undelivered(told),
                Input::Stop => {
                    self.step_down();
                    self.leadership.stopped = true;
                }
                Input::Loaded { epoch, ticket, loaded } => {
                    // A load of an earlier leadership concerns nobody.
                    if epoch == self.leadership.epoch
                        && let Some(engine) = &mut self.leadership.engine
                    {
                        // What was held is handled in this step.
                        let began = self.options.clock.now();
                        engine.loaded(began, ticket, loaded);
                        self.carry_out();
                        self.took_since(began);
                    }
                }
            }
        }
        moved
    }

    fn open(&mut self, term: Term, done: Option<oneshot::Sender<Result<(), OpenError>>>) {
        self.end_leadership();
        self.board.stand(Standing::Opening);
        self.leadership.term = term;
        let pending = self.log.open(self.shard, term);
        self.leadership.opening = Some(Opening { term, pending, done });
    }

    fn take_opened(&mut self, task: &mut Context<'_>) -> bool {
        let Some(opening) = &mut self.leadership.opening else { return false };
        let Poll::Ready(result) = opening.pending.as_mut().poll(task) else { return false };
        let Some(Opening { term, done, .. }) = self.leadership.opening.take() else { return false };
        let result = result.map(|opened| self.begin_leadership(term, opened));
        if let Err(error) = &result {
            tracing::warn!(shard = %self.shard, %term, %error, "the shard could not be opened");
            match (&done, error) {
                // Somebody waits and decides.
                (Some(_), _) => self.board.stand(Standing::Away),
                (None, OpenError::Fenced { newest, .. }) => self.reopen_after(*newest),
                (None, _) => self.reopen_after(term),
            }
        }
        // Whoever asked may have gone; the shard is led all the same.
        done.map(|done| done.send(result));
        true
    }

    fn begin_leadership(&mut self, term: Term, opened: Opened) {
        let options = &self.options;
        // A stream of its own for each shard and leadership, repeatable from the host's seed.
        let leadership = term.0 ^ self.leadership.epoch.rotate_left(48);
        let shard = u64::from(self.shard.0).rotate_left(32);
        let mut seeds = SeededEntropy::new(options.entropy_seed ^ shard ^ leadership);
        self.leadership.epoch += 1;
        let engine = ShardEngine::new(EngineOptions {
            shard: self.shard,
            term,
            last: opened.last,
            node: options.node,
            registry: options.registry.clone(),
            limits: options.limits.clone(),
            anticipated_turns: ANTICIPATED_TURNS,
            entropy_seed: seeds.next_u64(),
        });
        self.board.show(engine.sight());
        self.leadership.engine = Some(engine);
        let courier = Courier {
            shard: self.shard,
            options: Arc::clone(options),
            loaders: Arc::clone(&self.loaders),
            askers: self.askers.clone(),
            to_shard: Arc::clone(&self.intake.0),
        };
        self.leadership.courier = Some(courier.begin(opened.last));
        self.board.stand(Standing::Leading);
        tracing::debug!(shard = %self.shard, %term, last = %opened.last, "leading");
    }

    fn take_acknowledgements(&mut self, task: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some((pending, begun)) = self.leadership.appends.front_mut() {
            let Poll::Ready(result) = pending.as_mut().poll(task) else { break };
            let begun = *begun;
            self.leadership.appends.pop_front();
            let now = self.now();
            self.meter.acknowledged(now.since(begun), result.is_ok());
            moved = true;
            match result {
                Ok(()) => {
                    if std::mem::take(&mut self.leadership.failures_in_a_row) > 0 {
                        self.tell_reopened();
                    }
                    if let Some(engine) = &mut self.leadership.engine {
                        engine.durable(now);
                    }
                    self.carry_out();
                    self.note_durable();
                }
                Err(error) => self.write_failed(&error),
            }
        }
        moved
    }

    fn note_durable(&mut self) {
        let Leadership { engine, courier, .. } = &mut self.leadership;
        if let (Some(engine), Some(courier)) = (engine, courier) {
            courier.reaches(engine.durable_offset());
        }
    }

    /// True when something is to be done because of them. The answers of reads have gone.
    fn take_confirmations(&mut self, task: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some((token, confirming)) = self.leadership.confirms.front_mut() {
            let Poll::Ready(result) = confirming.poll(task) else { break };
            let token = *token;
            self.leadership.confirms.pop_front();
            let now = self.now();
            let fenced = matches!(result, Err(AppendError::Fenced { .. }));
            let error = result.as_ref().err().cloned();
            if let Some(engine) = &mut self.leadership.engine {
                engine.confirmed(now, token, result);
                moved |= engine.wants_confirmation();
            }
            moved |= error.is_some();
            self.carry_out();
            if let (true, Some(error)) = (fenced, error) {
                self.write_failed(&error);
            }
        }
        moved
    }

    fn write_failed(&mut self, error: &AppendError) {
        let term = self.leadership.term;
        tracing::warn!(shard = %self.shard, %term, %error, "a write failed; the shard must be opened again");
        self.tell_write_failed(error, self.leadership.failures_in_a_row);
        if let Some(engine) = &mut self.leadership.engine {
            engine.failed(error);
        }
        self.carry_out();
        self.end_leadership();
        match &self.options.on_write_failure {
            WriteFailurePolicy::Reopen { .. } => self.reopen_after(term),
            WriteFailurePolicy::StepDown(lost) => {
                // When it is led here again and takes a write, that is told. That another leads is no failure to come back from.
                if !matches!(error, AppendError::Fenced { .. }) {
                    let failures = &mut self.leadership.failures_in_a_row;
                    *failures = failures.saturating_add(1);
                }
                self.board.stand(Standing::Away);
                lost(self.shard, term, error);
            }
        }
    }

    /// Opens the shard again at the term after `term`, after a wait that doubles with each failure.
    fn reopen_after(&mut self, term: Term) {
        let WriteFailurePolicy::Reopen { first_wait, longest_wait } =
            &self.options.on_write_failure
        else {
            return self.board.stand(Standing::Away);
        };
        self.board.stand(Standing::Opening);
        self.leadership.term = term;
        let doubled = first_wait.saturating_mul(1 << self.leadership.failures_in_a_row.min(16));
        let wait: Duration = doubled.min(*longest_wait);
        self.leadership.failures_in_a_row = self.leadership.failures_in_a_row.saturating_add(1);
        self.leadership.waiting_to_reopen = Some(Box::pin(tokio::time::sleep(wait)));
    }

    fn take_wake_up(&mut self, task: &mut Context<'_>) -> bool {
        let Some(sleep) = &mut self.leadership.waiting_to_reopen else { return false };
        if sleep.as_mut().poll(task).is_pending() {
            return false;
        }
        let next = self.leadership.term.next();
        self.open(next, None);
        true
    }

    fn begin_drain(&mut self, done: oneshot::Sender<()>) {
        match &mut self.leadership.engine {
            Some(engine) => {
                engine.drain();
                self.leadership.drains.push(done);
                self.carry_out();
            }
            None => {
                self.step_down();
                // Whoever asked may have gone.
                _ = done.send(());
            }
        }
    }

    fn finish_drain(&mut self) -> bool {
        if !std::mem::take(&mut self.leadership.drained) {
            return false;
        }
        self.step_down();
        true
    }

    /// Ends the leadership by order from outside.
    fn step_down(&mut self) {
        self.board.stand(Standing::Away);
        self.end_leadership();
    }

    fn end_leadership(&mut self) {
        if let Some(engine) = &mut self.leadership.engine {
            engine.depose();
            self.carry_out();
        }
        if let Some(engine) = self.leadership.engine.take() {
            self.meter.keep(engine.counters());
        }
        let leadership = &mut self.leadership;
        leadership.courier = None;
        leadership.appends.clear();
        leadership.confirms.clear();
        leadership.waiting_to_reopen = None;
        leadership.drained = false;
        // Dropping the opener's sender tells it that another order came first.
        leadership.opening = None;
        for done in leadership.drains.drain(..) {
            _ = done.send(());
        }
        self.publish();
    }

    fn publish(&mut self) {
        let counters = self.leadership.engine.as_ref().map(ShardEngine::counters);
        let (shard, term) = (self.shard, self.leadership.term);
        let leading = self.board.standing() == Standing::Leading;
        let stats = self.meter.stats(counters.unwrap_or_default());
        self.board.publish(ShardStats { shard, term, leading, ..stats });
    }
}
