//! When a shard does anything.
//!
//! actix 0.13 polls an actor's mailbox and then the futures that were given to `spawn`. A spawned future that never ends is therefore polled whenever the actor is
//! woken, by a command, an acknowledgement, an order or a timer: that is [`Pulse`], and each beat is one turn. In a turn the commands come first, so that the
//! open batch goes to the log when no more of them wait. After some hundred commands, and while the log cannot keep up, the rest waits for another turn.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext};

use super::actor::ShardActor;

/// The future that is polled whenever the shard is woken.
pub(super) struct Pulse;

impl ActorFuture<ShardActor> for Pulse {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        shard: &mut ShardActor,
        cx: &mut <ShardActor as Actor>::Context,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        shard.turn(task);
        if shard.leadership.stopped {
            cx.stop();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
