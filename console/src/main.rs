//! The program `holm`: reads the command line, carries out one verb, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use holm_console::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
