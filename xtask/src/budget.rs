//! `cargo xtask budget`: what one command takes on each hot path, counted by valgrind and held against `benches/budget.toml`.
//!
//! Instructions and allocations are the same on a busy machine and on a quiet one, so a path that became dearer fails a build without anything being
//! timed. Each path runs a few times and many times more; the difference is what the steps themselves take, without start and end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

const FILE: &str = "benches/budget.toml";

/// Steps of the short run and of the long one. A multiple of what the paths do in one piece (batches of 64, histories of 1,000).
const SHORT: u64 = 8_000;
const LONG: u64 = 40_000;

/// Allocations are small whole numbers, but for what is shared by a batch.
const ALLOCATIONS_MORE: f64 = 0.1;

/// The options of `cargo xtask budget`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write what was counted into the file, as the budget from now on.
    #[arg(long)]
    record: bool,
    /// Only paths with this in their name.
    #[arg(long)]
    only: Option<String>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// The compiler that it was counted with; with another one the numbers differ by a little.
    rustc: String,
    /// How much more a path may take, in percent, before it fails.
    tolerance_percent: f64,
    paths: BTreeMap<String, Cost>,
}

/// What one step takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

/// Counts every path; fails when one takes more than its budget, or has none.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    if !is_installed("valgrind") {
        println!("budget: skipped, valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    }
    let file = root.join(FILE);
    let text = std::fs::read_to_string(&file).with_context(|| format!("{FILE} is missing"))?;
    let mut budget: Budget =
        toml::from_str(&text).with_context(|| format!("{FILE} is malformed"))?;
    let (binary, rustc) = (build(root)?, output(Command::new("rustc").arg("--version"))?);
    if budget.rustc.trim() != rustc.trim() {
        println!("counted with {}, the budget is of {}", rustc.trim(), budget.rustc.trim());
    }
    let names = output(Command::new(&binary).arg("list"))?;
    let wanted = |name: &&str| options.only.as_deref().is_none_or(|only| name.contains(only));
    let mut over = 0;
    println!(
        "{:<34} {:>13} {:>8} {:>13} {:>8}",
        "one step of", "instructions", "", "allocations", ""
    );
    for name in names.lines().filter(wanted) {
        let cost = count(&binary, name)?;
        let allowed = budget.paths.get(name).copied();
        let verdict = judge(cost, allowed, budget.tolerance_percent);
        over += usize::from(verdict.is_err());
        println!("{}", line(name, cost, allowed, verdict));
        if options.record {
            budget.paths.insert(name.to_owned(), cost);
        }
    }
    if options.record {
        budget.rustc = rustc.trim().to_owned();
        std::fs::write(&file, render(&budget))?;
        println!("written to {FILE}");
        return Ok(ExitCode::SUCCESS);
    }
    if over > 0 {
        println!(
            "{over} over the budget of {FILE}. Where that is meant, `cargo xtask budget --record` makes it the new one."
        );
    }
    Ok(if over == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Ok with what is to be said, or what is wrong.
fn judge(cost: Cost, allowed: Option<Cost>, tolerance: f64) -> Result<&'static str, &'static str> {
    let Some(allowed) = allowed else { return Err("has no budget") };
    let share = 1.0 + tolerance / 100.0;
    if cost.instructions > allowed.instructions * share {
        return Err("too many instructions");
    }
    if cost.allocations > allowed.allocations + ALLOCATIONS_MORE {
        return Err("too many allocations");
    }
    let less = cost.instructions * share < allowed.instructions
        || cost.allocations + ALLOCATIONS_MORE < allowed.allocations;
    Ok(if less { "less than before: record it" } else { "" })
}

fn line(
    name: &str,
    cost: Cost,
    allowed: Option<Cost>,
    verdict: Result<&'static str, &'static str>,
) -> String {
    let change = |now: f64, then: f64| {
        if then > 0.0 { format!("{:+.1} %", 100.0 * (now / then - 1.0)) } else { String::new() }
    };
    let (instructions, allocations) = allowed.map_or_else(Default::default, |allowed| {
        let instructions = change(cost.instructions, allowed.instructions);
        (instructions, change(cost.allocations, allowed.allocations))
    });
    let (mark, said) = match verdict {
        Ok(said) => (" ", said),
        Err(said) => ("!", said),
    };
    format!(
        "{name:<34} {:>13.0} {instructions:>8} {:>13.2} {allocations:>8} {mark} {said}",
        cost.instructions, cost.allocations
    )
}

fn render(budget: &Budget) -> String {
    let mut text = format!(
        "# What one step of a hot path may take; `cargo xtask budget` counts and `--record` writes this file.\n\n\
         rustc = \"{}\"\ntolerance_percent = {:.1}\n",
        budget.rustc, budget.tolerance_percent
    );
    for (name, cost) in &budget.paths {
        let Cost { instructions, allocations } = cost;
        text += &format!("\n[paths.\"{name}\"]\n");
        text += &format!("instructions = {instructions:.1}\nallocations = {allocations:.3}\n");
    }
    text
}

/// The bench program, optimised as a release.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "--package", "holm-runtime", "--bench", "hot_paths", "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics", "--quiet"]).current_dir(root);
    let built = output(cargo.stderr(Stdio::inherit()))?;
    let messages = built.lines().filter_map(|line| serde_json::from_str(line).ok());
    let executable = |message: serde_json::Value| message["executable"].as_str().map(PathBuf::from);
    messages.filter_map(executable).next_back().context("cargo names no program")
}

fn count(binary: &Path, name: &str) -> anyhow::Result<Cost> {
    let steps = (LONG - SHORT) as f64;
    let instructions = |times| -> anyhow::Result<u64> {
        let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
        number_after(&valgrind(binary, &tool, name, times)?, "Collected : ")
    };
    let allocations = |times| -> anyhow::Result<u64> {
        let tool = ["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"];
        number_after(&valgrind(binary, &tool, name, times)?, "total heap usage: ")
    };
    let instructions = instructions(LONG)?.saturating_sub(instructions(SHORT)?);
    let allocations = allocations(LONG)?.saturating_sub(allocations(SHORT)?);
    let per_step = |all: u64| all as f64 / steps;
    Ok(Cost { instructions: per_step(instructions), allocations: per_step(allocations) })
}

/// What valgrind says at the end.
fn valgrind(binary: &Path, tool: &[&str], name: &str, times: u64) -> anyhow::Result<String> {
    let mut command = Command::new("valgrind");
    command.args(tool).arg(binary).args(["count", name, &times.to_string()]);
    let ran = command.output().context("valgrind cannot be started")?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    if !ran.status.success() {
        bail!("`{name}` failed under valgrind:\n{said}");
    }
    Ok(said)
}

/// The number behind a text, with or without commas.
fn number_after(said: &str, text: &str) -> anyhow::Result<u64> {
    let after = said.split_once(text).with_context(|| format!("valgrind says no `{text}`"))?.1;
    let digits: String = after
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().with_context(|| format!("no number behind `{text}`"))
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|ran| ran.status.success())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let ran = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    if !ran.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&ran.stderr));
    }
    Ok(String::from_utf8(ran.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, allocations: f64) -> Cost {
        Cost { instructions, allocations }
    }

    #[test]
    fn what_takes_more_fails_and_what_takes_less_is_told() {
        let allowed = Some(cost(1_000.0, 3.0));
        assert_eq!(judge(cost(1_040.0, 3.0), allowed, 5.0), Ok(""));
        assert_eq!(judge(cost(1_060.0, 3.0), allowed, 5.0), Err("too many instructions"));
        assert_eq!(judge(cost(1_000.0, 4.0), allowed, 5.0), Err("too many allocations"));
        assert_eq!(judge(cost(900.0, 3.0), allowed, 5.0), Ok("less than before: record it"));
        assert_eq!(judge(cost(1.0, 0.0), None, 5.0), Err("has no budget"));
    }

    #[test]
    fn a_budget_reads_back() {
        let paths = BTreeMap::from([("ask/read, 64 at once".to_owned(), cost(6_874.5, 8.125))]);
        let budget = Budget { rustc: "rustc 1.95.0".into(), tolerance_percent: 5.0, paths };
        let again: Budget = toml::from_str(&render(&budget)).unwrap();
        assert_eq!((again.rustc, again.paths), (budget.rustc, budget.paths));
    }

    #[test]
    fn numbers_of_valgrind_are_read() {
        let said = "==1== total heap usage: 12,345 allocs, 3 frees\n==1== Collected : 987\n";
        assert_eq!(number_after(said, "total heap usage: ").unwrap(), 12_345);
        assert_eq!(number_after(said, "Collected : ").unwrap(), 987);
        assert!(number_after(said, "lost: ").is_err());
    }
}
