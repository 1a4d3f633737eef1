//! A stream of frames between nodes, and the messages put together from them.

#![no_main]

holm_fuzz::target!(holm_sharding::fuzzing::frames, holm_sharding::fuzzing::frames_seeds);
