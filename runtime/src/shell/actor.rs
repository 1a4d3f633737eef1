//! The shard actor: takes commands from its intake into the engine, and carries the engine's outputs out.
//!
//! Everything comes by the intake, see [`super::intake`], but for what the log and its own timers say. All of it is looked at in the pulse, see
//! [`super::pulse`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context as Task;

use actix::{Actor, AsyncContext, Context};
use holm_core::{AskError, CommandEnvelope, Outcome, ShardId};
use holm_persistence::ShardLog;

use super::courier::Askers;
use super::intake::TakingEnd;
use super::leadership::{Confirming, Leadership};
use super::loaders::{Job, Loaders};
use super::metering::Meter;
use super::pulse::Pulse;
use super::seat::{Board, Standing};
use super::telling::Watch;
use super::ticks::Ticks;
use crate::ask::ReplyTo;
use crate::engine::{Output, ShardEngine};
use crate::failures::Outlet;
use crate::options::HostOptions;

/// Commands begun before the other inputs are looked at again, and the other shards of the thread run: less than a millisecond of work.
const COMMANDS_PER_TURN: usize = 512;

/// A command on its way into a shard.
pub(crate) struct Deliver {
    pub(crate) envelope: CommandEnvelope,
    pub(crate) reply: ReplyTo,
}

/// What a shard shares with the others of its host.
pub(crate) struct Organs {
    pub(crate) options: Arc<HostOptions>,
    pub(crate) log: Arc<dyn ShardLog>,
    pub(crate) loaders: Arc<Loaders>,
    pub(crate) intake: TakingEnd,
    pub(crate) board: Arc<Board>,
    pub(crate) askers: Askers,
    pub(crate) failures: Arc<Outlet>,
    pub(crate) ticks: Ticks,
}

/// The actor of one shard. It lives as long as the host; leaderships come and go in it.
pub(crate) struct ShardActor {
    pub(super) shard: ShardId,
    pub(super) options: Arc<HostOptions>,
    pub(super) log: Arc<dyn ShardLog>,
    pub(super) loaders: Arc<Loaders>,
    pub(super) board: Arc<Board>,
    pub(super) askers: Askers,
    pub(super) failures: Arc<Outlet>,
    pub(super) watch: Watch,
    pub(super) intake: TakingEnd,
    ticks: Ticks,
    /// Commands that were taken out of the intake together and are not begun. Empty but while the log cannot keep up.
    pub(super) hand: VecDeque<Deliver>,
    pub(super) leadership: Leadership,
    pub(super) meter: Meter,
}

impl ShardActor {
    pub(crate) fn new(shard: ShardId, organs: Organs) -> Self {
        let Organs { options, log, loaders, intake, board, askers, failures, ticks } = organs;
        let leadership = Leadership::new();
        let meter = Meter::new();
        Self {
            shard,
            options,
            log,
            loaders,
            board,
            askers,
            failures,
            watch: Watch::default(),
            intake,
            ticks,
            hand: VecDeque::new(),
            leadership,
            meter,
        }
    }

    /// Carries out what the engine wants done.
    pub(super) fn carry_out(&mut self) {
        while let Some(output) =
            self.leadership.engine.as_mut().and_then(|engine| engine.poll_output())
        {
            match output {
                Output::Answer(reply, answer) => reply.answer(answer),
                Output::Append(batch) => {
                    let (bytes, records) = (batch.bytes().len(), batch.record_count());
                    let begun = self.now();
                    let pending = self.log.append(batch);
                    self.leadership.appends.push_back((pending, begun));
                    self.meter.appended(bytes, records);
                }
                Output::Load(request) => {
                    let (shard, to) = (self.shard, Arc::clone(&self.intake.0));
                    let epoch = self.leadership.epoch;
                    self.loaders.submit(Job::Load { shard, epoch, request, to });
                }
                Output::Confirm(token) => {
                    let confirming = Confirming::of(&*self.log, self.shard, self.leadership.term);
                    self.leadership.confirms.push_back((token, confirming));
                }
                Output::SaveSnapshot(address, snapshot) => {
                    if !self.loaders.save((self.shard, address), snapshot) {
                        self.watch.snapshot_left_out();
                    }
                }
                Output::React(batch) => {
                    if let Some(courier) = &mut self.leadership.courier {
                        courier.react(batch);
                    }
                }
                Output::Failure(fact) => self.tell(*fact),
                Output::Drained => self.leadership.drained = true,
            }
        }
    }

    fn turn_away(&self, reply: ReplyTo) {
        let shard = self.shard;
        reply.answer(Err(if self.board.standing() == Standing::Away {
            AskError::Moved { shard, leader: None }
        } else {
            let (reason, outcome) = ("it is being opened".into(), Outcome::NotApplied);
            AskError::Unavailable { shard, reason, outcome }
        }));
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, cx: &mut Self::Context) {
        cx.spawn(Pulse);
        drop(tokio::task::spawn_local(self.ticks.run(self.shard, Arc::clone(&self.intake.0))));
    }
}

impl ShardActor {
    /// One turn: the commands that wait, then everything else.
    pub(super) fn turn(&mut self, task: &mut Task<'_>) {
        let all = self.take_commands(task);
        self.beat(task);
        self.end_turn();
        // A log that cannot keep up says when it can; the intake stays shut until then.
        if !all && !self.is_saturated() {
            task.waker().wake_by_ref();
        }
    }

    /// Begins the commands that wait. True when it has begun all of them, and will be woken by the next.
    fn take_commands(&mut self, task: &mut Task<'_>) -> bool {
        let mut begun = 0;
        while begun < COMMANDS_PER_TURN && !self.is_saturated() {
            if self.hand.is_empty() && !self.intake.0.take(&mut self.hand, task.waker()) {
                return true;
            }
            if let Some(command) = self.hand.pop_front() {
                self.intake.0.begins(self.hand.len());
                self.begin(command);
                begun += 1;
            }
        }
        // Before anything else is looked at, so that an order or a tick that comes after that look wakes it, whatever the log does meanwhile.
        self.intake.0.shut(task.waker());
        false
    }

    fn begin(&mut self, command: Deliver) {
        let Some(engine) = &mut self.leadership.engine else {
            return self.turn_away(command.reply);
        };
        let now = self.options.clock.now();
        self.watch.step(now, self.options.limits.slow_handler, engine);
        engine.submit(now, command.envelope, command.reply);
        self.carry_out();
    }

    fn is_saturated(&self) -> bool {
        self.leadership.engine.as_ref().is_some_and(ShardEngine::is_saturated)
    }
}
