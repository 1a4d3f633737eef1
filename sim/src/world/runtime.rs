//! The runtimes of a world: tokio with a clock that stands until it is told to move, and with chance from the seed.
//!
//! tokio draws by itself, for example in which order the readers of a watch channel wake up. That can be seeded only where tokio is built with
//! `--cfg tokio_unstable`, as `cargo xtask sim` does. Without it a world is as true, but one seed may have more than one run.

use tokio::runtime::{Builder, Runtime};

/// Whether one seed has one run in this build.
#[must_use]
pub const fn is_repeatable() -> bool {
    cfg!(tokio_unstable)
}

/// A runtime whose time and chance are the world's.
pub(super) fn build(seed: u64) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    #[cfg(not(tokio_unstable))]
    let _ = seed;
    builder.build()
}
