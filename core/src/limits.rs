//! Every limit of a node in one table, each with its default and the reason for it (promise G9).

use std::time::Duration;

/// The limits of one node. What passes one gets an error that names it, never a hang and never unbounded memory.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Commands that may wait in the mailbox of one shard one by one, and as many that came together, in one read of a connection. 8,192 at 100,000 commands/s and 32 shards is 2.6 s of work.
    pub mailbox_capacity: usize,
    /// Bytes of one batch; a batch that reaches it is closed. 1 MiB holds about 8,000 commands and is one disk write.
    pub batch_bytes: usize,
    /// Batches of one shard that may be on their way to the log. Two keep the disk busy; the rest absorbs a slow replica.
    pub batches_in_flight: usize,
    /// Bytes of one encoded command. Also bounded by the frame between nodes.
    pub command_bytes: usize,
    /// Bytes of one encoded reply or rejection, because it is recorded with the events and kept in the window.
    pub reply_bytes: usize,
    /// Bytes of all events and reactions of one command together. A record may exceed one batch value, never one frame.
    pub events_bytes: usize,
    /// Reactions of one command. They are one record, so they wait and go together; an entity that steers more than these goes on by its own timer.
    pub reactions_per_command: usize,
    /// Reactions of one shard that are on their way to their entities at once; the rest waits in the log.
    pub reactions_in_flight: usize,
    /// Reactions of one shard that are known to be open: timers that are not due, and what could not be delivered yet. One takes some 100 bytes in
    /// memory. While there are so many, nothing behind them in the log is looked at.
    pub reactions_open: usize,
    /// Tries after which a reaction whose entity fails each time is given up. Their pauses double from 0.1 s to 5 s: 8 tries take some 12 s, longer
    /// than any earlier try can be under way. Whatever is only not reachable is tried for ever.
    pub reaction_tries: u32,
    /// Live entities of one shard; beyond it the least recently used are passivated.
    pub live_entities: usize,
    /// Recoveries of one shard that run at once; the rest wait in order.
    pub concurrent_recoveries: usize,
    /// Commands that may wait for the recovery of one entity.
    pub held_commands: usize,
    /// Time without a command after which an entity is passivated.
    pub idle_timeout: Duration,
    /// Idempotency keys kept for one entity; the oldest go first. 2,048 hold a file of commands that is imported twice (the busiest entity of ours gets
    /// 1,151 of 10,000) and 30 s of retries at 64 a second; one takes 24 to 48 bytes in memory, whose places double
    /// up to this number, and about 20 in a snapshot.
    pub window_keys: usize,
    /// Age at which an idempotency key is forgotten.
    pub window_age: Duration,
    /// Events after which a snapshot is taken; at least one. One that would be large against the events since the last waits for more of them, at most 64 times as
    /// many.
    pub snapshot_every: u64,
    /// Snapshots kept of one entity; at least one.
    pub snapshots_kept: usize,
    /// Entities of one shard whose recent failures are remembered. One takes some 300 bytes. Beyond it the one whose last failure is oldest is
    /// forgiven: it restarts at once and is counted from nothing. A quarantine is in the log and is never forgotten.
    pub troubled_entities: usize,
    /// A handler that runs longer is reported as slow: it holds up every entity of its shard. A hundred times what a handler of a millisecond takes.
    pub slow_handler: Duration,
    /// Failure facts of one node that wait to be stored, those of all parts of the log together; what does not fit is counted, and the count becomes a fact. 1,024 of
    /// about 1 KiB.
    pub failures_waiting: usize,
    /// Time that a caller waits when it names no deadline.
    pub ask_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            mailbox_capacity: 8_192,
            batch_bytes: 1024 * 1024,
            batches_in_flight: 8,
            command_bytes: 256 * 1024,
            reply_bytes: 64 * 1024,
            events_bytes: 1024 * 1024,
            reactions_per_command: 64,
            reactions_in_flight: 256,
            reactions_open: 100_000,
            reaction_tries: 8,
            live_entities: 100_000,
            concurrent_recoveries: 64,
            held_commands: 1_024,
            idle_timeout: Duration::from_secs(120),
            window_keys: 2_048,
            window_age: Duration::from_secs(15 * 60),
            snapshot_every: 100,
            snapshots_kept: 2,
            troubled_entities: 4_096,
            slow_handler: Duration::from_millis(100),
            failures_waiting: 1_024,
            ask_timeout: Duration::from_secs(5),
        }
    }
}

/// A limit that is zero and must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the limit {limit} is 0, it must be at least 1")]
pub struct ZeroLimit {
    /// Its name.
    pub limit: &'static str,
}

impl Limits {
    /// Refuses what would mean nothing: a snapshot after no event, and snapshots of which none is kept (law T9). Others may be zero, which then
    /// refuses everything they bound, or switches it off where they say so.
    ///
    /// # Errors
    /// [`ZeroLimit`] names the limit.
    pub const fn check(&self) -> Result<(), ZeroLimit> {
        if self.snapshot_every == 0 {
            return Err(ZeroLimit { limit: "snapshot_every" });
        }
        if self.snapshots_kept == 0 {
            return Err(ZeroLimit { limit: "snapshots_kept" });
        }
        Ok(())
    }
}
