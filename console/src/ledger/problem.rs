//! What an audit found: the problems by kind, and the figures people are shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Problems of one kind that are kept with all their particulars; the rest is counted.
const LISTED_PROBLEMS: usize = 100;

/// One broken promise, with everything needed to look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// An acknowledged command stands nowhere (G1).
    Missing {
        /// The entity.
        entity: String,
        /// The command's key.
        key: String,
        /// The shard that the acknowledgement named.
        shard: u32,
        /// The offset that it named.
        offset: u64,
    },
    /// A key took effect, or was answered, twice (G2).
    Doubled {
        /// The entity.
        entity: String,
        /// The key.
        key: String,
        /// The shard.
        shard: u32,
        /// Its first record.
        first: u64,
        /// Its second record.
        second: u64,
    },
    /// The command stands in the log, but not where or as what its caller was told.
    Altered {
        /// The entity.
        entity: String,
        /// The key.
        key: String,
        /// What the caller was told.
        told: String,
        /// What is stored.
        stored: String,
    },
    /// A command that was said to be surely not applied took effect.
    AppliedAfterAll {
        /// The entity.
        entity: String,
        /// The key.
        key: String,
        /// The shard.
        shard: u32,
        /// Its record.
        offset: u64,
    },
    /// The offsets of a shard have a gap or a double (G4).
    OffsetGap {
        /// The shard.
        shard: u32,
        /// The offset that should follow.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// The sequence numbers of an entity have a gap or a double (G4).
    SequenceGap {
        /// The entity.
        entity: String,
        /// The sequence number that the record should begin after.
        expected: u64,
        /// The one that it begins after.
        found: u64,
        /// The record's offset.
        offset: u64,
    },
    /// The balances do not add up.
    Balance {
        /// The entity.
        entity: String,
        /// After which event.
        seq: u64,
        /// What the caller was told.
        told: u64,
        /// The sum of the stored events.
        stored: i128,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { entity, key, shard, offset } => {
                write!(
                    f,
                    "{entity}: key {key} was acknowledged at shard {shard}, offset {offset}, and is not there"
                )
            }
            Self::Doubled { entity, key, shard, first, second } => {
                write!(
                    f,
                    "{entity}: key {key} stands twice in shard {shard}, at {first} and {second}"
                )
            }
            Self::Altered { entity, key, told, stored } => {
                write!(f, "{entity}: key {key}: told {told}, stored {stored}")
            }
            Self::AppliedAfterAll { entity, key, shard, offset } => {
                write!(
                    f,
                    "{entity}: key {key} was said not to be applied and stands in shard {shard} at {offset}"
                )
            }
            Self::OffsetGap { shard, expected, found } => {
                write!(f, "shard {shard}: offset {found} follows where {expected} should")
            }
            Self::SequenceGap { entity, expected, found, offset } => {
                write!(
                    f,
                    "{entity}: the record at {offset} begins after event {found}, the history ends at {expected}"
                )
            }
            Self::Balance { entity, seq, told, stored } => {
                write!(
                    f,
                    "{entity}: balance {told} was told after event {seq}, the events add up to {stored}"
                )
            }
        }
    }
}

/// The result of an audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Commands that the ledger says were acknowledged.
    pub acknowledged: u64,
    /// Of those, how many were found exactly as acknowledged.
    pub read_back: u64,
    /// Acknowledged and not there.
    pub missing: u64,
    /// Keys that took effect twice.
    pub doubled: u64,
    /// Gaps in offsets or sequence numbers.
    pub gaps: u64,
    /// Found, but not as acknowledged.
    pub altered: u64,
    /// Balances that do not add up.
    pub balances: u64,
    /// Commands with an unknown outcome that turned out to be stored.
    pub unknown_applied: u64,
    /// Commands with an unknown outcome that are nowhere.
    pub unknown_absent: u64,
    /// Records read.
    pub records: u64,
    /// Entities met.
    pub entities: u64,
    /// The sum of all balances.
    pub total_balance: i128,
    /// The problems, the first hundred of each kind.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// True when nothing acknowledged is missing, doubled, altered or out of sequence.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.missing == 0
            && self.doubled == 0
            && self.gaps == 0
            && self.altered == 0
            && self.balances == 0
    }

    pub(super) fn add(&mut self, problem: Problem) {
        let count = match &problem {
            Problem::Missing { .. } => &mut self.missing,
            Problem::Doubled { .. } => &mut self.doubled,
            Problem::Altered { .. } | Problem::AppliedAfterAll { .. } => &mut self.altered,
            Problem::OffsetGap { .. } | Problem::SequenceGap { .. } => &mut self.gaps,
            Problem::Balance { .. } => &mut self.balances,
        };
        *count += 1;
        if *count <= LISTED_PROBLEMS as u64 {
            self.problems.push(problem);
        }
    }
}
