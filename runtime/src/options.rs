//! How a shard host is set up, and what it says about itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holm_core::{Clock, EntityAddress, Limits, NodeId, ShardId, SystemClock, Term};
use holm_persistence::{AppendError, Snapshot};
use serde::{Deserialize, Serialize};

use crate::registry::Registry;

/// Called after a snapshot was saved. It runs on a loader thread and must not block for long.
pub type SnapshotObserver = Arc<dyn Fn(ShardId, &EntityAddress, &Snapshot) + Send + Sync>;

/// Called when a shard stopped leading because a write failed. It runs on the shard's thread and must not block.
pub type LeadershipLost = Arc<dyn Fn(ShardId, Term, &AppendError) + Send + Sync>;

/// How long the next read of the log takes, where there is no disk that takes its time.
pub type ReadDelay = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Where the work of a host runs.
#[derive(Clone, Default)]
pub enum Placement {
    /// Shards on arbiter threads, reading on loader threads.
    #[default]
    Threads,
    /// Everything on the tokio `LocalSet` on which the host is started: for simulations, which have one thread and one order of events.
    Here {
        /// Drawn for each read.
        read_delay: ReadDelay,
    },
}

/// How a shard host is set up.
#[derive(Clone)]
pub struct HostOptions {
    /// The entity types.
    pub registry: Registry,
    /// The limits of the node.
    pub limits: Limits,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Seeds the randomness that handlers see; each shard has a stream of its own.
    pub entropy_seed: u64,
    /// Where the work runs.
    pub placement: Placement,
    /// Arbiter threads; a shard stays on one.
    pub arbiters: usize,
    /// Threads that read snapshots and histories.
    pub loaders: usize,
    /// This node, as it appears in answers.
    pub node: NodeId,
    /// Shards of the cluster, fixed when it was created.
    pub shards: u32,
    /// What to do when a write failed.
    pub on_write_failure: WriteFailurePolicy,
    /// Time between two ticks of a shard: idle entities, deadlines and metrics are looked at then.
    pub tick_interval: Duration,
    /// Hears of each saved snapshot.
    pub on_snapshot: Option<SnapshotObserver>,
}

impl HostOptions {
    /// Options for `shards` shards with the defaults of a single node: one arbiter per core, the system clock, reopening after a failed write.
    #[must_use]
    pub fn new(registry: Registry, shards: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            registry,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            entropy_seed: holm_core::Entropy::next_u64(&mut holm_core::OsEntropy),
            placement: Placement::Threads,
            arbiters: cores,
            // Reading waits for the disk; a few threads keep it busy without taking the cores from the arbiters.
            loaders: cores.clamp(2, 4),
            node: NodeId(1),
            shards,
            on_write_failure: WriteFailurePolicy::default(),
            // Fine enough for deadlines, coarse enough for 1,024 shards on one core.
            tick_interval: Duration::from_millis(100),
            on_snapshot: None,
        }
    }
}

impl fmt::Debug for HostOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostOptions")
            .field("registry", &self.registry)
            .field("limits", &self.limits)
            .field("arbiters", &self.arbiters)
            .field("node", &self.node)
            .field("shards", &self.shards)
            .field("on_write_failure", &self.on_write_failure)
            .finish_non_exhaustive()
    }
}

/// What to do when a write failed. Either way everything after the last durable offset is forgotten and parked callers hear that the outcome
/// is unknown; the question is who opens the shard again.
#[derive(Clone)]
pub enum WriteFailurePolicy {
    /// The host opens the shard again by itself, at the next term: for a single node, where nobody else could lead. As often as it takes: a host that gave up
    /// would need a restart to serve again, and that a log goes on failing is told once and costs one try each `longest_wait`.
    Reopen {
        /// The first wait; it doubles with each failure.
        first_wait: Duration,
        /// The longest wait.
        longest_wait: Duration,
    },
    /// The host steps down and says so: in a cluster, consensus decides who leads next.
    StepDown(LeadershipLost),
}

impl Default for WriteFailurePolicy {
    fn default() -> Self {
        Self::Reopen { first_wait: Duration::from_millis(50), longest_wait: Duration::from_secs(5) }
    }
}

impl fmt::Debug for WriteFailurePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reopen { first_wait, longest_wait } => f
                .debug_struct("Reopen")
                .field("first_wait", first_wait)
                .field("longest_wait", longest_wait)
                .finish(),
            Self::StepDown(_) => f.write_str("StepDown"),
        }
    }
}

/// What a host says about itself: one entry for each shard, leading or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStats {
    /// By shard number.
    pub shards: Vec<ShardStats>,
}

/// The figures of one shard on this node. Counters count since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStats {
    /// The shard.
    pub shard: ShardId,
    /// Whether this host leads it.
    pub leading: bool,
    /// The term it leads at, or led last.
    pub term: Term,
    /// Entities in memory.
    pub live_entities: u64,
    /// Entities being recovered.
    pub recovering: u64,
    /// Commands that wait for entities being recovered.
    #[serde(default)]
    pub held: u64,
    /// Commands whose answer waits for the log.
    pub in_flight: u64,
    /// Write commands handled.
    pub commands: u64,
    /// Read-only commands handled.
    pub reads: u64,
    /// Events persisted.
    pub events: u64,
    /// Answers taken from the record of an earlier try.
    pub replayed: u64,
    /// Commands that were refused by their entity.
    pub rejections: u64,
    /// Commands that failed because their entity did.
    pub failures: u64,
    /// Entities brought into memory.
    pub activations: u64,
    /// Entities put to rest.
    pub passivations: u64,
}

impl HostStats {
    /// The sum over all shards; `shard`, `leading` and `term` mean nothing in it.
    #[must_use]
    pub fn total(&self) -> ShardStats {
        let mut total = ShardStats::default();
        for shard in &self.shards {
            total.live_entities += shard.live_entities;
            total.recovering += shard.recovering;
            total.held += shard.held;
            total.in_flight += shard.in_flight;
            total.commands += shard.commands;
            total.reads += shard.reads;
            total.events += shard.events;
            total.replayed += shard.replayed;
            total.rejections += shard.rejections;
            total.failures += shard.failures;
            total.activations += shard.activations;
            total.passivations += shard.passivations;
        }
        total
    }
}
