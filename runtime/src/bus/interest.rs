//! Which facts somebody wants.

use std::sync::Arc;

use holm_persistence::{Record, StoredEvent};

use crate::entity::Entity;
use crate::registry::SYSTEM_PREFIX;

/// A filter of facts. What is not named is not asked about; without any condition everything passes but the facts of Holm's own entities.
///
/// ```
/// # use holm_runtime::bus::Interest;
/// let refused_large_ones = Interest::everything().entity_type("account").event("Withdrawn").id_prefix("vip-");
/// # let _ = refused_large_ones;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    entity_types: Vec<Box<str>>,
    events: Vec<Box<str>>,
    id_prefix: Option<Arc<str>>,
    notifications: bool,
}

impl Interest {
    /// Everything that happens to a program's entities.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Everything that happens to entities of type `E`.
    #[must_use]
    pub fn of<E: Entity>() -> Self {
        Self::everything().entity_type(E::TYPE)
    }

    /// Only facts of this entity type. Named again, one of them.
    #[must_use]
    pub fn entity_type(mut self, name: impl Into<Box<str>>) -> Self {
        self.entity_types.push(name.into());
        self
    }

    /// Only events of this name. Named again, one of them.
    #[must_use]
    pub fn event(mut self, name: impl Into<Box<str>>) -> Self {
        self.events.push(name.into());
        self
    }

    /// Only entities whose id begins so.
    #[must_use]
    pub fn id_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.id_prefix = Some(prefix.into());
        self
    }

    /// Only that something happened, and to whom, without the event itself: for whoever asks the entity then, or only counts.
    #[must_use]
    pub fn notifications(mut self) -> Self {
        self.notifications = true;
        self
    }

    pub(super) fn wants_record(&self, record: &Record<'_>) -> bool {
        let named = if self.entity_types.is_empty() {
            !record.entity_type.starts_with(SYSTEM_PREFIX)
        } else {
            self.entity_types.iter().any(|name| **name == *record.entity_type)
        };
        named
            && self.id_prefix.as_ref().is_none_or(|prefix| record.entity_id.starts_with(&**prefix))
    }

    pub(super) fn wants_event(&self, event: &StoredEvent<'_>) -> bool {
        self.events.is_empty() || self.events.iter().any(|name| **name == *event.name)
    }

    pub(super) fn wants_notifications(&self) -> bool {
        self.notifications
    }
}
