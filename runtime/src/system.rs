//! Holm's own entity types: what Holm itself has to remember is kept as everything else is. They come with every host and are hidden from a program's lists.

use crate::bus::group::Group;
use crate::registry::Registry;

/// The registry of a host: a program's types, and Holm's own.
pub(crate) fn with_system_types(registry: Registry) -> Registry {
    registry.system::<Group>()
}
