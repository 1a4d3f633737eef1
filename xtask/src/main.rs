//! The project's chores: `cargo xtask tidy` checks what a compiler cannot, `cargo xtask ci` runs what the build server runs, `cargo xtask chaos` a
//! campaign of faults, `cargo xtask mutants` checks the tests, `cargo xtask fuzz` and `cargo xtask miri` look for what no test thought of.

mod budget;
mod fuzz;
mod miri;
mod mutants;
mod sim;
mod tidy;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Parser;

/// The chores of the project.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Check the rules of the house: arrows, heads, lengths, names, promises, links.
    Tidy,
    /// Run every step that the build server runs, in its order.
    Ci,
    /// Do harm to a cluster of real processes and check what was promised; `--help` lists the faults. Some need root.
    #[command(disable_help_flag = true)]
    Chaos {
        /// What is handed to the campaign.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run seeds of the simulated cluster.
    Sim(sim::Simulation),
    /// Plant known bugs in a copy of the tree, one at a time, and see that the tests catch each.
    Mutants(mutants::Options),
    /// Run the fuzz targets: every decoder that reads bytes of others.
    Fuzz(fuzz::Options),
    /// Count what one command takes on each hot path, and hold it against `benches/budget.toml`.
    Budget(budget::Options),
    /// Run the tests of what is pure in miri, where it is installed.
    Miri,
}

fn main() -> anyhow::Result<ExitCode> {
    let root = workspace_root()?;
    match Chore::parse() {
        Chore::Tidy => run_tidy(&root),
        Chore::Ci => run_ci(&root),
        Chore::Chaos { args } => run_chaos(&root, &args),
        Chore::Sim(wanted) => sim::run(&root, &wanted),
        Chore::Mutants(options) => mutants::run(&root, &options),
        Chore::Fuzz(options) => fuzz::run(&root, &options),
        Chore::Budget(options) => budget::run(&root, &options),
        Chore::Miri => miri::run(&root),
    }
}

fn run_tidy(root: &Path) -> anyhow::Result<ExitCode> {
    let tree = tidy::Tree::read(root).context("the work tree cannot be read")?;
    let findings = tidy::check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    println!("tidy: {} files, {errors} errors, {warnings} warnings", tree.files().len());
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_ci(root: &Path) -> anyhow::Result<ExitCode> {
    let status = Command::new("bash")
        .arg(".ci/run")
        .current_dir(root)
        .status()
        .context(".ci/run cannot be started with bash")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Optimised: what a campaign measures is how fast the cluster is well again.
fn run_chaos(root: &Path, args: &[OsString]) -> anyhow::Result<ExitCode> {
    let status = Command::new("cargo")
        .args(["run", "--quiet", "--release", "--package", "holm-faults", "--", "chaos"])
        .args(args)
        .current_dir(root)
        .status()
        .context("cargo cannot be started")?;
    // A check that does not hold has a code of its own.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The folder above this crate's. Cargo says where that is when it runs the program, which may have been built from another tree with the same target folder.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    Ok(here.parent().context("xtask lies in a folder of the workspace")?.to_owned())
}
