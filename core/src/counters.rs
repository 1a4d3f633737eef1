//! The counters and small ids, each a type of its own so that an offset can never be passed where a term belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing counted yet; the first real value is 1.
            pub const ZERO: Self = Self(0);

            /// The value after this one.
            ///
            /// # Panics
            /// When the counter is at `u64::MAX`: at a billion steps a second that takes 584 years.
            #[must_use]
            pub fn next(self) -> Self {
                self.plus(1)
            }

            /// The value `steps` after this one.
            ///
            /// # Panics
            /// When the sum passes `u64::MAX`, which no history reaches.
            #[must_use]
            pub fn plus(self, steps: u64) -> Self {
                Self(self.0.checked_add(steps).expect("a counter does not reach u64::MAX"))
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// The place of an event in the history of one entity: 1, 2, 3 … without a gap. Zero means "no event yet".
    SequenceNumber
}
counter! {
    /// The place of a record in the log of one shard: 1, 2, 3 … without a gap. Zero means "the log is empty".
    ///
    /// A record is the whole outcome of one command, so all events of one command share an offset.
    Offset
}
counter! {
    /// The number of a leadership of one shard. It only rises; a write made under an older term is refused by the log.
    Term
}
counter! {
    /// A node of the cluster. Ids are given by the cluster log and never used twice, also not by the same machine.
    NodeId
}

/// One of the N shards of a cluster, `0..N`. N is fixed when the cluster is created.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
