//! The shard actor: takes commands from its mailbox into the engine, and carries the engine's outputs out.
//!
//! The mailbox holds commands only; everything else comes by [`Input`], looked at in the pulse. See [`super::pulse`] for when that runs.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message};
use holm_core::{AskError, CommandEnvelope, Outcome, ShardId};
use holm_persistence::ShardLog;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Interval, MissedTickBehavior};

use super::courier::Askers;
use super::leadership::{Input, Leadership};
use super::loaders::{Job, Loaders};
use super::metering::Meter;
use super::pulse::{Breather, Pulse};
use super::seat::{Board, Standing};
use super::telling::Watch;
use crate::ask::ReplyTo;
use crate::engine::Output;
use crate::failures::Outlet;
use crate::options::HostOptions;

/// Commands taken from the mailbox before the other inputs are looked at again: about a millisecond of work.
const COMMANDS_PER_TURN: u32 = 512;

/// A command on its way into a shard.
pub(crate) struct Deliver {
    pub(crate) envelope: CommandEnvelope,
    pub(crate) reply: ReplyTo,
}

impl Message for Deliver {
    type Result = ();
}

/// Commands that came together.
pub(crate) struct DeliverAll(pub(crate) Vec<Deliver>);

impl Message for DeliverAll {
    type Result = ();
}

/// What a shard shares with the others of its host.
pub(crate) struct Organs {
    pub(crate) options: Arc<HostOptions>,
    pub(crate) log: Arc<dyn ShardLog>,
    pub(crate) loaders: Arc<Loaders>,
    pub(crate) board: Arc<Board>,
    pub(crate) askers: Askers,
    pub(crate) failures: Arc<Outlet>,
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
    pub(super) inputs: UnboundedReceiver<Input>,
    pub(super) to_self: UnboundedSender<Input>,
    pub(super) leadership: Leadership,
    pub(super) meter: Meter,
    pub(super) ticks: Interval,
    taken: u32,
}

impl ShardActor {
    /// To be called on the arbiter, whose runtime has the timers.
    pub(crate) fn new(
        shard: ShardId,
        organs: Organs,
        (to_self, inputs): (UnboundedSender<Input>, UnboundedReceiver<Input>),
    ) -> Self {
        let Organs { options, log, loaders, board, askers, failures } = organs;
        let leadership = Leadership::new();
        let meter = Meter::new();
        // Zero would panic in tokio; a millisecond is its grain anyway.
        let mut ticks = tokio::time::interval(options.tick_interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            shard,
            options,
            log,
            loaders,
            board,
            askers,
            failures,
            watch: Watch::default(),
            inputs,
            to_self,
            leadership,
            meter,
            ticks,
            taken: 0,
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
                    let begun = self.options.clock.now();
                    let pending = self.log.append(batch);
                    self.leadership.appends.push_back((pending, begun));
                    self.meter.appended(bytes, records);
                }
                Output::Load(request) => {
                    let (shard, to) = (self.shard, self.to_self.clone());
                    let epoch = self.leadership.epoch;
                    self.loaders.submit(Job::Load { shard, epoch, request, to });
                }
                Output::Confirm(token) => {
                    let pending = self.log.confirm(self.shard, self.leadership.term);
                    self.leadership.confirms.push_back((token, pending));
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
                Output::Failure(fact) => self.tell(fact),
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
        cx.set_mailbox_capacity(self.options.limits.mailbox_capacity.max(1));
        cx.spawn(Pulse);
    }
}

impl ShardActor {
    /// True when the log cannot keep up.
    fn take(&mut self, Deliver { envelope, reply }: Deliver) -> bool {
        let Some(engine) = &mut self.leadership.engine else {
            self.turn_away(reply);
            return false;
        };
        let now = self.options.clock.now();
        self.watch.step(now, self.options.limits.slow_handler, engine);
        engine.submit(now, envelope, reply);
        let saturated = engine.is_saturated();
        self.carry_out();
        self.taken += 1;
        saturated
    }

    fn breathe(&mut self, saturated: bool, cx: &mut <Self as Actor>::Context) {
        if saturated || self.taken >= COMMANDS_PER_TURN {
            self.taken = 0;
            cx.wait(Breather::default());
        }
    }
}

impl Handler<Deliver> for ShardActor {
    type Result = ();

    fn handle(&mut self, command: Deliver, cx: &mut Self::Context) {
        let saturated = self.take(command);
        self.breathe(saturated, cx);
    }
}

impl Handler<DeliverAll> for ShardActor {
    type Result = ();

    fn handle(&mut self, DeliverAll(commands): DeliverAll, cx: &mut Self::Context) {
        self.board.taken(commands.len());
        let mut saturated = false;
        for command in commands {
            saturated = self.take(command);
        }
        self.breathe(saturated, cx);
    }
}
