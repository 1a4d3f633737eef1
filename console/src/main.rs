//! The program `holm`: reads the command line, carries out one verb, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use holm_console::cli::{self, Cli};

/// A command is allocated on the caller's thread and freed on the shard's, a batch on the shard's and freed on the committer's. The system's allocator
/// takes a lock for each of these.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
