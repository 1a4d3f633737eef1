//! Each contender in a process of its own, so that none inherits the memory or the threads of another, and in several rounds by turns, so that a slow
//! minute of the machine falls on all of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;

/// Whose turn it is, and the program that knows it.
pub(crate) struct Turn<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: PathBuf,
}

impl<'a> Turn<'a> {
    /// Of somebody in this program.
    pub(crate) fn here(name: &'a str) -> anyhow::Result<Self> {
        Ok(Self { name, program: std::env::current_exe().context("this program has no path")? })
    }
}

/// What the programs print with `args` and `--run NAME`, of each name as often as there are rounds.
pub(crate) fn by_turns<T: DeserializeOwned>(
    turns: &[Turn<'_>],
    args: &[String],
    rounds: usize,
) -> anyhow::Result<Vec<Vec<T>>> {
    let mut measured: Vec<_> = turns.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for round in 1..=rounds {
        for (Turn { name, program }, measured) in turns.iter().zip(&mut measured) {
            eprintln!("round {round} of {rounds}: {name}");
            measured.push(in_a_process(program, name, args)?);
        }
    }
    Ok(measured)
}

fn in_a_process<T: DeserializeOwned>(
    program: &Path,
    name: &str,
    args: &[String],
) -> anyhow::Result<T> {
    let ran = Command::new(program).args(["--run", name]).args(args).output();
    let ran = ran.with_context(|| format!("{} does not run", program.display()))?;
    if !ran.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&ran.stderr));
    }
    serde_json::from_slice(&ran.stdout).with_context(|| format!("{name} printed no figures"))
}
