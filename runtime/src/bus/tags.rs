//! Tags, found when somebody asks for them: nothing is stored, so the type of the event must be known to whoever filters by them.

use std::sync::Arc;

use holm_persistence::StoredEvent;

use crate::registry::Registry;

/// Knows the tags of events.
#[derive(Debug, Clone, Default)]
pub(super) struct Tagger(Option<Arc<Registry>>);

impl Tagger {
    pub(super) fn new(registry: Registry) -> Self {
        Self(Some(Arc::new(registry)))
    }

    /// Whether an event has one of the tags. An error, never a guess, where that cannot be known: what is left out in silence is never missed.
    pub(super) fn has_one(
        &self,
        entity_type: &str,
        event: &StoredEvent<'_>,
        tags: &[Box<str>],
    ) -> Result<bool, String> {
        let unknown = |reason: &str| format!("the tags of `{entity_type}` are not known: {reason}");
        let registry =
            self.0.as_ref().ok_or_else(|| unknown("this bus has no registry (`Bus::knowing`)"))?;
        let kind = registry.kind(entity_type).map_err(|error| unknown(&error.to_string()))?;
        kind.entity.has_tag(event, tags).map_err(|reason| unknown(&reason))
    }
}
