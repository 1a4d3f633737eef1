//! What a checker found: one broken promise, whom it concerns, and the operations to look at.

use std::fmt;

use holm_core::{EntityAddress, Offset, ShardId};
use serde::{Deserialize, Serialize};

use crate::history::OperationId;

/// A promise of Holm, by its number. What each says stands in `docs/guarantees.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// G1.
    Durable,
    /// G2.
    Once,
    /// G3.
    OneWriter,
    /// G4.
    GapFree,
    /// G5.
    Linearizable,
    /// G6.
    Atomic,
    /// G7.
    Contained,
    /// G8.
    Followed,
    /// G9.
    Bounded,
    /// G10.
    Deterministic,
}

impl Promise {
    /// Its number, as in `G1`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Durable => 1,
            Self::Once => 2,
            Self::OneWriter => 3,
            Self::GapFree => 4,
            Self::Linearizable => 5,
            Self::Atomic => 6,
            Self::Contained => 7,
            Self::Followed => 8,
            Self::Bounded => 9,
            Self::Deterministic => 10,
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Durable => "durable",
            Self::Once => "once",
            Self::OneWriter => "one writer",
            Self::GapFree => "gap-free",
            Self::Linearizable => "linearizable",
            Self::Atomic => "atomic",
            Self::Contained => "contained",
            Self::Followed => "followed",
            Self::Bounded => "bounded",
            Self::Deterministic => "deterministic",
        };
        write!(f, "G{} {name}", self.number())
    }
}

/// One place where a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// The promise.
    pub promise: Promise,
    /// The entity, when one is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityAddress>,
    /// Where in a log, when it is about one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<(ShardId, Offset)>,
    /// The operations concerned, as places in the history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationId>,
    /// What is wrong, for a person.
    pub what: String,
}

impl Finding {
    /// A finding about nothing in particular yet.
    pub(super) fn new(promise: Promise, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { promise, entity: None, place: None, operations: Vec::new(), what }
    }

    pub(super) fn of(mut self, entity: &EntityAddress) -> Self {
        self.entity = Some(entity.clone());
        self
    }

    pub(super) fn at(mut self, shard: ShardId, offset: Offset) -> Self {
        self.place = Some((shard, offset));
        self
    }

    pub(super) fn by(mut self, operations: impl IntoIterator<Item = OperationId>) -> Self {
        self.operations.extend(operations);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.promise)?;
        if let Some(entity) = &self.entity {
            write!(f, "{entity}: ")?;
        }
        f.write_str(&self.what)?;
        if let Some((shard, offset)) = self.place {
            write!(f, " [shard {shard}, offset {offset}]")?;
        }
        if let Some((first, rest)) = self.operations.split_first() {
            write!(f, " [operations {}", first.0)?;
            for operation in rest {
                write!(f, ", {}", operation.0)?;
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}
