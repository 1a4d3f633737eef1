//! When a shard looks at anything but its mailbox.
//!
//! actix 0.13 polls an actor like this: first the futures given to `wait`, which keep the mailbox shut; then the mailbox until it is empty; then the
//! futures given to `spawn`. So a spawned future that never ends is polled exactly when the mailbox has been drained, which is when the open batch
//! should go to the log: that is [`Pulse`]. A mailbox that never runs empty would keep the pulse from beating, so after some hundred commands, and
//! whenever the log cannot keep up, the mailbox is shut for a [`Breather`], which beats the pulse itself and lets the other shards of the arbiter run.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext};

use super::actor::ShardActor;

/// The future that is polled whenever the mailbox is empty.
pub(super) struct Pulse;

impl ActorFuture<ShardActor> for Pulse {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        shard: &mut ShardActor,
        cx: &mut <ShardActor as Actor>::Context,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        shard.beat(task);
        if shard.leadership.stopped {
            cx.stop();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Shuts the mailbox until the log has caught up, and at least for one turn of the other tasks.
#[derive(Debug, Default)]
pub(super) struct Breather {
    yielded: bool,
}

impl ActorFuture<ShardActor> for Breather {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        shard: &mut ShardActor,
        _: &mut <ShardActor as Actor>::Context,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        shard.beat(task);
        if !self.yielded {
            self.yielded = true;
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        let saturated =
            shard.leadership.engine.as_ref().is_some_and(|engine| engine.is_saturated());
        if saturated && !shard.leadership.stopped { Poll::Pending } else { Poll::Ready(()) }
    }
}
