//! `cargo xtask miri`: the tests of what is pure, in an interpreter that notices undefined behaviour in the crates below us too.
//!
//! `unsafe` is forbidden here, so what it can find lies in dependencies: hash tables, byte buffers, hashes. What opens files or starts threads is left
//! out, because the interpreter knows neither sled's files nor actix.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

/// Arguments of `cargo miri test`: the crate, and the tests that do no I/O.
const SUITES: [&[&str]; 3] = [
    &["-p", "holm-core"],
    &[
        "-p",
        "holm-persistence",
        "--lib",
        "--",
        "batch",
        "codec",
        "gate",
        "chain",
        "fuzzing",
        "keys",
    ],
    // Those that do not repeat a thing hundreds of times.
    &["-p", "holm-runtime", "--test", "it", "--", "engine::containment", "engine::pipeline"],
];

/// The interpreter is some hundred times slower than the machine.
const PROPTEST_CASES: &str = "4";

/// Runs the suites; says what is missing when there is no miri.
pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let version = cargo_miri(root).arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        println!("miri is not installed: rustup component add --toolchain nightly miri rust-src");
        return Ok(ExitCode::FAILURE);
    }
    for suite in SUITES {
        println!("=== cargo miri test {}", suite.join(" "));
        let mut command = cargo_miri(root);
        command.arg("test").args(suite).env("PROPTEST_CASES", PROPTEST_CASES);
        // The tests look at files of their own and draw seeds from the system.
        command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
        let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
        if !status.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn cargo_miri(root: &Path) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "miri"]).current_dir(root);
    command.env("CARGO_TARGET_DIR", root.join("target/miri"));
    for inherited in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"] {
        command.env_remove(inherited);
    }
    command
}
