//! What kind of world a seed makes: its size, its limits, and how often which fault happens in it.

use std::time::Duration;

use holm_core::{Entropy as _, Limits, SeededEntropy};
use holm_runtime::Registry;

use crate::workload;

/// How often each fault happens, relative to the others; zero is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FaultWeights {
    /// A process is killed and started again.
    pub kill: u64,
    /// A machine loses power.
    pub power: u64,
    /// All machines lose power in the same moment.
    pub power_of_all: u64,
    /// A disk is replaced, found damaged, or found empty.
    pub lost_disk: u64,
    /// A machine is cut off from all others, both ways.
    pub isolate: u64,
    /// A machine hears nobody, or is heard by nobody.
    pub one_way: u64,
    /// Two machines do not reach each other, and both reach the rest.
    pub partial: u64,
    /// A machine is cut off and joined again and again, about as fast as elections are.
    pub flapping: u64,
    /// Connections break.
    pub reset: u64,
    /// The network is slow, reorders between connections, and loses packets.
    pub poor_network: u64,
    /// A process runs rarely.
    pub slow: u64,
    /// A process stands still and goes on later.
    pub pause: u64,
    /// A wall clock jumps.
    pub clock: u64,
    /// A disk has no space left.
    pub full_disk: u64,
    /// A disk takes long to sync.
    pub slow_disk: u64,
    /// A sync fails.
    pub failed_sync: u64,
    /// A node joins.
    pub join: u64,
    /// A node leaves.
    pub leave: u64,
    /// All nodes are shut down in order and started again, one after the other.
    pub rolling_restart: u64,
}

impl FaultWeights {
    /// Each fault with a weight of its own, a third of them never: a swarm of different worlds finds more than one world with everything in it.
    #[must_use]
    pub fn draw(entropy: &mut SeededEntropy) -> Self {
        let mut weight = || if entropy.below(3) == 0 { 0 } else { 1 + entropy.below(8) };
        Self {
            kill: weight(),
            power: weight(),
            power_of_all: weight() / 3,
            lost_disk: weight() / 2,
            isolate: weight(),
            one_way: weight(),
            partial: weight(),
            flapping: weight() / 2,
            reset: weight(),
            poor_network: weight(),
            slow: weight(),
            pause: weight(),
            clock: weight(),
            full_disk: weight() / 2,
            slow_disk: weight(),
            failed_sync: weight() / 2,
            join: weight() / 2,
            leave: weight() / 2,
            rolling_restart: weight() / 3,
        }
    }

    /// No faults at all.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}

/// How a world is made.
#[derive(Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// Machines at the beginning.
    pub nodes: u8,
    /// Shards of the cluster.
    pub shards: u32,
    /// Replicas of each shard.
    pub replication: u32,
    /// The entity types.
    pub registry: Registry,
    /// The limits of every node.
    pub limits: Limits,
    /// How long a member may be silent before its replicas are placed elsewhere.
    pub down_after: Duration,
    /// Clients of the workload.
    pub clients: u32,
    /// Whether every node follows the bus.
    pub followers: bool,
    /// How often which fault happens.
    pub faults: FaultWeights,
    /// Least and most time between two faults.
    pub between_faults: (Duration, Duration),
    /// How long faults happen.
    pub duration: Duration,
    /// How long the cluster may take after that until everything answers.
    pub recovery: Duration,
}

impl Settings {
    /// The world of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        // Another stream than the world's own, so that a new setting does not change everything else.
        let mut entropy = SeededEntropy::new(seed ^ 0x5E77_1465);
        let nodes = if entropy.below(3) == 0 { 5 } else { 3 };
        let shards = u32::try_from(4 + entropy.below(5)).unwrap_or(4);
        let mut limits = Limits::default();
        // Small, so that a minute meets what production meets in a day.
        limits.snapshot_every = 5 + entropy.below(30);
        limits.live_entities = usize::try_from(2 + entropy.below(8)).unwrap_or(2);
        limits.idle_timeout = Duration::from_millis(500 + entropy.below(5_000));
        let between = 500 + entropy.below(4_000);
        let down_after = Duration::from_millis(4_000 + entropy.below(10_000));
        let clients = u32::try_from(3 + entropy.below(4)).unwrap_or(3);
        // The window of keys stays as wide as ever: a retry beyond it would take effect again, and the search for an order cannot know that.
        limits.snapshots_kept = usize::try_from(1 + entropy.below(24) / 8).unwrap_or(1);
        Self {
            seed,
            nodes,
            shards,
            replication: 3,
            registry: workload::registry(),
            limits,
            down_after,
            clients,
            // Three of eight: those residues that the seeds of mended bugs do not have, so that these keep the worlds in which they were found.
            followers: matches!(seed % 8, 0 | 2 | 3),
            faults: FaultWeights::draw(&mut entropy),
            between_faults: (
                Duration::from_millis(between / 4),
                Duration::from_millis(between * 2),
            ),
            duration: Duration::from_secs(45),
            recovery: Duration::from_secs(30),
        }
    }
}
