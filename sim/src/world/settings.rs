//! What kind of world a seed makes: its size, its limits, and how often which fault happens in it.

use std::time::Duration;

use holm_core::{Entropy as _, Limits, SeededEntropy};
use holm_runtime::Registry;

use super::time::Clocks;
use crate::workload;

/// The newest edition of the worlds. A seed means a world of its edition: what is added to the worlds comes with a new one, and the seeds of mended bugs
/// keep the one in which they were found.
pub const EDITION: u32 = 7;

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
    /// A process is killed, and before it starts again a bit flips in what can be built anew: an index, a snapshot, the tail file.
    pub rot: u64,
    /// A sync fails, the system forgets the pages that it did not write, and the machine loses power some time later.
    pub dropped_pages: u64,
    /// Messages between nodes are put on their way twice.
    pub twice: u64,
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
            rot: 0,
            dropped_pages: 0,
            twice: 0,
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
    /// In which edition of the worlds it grew.
    pub edition: u32,
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
    /// How long nothing is asked of a shard before its group rests; none: groups never rest.
    pub rest_after: Option<Duration>,
    /// Clients of the workload.
    pub clients: u32,
    /// Whether every node follows the bus.
    pub followers: bool,
    /// Whether every node carries out a policy.
    pub policy: bool,
    /// Whether every node is a member of a shared projection.
    pub shared: bool,
    /// Whether a process learns for certain that another one has ended, as on one machine.
    pub deaths_are_seen: bool,
    /// Whether a group of commits is handed to the disk while the one before it is not durable.
    pub groups_overlap: bool,
    /// A leader confirms reads by its lease without asking its consensus, where it can.
    pub confirms_at_once: bool,
    /// How wrong the clocks are by themselves.
    pub clocks: Clocks,
    /// Whether there are entities that cannot be replayed.
    pub relics: bool,
    /// Whether a damaged disk may be damaged in its side file too.
    pub damaged_side_files: bool,
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
        Self::of_edition(seed, EDITION)
    }

    /// The world that a seed had in an edition.
    #[must_use]
    pub fn of_edition(seed: u64, edition: u32) -> Self {
        let mut settings = Self { edition, ..Self::first_edition(seed) };
        if edition >= 2 {
            settings.second_edition();
        }
        if edition >= 3 {
            settings.third_edition();
        }
        if edition >= 4 {
            settings.fourth_edition();
        }
        if edition >= 5 {
            settings.fifth_edition();
        }
        if edition >= 6 {
            settings.sixth_edition();
        }
        if edition >= 7 {
            settings.seventh_edition();
        }
        settings
    }

    /// What the second edition brought: clocks that are wrong by themselves, entities that cannot be replayed, damage beside the log, pages that are
    /// dropped, and limits that a world gets to. All of it is drawn apart.
    fn second_edition(&mut self) {
        let mut entropy = SeededEntropy::new(self.seed ^ 0x5EC0_4DED);
        self.clocks = Clocks::draw(&mut entropy);
        (self.relics, self.damaged_side_files) = (true, true);
        let mut weight = || if entropy.below(3) == 0 { 0 } else { 1 + entropy.below(4) };
        (self.faults.rot, self.faults.dropped_pages) = (weight(), weight() / 2);
        self.limits.held_commands = usize::try_from(2 + entropy.below(8)).unwrap_or(2);
        self.limits.batches_in_flight = usize::try_from(1 + entropy.below(4)).unwrap_or(1);
    }

    /// What the third edition brought: policies, and shared projections.
    fn third_edition(&mut self) {
        let mut entropy = SeededEntropy::new(self.seed ^ 0x7419_DEED);
        self.policy = entropy.below(3) == 0;
        self.shared = entropy.below(3) == 0;
    }

    /// What the fourth edition brought: messages that arrive twice.
    fn fourth_edition(&mut self) {
        let mut entropy = SeededEntropy::new(self.seed ^ 0x74C1_CE00);
        self.faults.twice = if entropy.below(3) == 0 { 0 } else { 1 + entropy.below(16) };
    }

    /// What the fifth edition brought: groups that rest, between two commands of a client as between two days; and deaths that the others learn of for certain.
    fn fifth_edition(&mut self) {
        let mut entropy = SeededEntropy::new(self.seed ^ 0x4E57_0F05);
        let after = Duration::from_millis(200 + entropy.below(1_300));
        self.rest_after = (entropy.below(3) > 0).then_some(after);
        let mut entropy = SeededEntropy::new(self.seed ^ 0x000D_EA75);
        self.deaths_are_seen = entropy.below(2) == 0;
    }

    /// What the sixth edition brought: groups of commits that overlap.
    fn sixth_edition(&mut self) {
        self.groups_overlap = SeededEntropy::new(self.seed ^ 0x0006_0F06).below(3) > 0;
    }

    /// What the seventh edition brought: leaders that confirm reads by their lease without asking.
    fn seventh_edition(&mut self) {
        self.confirms_at_once = SeededEntropy::new(self.seed ^ 0x0007_1EA5).below(4) > 0;
    }

    fn first_edition(seed: u64) -> Self {
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
            edition: 1,
            nodes,
            shards,
            replication: 3,
            registry: workload::registry(),
            limits,
            down_after,
            rest_after: None,
            clients,
            // Three of eight: those residues that the seeds of mended bugs do not have, so that these keep the worlds in which they were found.
            followers: matches!(seed % 8, 0 | 2 | 3),
            policy: false,
            shared: false,
            deaths_are_seen: false,
            groups_overlap: false,
            confirms_at_once: false,
            clocks: Clocks::default(),
            relics: false,
            damaged_side_files: false,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The seeds of mended bugs keep the worlds in which they were found.
    #[test]
    fn the_first_edition_knows_nothing_of_the_second() {
        for seed in 0..200 {
            let (first, second) = (Settings::of_edition(seed, 1), Settings::of_edition(seed, 2));
            assert_eq!((first.faults.rot, first.faults.dropped_pages), (0, 0));
            assert_eq!(first.clocks, Clocks::default());
            assert!(!first.relics && !first.damaged_side_files);
            let usual = Limits::default();
            assert_eq!(first.limits.held_commands, usual.held_commands);
            assert_eq!(first.limits.batches_in_flight, usual.batches_in_flight);
            // What both have is drawn alike.
            let same = FaultWeights { rot: 0, dropped_pages: 0, ..second.faults };
            assert_eq!(first.faults, same);
            assert_eq!(
                (first.nodes, first.shards, first.clients, first.between_faults, first.followers),
                (
                    second.nodes,
                    second.shards,
                    second.clients,
                    second.between_faults,
                    second.followers
                )
            );
        }
    }

    /// So do those that were found in worlds without policies.
    #[test]
    fn the_second_edition_knows_nothing_of_the_third() {
        for seed in 0..200 {
            let (second, third) = (Settings::of_edition(seed, 2), Settings::of_edition(seed, 3));
            assert!(!second.policy && !second.shared);
            assert_eq!((second.faults, second.clocks), (third.faults, third.clocks));
            assert_eq!(second.limits, third.limits);
        }
    }

    /// And those that were found in worlds in which nothing arrived twice.
    #[test]
    fn the_third_edition_knows_nothing_of_the_fourth() {
        for seed in 0..200 {
            let (third, fourth) = (Settings::of_edition(seed, 3), Settings::of_edition(seed, 4));
            assert_eq!(third.faults.twice, 0);
            assert_eq!(third.faults, FaultWeights { twice: 0, ..fourth.faults });
            assert_eq!((third.policy, third.shared), (fourth.policy, fourth.shared));
        }
    }

    /// And those that were found in worlds in which no group rested, and a death was a guess.
    #[test]
    fn the_fourth_edition_knows_nothing_of_the_fifth() {
        for seed in 0..200 {
            let (fourth, fifth) = (Settings::of_edition(seed, 4), Settings::of_edition(seed, 5));
            assert!(!fourth.deaths_are_seen);
            assert_eq!((fourth.faults, fourth.clocks), (fifth.faults, fifth.clocks));
            assert_eq!((fourth.policy, fourth.shared), (fifth.policy, fifth.shared));
            assert_eq!(fourth.rest_after, None);
        }
    }

    /// And those that were found in worlds in which each read waited for the word of the consensus.
    #[test]
    fn the_sixth_edition_knows_nothing_of_the_seventh() {
        for seed in 0..200 {
            let (sixth, seventh) = (Settings::of_edition(seed, 6), Settings::of_edition(seed, 7));
            assert!(!sixth.confirms_at_once);
            assert_eq!((sixth.faults, sixth.clocks), (seventh.faults, seventh.clocks));
            assert_eq!(
                (sixth.groups_overlap, sixth.deaths_are_seen, sixth.rest_after),
                (seventh.groups_overlap, seventh.deaths_are_seen, seventh.rest_after)
            );
        }
    }

    /// And those that were found in worlds in which a group of commits waited for the one before it.
    #[test]
    fn the_fifth_edition_knows_nothing_of_the_sixth() {
        for seed in 0..200 {
            let (fifth, sixth) = (Settings::of_edition(seed, 5), Settings::of_edition(seed, 6));
            assert!(!fifth.groups_overlap);
            assert_eq!((fifth.faults, fifth.clocks), (sixth.faults, sixth.clocks));
            assert_eq!((fifth.policy, fifth.shared), (sixth.policy, sixth.shared));
            assert_eq!(
                (fifth.deaths_are_seen, fifth.rest_after),
                (sixth.deaths_are_seen, sixth.rest_after)
            );
        }
    }

    #[test]
    fn what_an_edition_brought_comes_in_some_worlds_and_not_in_all() {
        let worlds: Vec<Settings> = (0..200).map(Settings::draw).collect();
        let count = |is: fn(&Settings) -> bool| worlds.iter().filter(|world| is(world)).count();
        for (what, worlds) in [
            ("rot", count(|world| world.faults.rot > 0)),
            ("dropped pages", count(|world| world.faults.dropped_pages > 0)),
            ("clocks apart", count(|world| world.clocks.apart_ms > 0)),
            ("clocks that drift", count(|world| world.clocks.drift > 0)),
            ("policies", count(|world| world.policy)),
            ("shared projections", count(|world| world.shared)),
            ("messages twice", count(|world| world.faults.twice > 0)),
            ("deaths that are seen", count(|world| world.deaths_are_seen)),
            ("groups that rest", count(|world| world.rest_after.is_some())),
            ("groups that overlap", count(|world| world.groups_overlap)),
        ] {
            assert!((20..=180).contains(&worlds), "{what} in {worlds} of 200");
        }
    }
}
