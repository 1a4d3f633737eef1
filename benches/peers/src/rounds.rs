//! Each contender in a process of its own, so that none inherits the memory or the threads of another, and in several rounds by turns, so that a slow
//! minute of the machine falls on all of them.

use std::process::Command;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

/// What this program prints with `args` and `--run NAME`, of each name as often as there are rounds.
pub(crate) fn by_turns<T: DeserializeOwned>(
    names: &[&str],
    args: &[String],
    rounds: usize,
) -> anyhow::Result<Vec<Vec<T>>> {
    let mut measured: Vec<_> = names.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 1..=rounds {
        for (name, measured) in names.iter().zip(&mut measured) {
            eprintln!("round {round} of {rounds}: {name}");
            measured.push(in_a_process(name, args)?);
        }
    }
    Ok(measured)
}

fn in_a_process<T: DeserializeOwned>(name: &str, args: &[String]) -> anyhow::Result<T> {
    let program = std::env::current_exe().context("this program has no path")?;
    let ran = Command::new(program).args(["--run", name]).args(args).output()?;
    if !ran.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&ran.stderr));
    }
    serde_json::from_slice(&ran.stdout).with_context(|| format!("{name} printed no figures"))
}
