//! Which facts somebody wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holm_core::EntityAddress;
use holm_persistence::{Record, StoredEvent};

use super::tags::Tagger;
use crate::entity::Entity;
use crate::registry::SYSTEM_PREFIX;

/// A filter of facts. What is not named is not asked about; without any condition everything passes but the facts of Holm's own entities.
///
/// Where conditions speak against each other: an entity that is included passes with all its events, whatever else is said; else what is excluded does not
/// pass; else everything passes that meets all conditions.
///
/// ```
/// # use holm_runtime::bus::Interest;
/// let refused_large_ones = Interest::everything().entity_type("account").event("Withdrawn").id_prefix("vip-");
/// let but_one = refused_large_ones.exclude("account/vip-0".parse()?).exclude_tag("test");
/// # let _ = but_one;
/// # Ok::<(), holm_core::AddressError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    entity_types: Vec<Box<str>>,
    events: Vec<Box<str>>,
    id_prefix: Option<Arc<str>>,
    tags: Vec<Box<str>>,
    included: Entities,
    excluded: Entities,
    excluded_tags: Vec<Box<str>>,
    programs: bool,
    notifications: bool,
}

/// Entities by type and id, so that those of a record are found without an address being made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entities(BTreeMap<Box<str>, BTreeSet<Box<str>>>);

impl Entities {
    fn add(&mut self, address: &EntityAddress) {
        self.0.entry(address.entity_type().into()).or_default().insert(address.id().into());
    }

    fn remove(&mut self, address: &EntityAddress) {
        let Some(ids) = self.0.get_mut(address.entity_type()) else { return };
        ids.remove(address.id());
        if ids.is_empty() {
            self.0.remove(address.entity_type());
        }
    }

    fn contain(&self, entity_type: &str, id: &str) -> bool {
        self.0.get(entity_type).is_some_and(|ids| ids.contains(id))
    }
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

    /// Everything that happens to this entity, whatever else is asked for.
    #[must_use]
    pub fn include(mut self, address: EntityAddress) -> Self {
        self.excluded.remove(&address);
        self.included.add(&address);
        self
    }

    /// Nothing that happens to this entity. It takes an [`Interest::include`] back.
    #[must_use]
    pub fn exclude(mut self, address: EntityAddress) -> Self {
        self.included.remove(&address);
        self.excluded.add(&address);
        self
    }

    /// No events with this tag. As with [`Interest::tag`], the tags must be known.
    #[must_use]
    pub fn exclude_tag(mut self, tag: impl Into<Box<str>>) -> Self {
        self.excluded_tags.push(tag.into());
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
        if self.includes(record.entity_type, record.entity_id) {
            return true;
        }
        let programs = self.programs || self.entity_types.is_empty();
        let named = self.entity_types.iter().any(|name| **name == *record.entity_type);
        (named || programs && !record.entity_type.starts_with(SYSTEM_PREFIX))
            && self.id_prefix.as_ref().is_none_or(|prefix| record.entity_id.starts_with(&**prefix))
            && !self.excluded.contain(record.entity_type, record.entity_id)
    }

    /// Whether this event of a record that is wanted is wanted too; an error where that depends on tags that are not known.
    pub(super) fn wants_event(
        &self,
        record: &Record<'_>,
        event: &StoredEvent<'_>,
        tagger: &Tagger,
    ) -> Result<bool, String> {
        if self.includes(record.entity_type, record.entity_id) {
            return Ok(true);
        }
        let has_one_of = |tags: &[Box<str>]| tagger.has_one(record.entity_type, event, tags);
        Ok((self.events.is_empty() || self.events.iter().any(|name| **name == *event.name))
            && (self.tags.is_empty() || has_one_of(&self.tags)?)
            && (self.excluded_tags.is_empty() || !has_one_of(&self.excluded_tags)?))
    }

    /// Whether this entity passes whatever else is said.
    pub(super) fn includes(&self, entity_type: &str, id: &str) -> bool {
        self.included.contain(entity_type, id)
    }

    /// How many entities are included.
    pub(super) fn included(&self) -> usize {
        self.included.0.values().map(BTreeSet::len).sum()
    }

    pub(super) fn wants_notifications(&self) -> bool {
        self.notifications
    }
}
