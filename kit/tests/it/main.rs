//! The kit, on an entity that is right and on entities that are broken, each in one way.

mod broken;
mod lamp;
