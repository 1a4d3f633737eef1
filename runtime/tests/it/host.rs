//! The host: actors, arbiters and loaders over a log in memory.
