//! Where a command came from: its own id, what caused it, and the conversation it belongs to.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Entropy, Timestamp};

macro_rules! lineage_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_u128(self.0).fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map(|id| Self(id.as_u128()))
            }
        }
    };
}

lineage_id! {
    /// The id of one command as it was sent; a retry keeps it. A UUID of version 7, so ids sort by time.
    CommandId
}
lineage_id! {
    /// The conversation that a command belongs to; everything that follows from one request carries the same one.
    CorrelationId
}
lineage_id! {
    /// The command or event that caused this command; for a command from outside, the command itself.
    CausationId
}

impl CommandId {
    /// A new id from the time and 74 random bits (RFC 9562, UUID version 7).
    pub fn generate(now: Timestamp, entropy: &mut dyn Entropy) -> Self {
        let bits = entropy.next_u128().to_be_bytes();
        let mut random = [0; 10];
        random.copy_from_slice(&bits[..10]);
        Self(
            uuid::Builder::from_unix_timestamp_millis(now.as_millis(), &random)
                .into_uuid()
                .as_u128(),
        )
    }

    /// The correlation id of a conversation that this command opens.
    #[must_use]
    pub const fn opens(self) -> CorrelationId {
        CorrelationId(self.0)
    }

    /// This command as the cause of another.
    #[must_use]
    pub const fn causes(self) -> CausationId {
        CausationId(self.0)
    }
}
