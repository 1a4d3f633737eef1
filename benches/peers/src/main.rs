//! `cargo run --release -p holm-peers`: the same work on Holm and on other actor libraries, in one run, as one table with ratios.
//!
//! Each contender runs in a process of its own, so that none inherits the memory or the threads of another, and in several rounds by turns, so that a
//! slow minute of the machine falls on all of them. Each is used as its own documentation advises, with its defaults.

mod contenders;
mod measure;
mod table;
mod work;

use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Parser;

use crate::contenders::Contender;
use crate::measure::Measured;
use crate::work::Plan;

// What the program of Holm uses (see docs/decisions/0023); the others are faster with it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The same work on Holm and on other actor libraries.
#[derive(Parser)]
#[command(name = "holm-peers")]
struct Options {
    #[command(flatten)]
    plan: Plan,
    /// Rounds of each contender; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only contenders with this in their name.
    #[arg(long)]
    only: Option<String>,
    /// One JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Run one contender in this process and print what was measured.
    #[arg(long, hide = true)]
    run: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(name) = &options.run {
        let contender = contenders::ALL.iter().find(|contender| contender.name == name);
        let contender = contender.with_context(|| format!("there is no `{name}`"))?;
        println!("{}", serde_json::to_string(&(contender.run)(&options.plan)?)?);
        return Ok(());
    }
    let wanted = |contender: &&Contender| {
        options.only.as_deref().is_none_or(|only| contender.name.contains(only))
    };
    let contenders: Vec<_> = contenders::ALL.iter().filter(wanted).collect();
    let mut measured = vec![Vec::new(); contenders.len()];
    for round in 1..=options.rounds {
        for (contender, measured) in contenders.iter().zip(&mut measured) {
            eprintln!("round {round} of {}: {}", options.rounds, contender.name);
            measured.push(in_a_process(contender.name, &options.plan)?);
        }
    }
    let rows = contenders.iter().zip(measured).map(|(contender, all)| (*contender, median(all)));
    let rows: Vec<_> = rows.collect();
    if options.json {
        let rows = rows.iter().map(|(contender, measured)| (contender.name, *measured));
        println!("{}", serde_json::to_string_pretty(&table::document(&options.plan, rows))?);
    } else {
        println!("{}", table::show(&options.plan, options.rounds, &rows));
    }
    Ok(())
}

fn in_a_process(name: &str, plan: &Plan) -> anyhow::Result<Measured> {
    let program = std::env::current_exe().context("this program has no path")?;
    let ran = Command::new(program).args(["--run", name]).args(plan.as_args()).output()?;
    if !ran.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&ran.stderr));
    }
    serde_json::from_slice(&ran.stdout).with_context(|| format!("{name} printed no figures"))
}

/// Of each figure by itself.
fn median(mut all: Vec<Measured>) -> Measured {
    let middle = all.len() / 2;
    all.sort_by(|a, b| a.asks_per_second.total_cmp(&b.asks_per_second));
    let asks_per_second = all[middle].asks_per_second;
    all.sort_by_key(|one| one.bytes_per_entity);
    Measured { asks_per_second, bytes_per_entity: all[middle].bytes_per_entity }
}
