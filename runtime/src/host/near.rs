//! Work that runs beside the entities that it asks.

use std::future::Future;

use holm_core::{EntityAddress, shard_of};
use holm_persistence::Pending;
use tokio::sync::oneshot;

use super::ShardHost;

impl ShardHost {
    /// Runs a future on the arbiter of this entity's shard, and gives what comes of it; none when it panicked, or the host stopped first. It begins with the
    /// call and goes on when what is returned is dropped.
    ///
    /// An ask from another thread wakes the arbiter, and its answer wakes that thread; from the entity's own arbiter neither is needed. So whoever asks the same
    /// entities again and again asks faster from there. The future takes turns with the handlers of the arbiter's shards: it must not block, and long
    /// calculations belong elsewhere.
    ///
    /// Where the shard is led by another node, it is the arbiter that would have it here.
    ///
    /// # Panics
    /// With [`crate::Placement::Here`], when it is not called on a `LocalSet`.
    #[must_use = "what comes of the work is lost; say so with `drop`"]
    pub fn spawn_near<T: Send + 'static>(
        &self,
        address: &EntityAddress,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pending<Option<T>> {
        let (done, result) = oneshot::channel();
        // Whoever started it may not want to know.
        let work = async move { _ = done.send(work.await) };
        let shard = shard_of(address, self.0.options.shards);
        match &self.0.arbiters {
            // After `stop` it is dropped there, which the receiver hears of.
            Some(arbiters) => _ = arbiters.of(shard.0 as usize).spawn(work),
            None => drop(tokio::task::spawn_local(work)),
        }
        Box::pin(async move { result.await.ok() })
    }
}
