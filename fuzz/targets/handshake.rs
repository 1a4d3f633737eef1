//! What a stranger says from the first byte on.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::handshake, holm_sharding::fuzzing::handshake_seeds);
