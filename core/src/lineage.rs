//! Where a command came from: its own id, what caused it, and the conversation it belongs to.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

use crate::{Entropy, Timestamp};

macro_rules! lineage_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        // Text where people read it, because JSON has no number of 128 bits; a number where bytes count.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_u128(self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(de::Error::custom)
                } else {
                    u128::deserialize(deserializer).map(Self)
                }
            }
        }

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
lineage_id! {
    /// The id of one failure fact. A UUID of version 7, so ids sort by time.
    FailureId
}

/// The time in an id has 48 bits.
const MILLISECONDS: u64 = (1 << 48) - 1;

/// An id from the time and 74 random bits (RFC 9562, UUID version 7).
#[inline]
fn version_7(now: Timestamp, entropy: &mut (impl Entropy + ?Sized)) -> u128 {
    const VERSION: u128 = 0x7 << 76;
    const VARIANT: u128 = 0b10 << 62;
    const RANDOM: u128 = (0xFFF << 64) | (u64::MAX >> 2) as u128;
    let time = u128::from(now.as_millis() & MILLISECONDS) << 80;
    time | VERSION | VARIANT | (entropy.next_u128() >> 48 & RANDOM)
}

/// Later than this no clock that is anywhere near right tells (the year 2100, in milliseconds): one in sixty-four random ids, such as those of traces, looks like a
/// UUID of version 7, and nearly all of these tell some time thousands of years ahead.
const NO_CLOCK_TELLS: u64 = 4_102_444_800_000;

impl CorrelationId {
    /// When the conversation began, by the clock of who opened it; none when its id is no UUID of version 7, or of a time after the year 2100, and so tells no time.
    #[must_use]
    pub fn began(self) -> Option<Timestamp> {
        let id = Uuid::from_u128(self.0);
        let tells_time = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        let millis = u64::try_from(self.0 >> 80).ok()?;
        (tells_time && millis < NO_CLOCK_TELLS).then_some(Timestamp::from_millis(millis))
    }
}

impl FailureId {
    /// A new id.
    #[inline]
    pub fn generate(now: Timestamp, entropy: &mut (impl Entropy + ?Sized)) -> Self {
        Self(version_7(now, entropy))
    }
}

impl CommandId {
    /// A new id.
    #[inline]
    pub fn generate(now: Timestamp, entropy: &mut (impl Entropy + ?Sized)) -> Self {
        Self(version_7(now, entropy))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    /// RFC 9562, as the crate that reads and writes these ids elsewhere makes them.
    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        for (millis, seed) in [(0, 1), (1_795_191_667_015, 2), ((1 << 48) - 1, 3)] {
            let bits = SeededEntropy::new(seed).next_u128().to_be_bytes();
            let random = bits[..10].try_into().unwrap();
            let expected = uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid();
            let now = Timestamp::from_millis(millis);
            let id = CommandId::generate(now, &mut SeededEntropy::new(seed));
            assert_eq!(id.0, expected.as_u128());
        }
    }

    #[test]
    fn the_id_of_a_conversation_tells_when_it_began() {
        let now = Timestamp::from_millis(1_795_191_667_015);
        let opened = CommandId::generate(now, &mut SeededEntropy::new(1)).opens();
        assert_eq!(opened.began(), Some(now));
        let chosen: CorrelationId = "5f0c3b0e-6c1f-4b5e-9d0a-000000000001".parse().unwrap();
        assert_eq!((chosen.began(), CorrelationId(77).began()), (None, None));
        let reserved = CorrelationId(opened.0 | 0b11 << 62);
        assert_eq!(reserved.began(), None, "not of the variant whose versions we know");
        let drawn: CorrelationId = "4bf92f35-77b3-7da6-a3ce-929d0e0e4736".parse().unwrap();
        assert_eq!(drawn.began(), None, "of a version 7 by chance");
    }
}
