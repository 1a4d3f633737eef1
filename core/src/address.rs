//! The address of an entity: its type and its id, checked once at the edge and trusted afterwards.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shard_hash::hash_of;

/// Longest entity type name in bytes. Names are written by programmers; 64 leaves room and bounds every key.
pub const MAX_ENTITY_TYPE_BYTES: usize = 64;

/// Longest entity id in bytes. It holds a URL path segment or an e-mail address and bounds every key in the store.
pub const MAX_ENTITY_ID_BYTES: usize = 256;

/// The address of one entity, written `type/id`, for example `account/alice`.
///
/// A type name is `a-z`, `0-9`, `-` and `_`, beginning with a letter, at most [`MAX_ENTITY_TYPE_BYTES`] long. An id is any text without
/// control characters, 1 to [`MAX_ENTITY_ID_BYTES`] bytes. The separator cannot occur in a type name, so an address reads back
/// unambiguously even when the id contains slashes. A clone shares the text. Addresses are in the order of their types, then of their ids.
#[derive(Clone, Eq)]
pub struct EntityAddress {
    /// Type, a zero byte, id: one text, so that a clone counts one reference and the hash of the shard takes it as it is. Neither half can hold a
    /// zero byte, which is also why its order is that of the pair.
    text: Arc<str>,
    /// Of the text; it decides about the shard. Taken once, because every ask of the entity and every place on its way needs it.
    hash: u64,
    type_bytes: u8,
}

impl EntityAddress {
    /// An address from its two halves.
    ///
    /// # Errors
    /// [`AddressError`] names which half breaks which rule.
    pub fn new(entity_type: impl AsRef<str>, id: impl AsRef<str>) -> Result<Self, AddressError> {
        let (entity_type, id) = (entity_type.as_ref(), id.as_ref());
        let type_bytes = check_type(entity_type)?;
        check_id(id)?;
        let mut text = String::with_capacity(entity_type.len() + 1 + id.len());
        text.push_str(entity_type);
        text.push(SEPARATOR);
        text.push_str(id);
        Ok(Self { hash: hash_of(&text), text: text.into(), type_bytes })
    }

    /// The type name, as in `account`.
    #[must_use]
    #[inline]
    pub fn entity_type(&self) -> &str {
        &self.text[..usize::from(self.type_bytes)]
    }

    /// The id, as in `alice`.
    #[must_use]
    #[inline]
    pub fn id(&self) -> &str {
        &self.text[usize::from(self.type_bytes) + SEPARATOR.len_utf8()..]
    }

    /// The hash of type, a zero byte and id that the shard follows from.
    #[inline]
    pub(crate) fn placing_hash(&self) -> u64 {
        self.hash
    }
}

// What follows from the text is not looked at: equal texts are equal addresses.

impl PartialEq for EntityAddress {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl PartialOrd for EntityAddress {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for EntityAddress {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

/// The text and not our hash of it, which has no secret: somebody who chooses ids could make many that meet.
impl Hash for EntityAddress {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.text.hash(hasher);
    }
}

/// Stands between type and id in memory.
const SEPARATOR: char = '\0';

/// The length of a well-formed type name.
fn check_type(entity_type: &str) -> Result<u8, AddressError> {
    let well_formed = entity_type.starts_with(|c: char| c.is_ascii_lowercase())
        && entity_type
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    match u8::try_from(entity_type.len()) {
        Ok(length) if well_formed && entity_type.len() <= MAX_ENTITY_TYPE_BYTES => Ok(length),
        _ => Err(AddressError::Type { entity_type: entity_type.into() }),
    }
}

fn check_id(id: &str) -> Result<(), AddressError> {
    if id.is_empty() {
        return Err(AddressError::EmptyId);
    }
    if id.len() > MAX_ENTITY_ID_BYTES {
        return Err(AddressError::LongId { bytes: id.len() });
    }
    // Nearly every id is ASCII, of which this says the same in less.
    let plain = id.bytes().all(|byte| matches!(byte, 0x20..0x7F));
    if !plain && id.chars().any(char::is_control) {
        return Err(AddressError::ControlCharacter { id: id.escape_debug().collect() });
    }
    Ok(())
}

impl fmt::Display for EntityAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.entity_type(), self.id())
    }
}

impl FromStr for EntityAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (entity_type, id) = text
            .split_once('/')
            .ok_or_else(|| AddressError::NoSeparator { text: text.to_owned() })?;
        Self::new(entity_type, id)
    }
}

impl fmt::Debug for EntityAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityAddress")
            .field("entity_type", &self.entity_type())
            .field("id", &self.id())
            .finish()
    }
}

/// Written as a pair of texts.
impl Serialize for EntityAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.entity_type(), self.id()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EntityAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (entity_type, id) = <(String, String)>::deserialize(deserializer)?;
        Self::new(entity_type, id).map_err(serde::de::Error::custom)
    }
}

/// Why a text is no address of an entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The type name breaks the rule.
    #[error(
        "`{entity_type}` is no entity type: a-z, 0-9, - and _, beginning with a letter, at most {MAX_ENTITY_TYPE_BYTES} bytes"
    )]
    Type {
        /// What was given.
        entity_type: String,
    },
    /// The id is empty.
    #[error("an entity id must not be empty")]
    EmptyId,
    /// The id is too long.
    #[error("an entity id has at most {MAX_ENTITY_ID_BYTES} bytes, this one has {bytes}")]
    LongId {
        /// Its length.
        bytes: usize,
    },
    /// The id holds a control character.
    #[error("an entity id must not hold control characters: `{id}`")]
    ControlCharacter {
        /// The id, escaped.
        id: String,
    },
    /// There is no `/` between type and id.
    #[error("`{text}` is no address: write type/id, for example account/alice")]
    NoSeparator {
        /// What was given.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Law E25: both halves can be read back, and the separator cannot stand in the type name.
    #[test]
    fn an_address_reads_back() {
        let address: EntityAddress = "account/a/b|c".parse().unwrap();
        assert_eq!((address.entity_type(), address.id()), ("account", "a/b|c"));
        assert_eq!(address.to_string().parse(), Ok(address));
        assert!(matches!(EntityAddress::new("acc|ount", "x"), Err(AddressError::Type { .. })));
        assert!(matches!(EntityAddress::new("acc/ount", "x"), Err(AddressError::Type { .. })));
    }

    /// Each type's addresses stand together, whatever characters sort before the slash.
    #[test]
    fn addresses_are_in_the_order_of_their_types() {
        let address = |text: &str| text.parse::<EntityAddress>().unwrap();
        let mut addresses = ["a-b/1", "a/2", "b/0", "a/1", "a0/1"].map(address);
        addresses.sort();
        assert_eq!(addresses, ["a/1", "a/2", "a-b/1", "a0/1", "b/0"].map(address));
    }

    /// However an address came to be, and whatever it is compared with.
    #[test]
    fn equal_addresses_are_equal_in_all_they_hold() {
        let address = EntityAddress::new("account", "alice").unwrap();
        let json = serde_json::to_string(&address).unwrap();
        let same = [
            "account/alice".parse().unwrap(),
            serde_json::from_str(&json).unwrap(),
            address.clone(),
        ];
        let all = |it: &EntityAddress| (it.text.clone(), it.hash, it.type_bytes);
        assert!(same.iter().all(|it| *it == address && all(it) == all(&address)));
        for other in ["accounts/alice", "account/alic", "account/bob", "show/alice"] {
            let other: EntityAddress = other.parse().unwrap();
            assert_ne!(other, address);
            // Nor when the hashes meet.
            assert_ne!(EntityAddress { hash: address.hash, ..other }, address);
        }
    }

    /// The form is part of stored data and of messages.
    #[test]
    fn an_address_is_written_as_a_pair() {
        let address = EntityAddress::new("account", "alice").unwrap();
        let json = serde_json::to_string(&address).unwrap();
        assert_eq!(json, r#"["account","alice"]"#);
        assert_eq!(serde_json::from_str::<EntityAddress>(&json).unwrap(), address);
        assert!(serde_json::from_str::<EntityAddress>(r#"["Account","alice"]"#).is_err());
    }

    /// Law E7: an empty or malformed id fails fast.
    #[test]
    fn malformed_addresses_are_refused() {
        assert_eq!(EntityAddress::new("account", ""), Err(AddressError::EmptyId));
        assert!(matches!(EntityAddress::new("", "x"), Err(AddressError::Type { .. })));
        assert!(matches!(EntityAddress::new("9a", "x"), Err(AddressError::Type { .. })));
        assert!(matches!(
            EntityAddress::new("account", "x".repeat(257)),
            Err(AddressError::LongId { bytes: 257 })
        ));
        assert!(matches!(
            EntityAddress::new("account", "a\nb"),
            Err(AddressError::ControlCharacter { .. })
        ));
        for control in ['\0', '\u{1f}', '\u{7f}', '\u{80}', '\u{9f}'] {
            let found = EntityAddress::new("account", format!("ä{control}"));
            assert!(matches!(found, Err(AddressError::ControlCharacter { .. })), "{control:?}");
        }
        assert!(EntityAddress::new("account", "ä ~\u{a0}").is_ok());
        assert!(matches!(
            "account".parse::<EntityAddress>(),
            Err(AddressError::NoSeparator { .. })
        ));
    }
}
