//! Memory per live entity.
