//! The address of an entity: its type and its id, checked once at the edge and trusted afterwards.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest entity type name in bytes. Names are written by programmers; 64 leaves room and bounds every key.
pub const MAX_ENTITY_TYPE_BYTES: usize = 64;

/// Longest entity id in bytes. It holds a URL path segment or an e-mail address and bounds every key in the store.
pub const MAX_ENTITY_ID_BYTES: usize = 256;

/// The address of one entity, written `type/id`, for example `account/alice`.
///
/// A type name is `a-z`, `0-9`, `-` and `_`, beginning with a letter, at most [`MAX_ENTITY_TYPE_BYTES`] long. An id is any text without
/// control characters, 1 to [`MAX_ENTITY_ID_BYTES`] bytes. The separator cannot occur in a type name, so an address reads back
/// unambiguously even when the id contains slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Arc<str>, Arc<str>)", into = "(Arc<str>, Arc<str>)")]
pub struct EntityAddress {
    entity_type: Arc<str>,
    id: Arc<str>,
}

impl EntityAddress {
    /// An address from its two halves.
    ///
    /// # Errors
    /// [`AddressError`] names which half breaks which rule.
    pub fn new(
        entity_type: impl Into<Arc<str>>,
        id: impl Into<Arc<str>>,
    ) -> Result<Self, AddressError> {
        let (entity_type, id) = (entity_type.into(), id.into());
        check_type(&entity_type)?;
        check_id(&id)?;
        Ok(Self { entity_type, id })
    }

    /// The type name, as in `account`.
    #[must_use]
    pub fn entity_type(&self) -> &str {
        &self.entity_type
    }

    /// The id, as in `alice`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

fn check_type(entity_type: &str) -> Result<(), AddressError> {
    let well_formed = entity_type.starts_with(|c: char| c.is_ascii_lowercase())
        && entity_type
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if !well_formed || entity_type.len() > MAX_ENTITY_TYPE_BYTES {
        return Err(AddressError::Type { entity_type: entity_type.into() });
    }
    Ok(())
}

fn check_id(id: &str) -> Result<(), AddressError> {
    if id.is_empty() {
        return Err(AddressError::EmptyId);
    }
    if id.len() > MAX_ENTITY_ID_BYTES {
        return Err(AddressError::LongId { bytes: id.len() });
    }
    if id.chars().any(char::is_control) {
        return Err(AddressError::ControlCharacter { id: id.escape_debug().collect() });
    }
    Ok(())
}

impl fmt::Display for EntityAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.entity_type, self.id)
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

impl TryFrom<(Arc<str>, Arc<str>)> for EntityAddress {
    type Error = AddressError;

    fn try_from((entity_type, id): (Arc<str>, Arc<str>)) -> Result<Self, AddressError> {
        Self::new(entity_type, id)
    }
}

impl From<EntityAddress> for (Arc<str>, Arc<str>) {
    fn from(address: EntityAddress) -> Self {
        (address.entity_type, address.id)
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
        assert!(matches!(
            "account".parse::<EntityAddress>(),
            Err(AddressError::NoSeparator { .. })
        ));
    }
}
