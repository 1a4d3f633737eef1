//! The shard log in memory: the same laws without a disk, with hooks that delay and break it, for tests.

use holm_core::{ShardId, Term};

/// A shard log that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryLog {}

impl MemoryLog {
    /// An empty log of every shard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest term at which a shard was opened; zero when never. The next open needs one above it.
    #[must_use]
    pub fn newest_term(&self, _shard: ShardId) -> Term {
        unimplemented!("signature only for now")
    }

    /// Makes the next append of a shard resolve to `Unknown` without storing its batch.
    pub fn fail_next_append(&self, _shard: ShardId) {
        unimplemented!("signature only for now")
    }

    /// Makes the next append of a shard resolve to `Unknown` although its batch was stored.
    pub fn lose_next_acknowledgement(&self, _shard: ShardId) {
        unimplemented!("signature only for now")
    }

    /// From now on no append becomes durable until it is released.
    pub fn hold(&self) {
        unimplemented!("signature only for now")
    }

    /// How many appends are held.
    #[must_use]
    pub fn held(&self) -> usize {
        unimplemented!("signature only for now")
    }

    /// Lets the oldest `count` held appends become durable; holding goes on.
    pub fn release(&self, _count: usize) {
        unimplemented!("signature only for now")
    }

    /// Lets everything held become durable and stops holding.
    pub fn release_all(&self) {
        unimplemented!("signature only for now")
    }
}
