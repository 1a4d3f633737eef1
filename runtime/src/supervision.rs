//! Supervision: what becomes of an entity after it failed. Said once per entity type, carried out by the shard, never by the entity itself.

use std::time::Duration;

/// What becomes of an entity after a failure: a panic in a handler, in `apply` or in a reply, or a failed recovery.
///
/// Whatever the strategy, the command that failed had no effect, the state that it touched is dropped and read from the log again, the failure
/// becomes a [`crate::FailureFact`], and no other entity notices.
///
/// ```
/// use std::time::Duration;
/// use holm_runtime::Supervision;
///
/// const PATIENT: Supervision = Supervision::restart(Duration::from_millis(50), Duration::from_secs(5)).limit(10, Duration::from_secs(60));
/// const STRICT: Supervision = Supervision::quarantine(3, Duration::from_secs(60));
/// assert_ne!(PATIENT, STRICT);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Supervision {
    /// The entity goes on at once, as if nothing had been: its state is read again, commands that came meanwhile wait for it, nothing is counted.
    Resume,
    /// The first failure in a while costs nothing but the reading; each further one doubles the wait. At the limit: quarantine.
    Restart {
        /// The wait after the second failure.
        first_wait: Duration,
        /// The longest wait.
        longest_wait: Duration,
        /// So many failures within the window end in quarantine; at most 64 are counted.
        limit: u32,
        /// The window.
        within: Duration,
    },
    /// The entity leaves memory; the next command brings it back, at once. Commands that waited behind the one that failed are refused.
    Stop,
    /// The entity goes on at once, until so many failures came within the window: then no command reaches it, reads included, until somebody else
    /// lifts the quarantine. It survives a restart of the node and a change of the leader.
    Quarantine {
        /// How many, from 1; at most 64 are counted.
        failures: u32,
        /// The window.
        within: Duration,
    },
}

impl Supervision {
    /// What holds for an entity type that says nothing: restarts, with waits from 100 ms to 10 s, and quarantine after 20 failures in ten minutes.
    /// The waits alone make that two minutes and a half of nothing but failures.
    pub const DEFAULT: Self = Self::restart(Duration::from_millis(100), Duration::from_secs(10))
        .limit(20, Duration::from_secs(600));

    /// Restarts with waits that double from `first_wait` to `longest_wait`; the limit is that of [`Supervision::DEFAULT`].
    #[must_use]
    pub const fn restart(first_wait: Duration, longest_wait: Duration) -> Self {
        Self::Restart { first_wait, longest_wait, limit: 20, within: Duration::from_secs(600) }
    }

    /// Quarantine after `failures` within the window.
    #[must_use]
    pub const fn quarantine(failures: u32, within: Duration) -> Self {
        Self::Quarantine { failures, within }
    }

    /// The same with another limit, where there is one.
    #[must_use]
    pub const fn limit(self, limit: u32, within: Duration) -> Self {
        match self {
            Self::Restart { first_wait, longest_wait, .. } => {
                Self::Restart { first_wait, longest_wait, limit, within }
            }
            Self::Quarantine { .. } => Self::Quarantine { failures: limit, within },
            other => other,
        }
    }
}

impl Default for Supervision {
    fn default() -> Self {
        Self::DEFAULT
    }
}
