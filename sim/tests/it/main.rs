//! Tests of the whole proof: a few worlds, small enough for every build. `cargo xtask sim` runs thousands.

mod readers;
mod trials;
mod worlds;
