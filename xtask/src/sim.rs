//! `cargo xtask sim`: many seeds of the simulated cluster, each in a process of its own, on all cores.
//!
//! Before any other seed runs, two run twice, one of them with all kinds of followers of the bus: traces that differ in a byte mean that nothing that follows could be
//! replayed. Then come the seeds of bugs that were mended (`sim/seeds.txt`), then new ones. A seed that fails is printed with the one command that replays
//! it.

mod batch;
mod child;
mod counters;
mod shown;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;

use batch::Batch;
use child::{Child, Told, World};

/// The seeds that run twice. In the world of the first nobody follows the bus; in that of the second every node does in every way that there is.
const TWINS: [World; 2] = [
    World { seed: 1, edition: None, seconds: None },
    World { seed: 8, edition: None, seconds: Some(20) },
];

/// What twins must have met, so that following the bus is known to be the same twice, too.
const FOLLOWED: [&str; 3] = ["followers-caught-up", "policy-caught-up", "shared-caught-up"];

/// Seeds of a batch when nothing is said.
const SEEDS: u64 = 100;

/// Runs seeds of the simulated cluster.
#[derive(Debug, Args)]
pub(crate) struct Simulation {
    /// How many new seeds to run.
    #[arg(long)]
    seeds: Option<u64>,
    /// Run this seed alone and show what it came to, with the lines of its trace that matter.
    #[arg(long)]
    seed: Option<u64>,
    /// Run new seeds for so many minutes.
    #[arg(long, conflicts_with = "seeds")]
    minutes: Option<u64>,
    /// The first of the new seeds; drawn when not given.
    #[arg(long)]
    first: Option<u64>,
    /// The edition of the worlds: the seeds of old bugs mean worlds that had less in them.
    #[arg(long)]
    edition: Option<u64>,
    /// Seconds during which faults happen in each world, instead of the usual time.
    #[arg(long)]
    seconds: Option<u64>,
    /// Every situation must be reached, however few seeds run: for seeds that always are the same and are known to reach it.
    #[arg(long)]
    expect_all: bool,
    /// The cargo profile to build with.
    #[arg(long, default_value = "sim")]
    profile: String,
}

/// Runs what was asked for.
#[expect(clippy::disallowed_methods, reason = "it tells how long it took")]
pub(crate) fn run(root: &Path, wanted: &Simulation) -> anyhow::Result<ExitCode> {
    let program = build(root, &wanted.profile)?;
    let traces = root.join("target/sim-traces");
    std::fs::create_dir_all(&traces).context("creating the folder of the traces")?;
    let child = Child { program, traces };
    let world = |seed| World { seed, edition: wanted.edition, seconds: wanted.seconds };
    if let Some(seed) = wanted.seed {
        return replay(&child, world(seed));
    }
    let began = Instant::now();
    let known = known_seeds(root)?;
    let first = wanted.first.unwrap_or_else(|| RandomState::new().hash_one(0) >> 16);
    let mut unmet = FOLLOWED.to_vec();
    for world in TWINS {
        let told = twin(&child, world)?;
        unmet.retain(|met| told.summary["counts"][met].as_u64().unwrap_or(0) == 0);
    }
    if !unmet.is_empty() {
        bail!("no seed that ran twice met {unmet:?}: choose another one");
    }
    let mut batch = Batch::new(child, known, world(first));
    match wanted.minutes {
        Some(minutes) => batch.run_until(began + Duration::from_secs(60 * minutes))?,
        None => batch.run_seeds(wanted.seeds.unwrap_or(SEEDS))?,
    }
    Ok(if batch.conclude(began.elapsed(), wanted.expect_all) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Builds the program with tokio's own chance under the seed's control, apart from all other builds, which have not that.
fn build(root: &Path, profile: &str) -> anyhow::Result<PathBuf> {
    let target = root.join("target/repeatable");
    let built = Command::new("cargo")
        .args(["build", "--quiet", "-p", "holm-sim", "--bin", "holm-sim", "--profile", profile])
        .env("RUSTFLAGS", "--cfg tokio_unstable")
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(root)
        .status()
        .context("cargo cannot be started")?;
    if !built.success() {
        bail!("holm-sim does not build");
    }
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target.join(folder).join("holm-sim"))
}

/// Runs one seed and shows what it came to.
fn replay(child: &Child, world: World) -> anyhow::Result<ExitCode> {
    let told = child.run(world, "replay")?;
    shown::show(&told, &child.trace_of(world, "replay"));
    println!("{}", told.summary);
    Ok(if told.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same seed twice must be the same run, byte for byte.
fn twin(child: &Child, world: World) -> anyhow::Result<Told> {
    let run = |run| -> anyhow::Result<(Told, String)> {
        let told = child.run(world, run)?;
        Ok((told, std::fs::read_to_string(child.trace_of(world, run))?))
    };
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| run("second"));
        (run("first"), other.join().expect("the thread says what went wrong"))
    });
    let ((told, first), (_, second)) = (one?, other?);
    if first == second {
        println!("twin run: seed {world} twice, {} equal lines", first.lines().count());
        return Ok(told);
    }
    let at = first.lines().zip(second.lines()).take_while(|(one, other)| one == other).count();
    let line = |trace: &str| trace.lines().nth(at).unwrap_or("(the end)").to_owned();
    bail!(
        "seed {world} run twice differs at line {}:\n  {}\n  {}\nuntil this is mended no seed can be replayed",
        at + 1,
        line(&first),
        line(&second)
    );
}

/// The seeds of mended bugs. A line is a seed, where it needs them its seconds, and what it found; `#` begins a comment.
fn known_seeds(root: &Path) -> anyhow::Result<Vec<World>> {
    let file = root.join("sim/seeds.txt");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let seeds = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    seeds
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().context("sim/seeds.txt"))
        .collect()
}
