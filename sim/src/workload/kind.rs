//! The kinds of commands that a workload draws, each with what it is for.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// What a command is drawn for.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $kind),*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; [$(stringify!($kind)),*].len()] = [$(Self::$kind),*];
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$kind => stringify!($kind)),* })
            }
        }
    };
}

kinds! {
    /// Reads a register.
    Look,
    /// Writes a value that nobody else writes.
    Write,
    /// Swaps what the workload believes to be there.
    Swap,
    /// Swaps what is surely not there, and is refused.
    Refusal,
    /// Writes several values at once.
    Burst,
    /// Is accepted and changes nothing.
    Nothing,
    /// Lays down some kilobytes.
    Fill,
    /// A command exactly as long as allowed.
    NearLimit,
    /// A command one byte too long.
    TooLong,
    /// Events are applied, then the reply turns out to be too long.
    LongReply,
    /// The entity wishes to be put to rest.
    Rest,
    /// The handler, the event or the reply panics.
    Poison,
    /// An account: money in and out, and refusals.
    Bank,
    /// A show: a few people after a few seats.
    Seats,
    /// An airport: reports, summed up.
    Flights,
    /// An earlier command again, through the same node.
    Repeat,
    /// An earlier command again, through another node.
    Elsewhere,
    /// An earlier command again, several times at once.
    Twins,
    /// An earlier key with another command.
    ReusedKey,
    /// A deadline that can hardly be met.
    Hurry,
    /// A command that no entity knows.
    Stranger,
    /// A relic: now and then it gets an event that nobody can replay.
    Relic,
}
