//! Tests of the whole proof: a few worlds, small enough for every build. `cargo xtask sim` runs thousands.

mod trials;
mod worlds;
