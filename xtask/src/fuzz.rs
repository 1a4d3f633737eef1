//! `cargo xtask fuzz`: runs the fuzz targets of `fuzz`, each for a number of executions and under limits of memory and time that are stated.
//!
//! The corpus in the repository is small: the seeds, made from real encodings by `--seeds`. What a run finds on top stays below `target/fuzz`, and
//! an input that fails is written there and printed; it becomes a test.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

/// Longest single allocation: above the 16 MiB that the codec lets one value take, and above the 8 MiB of the longest frame.
const MALLOC_LIMIT_MB: u32 = 20;

/// Most memory of the process. AddressSanitizer keeps up to 256 MiB of what was freed, and its shadow.
const RSS_LIMIT_MB: u32 = 1_024;

/// Longest input: some frames, or an entry of two parts.
const MOST_BYTES: u32 = 64 * 1024;

/// An input that takes this long hangs.
const TIMEOUT_S: u32 = 10;

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The target; all of them when none is named.
    target: Option<String>,
    /// Executions of each target.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    runs: u64,
    /// Write the seeds into the corpus of the repository and run nothing.
    #[arg(long)]
    seeds: bool,
    /// Print the targets and run nothing.
    #[arg(long)]
    list: bool,
}

/// Runs the targets one after the other; stops at the first finding.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let mut targets = targets(root)?;
    if let Some(wanted) = &options.target {
        targets.retain(|target| target.name == *wanted);
        anyhow::ensure!(!targets.is_empty(), "there is no target `{wanted}`; see --list");
    }
    if options.list {
        targets.iter().for_each(|target| println!("{}", target.name));
        return Ok(ExitCode::SUCCESS);
    }
    check_tools()?;
    for target in &targets {
        let name = &target.name;
        println!("=== {name}");
        let passed = if options.seeds {
            write_seeds(root, target)?
        } else {
            fuzz(root, target, options.runs)?
        };
        if !passed {
            println!("fuzz: {name} failed; its input is below target/fuzz/artifacts/{name}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One binary of the fuzz crate.
struct Target {
    name: String,
    /// The feature that brings the crate whose door it fuzzes.
    feature: String,
}

/// The binaries of the fuzz crate.
fn targets(root: &Path) -> anyhow::Result<Vec<Target>> {
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).context("fuzz/Cargo.toml")?;
    let manifest: toml::Table = manifest.parse().context("fuzz/Cargo.toml")?;
    let binaries = manifest.get("bin").and_then(toml::Value::as_array).into_iter().flatten();
    let target = |binary: &toml::Value| {
        let name = binary.get("name")?.as_str()?.to_owned();
        let feature = binary.get("required-features")?.get(0)?.as_str()?.to_owned();
        Some(Target { name, feature })
    };
    Ok(binaries.filter_map(target).collect())
}

fn check_tools() -> anyhow::Result<()> {
    let works = |arguments: &[&str]| {
        let output = cargo_nightly().args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    anyhow::ensure!(
        works(&["--version"]),
        "libFuzzer needs a nightly compiler: rustup toolchain install nightly --profile minimal"
    );
    anyhow::ensure!(
        works(&["fuzz", "--version"]),
        "cargo-fuzz is missing: cargo install --locked cargo-fuzz"
    );
    Ok(())
}

fn fuzz(root: &Path, target: &Target, runs: u64) -> anyhow::Result<bool> {
    let found = root.join("target/fuzz/corpus").join(&target.name);
    let artifacts = root.join("target/fuzz/artifacts").join(&target.name);
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = cargo_fuzz(root, target);
    command.arg(&found);
    // Empty before the seeds were first written.
    let seeds = root.join("fuzz/corpus").join(&target.name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg("--").args([
        format!("-runs={runs}"),
        format!("-malloc_limit_mb={MALLOC_LIMIT_MB}"),
        format!("-rss_limit_mb={RSS_LIMIT_MB}"),
        format!("-max_len={MOST_BYTES}"),
        format!("-timeout={TIMEOUT_S}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    succeeds(&mut command)
}

fn write_seeds(root: &Path, target: &Target) -> anyhow::Result<bool> {
    let folder = root.join("fuzz/corpus").join(&target.name);
    if folder.is_dir() {
        fs::remove_dir_all(&folder)?;
    }
    let mut command = cargo_fuzz(root, target);
    command.env("HOLM_FUZZ_SEEDS", &folder).args(["--", "-runs=0"]);
    Ok(succeeds(&mut command)? && folder.is_dir())
}

fn cargo_fuzz(root: &Path, Target { name, feature }: &Target) -> Command {
    let mut command = cargo_nightly();
    command.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--target-dir", "target/fuzz/build"]);
    command.args(["--features", feature, name]);
    command.current_dir(root);
    command
}

/// By `rustup run`, because a `+nightly` means nothing to the cargo that started this program.
fn cargo_nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]);
    for inherited in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"] {
        command.env_remove(inherited);
    }
    command
}

fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    Ok(status.success())
}
