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
    tags: Vec<Box<str>>,
    programs: bool,
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

    /// Only events with this tag ([`crate::Event::tags_of`], [`crate::Event::tags`]). Named again, one of them.
    ///
    /// Tags are found when an event is read, so whoever filters by them must know its type: a node does, and so does a client that registers it. Where the
    /// tags of an event that passes every other condition cannot be found, following ends with an error, and nothing is left out in silence.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<Box<str>>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Besides the entity types that are named, everything that happens to a program's entities.
    #[must_use]
    pub fn and_programs(mut self) -> Self {
        self.programs = true;
        self
    }

    /// Only that something happened, and to whom, without the event itself: for whoever asks the entity then, or only counts.
    #[must_use]
    pub fn notifications(mut self) -> Self {
        self.notifications = true;
        self
    }

    pub(super) fn wants_record(&self, record: &Record<'_>) -> bool {
        let programs = self.programs || self.entity_types.is_empty();
        let named = self.entity_types.iter().any(|name| **name == *record.entity_type);
        (named || programs && !record.entity_type.starts_with(SYSTEM_PREFIX))
            && self.id_prefix.as_ref().is_none_or(|prefix| record.entity_id.starts_with(&**prefix))
    }

    pub(super) fn wants_event(&self, event: &StoredEvent<'_>) -> bool {
        self.events.is_empty() || self.events.iter().any(|name| **name == *event.name)
    }

    /// The tags one of which an event must have; any event when there are none.
    pub(super) fn tags(&self) -> &[Box<str>] {
        &self.tags
    }

    pub(super) fn wants_notifications(&self) -> bool {
        self.notifications
    }
}
