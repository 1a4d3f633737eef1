//! Those who wait for the next durable offset of a shard.

use futures::channel::oneshot;
use holm_core::{Offset, ShardId};

use crate::shard_log::{Pending, ReadError};

/// Most that may wait at one shard: each is one subscriber, and a shard serves them all from memory.
const MAX_FOLLOWERS: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Followers {
    waiting: Vec<(Offset, oneshot::Sender<Offset>)>,
}

impl Followers {
    /// Resolves when the durable offset is above `seen`; `durable` is the present one.
    pub(crate) fn follow(
        &mut self,
        shard: ShardId,
        seen: Offset,
        durable: Offset,
    ) -> Pending<Result<Offset, ReadError>> {
        if durable > seen {
            return Box::pin(async move { Ok(durable) });
        }
        self.waiting.retain(|(_, follower)| !follower.is_canceled());
        if self.waiting.len() >= MAX_FOLLOWERS {
            let reason = format!("overloaded: {MAX_FOLLOWERS} are following already");
            return Box::pin(async move { Err(ReadError::Store { shard, reason }) });
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push((seen, sender));
        Box::pin(async move {
            let closed = |_| ReadError::Store { shard, reason: "the log was closed".to_owned() };
            receiver.await.map_err(closed)
        })
    }

    /// Tells those who wait for less than `durable`.
    pub(crate) fn advance(&mut self, durable: Offset) {
        for (_, follower) in self.waiting.extract_if(.., |(seen, _)| *seen < durable) {
            // One that went away needs no answer.
            let _ = follower.send(durable);
        }
    }
}
