//! The faults that a campaign knows, and what each of them means for the cluster. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest time without a heartbeat before a leader is replaced is 450 ms; its lease is no longer than that.
const LEASE: Duration = Duration::from_millis(450);

/// A family of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// The network between nodes is cut.
    Partition,
    /// The machine loses its power: nothing that was not synced survives.
    Power,
    /// No space is left on the disk.
    Full,
    /// A sync of the disk fails once.
    Eio,
    /// The wall clock jumps.
    Clock,
    /// Disk or processor are slow.
    Slow,
}

/// One fault in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// One node is killed.
    KillRandom,
    /// The leader of the most shards is killed.
    KillLeader,
    /// As many as may fail at once are killed: two of five.
    KillMinority,
    /// All are killed and started again.
    KillAll,
    /// The leader of the most shards sleeps for a second.
    PauseSecond,
    /// It sleeps for three times the length of a lease.
    PauseLease,
    /// A node sleeps for twenty seconds.
    PauseLong,
    /// A node hears nobody and nobody hears it.
    PartitionIsolate,
    /// As many as may fail at once are cut off from the others, together.
    PartitionMinority,
    /// A node hears nobody, and is heard.
    PartitionDeaf,
    /// A node hears everybody, and nobody hears it.
    PartitionMute,
    /// A node is cut off and joined again about as often as elections take.
    PartitionFlapping,
    /// Of the packets between a node and the others, one in five is lost.
    PartitionLossy,
    /// One node's machine loses its power.
    PowerOne,
    /// All machines do, at once.
    PowerAll,
    /// One node's disk is full.
    FullOne,
    /// One sync of one node fails.
    EioOne,
    /// One node's wall clock jumps an hour ahead.
    ClockAhead,
    /// It jumps an hour back.
    ClockBack,
    /// Each sync of the leader of the most shards takes a fifth of a second longer.
    SlowDisk,
    /// One node gets a twentieth of a processor.
    SlowProcessor,
    /// What passes between the leader of the most shards and the others arrives late, and connections overtake each other.
    SlowNetwork,
}

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    Random,
    /// The leader of the most shards.
    Leader,
    /// As many as may fail at once.
    Minority,
    All,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Power,
        Self::Full,
        Self::Eio,
        Self::Clock,
        Self::Slow,
    ];

    /// Its word on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Power => "power",
            Self::Full => "full",
            Self::Eio => "eio",
            Self::Clock => "clock",
            Self::Slow => "slow",
        }
    }

    /// Its shapes, those that a cluster of so many nodes can bear.
    pub fn shapes(self, nodes: u32) -> impl Iterator<Item = Shape> {
        Shape::ALL.into_iter().filter(move |shape| shape.kind() == self && shape.fits(nodes))
    }
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::KillRandom,
        Self::KillLeader,
        Self::KillMinority,
        Self::KillAll,
        Self::PauseSecond,
        Self::PauseLease,
        Self::PauseLong,
        Self::PartitionIsolate,
        Self::PartitionMinority,
        Self::PartitionDeaf,
        Self::PartitionMute,
        Self::PartitionFlapping,
        Self::PartitionLossy,
        Self::PowerOne,
        Self::PowerAll,
        Self::FullOne,
        Self::EioOne,
        Self::ClockAhead,
        Self::ClockBack,
        Self::SlowDisk,
        Self::SlowProcessor,
        Self::SlowNetwork,
    ];

    /// The family.
    #[must_use]
    pub const fn kind(self) -> FaultKind {
        match self {
            Self::KillRandom | Self::KillLeader | Self::KillMinority | Self::KillAll => {
                FaultKind::Kill
            }
            Self::PauseSecond | Self::PauseLease | Self::PauseLong => FaultKind::Pause,
            Self::PartitionIsolate
            | Self::PartitionMinority
            | Self::PartitionDeaf
            | Self::PartitionMute
            | Self::PartitionFlapping
            | Self::PartitionLossy => FaultKind::Partition,
            Self::PowerOne | Self::PowerAll => FaultKind::Power,
            Self::FullOne => FaultKind::Full,
            Self::EioOne => FaultKind::Eio,
            Self::ClockAhead | Self::ClockBack => FaultKind::Clock,
            Self::SlowDisk | Self::SlowProcessor | Self::SlowNetwork => FaultKind::Slow,
        }
    }

    /// Its word on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillRandom => "kill-random",
            Self::KillLeader => "kill-leader",
            Self::KillMinority => "kill-minority",
            Self::KillAll => "kill-all",
            Self::PauseSecond => "pause-second",
            Self::PauseLease => "pause-lease",
            Self::PauseLong => "pause-long",
            Self::PartitionIsolate => "partition-isolate",
            Self::PartitionMinority => "partition-minority",
            Self::PartitionDeaf => "partition-deaf",
            Self::PartitionMute => "partition-mute",
            Self::PartitionFlapping => "partition-flapping",
            Self::PartitionLossy => "partition-lossy",
            Self::PowerOne => "power-one",
            Self::PowerAll => "power-all",
            Self::FullOne => "full-one",
            Self::EioOne => "eio-one",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBack => "clock-back",
            Self::SlowDisk => "slow-disk",
            Self::SlowProcessor => "slow-processor",
            Self::SlowNetwork => "slow-network",
        }
    }

    /// How long it is kept up, never longer than `longest`.
    #[must_use]
    pub fn hold(self, longest: Duration) -> Duration {
        let usual = match self {
            // What was killed is started again when the others serve; there is nothing to keep up.
            Self::KillRandom | Self::KillLeader | Self::KillMinority | Self::KillAll => {
                Duration::ZERO
            }
            Self::PowerOne | Self::PowerAll => Duration::ZERO,
            Self::PauseSecond => Duration::from_secs(1),
            Self::PauseLease => LEASE * 3,
            Self::PauseLong => Duration::from_secs(20),
            Self::PartitionIsolate
            | Self::PartitionMinority
            | Self::PartitionDeaf
            | Self::PartitionMute => Duration::from_secs(4),
            Self::PartitionFlapping
            | Self::PartitionLossy
            | Self::ClockAhead
            | Self::ClockBack
            | Self::SlowDisk
            | Self::SlowProcessor
            | Self::SlowNetwork => Duration::from_secs(6),
            Self::FullOne | Self::EioOne => Duration::from_secs(3),
        };
        usual.min(longest)
    }

    /// True when it is taken back at the end of its time, whether or not the others have noticed: a short sleep may pass before anybody could.
    #[must_use]
    pub(super) const fn is_brief(self) -> bool {
        matches!(self, Self::PauseSecond | Self::PauseLease)
    }

    /// True when every shard must answer while it lasts: no more than one node is gone, and stays gone. Of more, some shard may have lost its majority; one
    /// that comes and goes may lead in between.
    #[must_use]
    pub(super) const fn is_borne(self) -> bool {
        !matches!(
            self,
            Self::KillMinority
                | Self::KillAll
                | Self::PowerAll
                | Self::PartitionMinority
                | Self::PartitionFlapping
                | Self::PartitionLossy
        )
    }

    pub(super) const fn whom(self) -> Whom {
        match self {
            Self::KillLeader
            | Self::PauseSecond
            | Self::PauseLease
            | Self::PartitionDeaf
            | Self::PartitionMute
            | Self::EioOne
            | Self::FullOne
            | Self::SlowDisk
            | Self::SlowNetwork => Whom::Leader,
            Self::KillMinority | Self::PartitionMinority => Whom::Minority,
            Self::KillAll | Self::PowerAll => Whom::All,
            _ => Whom::Random,
        }
    }

    /// In a small cluster, as many as may fail at once is one: that is a shape of its own already.
    fn fits(self, nodes: u32) -> bool {
        self.whom() != Whom::Minority || may_fail(nodes) >= 2
    }
}

/// How many of so many nodes may fail at once.
pub(super) const fn may_fail(nodes: u32) -> u32 {
    nodes.saturating_sub(1) / 2
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Shape {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|shape| shape.name() == text).ok_or(())
    }
}

impl FromStr for FaultKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_shape_for_three_nodes_and_names_are_unique() {
        for kind in FaultKind::ALL {
            assert!(kind.shapes(3).count() > 0, "{kind}");
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for shape in Shape::ALL {
            assert_eq!(shape.name().parse(), Ok(shape));
            assert!(shape.name().starts_with(shape.kind().name()), "{shape}");
        }
    }

    #[test]
    fn two_of_five_may_fail_and_one_of_three() {
        assert_eq!((may_fail(1), may_fail(3), may_fail(4), may_fail(5)), (0, 1, 1, 2));
        assert!(FaultKind::Kill.shapes(5).any(|shape| shape == Shape::KillMinority));
        assert!(!FaultKind::Kill.shapes(3).any(|shape| shape == Shape::KillMinority));
    }
}
